"""Training and sampling on the demo base through diffusers."""

import copy

import pytest
import torch

from acfun_core.backends.pictures import clip_pixels, to_pil
from acfun_core.backends.stable_diffusion import StableDiffusion
from acfun_core.config import AdapterConfig, TrainConfig
from acfun_core.demo_base import NATIVE_SIDE, base_key
from acfun_core.errors import ACFunError
from acfun_core.storage.adapter_file import load, save, to_tensors
from acfun_core.strengths import Strengths

from .conftest import BASE, PROMPT, SIDE

PLAIN = PROMPT.replace("S*", "painting")
SHORT = {"seed": 3, "steps": 3, "cfg": 3.0, "size": (SIDE, SIDE)}


def test_training_learns_something_and_leaves_the_base_alone(base, adapter, style, face):
    record = adapter.record
    assert len(record.style_loss) == 3 and record.resolution == (SIDE, SIDE)
    assert adapter.e_a.isfinite().all() and not torch.equal(adapter.e_a, adapter.afun.initial_row)
    assert not any(site.module._forward_hooks for site in base.sites.values())
    assert not any(
        p.requires_grad or p.grad is not None for p in (*base.unet.parameters(), *base.text.models[0].parameters())
    )


def test_same_seed_same_adapter_bit_for_bit(base, adapter, style, face):
    config = TrainConfig(steps=3, learning_rate=3e-3, warmup_steps=0)
    one, two = to_tensors(adapter), to_tensors(base.train(style, face, AdapterConfig(PROMPT), config, SIDE))
    assert all(torch.equal(one[key], two[key]) for key in one)


def test_strength_zero_is_the_base_bit_for_bit(base, adapter):
    off = base.sample(PROMPT, members=[(adapter, Strengths(0.0, 0.0, 0.0))], **SHORT)
    assert torch.equal(off, base.sample(PLAIN, **SHORT))
    assert torch.equal(off, base.sample(PROMPT, **SHORT))


@pytest.mark.parametrize("strengths", [(1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)])
def test_each_strength_does_something(base, adapter, strengths):
    changed = base.sample(PROMPT, members=[(adapter, Strengths(*strengths))], **SHORT)
    assert (changed - base.sample(PLAIN, **SHORT)).abs().max() > 1e-4


@pytest.mark.parametrize("part", ["abstract", "encoder", "decoder"])
def test_each_strength_moves_the_picture_further_from_the_base(base, gentle, part):
    """From 0 to 2; measured as the root mean square of the change of the latent."""
    off = {"abstract": 0.0, "encoder": 0.0, "decoder": 0.0}
    plain = base.sample(PLAIN, **SHORT)
    drawn = (
        base.sample(PROMPT, members=[(gentle, Strengths(**{**off, part: value}))], **SHORT)
        for value in (0.0, 0.5, 1.0, 1.5, 2.0)
    )
    changes = [(latent - plain).square().mean().sqrt().item() for latent in drawn]
    assert changes[0] == 0 and all(less < more for less, more in zip(changes, changes[1:])), changes


def test_a_saved_adapter_draws_what_the_trained_one_draws(base, adapter, tmp_path):
    loaded = load(save(adapter, tmp_path / "kept.safetensors"))
    one, two = (base.sample(PROMPT, members=[(which, Strengths())], **SHORT) for which in (adapter, loaded))
    assert torch.equal(one, two)


def test_two_adapters_stack(base, adapter):
    once = base.sample(PROMPT, members=[(adapter, Strengths())], **SHORT)
    twice = base.sample(PROMPT, members=[(adapter, Strengths()), (adapter, Strengths())], **SHORT)
    assert (once - twice).abs().max() > 1e-4


