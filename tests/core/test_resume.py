"""Nothing is lost: a training that was killed goes on where it stopped, and ends as if it had not been."""

from __future__ import annotations

import json
import os
import random
from functools import partial

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from acfun_core.config import AdapterConfig, TrainConfig
from acfun_core.errors import ACFunError
from acfun_core.storage import adapter_file
from acfun_core.storage.adapter_file import to_tensors
from acfun_core.training import keeper as keeping
from acfun_core.training import state as states
from acfun_core.training.keeper import StateKeeper
from acfun_core.training.key import described, training_key, weights_identity
from acfun_core.training.loop import train_adapter
from acfun_core.training.material import Material

CONFIG = AdapterConfig("a painting in S* style")
SETTINGS = {"steps": 8, "learning_rate": 1e-2, "warmup_steps": 3, "seed": 5}


class Killed(BaseException):
    """The process is gone: nothing catches it."""


@pytest.fixture
def training(base, latents, style_tokens, tmp_path, monkeypatch):
    """A training whose state is written after every step; it can be killed after one."""
    monkeypatch.setattr(keeping, "SECONDS_BETWEEN", 0.0)
    monkeypatch.setattr(keeping, "LARGEST_SHARE", float("inf"))

    def run(killed_after=None, said=None, keep=False, resume=True, state=True, kind=CONFIG, material=None, **settings):
        def on_step(report):
            if report.step == killed_after:
                raise Killed

        config = TrainConfig(**{**SETTINGS, **settings})
        said = [] if said is None else said
        kept = StateKeeper(tmp_path, "key", resume, keep, said.append) if state else None
        adapter = train_adapter(base, latents, style_tokens, kind, config, on_step, material, kept)
        if kept:
            kept.end()
        return adapter

    return run


def same(one, other) -> bool:
    ours, theirs = to_tensors(one), to_tensors(other)
    return ours.keys() == theirs.keys() and all(torch.equal(ours[key], theirs[key]) for key in ours)


@pytest.mark.parametrize("guard", [0, 3])
def test_a_killed_training_ends_as_if_it_had_not_been_killed(training, tmp_path, guard):
    """Dropout, timesteps, noise, moments and the copy guard go on; killed twice, at random steps."""
    settings = {"copy_guard_every": guard, "copy_limit": 1.0}
    whole = training(state=False, **settings)
    for killed_after in sorted(random.Random(guard).sample(range(1, 8), 2)):
        with pytest.raises(Killed):
            training(killed_after, **settings)
    said = []
    resumed = training(said=said, **settings)
    assert said == [f"This training was done up to step {killed_after} before. It goes on from there."]
    assert same(resumed, whole) and resumed.record == whole.record
    assert list(tmp_path.iterdir()) == []


EVERY_KIND = {
    "variants and masks": {"style_flip": True, "style_variants": 3, "timestep_split": 0.4},
    "abstract alone": {"kind": AdapterConfig("a painting in S* style", blocks="none", dropout=0.5)},
    "sequence": {
        "kind": AdapterConfig(
            "a painting in S* style", abstract_mode="sequence", form="low_rank", rank=2, stats="mean_std"
        ),
        **{"noisy_source": "random", "min_snr_gamma": 5.0, "learning_rate_end": 0.1},
    },
}


@pytest.mark.parametrize("settings", EVERY_KIND.values(), ids=EVERY_KIND)
def test_every_kind_of_training_goes_on_bit_for_bit(training, latents, settings):
    settings = {**settings, "steps": 4}
    if "style_flip" in settings:
        draws = torch.Generator().manual_seed(3)
        variants = torch.randn(3, *latents.shape[1:], generator=draws)
        masks = torch.rand(2, 1, *latents.shape[2:], generator=draws)
        settings["material"] = Material(variants, masks[:1], masks[1:])
    whole = training(state=False, **settings)
    for killed_after in (1, 3):
        with pytest.raises(Killed):
            training(killed_after, **settings)
    said = []
    resumed = training(said=said, **settings)
    assert "up to step 3 before" in said[0]
    assert same(resumed, whole) and resumed.record == whole.record


def test_a_finished_training_is_continued_with_more_steps(training, tmp_path):
    whole = training(state=False, steps=12, copy_guard_every=5, copy_limit=1.0)
    training(keep=True, copy_guard_every=5, copy_limit=1.0)
    assert len(list(tmp_path.iterdir())) == 1
    continued = training(steps=12, copy_guard_every=5, copy_limit=1.0)
    assert same(continued, whole) and continued.record == whole.record
    assert list(tmp_path.iterdir()) == []


def test_without_resume_it_starts_anew_and_says_so(training):
    with pytest.raises(Killed):
        training(5)
    said = []
    assert same(training(said=said, resume=False), training(state=False))
    assert "up to step 5" in said[0] and "starts anew" in said[0]


