"""A photo's own noise as the start of the sampling, in place of chance.

DDIM run backwards (Song et al. 2021, section 4.3) ends at the noise that DDIM would draw the photo from. A portrait that starts
there keeps the sitter without a training on the photo, so that an adapter that learned a style alone serves any face.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

PALETTE_HOLD = 0.7
"""How far noise and portrait go toward the style picture's palette if nothing is said (benchmarks/README.md)."""

PredictAt = Callable[[Tensor, int], Tensor]
"""x = z_t / a_t (B, 4, h, w) and the index of a noise level -> eps (B, 4, h, w)."""


@torch.no_grad()
def inverted(predict: PredictAt, sigmas: Tensor, latent: Tensor) -> list[Tensor]:
    """DDIM backwards: ``x_i = x_(i+1) + (sigma_i - sigma_(i+1)) eps(x_(i+1), sigma_i)``.

    The noise is asked for at the level that is gone to, which the latent of the level before stands in for.

    Args:
        predict: the base's noise prediction, without guidance.
        sigmas: (N + 1,) falling noise levels, the last one 0.
        latent: (B, 4, h, w) clean latent.

    Returns:
        x at each of the N + 1 levels, from the noisiest to the clean latent.
    """
    x, found = latent, [latent]
    for index in reversed(range(len(sigmas) - 1)):
        x = x + (sigmas[index] - sigmas[index + 1]).to(x) * predict(x, index)
        found.insert(0, x)
    return found


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
