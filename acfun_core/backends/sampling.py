"""DDIM over the noise levels that ComfyUI's sampler ``ddim`` with the scheduler ``normal`` visits."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from ..alignment import PredictNoise
from ..schedule import NoiseSchedule

OnSample = Callable[[int, int], None]
"""Called after each step with its number from 1 and the number of steps."""


def starting_noise(seed: int, batch: int, height: int, width: int) -> Tensor:
    """(batch, 4, height / 8, width / 8) unit noise. Drawn on the CPU, so that a seed means the same on every device."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(batch, 4, height // 8, width // 8, generator=generator)


def log_sigmas(schedule: NoiseSchedule) -> Tensor:
    """Logarithm of the noise level sigma_t = s_t / a_t at every timestep, (T,)."""
    return schedule.sigma(torch.arange(len(schedule))).log()


def normal_sigmas(schedule: NoiseSchedule, steps: int) -> Tensor:
    """(steps + 1,) noise levels, the last 0: at evenly spread timesteps from the last to the first, log-linear in between."""
    levels = log_sigmas(schedule)
    t = torch.linspace(len(schedule) - 1, 0, steps)
    below, above = t.floor().long(), t.ceil().long()
    return torch.cat([torch.lerp(levels[below], levels[above], t.frac()).exp(), torch.zeros(1)])


def nearest_timestep(schedule: NoiseSchedule, sigma: Tensor) -> Tensor:
    """The timestep whose noise level is closest to ``sigma`` (), in the logarithm. -> () whole number."""
    return (log_sigmas(schedule) - sigma.log()).abs().argmin()


def same_length(positive: Tensor, negative: Tensor) -> tuple[Tensor, Tensor]:
    """Repeat the tokens of two conditions (B, T, width) to one length. Attention to repeated tokens is the same attention."""
    length = math.lcm(positive.shape[1], negative.shape[1])
    return tuple(condition.repeat(1, length // condition.shape[1], 1) for condition in (positive, negative))


@torch.no_grad()
def ddim(
    predict_noise: PredictNoise,
    schedule: NoiseSchedule,
    noise: Tensor,
    positive: Tensor,
    negative: Tensor,
    steps: int = 40,
    cfg: float = 5.0,
    on_sample: OnSample | None = None,
) -> Tensor:
    """DDIM with classifier-free guidance (Song et al. 2021, eq. 12 with eta 0), as an Euler step in sigma.

    With x = z_t / a_t the step is ``x' = x + (sigma' - sigma) eps`` and
    ``eps = eps_negative + cfg (eps_positive - eps_negative)``.

    Args:
        noise: (B, 4, h, w) start, unit variance.
        positive, negative: (1, T, width) conditions.

    Returns:
        (B, 4, h, w) clean latent.
    """
    sigmas = normal_sigmas(schedule, steps)
    count = len(noise)
    positive, negative = same_length(positive, negative)
    both = torch.cat([positive.expand(count, -1, -1), negative.expand(count, -1, -1)])
    x = noise * (1 + sigmas[0].square()).sqrt().to(noise)
    for index in range(steps):
        sigma, following = sigmas[index], sigmas[index + 1]
        t = nearest_timestep(schedule, sigma).to(noise.device)
        z_t = x / (1 + sigma.square()).sqrt().to(x)
        if cfg == 1:
            eps = predict_noise(z_t, t.expand(count), both[:count])
        else:
            pair = predict_noise(z_t.repeat(2, 1, 1, 1), t.expand(2 * count), both)
            eps = torch.lerp(pair[count:], pair[:count], cfg)
        x = x + (following - sigma).to(x) * eps
        if on_sample is not None:
            on_sample(index + 1, steps)
    return x
