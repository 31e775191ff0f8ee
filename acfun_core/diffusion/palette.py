"""A style picture's palette for a portrait that starts from a photo's noise: statistics of channels, lent."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from ..config import PALETTE_HOLD
from ..images import square


def with_statistics(x: Tensor, of: Tensor, share: float = 1.0) -> Tensor:
    """Adaptive instance normalisation (Huang and Belongie 2017): x with the mean and deviation of each channel of another.

    Args:
        x: (B, C, h, w). of: (B or 1, C, h', w'); the noise of a style picture lends its palette.
        share: 0-1, how far x goes there.
    """
    dims = (2, 3)
    normal = (x - x.mean(dims, keepdim=True)) / (x.std(dims, keepdim=True) + 1e-5)
    return torch.lerp(x, normal * of.std(dims, keepdim=True) + of.mean(dims, keepdim=True), share)


@dataclass(frozen=True)
class Palette:
    """Draws a portrait's colours and contrasts toward those of a style picture, a little at each step of the sampling.

    Attributes:
        of: (1, C, h', w') clean latent of the style picture.
        hold: 0-1, share of the way to its statistics that the clean latent of each step goes.
    """

    of: Tensor
    hold: float = PALETTE_HOLD

    def __call__(self, z_0: Tensor) -> Tensor:
        """The clean latent (B, C, h, w) that the base predicts, moved."""
        return with_statistics(z_0, self.of.to(z_0), self.hold)


def own_noise(
    encode: Callable[[Tensor], Tensor],
    backwards: Callable[[Tensor], Tensor],
    photo: Tensor,
    style: Tensor | None,
    resolution: int,
    hold: float,
) -> tuple[Tensor, Palette | None]:
    """The noise of photos, moved toward a style picture's if there is one, and the palette that the portraits then take.

    Args:
        encode: square pictures (B, S, S, 3) -> clean latents (B, 4, S / 8, S / 8).
        backwards: clean latents -> the noise that they would be drawn from, of the same shape.
        photo: (B, H, W, 3), values 0-1. style: (1, H', W', 3). The middle squares are taken.
        resolution: side S in pixels.
        hold: 0-1, how far noise and portraits go to the style picture's statistics.
    """
    latents = encode(torch.cat([square(one, resolution) for one in (photo, style) if one is not None]))
    noises = backwards(latents)
    if style is None:
        return noises, None
    return with_statistics(noises[:-1], noises[-1:], hold), Palette(latents[-1:], hold) if hold else None
