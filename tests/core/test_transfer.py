"""Style transfer without training: the ways to noise, the swaps, the hooks, and what makes up a preset."""

from __future__ import annotations

import math

import pytest
import torch

from acfun_core.config import TransferConfig
from acfun_core.diffusion.sampling import invert, normal_levels, sample
from acfun_core.errors import ACFunError
from acfun_core.presets import CUSTOM, PRESETS, preset, scaled
from acfun_core.strengths import Strengths
from acfun_core.transfer import matching
from acfun_core.transfer.correction import corrected, toned
from acfun_core.transfer.features import GROUND_ASKS, Taps, recorded, takes
from acfun_core.transfer.matching import branch_swap, latent_swap
from acfun_core.transfer.references import References, oval
from acfun_core.unet.injection import hooked

NOTHING = TransferConfig(branch=0, latent=0)
NOWHERE = torch.zeros(8, 8)
"""Around the head, all is the photo's."""


def pictures(count: int, seed: int = 0, side: int = 8) -> torch.Tensor:
    return torch.randn(count, 4, side, side, generator=torch.Generator().manual_seed(seed))


def references(photos: int = 1, levels: int = 4) -> References:
    sigmas = torch.linspace(4, 0, levels + 1)
    steps = torch.stack([pictures(photos + 1, seed) for seed in range(levels + 1)])
    return References(sigmas, steps)


def test_between_two_levels_the_way_is_straight():
    way = references()
    assert torch.equal(way.at(3.0), way.latents[1])
    assert torch.allclose(way.at(2.5), way.latents[1:3].mean(0))
    assert torch.equal(way.at(99.0), way.latents[0]) and torch.equal(way.at(0.0), way.latents[-1])


def test_the_slope_leads_home_exactly():
    """What the return needs: with the slopes as predictions, sampling arrives at the pictures."""
    way = references()
    home = sample(lambda x, index: way.slope(way.sigmas[index].item()), way.sigmas, way.latents[0])
    assert torch.allclose(home, way.latents[-1], atol=1e-5)


def test_the_return_in_full_gives_back_the_photo(base):
    """DDIM backwards misses a little at each step; with all of it returned the photo comes back, whatever the UNet says."""
    levels = normal_levels(base.schedule, 6)
    context = torch.zeros(1, 3, 32)

    def predict(x, index):
        return base.predict_noise(
            levels.z_t(x, index), levels.timesteps[index].expand(len(x)), context.expand(len(x), -1, -1)
        )

    clean = pictures(2, seed=9)
    way = References(levels.sigmas, torch.stack(invert(predict, levels.sigmas, clean)))
    config = TransferConfig(branch=0, latent=0, returned=1.0)

    def returning(x, index):
        sigma = levels.sigmas[index].item()
        missed = predict(way.at(sigma), index)
        z_0 = corrected(x - sigma * predict(x, index), way, missed, config, sigma, 0.0)
        return (x - z_0) / sigma

    start = way.latents[0][:1]
    plain, back = (sample(one, levels.sigmas, start) for one in (predict, returning))
    assert (back - clean[:1]).abs().max() < 1e-3 < (plain - clean[:1]).abs().max()


def test_the_start_takes_the_palette_of_the_style_and_turns_to_the_seed():
    way, noise = references(), pictures(3, seed=7)
    kept = way.start(4.0, noise, TransferConfig(palette_start=0))
    assert torch.equal(kept, way.latents[0][:1].expand(3, -1, -1, -1))
    moved = way.start(4.0, noise, TransferConfig())
    style = way.latents[0][-1:]
    assert torch.allclose(moved.mean((2, 3))[:1], style.mean((2, 3)), atol=1e-4)
    assert torch.allclose(moved.std((2, 3))[:1], style.std((2, 3)), atol=1e-3)
    assert torch.allclose(way.start(4.0, noise, TransferConfig(turn=1)), math.sqrt(17) * noise, atol=1e-4)


def test_around_the_head_the_noise_is_the_style_pictures_and_inside_the_photos():
    way, noise = references(), pictures(1, seed=7)
    start = way.start(4.0, noise, TransferConfig(palette_start=0, background=1))
    photo, style = way.latents[0][:1], way.latents[0][1:]
    for corner in ((0, 0), (0, -1), (-1, 0), (-1, -1)):
        assert torch.allclose(start[(..., *corner)], style[(..., *corner)], atol=1e-5)
    assert torch.allclose(start[..., 3, 4], photo[..., 3, 4])
    assert torch.equal(start, way.start(4.0, pictures(1, seed=8), TransferConfig(palette_start=0, background=1)))


