"""Steps on a device that works behind its host, played by a double: nothing is read, one graph, and faults that fall back."""

from __future__ import annotations

import dataclasses
import re
from functools import partial

import pytest
import torch

from acfun_core.config import AdapterConfig, TrainConfig
from acfun_core.errors import ACFunError
from acfun_core.method import fused
from acfun_core.storage.adapter_file import to_tensors
from acfun_core.training import keeper as keeping
from acfun_core.training import loop, optimiser
from acfun_core.training.alignment_loss import measure_adapter
from acfun_core.training.keeper import StateKeeper
from acfun_core.training.loop import train_adapter
from acfun_core.training.material import Material
from acfun_core.training.readout import STEPS_AHEAD
from acfun_core.training.steps import WARM_UP, GraphedSteps, Steps

from .device_double import Device, HostLooked, NoLooks
from .test_resume import EVERY_KIND, Killed
from .test_training import OverflowsAbove

ADAPTER = AdapterConfig("a painting of a woman in S* style")
SETTINGS = {"steps": 7, "learning_rate": 1e-3, "warmup_steps": 2, "seed": 3}
KINDS = {"face alone": {"style_weight": 0.0, "noisy_source": "own_shared"}, **EVERY_KIND}


@pytest.fixture
def learn(base, latents, style_tokens, monkeypatch):
    """A training on the double, or on the CPU itself without one; before and after, the losses are looked at once."""
    monkeypatch.setattr(loop, "measure_adapter", partial(measure_adapter, draws=1))

    def run(device=None, on_step=None, said=None, keeper=None, kind=ADAPTER, material=None, on=base, **settings):
        say = (lambda sentence: None) if said is None else said.append
        config = TrainConfig(**{**SETTINGS, **settings})
        return train_adapter(on, latents, style_tokens, kind, config, on_step, material, keeper, say, device)

    return run


def material_of(latents, settings):
    if "style_flip" not in settings:
        return None
    draws = torch.Generator().manual_seed(3)
    variants = torch.randn(3, *latents.shape[1:], generator=draws)
    masks = torch.rand(2, 1, *latents.shape[2:], generator=draws)
    return Material(variants, masks[:1], masks[1:])


def same(one, other) -> bool:
    ours, theirs = to_tensors(one), to_tensors(other)
    return ours.keys() == theirs.keys() and all(torch.equal(ours[key], theirs[key]) for key in ours)


def launched(monkeypatch) -> None:
    """Every step kernel by kernel."""
    monkeypatch.setattr(GraphedSteps, "__call__", Steps.__call__)


@pytest.mark.parametrize("settings", [KINDS["variants and masks"], KINDS["sequence"]])
def test_a_step_reads_no_number_of_the_device(learn, latents, monkeypatch, settings):
    """There were 13 places a step where the host waited."""
    plain = Steps._kernels

    def watched(steps, drawn):
        with NoLooks():
            return plain(steps, drawn)

    launched(monkeypatch)
    monkeypatch.setattr(Steps, "_kernels", watched)
    settings = {**settings, "steps": 3, "material": material_of(latents, settings)}
    learn(Device(), **settings)
    with pytest.raises(HostLooked):
        learn(None, **settings)


@pytest.mark.parametrize("kind", ["face alone", "variants and masks", "sequence"])
def test_steps_as_one_graph_are_the_steps_that_are_launched(learn, latents, monkeypatch, kind):
    settings = KINDS[kind]
    settings = {**settings, "material": material_of(latents, settings)}
    device, said = Device(), []
    graphed = learn(device, said=said, **settings)
    [graph] = device.graphs
    assert graph.replays == SETTINGS["steps"] - WARM_UP and said == []
    launched(monkeypatch)
    one_by_one = learn(Device(), **settings)
    assert same(graphed, one_by_one) and graphed.record == one_by_one.record


def test_cfun_in_few_kernels_is_part_of_the_graph(learn, monkeypatch):
    """As it is on a card, where its gradient is written by hand."""
    monkeypatch.setattr(fused, "DEVICES", {"cpu"})
    device, said = Device(), []
    graphed = learn(device, said=said)
    assert device.graphs[0].replays == SETTINGS["steps"] - WARM_UP and said == []
    launched(monkeypatch)
    assert same(graphed, learn(Device()))


def test_what_a_device_decides_by_itself_is_what_the_host_would_decide(learn):
    device, host = (learn(where).record for where in (Device(), None))
    assert device.after == pytest.approx(host.after, rel=1e-3)
    assert device.style_loss == pytest.approx(host.style_loss, rel=1e-2)


