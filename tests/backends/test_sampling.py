"""The sampler's noise levels, and that it solves what can be solved by hand."""

import pytest
import torch

from acfun_core.diffusion.sampling import (
    SampledSchedule,
    ddim,
    guide,
    nearest_timestep,
    normal_sigmas,
    same_length,
    starting_noise,
)

SCHEDULE = SampledSchedule.stable_diffusion()


def test_levels_fall_from_the_noisiest_to_the_cleanest_and_then_to_zero():
    sigmas = normal_sigmas(SCHEDULE, 40)
    assert len(sigmas) == 41 and sigmas[-1] == 0 and torch.all(sigmas.diff() < 0)
    torch.testing.assert_close(sigmas[[0, 39]], SCHEDULE.sigma(torch.tensor([999, 0])))
    assert nearest_timestep(SCHEDULE, sigmas[0]) == 999 and nearest_timestep(SCHEDULE, sigmas[39]) == 0
    assert len(normal_sigmas(SCHEDULE, 1)) == 2


def test_a_known_answer_is_reached_whatever_the_number_of_steps():
    """If the model always finds the same clean latent, DDIM must end there."""
    target = torch.randn(1, 4, 4, 4, generator=torch.Generator().manual_seed(1))

    def guided(z_t, t, done):
        return (z_t - SCHEDULE.a(t[None]) * target) / SCHEDULE.s(t[None])

    for steps in (1, 7, 40):
        found = ddim(guided, SCHEDULE, starting_noise(0, 1, 32, 32), steps)
        # Between whole timesteps the noise level is interpolated but the model is asked at the nearest one.
        torch.testing.assert_close(found, target, atol=0.02, rtol=0.0)


def test_the_sampler_says_how_far_it_is():
    seen = []

    def guided(z_t, t, done):
        seen.append(done)
        return torch.zeros_like(z_t)

    ddim(guided, SCHEDULE, torch.zeros(1, 4, 4, 4), 5)
    assert seen == pytest.approx([0.0, 0.25, 0.5, 0.75, 1.0])


def test_guidance_moves_away_from_the_negative_prompt():
    assert guide(torch.tensor(2.0), torch.tensor(1.0), 3.0) == 4.0


def test_conditions_of_different_length_are_repeated():
    one, two = same_length(torch.zeros(1, 77, 4), torch.ones(1, 154, 4))
    assert one.shape == two.shape == (1, 154, 4)


def test_noise_depends_on_the_seed_only():
    assert torch.equal(starting_noise(2**64 - 1, 1, 64, 64), starting_noise(2**64 - 1, 1, 64, 64))
    assert not torch.equal(starting_noise(0, 1, 64, 64), starting_noise(1, 1, 64, 64))
