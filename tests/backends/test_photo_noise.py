"""A photo's noise on the demo base."""

import pytest
import torch

from acfun_core.demo_base import NATIVE_SIDE as SIDE
from acfun_core.diffusion.palette import Palette
from acfun_core.errors import ACFunError
from acfun_core.images import square
from acfun_core.strengths import Strengths

from .conftest import PROMPT

STEPS = 20


@pytest.fixture(scope="module")
def noise(base, face):
    return base.photo_noise(face, steps=STEPS)


def test_it_has_the_size_and_the_variance_of_noise(noise):
    assert noise.shape == (1, 4, SIDE // 8, SIDE // 8) and 0.7 < noise.std() < 1.3


def test_the_base_draws_the_photo_from_it(base, face, noise):
    photo = base.encode(square(face, SIDE))
    drawn = base.sample("", noise=noise, steps=STEPS, cfg=1.0)
    by_chance = base.sample("", seed=3, steps=STEPS, cfg=1.0)
    assert (drawn - photo).norm() < 0.6 * photo.norm() < (by_chance - photo).norm()


def test_a_style_lends_its_statistics_and_nothing_else(base, face, style):
    few, side = 5, 128
    noise, of = (base.photo_noise(picture, steps=few, resolution=side) for picture in (face, style))
    tinted, half = (base.photo_noise(face, style, few, side, hold=hold) for hold in (1.0, 0.5))
    torch.testing.assert_close(tinted.mean((2, 3)), of.mean((2, 3)), atol=1e-3, rtol=1e-3)
    torch.testing.assert_close(tinted.std((2, 3)), of.std((2, 3)), atol=1e-3, rtol=1e-3)
    for one, other in zip(noise[0].flatten(1), tinted[0].flatten(1)):
        assert torch.corrcoef(torch.stack([one, other]))[0, 1] > 0.999
    torch.testing.assert_close(half.mean((2, 3)), (noise.mean((2, 3)) + of.mean((2, 3))) / 2, atol=1e-3, rtol=1e-3)


def test_the_seed_has_no_say_and_each_photo_gets_its_portrait(base, face, style, adapter):
    noise = base.photo_noise(torch.cat([square(face, SIDE), square(style, SIDE)]), steps=2)
    settings = {"members": [(adapter, Strengths())], "steps": 2, "cfg": 1.0}
    one, two = (base.sample(PROMPT, noise=noise, seed=seed, **settings) for seed in (0, 1))
    assert len(one) == 2 and torch.equal(one, two) and not torch.equal(one[0], one[1])


def test_a_resolution_that_cannot_be_is_refused(base, face):
    with pytest.raises(ACFunError, match="resolution is 100"):
        base.photo_noise(face, resolution=100)


def test_a_palette_is_held_and_none_is_drawn_without(base, style, noise):
    of = base.encode(square(style, SIDE))
    settings = {"noise": noise, "steps": 5, "cfg": 1.0}
    plain, held = base.sample("", **settings), base.sample("", palette=Palette(of, 1.0), **settings)
    assert torch.equal(plain, base.sample("", palette=None, **settings))
    torch.testing.assert_close(base.sample("", palette=Palette(of, 0.0), **settings), plain, atol=1e-3, rtol=1e-3)

    def far(z):
        return (z.mean((2, 3)) - of.mean((2, 3))).norm() + (z.std((2, 3)) - of.std((2, 3))).norm()

    assert far(held) < 0.2 * far(plain)