@pytest.mark.parametrize(
    ("fault", "why"),
    [
        ({"fails": "operation not permitted when stream is capturing"}, "operation not permitted"),
        ({"forgets": 40}, "off|other weights"),
        # What a patch decides by chance on the host could be the same once.
        ({"forgets": 40, "forgets_from": 2}, "off|other weights"),
        ({"waits": ("the host waits for the card in patch.py, line 3.",)}, "waits for the card in patch.py"),
    ],
    ids=["cannot be written down", "differs", "differs the second time", "waits"],
)
def test_a_graph_that_fails_or_differs_is_left_and_said(learn, monkeypatch, fault, why):
    said, device = [], Device(**fault)
    learned = learn(device, said=said)
    assert device.recovered == ("fails" in fault) and len(device.graphs) == ("waits" not in fault)
    [sentence] = said
    assert sentence.startswith("Each step is launched kernel by kernel") and re.search(why, sentence)
    launched(monkeypatch)
    assert same(learned, learn(Device()))


def test_a_base_that_cannot_be_a_graph_says_why(learn, base):
    device, said = Device(), []
    learn(device, said=said, on=dataclasses.replace(base, not_as_a_graph="its weights are streamed."), steps=6)
    assert said == ["Each step is launched kernel by kernel, not as one CUDA graph: its weights are streamed."]
    assert device.graphs == []


def test_a_device_that_cannot_repeat_says_so_and_trains(learn):
    said = []
    learn(Device(refuses="attention does not have a deterministic implementation"), said=said, steps=6)
    assert said == [
        "The same seed may give another last digit each time on this device: "
        "attention does not have a deterministic implementation."
    ]


def test_the_device_is_never_further_ahead_than_it_may_and_every_step_is_told(learn):
    device, told = Device(), []

    def on_step(report):
        told.append(report.step)
        assert device.coming <= STEPS_AHEAD

    adapter = learn(device, on_step)
    assert told == list(range(1, 8)) and len(adapter.record.style_loss) == 7
    assert device.most_coming == STEPS_AHEAD + 1


def test_stopping_and_cancelling_are_heard_at_the_next_step(learn, base):
    asked = []

    def stop(report):
        return report.step == 4

    adapter = learn(Device(), stop, steps=9)
    assert len(adapter.record.style_loss) == 4 + STEPS_AHEAD

    def cancel(report):
        asked.append(report.step)
        if report.step == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        learn(Device(), cancel)
    assert asked[-1] == 4
    assert not any(site.module._forward_hooks for site in base.sites.values())


@pytest.mark.parametrize("settings", [EVERY_KIND["abstract alone"], {"copy_guard_every": 3, "copy_limit": 1.0}])
def test_a_killed_training_goes_on_on_a_device(learn, tmp_path, monkeypatch, settings):
    monkeypatch.setattr(keeping, "SECONDS_BETWEEN", 0.0)
    monkeypatch.setattr(keeping, "LARGEST_SHARE", float("inf"))
    whole = learn(Device(), **settings)
    for killed_after in (2, 5):

        def kill(report, at=killed_after):
            if report.step == at:
                raise Killed

        with pytest.raises(Killed):
            learn(Device(), kill, keeper=StateKeeper(tmp_path, "key"), **settings)
    keeper = StateKeeper(tmp_path, "key")
    resumed = learn(Device(), keeper=keeper, **settings)
    assert keeper.resumed == 5 and same(resumed, whole) and resumed.record == whole.record


def test_a_state_of_the_cpu_is_read_on_a_device_and_the_other_way_round(learn, tmp_path):
    for first, then in ((None, Device()), (Device(), None)):
        learn(first, steps=3, keeper=StateKeeper(tmp_path, "key", keep=True))
        keeper = StateKeeper(tmp_path, "key")
        learn(then, keeper=keeper)
        assert keeper.resumed == 3
        keeper.end()


def overflowing(base, limit):
    return dataclasses.replace(
        base, predict_noise=lambda z, t, c: OverflowsAbove.apply(base.predict_noise(z, t, c), limit)
    )


def test_an_overflow_on_the_device_halves_the_scale_without_a_look(learn, base):
    record = learn(Device(), on=overflowing(base, 1.0), steps=12).record
    assert 1 <= record.skipped_steps < 12
    assert record.skipped_steps == learn(None, on=overflowing(base, 1.0), steps=12).record.skipped_steps
    with pytest.raises(ACFunError, match="non-finite"):
        learn(Device(), on=overflowing(base, 1e-7), steps=30)


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
def test_the_scale_grows_where_the_base_computes_in_float16(learn, base, tmp_path, monkeypatch, dtype):
    monkeypatch.setattr(optimiser, "STEPS_BETWEEN_GROWTHS", 3)
    keeper = StateKeeper(tmp_path, "key", keep=True)
    learn(Device(), on=dataclasses.replace(base, dtype=dtype), keeper=keeper, steps=9)
    scale = keeper.found(9).numbers["scale"]
    assert scale == (8 if dtype == torch.float16 else 1) * optimiser.INITIAL_SCALE


def test_a_training_that_is_not_finite_ends_on_a_device_too(learn, base):
    broken = dataclasses.replace(base, predict_noise=lambda z, t, c: base.predict_noise(z, t, c) * float("nan"))
    with pytest.raises(ACFunError, match="non-finite at step 1.*learning rate"):
        learn(Device(), on=broken)
