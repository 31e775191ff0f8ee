"""DDIM over the noise levels that ComfyUI's sampler ``ddim`` with the scheduler ``normal`` visits."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from .schedule import NoiseSchedule

OnSample = Callable[[int, int], None]
"""Called after each step with its number from 1 and the number of steps."""

Correct = Callable[[Tensor], Tensor]
"""Predicted clean latent (B, 4, h, w) -> the one to go to."""

Guided = Callable[[Tensor, Tensor, float], Tensor]
"""z_t (B, 4, h, w), timestep t () and the share of the sampling that is done -> eps (B, 4, h, w) after guidance."""


class SampledSchedule(NoiseSchedule):
    """A schedule that keeps the logarithms of its noise levels as double precision gives them.

    Half-way between two timesteps the last bit decides which of them the UNet is told, and both hosts must decide alike.

    Attributes:
        log_sigmas: (T,) logarithm of sigma_t = s_t / a_t, float32.
    """

    def __init__(self, alphas_cumprod: Tensor):
        super().__init__(alphas_cumprod)
        exact = alphas_cumprod.detach().double()
        self.log_sigmas = ((1 - exact) / exact).sqrt().log().float()


def starting_noise(seed: int, batch: int, height: int, width: int) -> Tensor:
    """(batch, 4, height / 8, width / 8) unit noise. Drawn on the CPU, so that a seed means the same on every device."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(batch, 4, height // 8, width // 8, generator=generator)


def normal_timesteps(schedule: SampledSchedule, steps: int) -> Tensor:
    """(steps,) timesteps spread evenly from the last to the first, broken numbers among them."""
    return torch.linspace(len(schedule) - 1, 0, steps)


def normal_sigmas(schedule: SampledSchedule, steps: int) -> Tensor:
    """(steps + 1,) noise levels at :func:`normal_timesteps`, log-linear between whole ones, and 0 at the end."""
    levels, t = schedule.log_sigmas, normal_timesteps(schedule, steps)
    share = t.frac()
    between = (1 - share) * levels[t.floor().long()] + share * levels[t.ceil().long()]
    return torch.cat([between.exp(), torch.zeros(1)])


def nearest_timestep(schedule: SampledSchedule, sigma: Tensor) -> Tensor:
    """The timestep whose noise level is closest to ``sigma`` (), in the logarithm. -> () whole number."""
    return (sigma.log() - schedule.log_sigmas).abs().argmin()


def same_length(positive: Tensor, negative: Tensor) -> tuple[Tensor, Tensor]:
    """Repeat the tokens of two conditions (B, T, width) to one length. Attention to repeated tokens is the same attention."""
    length = math.lcm(positive.shape[1], negative.shape[1])
    return tuple(condition.repeat(1, length // condition.shape[1], 1) for condition in (positive, negative))


def guide(positive: Tensor, negative: Tensor, cfg: float) -> Tensor:
    """Classifier-free guidance: ``eps_negative + cfg (eps_positive - eps_negative)``."""
    return torch.lerp(negative, positive, cfg)


@torch.no_grad()
def ddim(
    guided: Guided,
    schedule: SampledSchedule,
    noise: Tensor,
    steps: int = 40,
    on_sample: OnSample | None = None,
    correct: Correct | None = None,
) -> Tensor:
    """DDIM (Song et al. 2021, eq. 12 with eta 0) as an Euler step in sigma: ``x' = x + (sigma' - sigma) eps``, x = z_t / a_t.

    Args:
        noise: (B, 4, h, w) start, unit variance.
        correct: changes the clean latent that each step predicts, as ComfyUI's post-cfg functions do.

    Returns:
        (B, 4, h, w) clean latent.
    """
    sigmas, timesteps = normal_sigmas(schedule, steps), normal_timesteps(schedule, steps)
    x = noise * (1 + sigmas[0].square()).sqrt().to(noise)
    for index in range(steps):
        sigma, following = sigmas[index], sigmas[index + 1]
        done = 1 - timesteps[index].item() / (len(schedule) - 1)
        z_t = x / (1 + sigma.square()).sqrt().to(x)
        eps = guided(z_t, nearest_timestep(schedule, sigma).to(x.device), done)
        if correct is not None:
            # The same step of Euler's method, toward another end.
            eps = (x - correct(x - sigma.to(x) * eps)) / sigma.to(x)
        x = x + (following - sigma).to(x) * eps
        if on_sample is not None:
            on_sample(index + 1, steps)
    return x
