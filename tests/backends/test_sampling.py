"""The sampler's noise levels, and that it solves what can be solved by hand."""

import torch

from acfun_core.backends.sampling import ddim, nearest_timestep, normal_sigmas, same_length, starting_noise
from acfun_core.schedule import NoiseSchedule

SCHEDULE = NoiseSchedule.stable_diffusion()


def test_levels_fall_from_the_noisiest_to_the_cleanest_and_then_to_zero():
    sigmas = normal_sigmas(SCHEDULE, 40)
    assert len(sigmas) == 41 and sigmas[-1] == 0 and torch.all(sigmas.diff() < 0)
    torch.testing.assert_close(sigmas[[0, 39]], SCHEDULE.sigma(torch.tensor([999, 0])))
    assert nearest_timestep(SCHEDULE, sigmas[0]) == 999 and nearest_timestep(SCHEDULE, sigmas[39]) == 0
    assert len(normal_sigmas(SCHEDULE, 1)) == 2


def test_a_known_answer_is_reached_whatever_the_number_of_steps():
    """If the model always finds the same clean latent, DDIM must end there."""
    target = torch.randn(1, 4, 4, 4, generator=torch.Generator().manual_seed(1))

    def predict(z_t, t, context):
        return (z_t - SCHEDULE.a(t) * target) / SCHEDULE.s(t)

    context = torch.zeros(1, 77, 8)
    for steps in (1, 7, 40):
        found = ddim(predict, SCHEDULE, starting_noise(0, 1, 32, 32), context, context, steps, cfg=3.0)
        # The start is z = noise, which differs from a_T target + s_T noise by a_T target.
        torch.testing.assert_close(found, target, atol=0.1, rtol=0.0)


def test_guidance_one_asks_for_the_prompt_only():
    rows = []

    def predict(z_t, t, context):
        rows.append(len(z_t))
        return torch.zeros_like(z_t)

    context = torch.zeros(1, 77, 8)
    ddim(predict, SCHEDULE, torch.zeros(2, 4, 4, 4), context, context, 2, cfg=1.0)
    ddim(predict, SCHEDULE, torch.zeros(2, 4, 4, 4), context, context, 2, cfg=2.0)
    assert rows == [2, 2, 4, 4]


def test_conditions_of_different_length_are_repeated():
    one, two = same_length(torch.zeros(1, 77, 4), torch.ones(1, 154, 4))
    assert one.shape == two.shape == (1, 154, 4)


def test_noise_depends_on_the_seed_only():
    assert torch.equal(starting_noise(2**64 - 1, 1, 64, 64), starting_noise(2**64 - 1, 1, 64, 64))
    assert not torch.equal(starting_noise(0, 1, 64, 64), starting_noise(1, 1, 64, 64))
