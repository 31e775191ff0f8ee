"""DDIM over the noise levels that ComfyUI's sampler ``ddim`` with the scheduler ``normal`` visits."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from ..schedule import NoiseSchedule

OnSample = Callable[[int, int], None]
"""Called after each step with its number from 1 and the number of steps."""

Guided = Callable[[Tensor, Tensor, float], Tensor]
"""z_t (B, 4, h, w), timestep t () and the share of the sampling that is done -> eps (B, 4, h, w) after guidance."""


def starting_noise(seed: int, batch: int, height: int, width: int) -> Tensor:
    """(batch, 4, height / 8, width / 8) unit noise. Drawn on the CPU, so that a seed means the same on every device."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(batch, 4, height // 8, width // 8, generator=generator)


def log_sigmas(schedule: NoiseSchedule) -> Tensor:
    """Logarithm of the noise level sigma_t = s_t / a_t at every timestep, (T,)."""
    return schedule.sigma(torch.arange(len(schedule))).log()


def normal_timesteps(schedule: NoiseSchedule, steps: int) -> Tensor:
    """(steps,) timesteps spread evenly from the last to the first, broken numbers among them."""
    return torch.linspace(len(schedule) - 1, 0, steps)


def normal_sigmas(schedule: NoiseSchedule, steps: int) -> Tensor:
    """(steps + 1,) noise levels at :func:`normal_timesteps`, log-linear between whole ones, and 0 at the end."""
    levels, t = log_sigmas(schedule), normal_timesteps(schedule, steps)
    below, above = t.floor().long(), t.ceil().long()
    return torch.cat([torch.lerp(levels[below], levels[above], t.frac()).exp(), torch.zeros(1)])


def nearest_timestep(schedule: NoiseSchedule, sigma: Tensor) -> Tensor:
    """The timestep whose noise level is closest to ``sigma`` (), in the logarithm. -> () whole number."""
    return (log_sigmas(schedule) - sigma.log()).abs().argmin()


def same_length(positive: Tensor, negative: Tensor) -> tuple[Tensor, Tensor]:
    """Repeat the tokens of two conditions (B, T, width) to one length. Attention to repeated tokens is the same attention."""
    length = math.lcm(positive.shape[1], negative.shape[1])
    return tuple(condition.repeat(1, length // condition.shape[1], 1) for condition in (positive, negative))


def guide(positive: Tensor, negative: Tensor, cfg: float) -> Tensor:
    """Classifier-free guidance: ``eps_negative + cfg (eps_positive - eps_negative)``."""
    return torch.lerp(negative, positive, cfg)


@torch.no_grad()
def ddim(
    guided: Guided, schedule: NoiseSchedule, noise: Tensor, steps: int = 40, on_sample: OnSample | None = None
) -> Tensor:
    """DDIM (Song et al. 2021, eq. 12 with eta 0) as an Euler step in sigma: ``x' = x + (sigma' - sigma) eps``, x = z_t / a_t.

    Args:
        noise: (B, 4, h, w) start, unit variance.

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
        x = x + (following - sigma).to(x) * eps
        if on_sample is not None:
            on_sample(index + 1, steps)
    return x
