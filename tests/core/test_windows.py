"""Start and end, passes of guidance, masks, blocks and weights: factors of CFun's change, and nothing else."""

import pytest
import torch

from acfun_core.config import AdapterConfig, TrainConfig
from acfun_core.diffusion.schedule import share_done
from acfun_core.errors import ACFunError
from acfun_core.method.applied import block_transforms
from acfun_core.strengths import Strengths, product_of_masks
from acfun_core.training.loop import train_adapter
from acfun_core.unet.windows import Moment

ENC, DEC = "enc.0.0", "dec.0.0"


@pytest.fixture
def adapter(base, latents, style_tokens):
    config = TrainConfig(steps=3, learning_rate=1e-2, warmup_steps=0)
    return train_adapter(base, latents, style_tokens, AdapterConfig("a painting in S* style"), config)


def features(batch=2, size=8):
    return torch.randn(batch, 32, size, size, generator=torch.Generator().manual_seed(4))


def change(adapter, strengths, moment=None, name=ENC, h=None):
    h = features() if h is None else h
    transforms = block_transforms([(adapter, strengths)], moment)
    return transforms[name](h) - h if name in transforms else torch.zeros_like(h)


def test_a_window_opens_and_closes(adapter):
    windowed = Strengths(encoder_start=0.25, encoder_end=0.75)
    for progress, inside in ((0.0, False), (0.2, False), (0.25, True), (0.5, True), (0.75, True), (0.8, False)):
        found = change(adapter, windowed, Moment(torch.tensor([progress, progress])))
        expected = change(adapter, Strengths()) if inside else torch.zeros_like(found)
        assert torch.equal(found, expected), progress


def test_windows_of_encoder_and_decoder_are_their_own(adapter):
    strengths, moment = Strengths(decoder_end=0.3), Moment(torch.tensor([0.5, 0.5]))
    assert torch.equal(change(adapter, strengths, moment), change(adapter, Strengths()))
    name = next(name for name in adapter.cfun.names() if name.startswith("dec."))
    h = torch.randn(2, adapter.cfun.channels[name], 8, 8)
    assert change(adapter, strengths, moment, name, h).abs().max() == 0


def test_outside_its_window_the_base_is_left_bit_for_bit(adapter):
    h = features()
    transforms = block_transforms([(adapter, Strengths(encoder_start=0.5))], Moment(torch.tensor([0.1, 0.1])))
    assert torch.equal(transforms[ENC](h), h)


def test_progress_runs_from_noise_to_the_picture():
    progress = share_done(torch.tensor([999.0, 500.0, 0.0]), 1000)
    torch.testing.assert_close(progress, torch.tensor([0.0, 0.4995, 1.0]), atol=1e-3, rtol=0)


def test_cond_only_acts_in_the_rows_with_the_prompt(adapter):
    moment = Moment(conditioned=torch.tensor([True, False]))
    found = change(adapter, Strengths(guidance="cond"), moment)
    assert torch.equal(found[0], change(adapter, Strengths())[0]) and found[1].abs().max() == 0


@pytest.mark.parametrize(
    "strengths", [Strengths(encoder_start=0.5), Strengths(guidance="cond")], ids=["window", "cond"]
)
def test_a_sampler_that_does_not_say_where_it_is(adapter, strengths):
    with pytest.raises(ACFunError, match="sampler does not say"):
        change(adapter, strengths)


def test_a_mask_scales_each_place(adapter):
    mask = torch.zeros(1, 64, 64)
    mask[:, :, 32:] = 1.0
    found, full = change(adapter, Strengths(mask=mask)), change(adapter, Strengths())
    torch.testing.assert_close(found[..., 6:], full[..., 6:])
    assert found[..., :2].abs().max() < 1e-6
    doubled = change(adapter, Strengths(mask=2 * torch.ones(4, 4)))
    torch.testing.assert_close(doubled, 2 * full)
    assert change(adapter, Strengths(mask=torch.zeros(1, 8, 8))).abs().max() == 0


