"""The noise schedule a base was trained on: ``z_t = a_t z_0 + s_t eps`` with a_t^2 + s_t^2 = 1."""

from __future__ import annotations

import torch
from torch import Tensor


def share_done(t, steps: int):
    """Share of the sampling that is over at timestep t, a number or a tensor, of a schedule of so many steps: 0 at pure noise,
    1 at the picture."""
    return 1 - t / (steps - 1)


class NoiseSchedule:
    """Discrete schedule.

    Args:
        alphas_cumprod: (T,) a_t^2, falling from about 1 to about 0.

    Attributes:
        log_sigmas: (T,) logarithm of sigma_t = s_t / a_t, float32. Taken in double precision: half-way between two timesteps
            the last bit decides which of them the UNet is told, and all hosts must decide alike.
    """

    def __init__(self, alphas_cumprod: Tensor):
        self.alphas_cumprod = alphas_cumprod.detach().clone().float()
        exact = alphas_cumprod.detach().double()
        self.log_sigmas = ((1 - exact) / exact).sqrt().log().float()

    @classmethod
    def stable_diffusion(cls, steps: int = 1000, beta_start: float = 0.00085, beta_end: float = 0.012) -> NoiseSchedule:
        """Stable Diffusion 1.x: betas linear in their square roots."""
        betas = torch.linspace(beta_start**0.5, beta_end**0.5, steps, dtype=torch.float64) ** 2
        return cls(torch.cumprod(1 - betas, dim=0))

    @classmethod
    def from_sigmas(cls, sigmas: Tensor) -> NoiseSchedule:
        """From the rising noise levels sigma_t = s_t / a_t that samplers use."""
        return cls(1 / (sigmas.detach().clone().double().square() + 1))

    def __len__(self) -> int:
        return len(self.alphas_cumprod)

    def a(self, t: Tensor) -> Tensor:
        """Signal scale a_t, (B,) -> (B, 1, 1, 1)."""
        return self.alphas_cumprod.to(t.device)[t].sqrt()[:, None, None, None]

    def s(self, t: Tensor) -> Tensor:
        """Noise scale s_t, (B,) -> (B, 1, 1, 1)."""
        return (1 - self.alphas_cumprod.to(t.device)[t]).sqrt()[:, None, None, None]

    def sigma(self, t: Tensor) -> Tensor:
        """Noise level sigma_t = s_t / a_t, (B,) -> (B,)."""
        alphas = self.alphas_cumprod.to(t.device)[t]
        return ((1 - alphas) / alphas).sqrt()

    def add_noise(self, z_0: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        """``z_t = a_t z_0 + s_t eps``, all (B, C, H, W); t (B,) whole numbers below len(self)."""
        return self.a(t) * z_0 + self.s(t) * noise