def test_mixing_is_linear_in_the_changes(base, adapter):
    """Two halves of one adapter are that adapter."""
    half = Strengths(weight=0.5)
    one = base.sample(PROMPT, members=[(adapter, Strengths())], **SHORT)
    two = base.sample(PROMPT, members=[(adapter, half), (adapter, half)], **SHORT)
    torch.testing.assert_close(one, two, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("part", ["abstract", "encoder", "decoder"])
def test_a_window_that_never_comes_is_strength_zero(base, adapter, part):
    """Three steps lie at 0, a half and 1 of the sampling."""
    only = dict.fromkeys(("abstract", "encoder", "decoder"), 0.0) | {part: 1.0}
    never = Strengths(**only, **{f"{part}_start": 0.6, f"{part}_end": 0.9})
    late = Strengths(**only, **{f"{part}_start": 0.4})
    plain = base.sample(PLAIN, **SHORT)
    assert torch.equal(base.sample(PROMPT, members=[(adapter, never)], **SHORT), plain)
    always = base.sample(PROMPT, members=[(adapter, Strengths(**only))], **SHORT)
    now = base.sample(PROMPT, members=[(adapter, late)], **SHORT)
    assert (now - plain).abs().max() > 1e-4 and (now - always).abs().max() > 1e-4


def test_cond_only_differs_from_both(base, adapter):
    both, cond = (
        base.sample(PROMPT, members=[(adapter, Strengths(abstract=0.0, guidance=name))], **SHORT)
        for name in ("both", "cond")
    )
    assert (both - cond).abs().max() > 1e-4


def test_a_mask_scales_what_it_covers(base, adapter):
    half = torch.zeros(1, SIDE, SIDE)
    half[..., SIDE // 2 :] = 1.0

    def drawn(mask):
        return base.sample(PROMPT, members=[(adapter, Strengths(abstract=0.0, mask=mask))], **SHORT)

    plain, full = base.sample(PLAIN, **SHORT), drawn(None)
    assert torch.equal(drawn(torch.zeros(1, 8, 8)), plain) and torch.equal(drawn(torch.ones(1, 8, 8)), full)
    assert (drawn(half) - plain).abs().max() > 1e-4 and (drawn(half) - full).abs().max() > 1e-4


def test_a_batch_of_masks_has_one_a_portrait(base, adapter):
    masks = torch.zeros(2, SIDE, SIDE)
    masks[0, :, : SIDE // 2] = 1.0

    def drawn(mask):
        return base.sample(PROMPT, members=[(adapter, Strengths(mask=mask))], batch=2, **SHORT)

    both, first, second = (drawn(mask) for mask in (masks, masks[0], masks[1]))
    torch.testing.assert_close(both, torch.stack([first[0], second[1]]), atol=1e-4, rtol=0)
    assert (first[1] - second[1]).abs().max() > 1e-3, "the masks differ in what they do"
    with pytest.raises(ACFunError, match="mask of the adapter is a batch of 3 for 2 pictures"):
        drawn(torch.rand(3, 8, 8))


@pytest.mark.parametrize(
    "options",
    [
        {"abstract_mode": "sequence"},
        {"abstract_mode": "sequence_literal"},
        {"form": "low_rank", "rank": 4, "stats": "mean_std", "blocks": "all", "place": "output"},
        {"form": "per_channel", "place": "attention", "image_tokens": "pooled", "prompt": "pseudo_word"},
        {"place": "norm", "learned_row": False},
    ],
    ids=lambda options: "-".join(map(str, options.values())),
)
def test_every_kind_of_adapter_trains_is_saved_and_draws(base, style, face, tmp_path, options):
    config = TrainConfig(steps=2, learning_rate=3e-3, warmup_steps=0)
    trained = base.train(style, face, AdapterConfig(PROMPT, **options), config, SIDE)
    loaded = load(save(trained, tmp_path / "kind.safetensors"))
    one, two = (base.sample(PROMPT, members=[(which, Strengths())], **SHORT) for which in (trained, loaded))
    assert torch.equal(one, two) and (one - base.sample(PLAIN, **SHORT)).abs().max() > 1e-5


def test_variants_and_masks_of_the_pictures_are_learned_from(base, style, face):
    mask = torch.zeros(1, *style.shape[1:3])
    mask[:, :, : style.shape[2] // 2] = 1.0
    config = TrainConfig(steps=2, style_crop=0.3, style_flip=True, style_variants=3)
    face_mask = torch.ones(1, *face.shape[1:3])
    adapter = base.train(style, face, AdapterConfig(PROMPT), config, SIDE, style_mask=mask, face_mask=face_mask)
    plain = base.train(style, face, AdapterConfig(PROMPT), TrainConfig(steps=2), SIDE)
    assert adapter.record.style_loss != plain.record.style_loss
    with pytest.raises(ACFunError, match="style mask is empty"):
        base.train(style, face, AdapterConfig(PROMPT), config, 64, style_mask=0 * mask)


def test_a_batch_starts_with_the_same_noise_as_one_portrait(base, adapter):
    members = [(adapter, Strengths())]
    batch = base.sample(PROMPT, members=members, batch=2, **SHORT)
    assert batch.shape == (2, 4, SIDE // 8, SIDE // 8)
    assert (batch[0] - batch[1]).abs().max() > 1e-2
    assert base.sample(PROMPT, members=members, **{**SHORT, "size": (128, 192)}).shape == (1, 4, 16, 24)


def test_progress_counts_the_steps(base):
    seen = []
    base.sample("a photo of a man", on_sample=lambda *now: seen.append(now), **SHORT)
    assert seen == [(1, 3), (2, 3), (3, 3)]


def test_pictures_survive_the_autoencoder(base, face):
    from acfun_core.images import square

    picture = square(face, NATIVE_SIDE)
    decoded = base.decode(base.encode(picture))
    assert decoded.shape == picture.shape and 0 <= decoded.min() and decoded.max() <= 1
    assert (decoded - picture).square().mean() < 0.02
    assert to_pil(decoded[0]).size == (NATIVE_SIDE, NATIVE_SIDE)


def test_clip_sees_the_middle_square():
    wide = torch.zeros(1, 32, 96, 3)
    wide[:, :, 32:64] = 1.0
    pixels = clip_pixels(wide, 32)
    assert pixels.shape == (1, 3, 32, 32) and torch.equal(pixels, clip_pixels(torch.ones(1, 32, 32, 3), 32))


def test_an_adapter_of_another_base_is_refused(base, adapter):
    other = copy.deepcopy(adapter)
    other.cfun.channels["enc.0.0"] = 320
    with pytest.raises(ACFunError, match="does not fit this base.*enc.0.0 has 64 channels, the adapter 320"):
        base.sample(PROMPT, members=[(other, Strengths())], **SHORT)


def test_an_adapter_of_another_family_is_refused(base, adapter):
    other = copy.deepcopy(adapter)
    other.base_family = "sdxl"
    with pytest.raises(ACFunError, match="trained on SDXL, this base is Stable Diffusion 1.x"):
        base.sample(PROMPT, members=[(other, Strengths())], **SHORT)


def test_an_adapter_of_the_former_demo_base_is_refused(base, adapter, tmp_path):
    """Its file has no key, and would otherwise fit by every shape."""
    assert adapter.base_key == base.key == base_key(BASE)
    loaded = load(save(adapter, tmp_path / "now.safetensors"))
    base.check(PROMPT, [(loaded, Strengths())], 0, 1, 1.0, 1)
    loaded.base_key = ""
    former = load(save(loaded, tmp_path / "former.safetensors"))
    with pytest.raises(ACFunError, match="an earlier demo base.*this base has the weights " + base.key):
        base.sample(PROMPT, members=[(former, Strengths())], **SHORT)


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"prompt": "a painting of a woman"}, "does not hold S"),
        ({"size": (190, SIDE)}, "height is 190"),
        ({"size": (SIDE, 8)}, "width is 8"),
        ({"steps": 0}, "number of steps is 0"),
        ({"seed": -1}, "seed is -1"),
        ({"cfg": float("nan")}, "cfg.* is nan"),
        ({"batch": 0}, "batch size is 0"),
        ({"prompt": "S* embedding:thing"}, "textual inversion"),
    ],
)
def test_settings_out_of_range_are_named(base, adapter, settings, says):
    with pytest.raises(ACFunError, match=says):
        base.sample(**{"prompt": PROMPT, "members": [(adapter, Strengths())], **SHORT, **settings})


def test_training_needs_clip_vision(base, style, face):
    blind = StableDiffusion.__new__(StableDiffusion)
    blind.__dict__.update(base.__dict__, _image_encoder=None, _image_encoder_path=None)
    with pytest.raises(ACFunError, match="CLIP vision.*--clip-vision"):
        blind.train(style, face, AdapterConfig(PROMPT), TrainConfig(steps=1), SIDE)


def test_the_resolution_is_checked(base, style, face):
    with pytest.raises(ACFunError, match="resolution is 100"):
        base.train(style, face, AdapterConfig(PROMPT), TrainConfig(steps=1), 100)


def test_the_clip_vision_folder_beside_the_base_is_used(base):
    assert base._image_encoder_path == BASE / "image_encoder"


def test_a_training_with_another_tokenizer_is_another_training(base, style, face, monkeypatch):
    """The state of a killed training was taken up by one whose tokenizer reads other words."""
    inputs = (style, face, AdapterConfig(PROMPT), TrainConfig())
    key = base.training_key(*inputs)
    assert base.training_key(*inputs) == key
    monkeypatch.setattr(type(base.text), "words_to_ids", lambda text, words: [1, 2, 3])
    assert base.training_key(*inputs) != key