def test_nothing_is_returned_where_the_noise_is_not_the_photos():
    """It would be noise of its own: the ground grew pebbles."""
    way, z_0 = references(), pictures(1, seed=5)
    config = TransferConfig(branch=0, latent=0, returned=0.5, background=1)
    changed = (corrected(z_0, way, pictures(2, seed=6), config, 3.0, 0.5) - z_0).abs().amax((0, 1))
    assert changed[0, 0] == changed[-1, -1] == 0 < changed[3, 4]


def test_the_oval_is_a_head_in_the_middle_of_a_portrait():
    mask = oval(64, 64)
    assert mask[28, 32] == 1 and mask[0, 0] == mask[-1].max() == mask[:, 0].max() == 0
    assert 0.4 < mask.mean() < 0.6 and ((mask > 0) & (mask < 1)).any()
    assert torch.allclose(oval(64, 64)[::2, ::2].mean(), oval(32, 32).mean(), atol=0.02)


def test_misfits_are_named():
    with pytest.raises(ACFunError, match="128 x 128 pixels, the photo was read at 64 x 64"):
        references().check(pictures(1, side=16))
    with pytest.raises(ACFunError, match="2 photos for 3 portraits"):
        references(photos=2).check(pictures(3))
    references(photos=2).check(pictures(2))


def test_the_swap_finds_each_place_again_wherever_it_went():
    """A style picture that is the portrait moved by some places: every place comes from where it was moved to."""
    picture = pictures(1, seed=3, side=16)
    moved = picture.roll((3, 5), (2, 3))
    found = branch_swap(picture, moved, 1.0)
    inside = (slice(None), slice(None), slice(4, 10), slice(2, 8))
    assert (found - picture)[inside].abs().max() < 0.2 * picture.std()
    assert torch.equal(branch_swap(picture, moved, 0.0), picture)


def test_the_latent_swap_reads_the_mirrored_style_too():
    picture = pictures(1, seed=4, side=16)
    found = latent_swap(picture, picture.flip(3), 1.0)
    assert (found - picture).abs().max() < 0.05


def test_the_swap_in_parts_is_the_swap(monkeypatch):
    h, style = pictures(2, seed=5, side=12), pictures(1, seed=6, side=12)
    whole = branch_swap(h, style, 0.5)
    monkeypatch.setattr(matching, "MOST_SCORES", 1000)
    assert torch.allclose(branch_swap(h, style, 0.5), whole, atol=1e-5)


def test_the_palette_moves_mean_and_contrast_each_so_far():
    z_0, style = pictures(2, seed=1), 3 + 2 * pictures(1, seed=2)
    assert torch.allclose(toned(z_0, style, 0, 0), z_0, atol=1e-4)
    half = toned(z_0, style, 0.5, 0.0)
    assert torch.allclose(half.mean((2, 3)), (z_0.mean((2, 3)) + style.mean((2, 3))) / 2, atol=1e-4)
    assert torch.allclose(half.std((2, 3)), z_0.std((2, 3)), rtol=1e-3)
    assert torch.allclose(toned(z_0, style, 1, 1).std((2, 3)), style.std((2, 3)).expand(2, -1), rtol=1e-3)


def test_a_portrait_takes_over_what_its_photo_and_the_style_gave(base, unet, latents):
    taps = Taps.of(base.sites)
    assert len(taps.queries) == 2 and len(taps.contents) == 4 and len(taps.branches) == 2
    t, context = torch.tensor([5, 5]), torch.zeros(2, 3, 32)
    with torch.no_grad():
        with recorded(taps) as rows:
            unet(latents, t, context)
        photo = latents[:1]
        plain = unet(photo, t[:1], context[:1]).sample
        # The photo's own questions in full, at sharpness 1, in a pass of the photo: only keys and values are new.
        config = TransferConfig(keep=1, sharpness=1, branch=0)
        with hooked(takes(taps, rows, config, 0.0, NOWHERE)), recorded(taps) as seen:
            changed = unet(photo, t[:1], context[:1]).sample
        again = unet(photo, t[:1], context[:1]).sample
    assert torch.equal(plain, again)
    assert not torch.equal(plain, changed)
    for module in taps.contents:
        assert torch.equal(seen[module], rows[module][-1:])
    for module in taps.queries:
        assert torch.equal(seen[module], rows[module][:1])


