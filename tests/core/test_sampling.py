"""The sampler's noise levels, that it solves what can be solved by hand, and that it finds the way back."""

import pytest
import torch

from acfun_core.diffusion.sampling import (
    draw,
    even_levels,
    guided,
    invert,
    nearest_timestep,
    normal_levels,
    same_length,
    sample,
    starting_noise,
)
from acfun_core.diffusion.schedule import NoiseSchedule

SCHEDULE = NoiseSchedule.stable_diffusion()
SIGMAS = torch.cat([torch.logspace(1.1, -1.5, 40), torch.zeros(1)])


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_levels_fall_from_the_noisiest_to_the_cleanest_and_then_to_zero():
    levels = normal_levels(SCHEDULE, 40)
    assert len(levels) == 40 and levels.sigmas[-1] == 0 and torch.all(levels.sigmas.diff() < 0)
    torch.testing.assert_close(levels.sigmas[[0, 39]], SCHEDULE.sigma(torch.tensor([999, 0])))
    assert levels.timesteps[0] == 999 and levels.timesteps[39] == 0
    assert all(nearest_timestep(SCHEDULE, sigma) == t for sigma, t in zip(levels.sigmas, levels.timesteps))
    assert len(normal_levels(SCHEDULE, 1).sigmas) == 2


def test_a_part_of_a_sampling_is_the_end_of_a_longer_one():
    whole, part = normal_levels(SCHEDULE, 10), normal_levels(SCHEDULE, 5, denoise=0.5)
    assert torch.equal(part.sigmas, whole.sigmas[-6:]) and part.done == whole.done[-5:]


def test_even_levels_are_whole_timesteps_without_the_first():
    levels = even_levels(SCHEDULE, 4)
    assert levels.timesteps.tolist() == [999, 749, 500, 250] and levels.sigmas[-1] == 0
    torch.testing.assert_close(levels.sigmas[:4], SCHEDULE.sigma(levels.timesteps))


@pytest.mark.parametrize("make", [normal_levels, even_levels])
def test_a_known_answer_is_reached_whatever_the_number_of_steps(make):
    """If the model always finds the same clean latent, DDIM must end there."""
    target = random(1, 4, 4, 4, seed=1)

    def predict_noise(z_t, t, context):
        return (z_t - SCHEDULE.a(t) * target) / SCHEDULE.s(t)

    empty = torch.zeros(1, 1, 4)
    for steps in (1, 7, 40):
        found = draw(predict_noise, make(SCHEDULE, steps), starting_noise(0, 1, 32, 32), empty, empty, cfg=1.0)
        # Between whole timesteps the noise level is interpolated but the model is asked at the nearest one.
        torch.testing.assert_close(found, target, atol=0.02, rtol=0.0)


def test_the_sampler_says_how_far_it_is_and_counts_its_steps():
    assert normal_levels(SCHEDULE, 5).done == pytest.approx([0.0, 0.25, 0.5, 0.75, 1.0])
    seen = []
    for walk in (sample, invert):
        walk(lambda x, index: torch.zeros_like(x), SIGMAS[-4:], torch.zeros(1, 4, 4, 4), lambda *now: seen.append(now))
    assert seen == 2 * [(1, 3), (2, 3), (3, 3)]


def test_guidance_moves_away_from_the_negative_prompt():
    levels = normal_levels(SCHEDULE, 1)
    conditions = (torch.full((1, 1, 1), 2.0), torch.full((1, 1, 1), 1.0))

    def predict_noise(z_t, t, context):
        return context[..., None].expand_as(z_t)

    for cfg, eps in ((3.0, 4.0), (1.0, 2.0)):
        predict = guided(predict_noise, levels, lambda index: conditions, cfg)
        assert torch.equal(predict(torch.zeros(3, 4, 2, 2), 0), torch.full((3, 4, 2, 2), eps))


def test_conditions_of_different_length_are_repeated():
    one, two = same_length(torch.zeros(1, 77, 4), torch.ones(1, 154, 4))
    assert one.shape == two.shape == (1, 154, 4)


def test_noise_depends_on_the_seed_only():
    assert torch.equal(starting_noise(2**64 - 1, 1, 64, 64), starting_noise(2**64 - 1, 1, 64, 64))
    assert not torch.equal(starting_noise(0, 1, 64, 64), starting_noise(1, 1, 64, 64))


def test_a_prediction_that_knows_the_noise_leads_back_exactly():
    noise, latent = random(2, 4, 8, 8), random(2, 4, 8, 8, seed=1)
    path = invert(lambda x, index: noise, SIGMAS, latent)
    assert len(path) == len(SIGMAS) and path[-1] is latent
    torch.testing.assert_close(path[0], latent + SIGMAS[0] * noise)
    torch.testing.assert_close(sample(lambda x, index: noise, SIGMAS, path[0]), latent, atol=1e-4, rtol=0)


def test_each_level_is_asked_once_and_with_the_latent_before_it():
    asked = []

    def predict(x, index):
        asked.append((index, x.mean().item()))
        return torch.ones_like(x)

    invert(predict, SIGMAS[-4:], torch.zeros(1, 4, 8, 8))
    assert [index for index, _ in asked] == [2, 1, 0]
    assert [x for _, x in asked] == pytest.approx([0.0, *SIGMAS[[-2, -3]].tolist()])


def test_a_prediction_that_depends_on_the_latent_leads_back_the_nearer_the_more_steps():
    """For clean latents of unit variance the best prediction is x sigma / (1 + sigma^2)."""
    latent, errors = random(1, 4, 8, 8), []
    for steps in (40, 400):
        sigmas = torch.cat([torch.logspace(1.1, -1.5, steps), torch.zeros(1)])

        def predict(x, index, sigmas=sigmas):
            return x * sigmas[index] / (1 + sigmas[index] ** 2)

        noise = invert(predict, sigmas, latent)[0]
        errors.append(((sample(predict, sigmas, noise) - latent).norm() / latent.norm()).item())
    assert errors[1] < 0.2 * errors[0] < 0.1
