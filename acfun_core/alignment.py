"""The Face and Style Imagery Alignment loss (eq. 4).

``style_weight |DM(a_t I_s + s_t eps, e_a) - eps|^2 + face_weight |DM(a_t I_f + s_t eps', e_a) - eps'|^2``

Each image is noised by itself (``noisy_source=own``). With one shared noisy input, as eq. 4 can also be read, the two terms
equal denoising toward the pixel blend of both images plus a constant: the superposition that the paper calls meaningless.
The target is the noise, as the base was trained; the weights are named by role.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from .schedule import NoiseSchedule

PredictNoise = Callable[[Tensor, Tensor, Tensor], Tensor]
"""DM: z_t (B, 4, h, w), t (B,), context (B, T, width) -> predicted noise (B, 4, h, w) in float32."""

STYLE, FACE = 0, 1
"""Order of the two images in every pair."""


@dataclass(frozen=True)
class PairNoise:
    """Timesteps (2,) and noises (2, 4, h, w) of one style pass and one face pass."""

    t: Tensor
    noise: Tensor

    @classmethod
    def draw(cls, latents: Tensor, schedule: NoiseSchedule, generator: torch.Generator) -> PairNoise:
        """Uniform t and Gaussian noise. Drawn on the generator's device, so that a seed means the same everywhere."""
        t = torch.randint(len(schedule), (2,), generator=generator, device=generator.device)
        noise = torch.randn(latents.shape, generator=generator, device=generator.device)
        return cls(t.to(latents.device), noise.to(latents))


def alignment_terms(
    predict_noise: PredictNoise, schedule: NoiseSchedule, latents: Tensor, context: Tensor, draw: PairNoise
) -> Tensor:
    """The two terms of eq. 4 before weighting.

    Args:
        latents: (2, 4, h, w) clean latents of the style image and the face photo.
        context: (1, T, width) the prompt with e_a, the same for both.

    Returns:
        (2,) mean squared errors of the style term and the face term.
    """
    z_t = schedule.add_noise(latents, draw.noise, draw.t)
    predicted = predict_noise(z_t, draw.t, context.expand(len(latents), -1, -1))
    return (predicted.float() - draw.noise.float()).square().mean(dim=(1, 2, 3))


@torch.no_grad()
def measure_alignment(
    predict_noise: PredictNoise,
    schedule: NoiseSchedule,
    latents: Tensor,
    context: Tensor,
    draws: int = 10,
    seed: int = 12345,
) -> Tensor:
    """Both terms, (2,), averaged over fixed noises at timesteps spread evenly over the schedule."""
    generator = torch.Generator().manual_seed(seed)
    total = torch.zeros(2)
    for index in range(draws):
        t = torch.full((2,), int((index + 0.5) / draws * len(schedule)), device=latents.device)
        noise = torch.randn(latents.shape, generator=generator).to(latents)
        total += alignment_terms(predict_noise, schedule, latents, context, PairNoise(t, noise)).cpu()
    return total / draws
