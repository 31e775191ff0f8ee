"""Several adapters in one picture: changes add up, S* is mixed by weight."""

import pytest
import torch

from acfun_core.config import AdapterConfig, TrainConfig
from acfun_core.errors import ACFunError
from acfun_core.method.applied import block_transforms
from acfun_core.method.pseudo_word import (
    abstract_intervals,
    is_plain,
    style_context,
    style_embedding,
    style_pooled,
    windowed,
)
from acfun_core.strengths import Strengths
from acfun_core.training.alignment_loss import measure_alignment
from acfun_core.training.loop import train_adapter
from acfun_core.training.targets import FACE, STYLE
from acfun_core.unet.injection import injected

from .conftest import ToyTextSide


def train(base, latents, style_tokens, seed, **options):
    config = TrainConfig(steps=3, learning_rate=1e-2, warmup_steps=0, seed=seed)
    return train_adapter(base, latents, style_tokens, AdapterConfig("a painting in S* style", **options), config)


@pytest.fixture
def pair(base, latents, style_tokens):
    return [train(base, latents, style_tokens, seed) for seed in (1, 2)]


def test_mixing_is_linear_in_every_block(base, pair):
    """Changes of two adapters add, each scaled by its weight and strength, in any order."""
    one, two = pair
    first, second = Strengths(encoder=0.5, decoder=1.5, weight=0.8), Strengths(weight=1.2)
    for name in one.cfun.names():
        h = torch.randn(2, one.cfun.channels[name], 8, 8, generator=torch.Generator().manual_seed(0))
        both = block_transforms([(one, first), (two, second)])[name](h)
        swapped = block_transforms([(two, second), (one, first)])[name](h)
        scale = 0.8 * (1.5 if name.startswith("dec.") else 0.5)
        expected = h + scale * one.cfun[name].delta(h) + 1.2 * two.cfun[name].delta(h)
        torch.testing.assert_close(both, expected, atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(both, swapped, atol=1e-5, rtol=1e-4)


def test_half_and_half_of_one_adapter_is_that_adapter(base, latents, pair):
    one, _ = pair
    half = Strengths(weight=0.5)
    context = base.text.encode(one.row()).expand(2, -1, -1)
    t = torch.tensor([300, 600])
    with injected(base.sites, block_transforms([(one, Strengths())])):
        expected = base.predict_noise(latents, t, context)
    with injected(base.sites, block_transforms([(one, half), (one, half)])):
        torch.testing.assert_close(base.predict_noise(latents, t, context), expected, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(style_embedding([(one, half), (one, half)]), one.row())


def test_adapters_of_different_places_meet_in_one_unet(base, latents, style_tokens, pair):
    other = train(base, latents, style_tokens, 3, place="output")
    keys = block_transforms([(pair[0], Strengths()), (other, Strengths())]).keys()
    assert {"enc.0.0", "enc.0.0@output"} <= set(keys)


def test_rows_are_mixed_by_weight_and_strength(pair):
    one, two = pair
    start = one.afun.initial_row
    mixed = style_embedding([(one, Strengths(abstract=0.5)), (two, Strengths(weight=0.5))])
    torch.testing.assert_close(mixed, start + 0.5 * (one.e_a - start) + 0.5 * (two.e_a - start))
    assert torch.equal(style_embedding([(one, Strengths(abstract=0.7))]), one.row(0.7))
    assert is_plain([(one, Strengths(abstract=0.0)), (two, Strengths(weight=0.0))])
    assert not is_plain([(one, Strengths())])


def test_contexts_are_mixed_when_one_is_a_sequence(base, latents, style_tokens, pair):
    sequence = train(base, latents, style_tokens, 4, abstract_mode="sequence")
    plain = base.text.encode(base.text.initial_row)
    members = [(pair[0], Strengths(weight=0.5)), (sequence, Strengths(abstract=0.5))]
    expected = plain + 0.5 * (base.text.encode(pair[0].row()) - plain) + 0.5 * (sequence.context(base.text) - plain)
    torch.testing.assert_close(style_context(members, base.text), expected)
    assert torch.equal(style_context(members[1:], base.text), sequence.context(base.text, 0.5))
    assert torch.equal(style_context(members[:1], base.text), base.text.encode(pair[0].row(0.5)))
    off = [(adapter, Strengths(abstract=0.0)) for adapter in (pair[0], sequence)]
    assert torch.equal(style_context(off, base.text), plain)


def test_the_pooled_embedding_of_a_mix_follows_the_abstract_strengths(base, latents, style_tokens, pair):
    """Beside a sequence adapter, the pooled embedding was the last prompt's, at full strength whatever the strengths were."""
    sequence = train(base, latents, style_tokens, 4, abstract_mode="sequence")

    def pooled(row):
        return base.text.encode(row)[:, -1]

    plain, first, second = (pooled(row) for row in (base.text.initial_row, pair[0].row(), sequence.afun.row))
    members = [(pair[0], Strengths(weight=0.5)), (sequence, Strengths(abstract=0.25))]
    torch.testing.assert_close(style_pooled(members, pooled), plain + 0.5 * (first - plain) + 0.25 * (second - plain))
    assert torch.equal(style_pooled(members[:1], pooled), pooled(pair[0].row(0.5)))
    off = [(adapter, Strengths(abstract=0.0)) for adapter in (pair[0], sequence)]
    assert torch.equal(style_pooled(off, pooled), plain)


def test_adapters_of_different_text_encoders_do_not_mix(base, latents, style_tokens, pair):
    foreign = ToyTextSide()
    foreign.initial_row = foreign.initial_row + 1
    other = train(
        type(base)(base.predict_noise, base.sites, foreign, base.schedule, base.device), latents, style_tokens, 5
    )
    with pytest.raises(ACFunError, match="different text encoders"):
        style_embedding([(pair[0], Strengths()), (other, Strengths())])


def test_the_sampling_is_cut_where_a_meaning_changes(pair):
    one, two = pair
    members = [(one, Strengths(abstract=0.9, abstract_end=0.5)), (two, Strengths(abstract_start=0.3))]
    assert windowed(members) and not windowed([(one, Strengths())])
    cut = abstract_intervals(members)
    assert [(start, end) for start, end, _ in cut] == [(0.0, 0.3), (0.3, 0.5), (0.5, 1.0)]
    assert [[strengths.abstract for _, strengths in part] for _, _, part in cut] == [[0.9, 0.0], [0.9, 1.0], [0.0, 1.0]]
    assert not any(windowed(part) for _, _, part in cut)
    assert [(start, end) for start, end, _ in abstract_intervals([(one, Strengths())])] == [(0.0, 1.0)]


@pytest.mark.usefixtures("users_noises")
def test_halves_trained_apart_are_composed(base, latents, style_tokens):
    """A style half and a face half: the mix of both learns something of either picture."""

    def half(**weights):
        settings = TrainConfig(steps=60, learning_rate=1e-3, warmup_steps=0, **weights)
        return train_adapter(base, latents, style_tokens, AdapterConfig("a painting in S* style"), settings)

    style, face = half(face_weight=0.0), half(style_weight=0.0, seed=1)
    members = [(style, Strengths(weight=0.5)), (face, Strengths(weight=0.5))]
    with torch.no_grad(), injected(base.sites, block_transforms(members)):
        context = style_context(members, base.text)
        both = measure_alignment(base.predict_noise, base.schedule, latents, context)
    before = torch.tensor(style.record.before)
    assert style.record.after[STYLE] < style.record.before[STYLE] and face.record.after[FACE] < face.record.before[FACE]
    assert (both < before).all(), (both, before)