def test_where_the_ground_is_the_styles_the_photo_asks_less(base):
    """At full strength its questions drew the photo's ground again."""
    taps, ones = Taps.of(base.sites), torch.ones(2, 16, 8)
    around = torch.zeros(8, 8)
    around[:, 4:] = 1
    [(_, asking), *_] = takes(taps, {module: ones for module in taps}, TransferConfig(keep=1, sharpness=1), 0.0, around)
    kept = asking(torch.zeros(1, 16, 8)).view(4, 4, 8)
    assert (kept[:, :2] == 1).all() and torch.allclose(kept[:, 2:], torch.tensor(1 - GROUND_ASKS))


def test_keys_and_values_wait_for_their_time(base):
    taps, rows = Taps.of(base.sites), {}
    rows = {module: torch.zeros(2, 4, 8) for module in taps}
    assert takes(taps, rows, TransferConfig(keys_start=0.3, branch=0), 0.2, NOWHERE) == []
    assert len(takes(taps, rows, TransferConfig(keys_start=0.3), 0.3, NOWHERE)) == 8


def test_a_picture_cut_into_tiles_is_refused(base):
    taps = Taps.of(base.sites)
    rows = {module: torch.zeros(2, 16, 8) for module in taps}
    [(_, asking), *_] = takes(taps, rows, NOTHING, 0.0, NOWHERE)
    with pytest.raises(ACFunError, match="tiles"):
        asking(torch.zeros(4, 4, 8))


def test_strength_scales_strokes_and_not_colours():
    config = TransferConfig(branch=0.4, latent=0.6, returned=0.1)
    strong = config.stronger(2)
    assert (strong.branch, strong.latent, strong.returned) == (0.8, 1.0, 0.2)
    assert (strong.keep, strong.palette_start) == (config.keep, config.palette_start)
    with pytest.raises(ACFunError, match="strength of the transfer"):
        config.stronger(3)


def test_presets_are_found_by_name_and_learn_what_they_say():
    assert CUSTOM not in PRESETS
    assert [name for name, one in PRESETS.items() if one.train is not None] == ["keep_person"]
    assert PRESETS["keep_person"].style_only and not PRESETS["instant"].style_only
    for one in PRESETS.values():
        assert ("S*" in one.prompt) == (one.train is not None)
    with pytest.raises(ACFunError, match="no preset 'best'"):
        preset("best")


def test_a_users_strengths_are_multiplied_with_the_presets():
    own = Strengths(encoder=0.5, decoder=2.0, encoder_start=0.2)
    both = scaled(own, Strengths(encoder=0.4, decoder=0.0, guidance="cond"))
    assert (both.abstract, both.encoder, both.decoder) == (1.0, 0.2, 0.0)
    assert (both.encoder_start, both.guidance) == (0.2, "cond")


def film_of(frames: int, side: int = 12) -> torch.Tensor:
    """A random picture that moves one place to the right from frame to frame."""
    wide = pictures(1, seed=5, side=side + frames)
    return torch.cat([wide[..., 2 : side + 2, frames - at : side + frames - at] for at in range(frames)])


def test_frames_are_led_along_the_motion_of_the_film():
    """A drawing with a jump in the middle frame: it goes to where its neighbours have the same places, moved along."""
    film = film_of(3)
    drawing = 0.5 * film.flip(1)
    jumped = drawing.clone()
    jumped[1] += 2 * pictures(1, seed=9, side=12)[0]
    calm = matching.calmed(jumped, film, share=1.0)
    inner = slice(2, -2)
    before, after = ((z[1] - drawing[1])[:, inner, inner].square().mean().sqrt() for z in (jumped, calm))
    assert after < 0.05 * before
    assert torch.equal(matching.calmed(jumped, film, share=0.0), jumped)


def test_a_single_photo_is_no_film():
    z_0 = pictures(1)
    assert matching.calmed(z_0, pictures(1, seed=3), share=1.0) is z_0
    way, seeds = references(photos=1), pictures(3)
    config = TransferConfig(branch=0, latent=0, calm=1.0)
    assert torch.equal(corrected(seeds, way, way.at(2.0), config, 2.0, 0.5), seeds)


def test_calm_ends_before_the_last_steps():
    way, z_0 = references(photos=3), pictures(3)
    config = TransferConfig(branch=0, latent=0, calm=0.5)
    early, late = (corrected(z_0, way, way.at(2.0), config, 2.0, done) for done in (0.5, 0.9))
    assert not torch.equal(early, z_0) and torch.equal(late, z_0)
