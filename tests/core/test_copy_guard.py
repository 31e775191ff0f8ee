"""The copy guard: what counts as a copy, when it stops, and what is kept."""

import pytest
import torch
from safetensors import safe_open

from acfun_core.config import AdapterConfig, TrainConfig
from acfun_core.storage import adapter_file
from acfun_core.storage.adapter_file import to_tensors
from acfun_core.training import copy_guard
from acfun_core.training.copy_guard import CopyGuard, largest_explained, notice_of_copies
from acfun_core.training.loop import train_adapter

CONFIG = AdapterConfig("a painting in S* style")


def train(base, latents, style_tokens, on_step=None, **settings):
    settings = {"steps": 8, "learning_rate": 1e-2, "warmup_steps": 0, **settings}
    return train_adapter(base, latents, style_tokens, CONFIG, TrainConfig(**settings), on_step)


def test_copies_and_blends_are_explained_fully(latents):
    style, face = latents[:1], latents[1:]
    for copy in (style, face, 0.5 * style + 0.5 * face, 0.3 * face + 2.0, -style):
        assert largest_explained(copy, latents) == pytest.approx(1.0, abs=1e-6)


def test_other_pictures_are_not(latents):
    other = torch.randn(3, 4, 8, 8, generator=torch.Generator().manual_seed(8))
    assert largest_explained(other, latents) < 0.1
    half = latents[:1] / latents[:1].std() + other[:1]
    assert 0.3 < largest_explained(half, latents) < 0.7
    assert largest_explained(torch.cat([other, latents[:1]]), latents) == pytest.approx(1.0, abs=1e-6)
    assert largest_explained(torch.full((1, 4, 8, 8), 3.0), latents) == 0.0


def scripted(monkeypatch, shares):
    """The guard sees these shares, one a look."""
    left = iter(shares)
    monkeypatch.setattr(copy_guard, "largest_explained", lambda drawn, latents: next(left))


def test_off_by_default_and_without_influence(base, latents, style_tokens):
    plain = train(base, latents, style_tokens)
    watched = train(base, latents, style_tokens, copy_guard_every=3, copy_limit=1.0)
    assert plain.record.looks == [] and plain.record.kept_step is None
    assert [look[0] for look in watched.record.looks] == [3, 6, 8]
    assert watched.record.style_loss == plain.record.style_loss
    if watched.record.kept_step == 8:
        assert all(torch.equal(a, b) for a, b in zip(to_tensors(plain).values(), to_tensors(watched).values()))


def test_it_stops_after_two_looks_above_the_limit(base, latents, style_tokens, monkeypatch):
    scripted(monkeypatch, [0.2, 0.9, 0.5, 0.9, 0.95, 0.1])
    record = train(base, latents, style_tokens, steps=20, copy_guard_every=2).record
    assert [look[0] for look in record.looks] == [2, 4, 6, 8, 10]
    assert len(record.style_loss) == 10 and record.kept_step in (2, 6)


def test_the_best_below_the_limit_is_kept(base, latents, style_tokens, monkeypatch):
    """The adapter of the kept step is the one that a training of so many steps gives."""
    scripted(monkeypatch, [0.2, 0.9, 0.9])
    stopped = train(base, latents, style_tokens, steps=20, copy_guard_every=3)
    assert stopped.record.kept_step == 3
    short = train(base, latents, style_tokens, steps=3)
    ours, theirs = to_tensors(stopped), to_tensors(short)
    assert all(torch.equal(ours[key], theirs[key]) for key in ours)


def test_the_lower_loss_wins(base, latents, style_tokens, monkeypatch):
    scripted(monkeypatch, [0.2] * 4)
    record = train(base, latents, style_tokens, steps=8, copy_guard_every=2).record
    assert record.kept_step == min(record.looks, key=lambda look: look[2])[0]


def test_never_below_the_limit_keeps_the_last(base, latents, style_tokens, monkeypatch):
    scripted(monkeypatch, [0.9] * 4)
    record = train(base, latents, style_tokens, steps=8, copy_guard_every=2).record
    assert record.kept_step is None and len(record.style_loss) == 4


def test_an_adapter_that_only_copies_was_handed_over_without_a_word(base, latents, style_tokens, monkeypatch):
    scripted(monkeypatch, [0.9, 0.9])
    assert "nothing but copies" in notice_of_copies(train(base, latents, style_tokens, copy_guard_every=2).record)
    scripted(monkeypatch, [0.9, 0.2, 0.9, 0.9])
    assert notice_of_copies(train(base, latents, style_tokens, copy_guard_every=2).record) is None
    assert notice_of_copies(train(base, latents, style_tokens).record) is None, "nobody looked"


def test_stopping_by_hand_between_two_looks_looks_once_more(base, latents, style_tokens, monkeypatch):
    scripted(monkeypatch, [0.2, 0.3])
    record = train(base, latents, style_tokens, lambda report: report.step == 5, steps=20, copy_guard_every=3).record
    assert [look[0] for look in record.looks] == [3, 5] and len(record.style_loss) == 5


def test_looks_are_reported_and_stored(base, latents, style_tokens, tmp_path):
    seen = {}
    adapter = train(
        base, latents, style_tokens, lambda report: seen.update({report.step: report.readouts}), copy_guard_every=4
    )
    assert set(seen[4]) == {"copy"} and seen[3] == {} and seen[4]["copy"] == adapter.record.looks[0][1]
    path = adapter_file.save(adapter, tmp_path / "guarded.safetensors")
    with safe_open(str(path), "pt") as file:
        assert file.metadata()["format_version"] == "2"
    assert adapter_file.load(path).record == adapter.record


def test_a_look_leaves_nothing_behind(base, latents, style_tokens):
    adapter = train(base, latents, style_tokens).train()
    before, state = {k: v.clone() for k, v in adapter.state_dict().items()}, torch.random.get_rng_state()
    CopyGuard(base, latents, TrainConfig(copy_guard_every=1)).look(adapter, 1)
    assert adapter.training and torch.equal(state, torch.random.get_rng_state())
    assert all(torch.equal(before[key], value) for key, value in adapter.state_dict().items())
    assert not any(site.module._forward_hooks for site in base.sites.values())
