"""The noise schedule a base was trained on: ``z_t = a_t z_0 + s_t eps`` with a_t^2 + s_t^2 = 1.

What a base predicts of it is the noise eps, or the velocity ``v = a_t eps - s_t z_0`` (Salimans and Ho 2022). Together with z_t
each gives the other, but for one case: where nothing of the picture is left in z_t (a_t = 0, zero terminal SNR), eps is z_t
whatever the base says, and only v says what it would draw.
"""

from __future__ import annotations

import torch
from torch import Tensor

LEAST_ALPHA = 4.8973451890853435e-08
"""a_t^2 at the end of a schedule with zero terminal SNR. Not 0, where the noise level s_t / a_t, in which samplers count, would
be infinite. This is ComfyUI's value (a noise level of 4519), so that all hosts draw the same."""


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
        self._on_device: dict[torch.device, Tensor] = {self.alphas_cumprod.device: self.alphas_cumprod}

    @classmethod
    def stable_diffusion(
        cls, steps: int = 1000, beta_start: float = 0.00085, beta_end: float = 0.012, zero_snr: bool = False
    ) -> NoiseSchedule:
        """Stable Diffusion: betas linear in their square roots.

        Args:
            zero_snr: nothing of the picture is left at the last timestep (see :func:`to_zero_snr`).
        """
        betas = torch.linspace(beta_start**0.5, beta_end**0.5, steps, dtype=torch.float64) ** 2
        alphas_cumprod = torch.cumprod(1 - betas, dim=0)
        return cls(to_zero_snr(alphas_cumprod) if zero_snr else alphas_cumprod)

    @classmethod
    def from_sigmas(cls, sigmas: Tensor) -> NoiseSchedule:
        """From the rising noise levels sigma_t = s_t / a_t that samplers use."""
        return cls(1 / (sigmas.detach().clone().double().square() + 1))

    def __len__(self) -> int:
        return len(self.alphas_cumprod)

    def _alphas_at(self, t: Tensor) -> Tensor:
        """a_t^2 of timesteps (B,); the table is brought to a device once, for that makes the host wait."""
        if t.device not in self._on_device:
            self._on_device[t.device] = self.alphas_cumprod.to(t.device)
        return self._on_device[t.device][t]

    def a(self, t: Tensor) -> Tensor:
        """Signal scale a_t, (B,) -> (B, 1, 1, 1)."""
        return self._alphas_at(t).sqrt()[:, None, None, None]

    def s(self, t: Tensor) -> Tensor:
        """Noise scale s_t, (B,) -> (B, 1, 1, 1)."""
        return (1 - self._alphas_at(t)).sqrt()[:, None, None, None]

    def sigma(self, t: Tensor) -> Tensor:
        """Noise level sigma_t = s_t / a_t, (B,) -> (B,)."""
        alphas = self._alphas_at(t)
        return ((1 - alphas) / alphas).sqrt()

    def add_noise(self, z_0: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        """``z_t = a_t z_0 + s_t eps``, all (B, C, H, W); t (B,) whole numbers below len(self)."""
        return self.a(t) * z_0 + self.s(t) * noise

    def velocity(self, z_0: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        """``v = a_t eps - s_t z_0``, shapes as in :meth:`add_noise`."""
        return self.a(t) * noise - self.s(t) * z_0

    def velocity_between(self, z_t: Tensor, z_0: Tensor, t: Tensor) -> Tensor:
        """The velocity that leads from a clean latent to z_t, ``(a_t z_t - z_0) / s_t``: well defined at pure noise, too."""
        return (self.a(t) * z_t - z_0) / self.s(t)

    def noise_of(self, v: Tensor, z_t: Tensor, t: Tensor) -> Tensor:
        """The noise that a velocity means, ``a_t v + s_t z_t``."""
        return self.a(t) * v + self.s(t) * z_t


def to_zero_snr(alphas_cumprod: Tensor) -> Tensor:
    """a_t^2 (T,) with zero terminal SNR (Lin et al. 2024, algorithm 1): a_t moved to end at 0, scaled to begin where it did."""
    a = alphas_cumprod.double().sqrt()
    moved = (a - a[-1]) * (a[0] / (a[0] - a[-1]))
    moved[-1] = LEAST_ALPHA**0.5
    return moved.square()
