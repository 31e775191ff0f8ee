"""Readings of eq. 4: what is noised, at which timesteps, and what the prediction is compared with.

With one noised latent z_t for both terms, the noise that would lead from picture i to it is ``eps_i = (z_t - a_t z_i) / s_t``.
So every reading is an error of the predicted noise, and a target is a weight of it:

    epsilon   1          |eps' - eps|^2
    x0        1 / SNR    |z_0' - z_0|^2
    v         1 + 1/SNR  |v' - v|^2,  v = a_t eps - s_t z_0

with ``SNR = a_t^2 / s_t^2``. Min-SNR (Hang et al. 2023) weighs the error of the clean latent by min(SNR, gamma), which is
``min(SNR, gamma) / SNR`` here.

On a base that predicts v (Salimans and Ho 2022), every reading is an error of v, with ``v_i = (a_t z_t - z_i) / s_t``. The
reading ``epsilon``, the paper's, is the base's own target there too: the error of the noise would be a_t^2 of it, nothing at
pure noise, where all that can be learned is in v. The weights of the error of v are

    epsilon   1          the base's own target
    x0        s_t^2      |z_0' - z_0|^2
    v         1          |v' - v|^2

and min-SNR is ``min(SNR, gamma) s_t^2``. No weight and no target is infinite where a_t is 0.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from ..config import TrainConfig
from ..diffusion.schedule import NoiseSchedule

STYLE, FACE = 0, 1
"""Order of the two images in every pair."""


@dataclass(frozen=True)
class PairNoise:
    """Timesteps (2,) and noises (2, 4, h, w) of one style pass and one face pass.

    Attributes:
        source: (1, 4, h, w) the clean latent that both terms see noised, by the first timestep and noise; None if each image is
            noised by itself.
    """

    t: Tensor
    noise: Tensor
    source: Tensor | None = None

    @classmethod
    def draw(
        cls,
        latents: Tensor,
        schedule: NoiseSchedule,
        generator: torch.Generator,
        config: TrainConfig | None = None,
        to_device: Callable[[Tensor], Tensor] | None = None,
    ) -> PairNoise:
        """Timesteps and Gaussian noise; without a config uniform and for each image its own.

        Drawn on the generator's device, so that a seed means the same everywhere.

        Args:
            to_device: takes what was drawn to the latents; without it, the host waits until it is there.
        """
        config = config or TrainConfig()
        images = 2 if config.noisy_source == "own" else 1
        t = _draw_timesteps(images, len(schedule), config.timestep_split, generator)
        noise = torch.randn((images, *latents.shape[1:]), generator=generator, device=generator.device)
        source = _source(latents, config.noisy_source, generator)
        to_device = to_device or (lambda drawn: drawn.to(latents.device))
        t, noise = to_device(t), to_device(noise).to(latents)
        if images == 1:
            t, noise = t.expand(2), noise.expand(2, -1, -1, -1)
        return cls(t, noise, source)


def _draw_timesteps(count: int, steps: int, split: float, generator: torch.Generator) -> Tensor:
    if split == 0:
        return torch.randint(steps, (count,), generator=generator, device=generator.device)
    border = min(max(1, round(split * steps)), steps - 1)
    ranges = {STYLE: (0, border), FACE: (border, steps)}
    return torch.cat(
        [torch.randint(*ranges[image], (1,), generator=generator, device=generator.device) for image in (STYLE, FACE)]
    )


def _source(latents: Tensor, noisy_source: str, generator: torch.Generator) -> Tensor | None:
    """The one clean latent that both terms see, or None."""
    if noisy_source in ("own", "own_shared"):
        return None
    if noisy_source == "blend":
        return latents.mean(dim=0, keepdim=True)
    if noisy_source == "random":
        image = int(torch.randint(2, (1,), generator=generator, device=generator.device))
    else:
        image = {"style": STYLE, "face": FACE}[noisy_source]
    return latents[image : image + 1]


def noise_between(z_t: Tensor, latents: Tensor, schedule: NoiseSchedule, t: Tensor) -> Tensor:
    """The noise that leads from each clean latent (B, 4, h, w) to z_t at timesteps t (B,)."""
    return (z_t - schedule.a(t) * latents) / schedule.s(t)


def timestep_weight(
    schedule: NoiseSchedule, t: Tensor, config: TrainConfig, prediction: str = "epsilon"
) -> Tensor | None:
    """Weight of the squared error of what a base predicts at each timestep, (B,), or None if it is 1 everywhere."""
    snr = 1 / schedule.sigma(t).square()
    if prediction == "v":
        if config.min_snr_gamma == 0 and config.target != "x0":
            return None
        of_clean = schedule.s(t).flatten().square()
        return of_clean if config.min_snr_gamma == 0 else snr.clamp(max=config.min_snr_gamma) * of_clean
    if config.min_snr_gamma > 0:
        return snr.clamp(max=config.min_snr_gamma) / snr
    return {"epsilon": None, "x0": 1 / snr, "v": 1 + 1 / snr}[config.target]
