"""Statistics that a style's latent lends."""

import torch

from acfun_core.diffusion.palette import Palette, with_statistics


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_statistics_of_each_channel_are_taken_over_and_the_rest_is_kept():
    x, of = random(2, 4, 8, 8), 3 * random(1, 4, 6, 6, seed=1) + 1
    lent = with_statistics(x, of)
    torch.testing.assert_close(lent.mean((2, 3)), of.mean((2, 3)).expand(2, -1))
    torch.testing.assert_close(lent.std((2, 3)), of.std((2, 3)).expand(2, -1), atol=1e-4, rtol=1e-4)
    for one, other in zip(x.flatten(2).unbind(1), lent.flatten(2).unbind(1)):
        assert torch.corrcoef(torch.cat([one[:1], other[:1]]))[0, 1] > 0.9999


def test_a_palette_moves_the_statistics_by_its_share():
    z, of = random(2, 4, 8, 8), 3 * random(1, 4, 6, 6, seed=1) + 1
    moved = Palette(of, 0.25)(z)
    torch.testing.assert_close(moved.mean((2, 3)), torch.lerp(z.mean((2, 3)), of.mean((2, 3)).expand(2, -1), 0.25))
    assert torch.equal(Palette(of, 0.0)(z), z)
    torch.testing.assert_close(Palette(of, 1.0)(z), with_statistics(z, of))