def damaged(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 255
    path.write_bytes(content)


def cut_short(path):
    path.write_bytes(path.read_bytes()[:-100])


def of_another_format(path):
    with safe_open(str(path), "pt") as file:
        metadata, tensors = file.metadata(), {key: file.get_tensor(key) for key in file.keys()}
    save_file(tensors, path, {**metadata, "format_version": "99"})


def of_another_base(path):
    state = states.read(path)
    state.numbers["record"]["before"][0] *= 2
    states.write(state, path)


def without_moments(path):
    state = states.read(path)
    tensors = {key: value for key, value in state.tensors.items() if not key.startswith("adapter.afun")}
    states.write(states.State(tensors, state.numbers), path)


@pytest.mark.parametrize("harm", [damaged, cut_short, of_another_format, of_another_base, without_moments])
def test_a_state_that_cannot_be_used_is_refused_and_the_training_starts_anew(training, tmp_path, harm):
    with pytest.raises(Killed):
        training(5)
    [path] = tmp_path.iterdir()
    harm(path)
    said = []
    assert same(training(said=said), training(state=False))
    assert len(said) == 1 and said[0].endswith("The training starts anew.")


def test_a_full_disk_stops_the_states_and_not_the_training(training, monkeypatch):
    def full(*given, **further):
        raise ACFunError("The disk is full.")

    monkeypatch.setattr(states, "write", full)
    said = []
    assert same(training(said=said), training(state=False))
    assert said == ["The disk is full. The training goes on without a state to resume from."]


def test_the_space_that_is_asked_for_is_the_size_of_the_file(training, tmp_path, monkeypatch):
    """It was 19 MB for 3.3 MB."""
    from types import SimpleNamespace

    free = [10**9]
    monkeypatch.setattr(keeping.shutil, "disk_usage", lambda folder: SimpleNamespace(free=free[0]))
    size = adapter_file.save(training(), tmp_path / "a.safetensors").stat().st_size
    free[0] = size
    with pytest.raises(ACFunError, match="MB are free") as error:
        training()
    asked = float(error.value.expected.split()[2]) * 1e6
    assert size <= asked <= 1.2 * size + 2**16


def test_states_are_written_every_twenty_seconds_and_cost_two_per_cent(monkeypatch, tmp_path):
    """On a slow disk there are fewer: after a first write of 3 s, the next waits until both are 2 % of the time."""
    now, written = [0.0], []

    def slow(state, path, kept):
        written.append(now[0])
        now[0] += cost[0]

    monkeypatch.setattr(states, "size", lambda running: 0)
    monkeypatch.setattr(states, "captured", lambda running, step: states.State({}, {}))
    monkeypatch.setattr(states, "write", slow)
    for seconds, expected in ((0.1, [20, 41, 62]), (3.0, [20, 300])):
        now[0], cost = 0.0, [seconds]
        written.clear()
        kept = StateKeeper(tmp_path, "key", clock=lambda: now[0])
        while now[0] < 305:
            if kept.due(None):
                kept.write(None, 1)
            now[0] = float(int(now[0]) + 1)
        assert written[: len(expected)] == expected
        assert len(written) * seconds / now[0] <= 0.02


def test_old_states_are_cleared_away_and_kept_ones_are_not(training, tmp_path):
    with pytest.raises(Killed):
        training(2)
    [path] = tmp_path.iterdir()
    leftover, asked = tmp_path / ".acfun-other.state", tmp_path / ".acfun-asked.state"
    path.rename(leftover)
    states.write(states.read(leftover), asked, kept=True)
    for old in (leftover, asked):
        os.utime(old, (0, 0))
    StateKeeper(tmp_path, "key")
    assert list(tmp_path.iterdir()) == [asked]


def test_the_key_stands_for_all_inputs():
    picture = torch.rand(1, 8, 8, 3, generator=torch.Generator().manual_seed(1))
    inputs = {"style": picture, "face": picture.flip(1), "style_mask": None}

    def key(kind=CONFIG, resolution=64, pictures=inputs, base="base", **settings):
        return training_key(kind, TrainConfig(**settings), resolution, pictures, base)

    other = {**inputs, "face": picture}
    changed = [
        key(AdapterConfig("a photo in S* style")),
        key(resolution=128),
        key(pictures=other),
        key(pictures={**inputs, "style_mask": picture[..., 0]}),
        key(base="another"),
        key(seed=1),
        key(learning_rate_end=0.5),
        key(learning_rate_end=0.5, steps=7),
    ]
    assert len({key(), *changed}) == 1 + len(changed)
    assert key(steps=7) == key() and len(key()) == 32


def patch_of(scale, *, weights=None):
    def patch(h):
        return h * scale if weights is None else h @ weights

    return patch


class Wrapper:
    """As other packs put them on a model: an object that is called, and counts."""

    def __init__(self, **held):
        self.held, self._calls = held, random.random()


def test_what_lies_on_a_model_is_told_apart_by_what_it_holds():
    tensor = torch.rand(4, 4, generator=torch.Generator().manual_seed(2))
    alike = [
        lambda: {
            "attn2": [patch_of(1.5)],
            "wrappers": (Wrapper(strength=0.5, adapters=[torch.nn.Linear])),
            "cfg": None,
        },
        lambda: {"lora": [(0.8, partial(patch_of, 2, weights=tensor.clone()))]},
        lambda: {"wrapper": Wrapper(adapter=AdapterConfig("a photo in S* style")), "method": Wrapper(a=1).__init__},
    ]
    for make in alike:
        assert described(make()) == described(make())
    different = [
        *(patch_of(scale) for scale in (1.5, 1.6)),
        *(patch_of(1.5, weights=weights) for weights in (tensor, tensor.T)),
        *(Wrapper(strength=strength) for strength in (0.5, 0.6)),
        *(Wrapper(adapter=AdapterConfig(f"{words} in S* style")) for words in ("a photo", "a painting")),
        {"layer": -2},
        {"layer": None},
        torch.nn.Linear(2, 2),
        [tensor],
    ]
    assert len({described(each) for each in different}) == len(different)
    ring = Wrapper()
    ring.held["ring"] = ring
    assert described(ring)


def test_a_base_is_known_by_its_weights(unet):
    before = weights_identity(unet)
    weight = next(unet.parameters())
    kept = weight.data.clone()
    try:
        # As small a change as a merge with another checkpoint makes.
        weight.data.add_(1e-4)
        assert weights_identity(unet) != before
    finally:
        weight.data.copy_(kept)
    assert weights_identity(unet) == before and json.dumps(before)
