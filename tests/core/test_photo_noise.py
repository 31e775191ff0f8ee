"""The way back to the noise, and statistics that are lent."""

import pytest
import torch

from acfun_core.diffusion.inversion import inverted
from acfun_core.diffusion.palette import Palette, with_statistics

SIGMAS = torch.cat([torch.logspace(1.1, -1.5, 40), torch.zeros(1)])


def forwards(predict, x, sigmas=SIGMAS):
    for index in range(len(sigmas) - 1):
        x = x + (sigmas[index + 1] - sigmas[index]) * predict(x, index)
    return x


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_a_prediction_that_knows_the_noise_leads_back_exactly():
    noise, latent = random(2, 4, 8, 8), random(2, 4, 8, 8, seed=1)
    path = inverted(lambda x, index: noise, SIGMAS, latent)
    assert len(path) == len(SIGMAS) and path[-1] is latent
    torch.testing.assert_close(path[0], latent + SIGMAS[0] * noise)
    torch.testing.assert_close(forwards(lambda x, index: noise, path[0]), latent, atol=1e-4, rtol=0)


def test_each_level_is_asked_once_and_with_the_latent_before_it():
    asked = []

    def predict(x, index):
        asked.append((index, x.mean().item()))
        return torch.ones_like(x)

    inverted(predict, SIGMAS[-4:], torch.zeros(1, 4, 8, 8))
    assert [index for index, _ in asked] == [2, 1, 0]
    assert [x for _, x in asked] == pytest.approx([0.0, *SIGMAS[[-2, -3]].tolist()])


def test_a_prediction_that_depends_on_the_latent_leads_back_the_nearer_the_more_steps():
    """For clean latents of unit variance the best prediction is x sigma / (1 + sigma^2)."""
    latent, errors = random(1, 4, 8, 8), []
    for steps in (40, 400):
        sigmas = torch.cat([torch.logspace(1.1, -1.5, steps), torch.zeros(1)])

        def predict(x, index, sigmas=sigmas):
            return x * sigmas[index] / (1 + sigmas[index] ** 2)

        noise = inverted(predict, sigmas, latent)[0]
        errors.append(((forwards(predict, noise, sigmas) - latent).norm() / latent.norm()).item())
    assert errors[1] < 0.2 * errors[0] < 0.1


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
