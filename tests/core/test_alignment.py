"""The Face and Style Imagery Alignment loss (eq. 4) and the noise schedule."""

import torch

from acfun_core.diffusion.schedule import NoiseSchedule
from acfun_core.training.alignment_loss import alignment_terms, measure_alignment
from acfun_core.training.targets import FACE, STYLE, PairNoise

SCHEDULE = NoiseSchedule.stable_diffusion()


def test_schedule_is_stable_diffusions():
    assert len(SCHEDULE) == 1000
    torch.testing.assert_close(
        SCHEDULE.sigma(torch.tensor([0, 999])), torch.tensor([0.02917, 14.6146]), rtol=1e-3, atol=1e-4
    )


def test_schedule_from_sigmas_is_the_same():
    sigmas = SCHEDULE.sigma(torch.arange(1000))
    torch.testing.assert_close(
        NoiseSchedule.from_sigmas(sigmas).alphas_cumprod, SCHEDULE.alphas_cumprod, rtol=1e-4, atol=1e-6
    )


def test_each_image_is_noised_by_itself(latents):
    draw = PairNoise.draw(latents, SCHEDULE, torch.Generator().manual_seed(0))
    seen = []

    def knows_the_images(z_t, t, context):
        seen.append((z_t, t, context))
        return (z_t - SCHEDULE.a(t) * latents) / SCHEDULE.s(t)

    terms = alignment_terms(knows_the_images, SCHEDULE, latents, torch.zeros(1, 3, 8), draw)
    torch.testing.assert_close(terms, torch.zeros(2), atol=1e-6, rtol=0)
    assert seen[0][2].shape == (2, 3, 8)
    assert seen[0][1][STYLE] != seen[0][1][FACE] and not torch.equal(draw.noise[STYLE], draw.noise[FACE])


def test_terms_are_plain_mean_squares(latents):
    draw = PairNoise.draw(latents, SCHEDULE, torch.Generator().manual_seed(0))
    terms = alignment_terms(lambda z, t, c: torch.zeros_like(z), SCHEDULE, latents, torch.zeros(1, 3, 8), draw)
    torch.testing.assert_close(terms, draw.noise.square().mean(dim=(1, 2, 3)))


def test_measurement_uses_the_same_draws_every_time(latents):
    def measure():
        return measure_alignment(lambda z, t, c: 0.5 * z, SCHEDULE, latents, torch.zeros(1, 3, 8))

    assert torch.equal(measure(), measure())