def test_a_batch_of_masks_was_refused(adapter):
    """One mask a picture; rows of ComfyUI: all pictures with the prompt, then all without."""
    masks = torch.rand(3, 64, 64, generator=torch.Generator().manual_seed(1))
    h, pictures = features(6), Moment(pictures=3)
    found = change(adapter, Strengths(mask=masks), pictures, h=h)
    for row in range(6):
        alone = change(adapter, Strengths(mask=masks[row % 3]), h=h[row : row + 1])
        torch.testing.assert_close(found[row : row + 1], alone)
    same = change(adapter, Strengths(mask=masks[:1].expand(3, -1, -1)), pictures, h=h)
    torch.testing.assert_close(same, change(adapter, Strengths(mask=masks[0]), h=h))


def test_masks_of_another_number_of_pictures_are_named(adapter):
    strengths = Strengths(mask=torch.rand(3, 8, 8))
    assert strengths.needs_moment and not Strengths(mask=torch.rand(8, 8)).needs_moment
    with pytest.raises(ACFunError, match="mask of the adapter is a batch of 3 for 2 pictures.*one mask, or 2"):
        change(adapter, strengths, Moment(pictures=2), h=features(4))
    with pytest.raises(ACFunError, match="does not say how many pictures"):
        change(adapter, strengths)
    with pytest.raises(ACFunError, match="One mask is a batch of 3, the other of 2"):
        product_of_masks(strengths.mask, torch.rand(2, 1, 8, 8))
    assert product_of_masks(strengths.mask, torch.rand(1, 1, 4, 4)).shape == (3, 1, 8, 8)
    assert product_of_masks(torch.rand(1, 1, 4, 4), strengths.mask).shape == (3, 1, 4, 4)


@pytest.mark.parametrize(
    "mask",
    [torch.ones(2, 8, 8, 3), torch.ones(8), torch.zeros(1, 0, 8), -torch.ones(1, 8, 8), 3 * torch.ones(8, 8), [1, 0]],
    ids=["picture", "rank", "empty", "negative", "too strong", "list"],
)
def test_bad_masks_are_named(mask):
    with pytest.raises(ACFunError, match="The mask"):
        Strengths(mask=mask)


def test_nan_masks_are_named():
    with pytest.raises(ACFunError, match="The mask holds"):
        Strengths(mask=torch.full((1, 4, 4), torch.nan))


def test_blocks_can_be_chosen_again_at_inference(adapter):
    assert all(key.startswith("enc.") for key in block_transforms([(adapter, Strengths(blocks="encoder"))]))
    assert block_transforms([(adapter, Strengths(blocks="none"))]) == {}
    assert set(block_transforms([(adapter, Strengths(blocks="both"))])) == set(adapter.cfun.names())


def test_a_weight_scales_all_three(adapter):
    half = Strengths(weight=0.5)
    torch.testing.assert_close(change(adapter, half), 0.5 * change(adapter, Strengths()))
    assert half.abstract_share == 0.5
    assert block_transforms([(adapter, Strengths(weight=0.0))]) == {}


def test_the_change_grows_with_its_strength(adapter):
    sizes = [change(adapter, Strengths(encoder=value)).norm().item() for value in (0.0, 0.5, 1.0, 1.5, 2.0)]
    assert sizes[0] == 0 and all(small < large for small, large in zip(sizes, sizes[1:]))
    assert sizes[4] == pytest.approx(2 * sizes[2], rel=1e-4)


@pytest.mark.parametrize(
    "settings",
    [
        {"encoder_start": 0.6, "encoder_end": 0.4},
        {"abstract_start": -0.1},
        {"decoder_end": 1.1},
        {"blocks": "some"},
        {"guidance": "uncond"},
        {"weight": 2.5},
    ],
    ids=str,
)
def test_bad_strengths_are_named(settings):
    with pytest.raises(ACFunError, match="Expected:.*To fix it:"):
        Strengths(**settings)
