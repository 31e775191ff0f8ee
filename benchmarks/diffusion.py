"""The one sampler of all methods: DDIM as :mod:`acfun_core.diffusion.sampling` has it, from any noise level, and backwards."""

from __future__ import annotations

import torch
from torch import Tensor

from acfun_core.diffusion import inversion as photo_noise
from acfun_core.diffusion.sampling import Guided, SampledSchedule, nearest_timestep, normal_sigmas, normal_timesteps


def levels(schedule: SampledSchedule, steps: int, denoise: float) -> tuple[Tensor, Tensor]:
    """Sigmas (steps + 1,) and timesteps (steps,) of the last share of a longer schedule, as ComfyUI's ``denoise``."""
    whole = max(steps, int(steps / denoise))
    return normal_sigmas(schedule, whole)[-steps - 1 :], normal_timesteps(schedule, whole)[-steps:]


@torch.no_grad()
def denoise_from(
    guided: Guided, schedule: SampledSchedule, latent: Tensor, noise: Tensor, steps: int, denoise: float = 1.0
) -> Tensor:
    """Noise a clean latent (B, 4, h, w) to the level of ``denoise`` (0-1] and sample from there; 1 is noise alone."""
    sigmas, timesteps = levels(schedule, steps, denoise)
    start = noise * (1 + sigmas[0].square()).sqrt() if denoise >= 1 else latent + sigmas[0] * noise
    return euler(guided, schedule, start, sigmas, timesteps)


@torch.no_grad()
def euler(guided: Guided, schedule: SampledSchedule, x: Tensor, sigmas: Tensor, timesteps: Tensor) -> Tensor:
    """DDIM with eta 0 over given levels: ``x' = x + (sigma' - sigma) eps``, x = z_t / a_t."""
    for index, t in enumerate(timesteps):
        sigma = sigmas[index]
        done = 1 - t.item() / (len(schedule) - 1)
        eps = guided(x / (1 + sigma.square()).sqrt(), nearest_timestep(schedule, sigma), done)
        x = x + (sigmas[index + 1] - sigma) * eps
    return x


@torch.no_grad()
def inverted(
    guided: Guided, schedule: SampledSchedule, latent: Tensor, steps: int, denoise: float = 1.0
) -> list[Tensor]:
    """DDIM backwards: x = z_t / a_t (B, 4, h, w) at each of the steps + 1 levels, from the noisiest to the clean latent."""
    sigmas, timesteps = levels(schedule, steps, denoise)

    def predict(x: Tensor, index: int) -> Tensor:
        sigma = sigmas[index]
        done = 1 - timesteps[index].item() / (len(schedule) - 1)
        return guided(x / (1 + sigma.square()).sqrt(), nearest_timestep(schedule, sigma), done)

    return photo_noise.inverted(predict, sigmas, latent)
