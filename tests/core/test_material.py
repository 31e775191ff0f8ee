"""Variants of the style picture and masks of the loss."""

import pytest
import torch

from acfun_core.config import AdapterConfig, TrainConfig
from acfun_core.diffusion.schedule import NoiseSchedule
from acfun_core.errors import ACFunError
from acfun_core.training.alignment_loss import alignment_terms
from acfun_core.training.loop import train_adapter
from acfun_core.training.material import Material, jitter, latent_mask, vary
from acfun_core.training.targets import FACE, STYLE, PairNoise

CONFIG = AdapterConfig("a painting in S* style")


def gradient_picture(channels=3):
    """Every pixel is its own place: red across, green down, blue constant; a fourth channel repeats red."""
    ramp = torch.linspace(0, 1, 64)
    planes = [ramp.expand(64, 64), ramp[:, None].expand(64, 64), torch.full((64, 64), 0.5), ramp.expand(64, 64)]
    return torch.stack(planes[:channels], dim=-1)[None]


def test_the_first_variant_is_the_picture():
    picture = gradient_picture()
    variants = vary(picture, TrainConfig(style_crop=0.5, style_variants=4), 64, seed=0)
    assert variants.shape == (4, 64, 64, 3) and torch.equal(variants[:1], picture)


def test_crops_stay_inside_their_limit_and_differ():
    variants = vary(gradient_picture(), TrainConfig(style_crop=0.5, style_variants=24), 64, seed=0)
    spans = variants[..., 0].amax(dim=(1, 2)) - variants[..., 0].amin(dim=(1, 2))
    assert spans.min() > 0.45 and spans[1:].min() < 0.7 and spans.std() > 0.05


def test_flips_mirror_about_half_of_them():
    variants = vary(gradient_picture(), TrainConfig(style_flip=True, style_variants=64), 64, seed=0)
    mirrored = variants[:, 0, 0, 0] > variants[:, 0, -1, 0]
    assert not mirrored[0] and 16 < int(mirrored.sum()) < 48


def test_colour_changes_colour_and_not_the_mask():
    variants = vary(gradient_picture(4), TrainConfig(style_colour=0.3, style_variants=8), 64, seed=0)
    assert torch.equal(variants[1:, ..., 3], variants[:1, ..., 3].expand(7, -1, -1))
    assert all(not torch.allclose(variant, variants[0], atol=1e-3) for variant in variants[1:])
    assert 0 <= variants.min() and variants.max() <= 1


def test_a_mask_is_cropped_along():
    variants = vary(gradient_picture(4), TrainConfig(style_crop=0.6, style_flip=True, style_variants=8), 64, seed=1)
    torch.testing.assert_close(variants[..., 3], variants[..., 0])


def test_the_same_seed_gives_the_same_variants():
    config = TrainConfig(style_crop=0.5, style_flip=True, style_colour=0.2, style_variants=5)
    assert torch.equal(vary(gradient_picture(), config, 64, 3), vary(gradient_picture(), config, 64, 3))
    assert not torch.equal(vary(gradient_picture(), config, 64, 3), vary(gradient_picture(), config, 64, 4))


def test_jitter_of_one_changes_nothing_and_of_zero_is_grey():
    picture = torch.rand(1, 8, 8, 3, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(jitter(picture, 1.0, 1.0, 1.0), picture)
    grey = jitter(picture, 1.0, 1.0, 0.0)
    torch.testing.assert_close(grey[..., 0], grey[..., 2])
    assert jitter(picture, 0.5, 1.0, 1.0).mean() < picture.mean()
    assert jitter(picture, 1.0, 0.5, 1.0).std() < picture.std()


def test_training_draws_from_the_variants(base, latents, style_tokens, monkeypatch):
    config = TrainConfig(steps=4, style_flip=True, style_variants=3)
    variants = torch.randn(3, 4, 8, 8, generator=torch.Generator().manual_seed(9))
    seen, step = [], Material.step

    def watched(self, pair, generator):
        answer = step(self, pair, generator)
        seen.append(answer[0])
        return answer

    monkeypatch.setattr(Material, "step", watched)
    train_adapter(base, latents, style_tokens, CONFIG, config, material=Material(style_variants=variants))
    assert len(seen) == 4 and all(torch.equal(pair[FACE], latents[FACE]) for pair in seen)
    assert all(any(torch.equal(pair[STYLE], variant) for variant in variants) for pair in seen)


def test_variants_are_asked_for_and_given_together(base, latents, style_tokens):
    variants = Material(style_variants=latents[:1])
    for config, material in ((TrainConfig(steps=1, style_flip=True), None), (TrainConfig(steps=1), variants)):
        with pytest.raises(ACFunError, match="ariants of the style picture"):
            train_adapter(base, latents, style_tokens, CONFIG, config, material=material)


def test_material_of_another_size(base, latents, style_tokens):
    with pytest.raises(ACFunError, match="one resolution"):
        train_adapter(
            base,
            latents,
            style_tokens,
            CONFIG,
            TrainConfig(steps=1),
            material=Material(face_mask=torch.ones(1, 1, 4, 4)),
        )


def test_masks_weigh_the_places_of_either_term(latents):
    schedule = NoiseSchedule.stable_diffusion()
    draw = PairNoise.draw(latents, schedule, torch.Generator().manual_seed(0))
    mask = torch.zeros(1, 1, 8, 8)
    mask[..., :4] = 1.0
    pair, masks = Material(face_mask=mask).step(latents, torch.Generator())
    assert pair is latents

    def nothing(z, t, context):
        return torch.zeros_like(z)

    found = alignment_terms(nothing, schedule, latents, torch.zeros(1, 3, 8), draw, None, masks)
    torch.testing.assert_close(found[FACE], draw.noise[FACE, :, :, :4].square().mean())
    torch.testing.assert_close(found[STYLE], draw.noise[STYLE].square().mean())


def test_each_variant_has_its_own_mask(latents):
    variants, masks = torch.randn(3, 4, 8, 8), torch.rand(3, 1, 8, 8)
    material, generator = Material(style_variants=variants, style_masks=masks), torch.Generator().manual_seed(0)
    for _ in range(6):
        pair, found = material.step(latents, generator)
        [index] = [i for i in range(3) if torch.equal(variants[i], pair[STYLE])]
        assert torch.equal(found[STYLE], masks[index]) and torch.equal(found[FACE], torch.ones(1, 8, 8))


def test_a_face_mask_changes_what_is_learned(base, latents, style_tokens):
    mask = torch.zeros(1, 1, 8, 8)
    mask[..., 2:6, 2:6] = 1.0
    config = TrainConfig(steps=3)
    masked = train_adapter(base, latents, style_tokens, CONFIG, config, material=Material(face_mask=mask))
    plain = train_adapter(base, latents, style_tokens, CONFIG, config)
    full = train_adapter(
        base, latents, style_tokens, CONFIG, config, material=Material(face_mask=torch.ones_like(mask))
    )
    assert not torch.equal(masked.e_a, plain.e_a)
    torch.testing.assert_close(full.e_a, plain.e_a, atol=1e-4, rtol=1e-3)


def test_masks_shrink_to_latents_and_may_not_be_empty():
    mask = torch.zeros(1, 64, 64)
    mask[:, :32] = 1.0
    small = latent_mask(mask, 8, "face mask")
    assert torch.equal(small[0, 0, :, 0], torch.tensor([1.0] * 4 + [0.0] * 4))
    with pytest.raises(ACFunError, match="face mask is empty"):
        latent_mask(torch.zeros(1, 64, 64), 8, "face mask")
