"""What a portrait takes from its references after each step's prediction: the return, the latent swap, the palette, calm."""

from __future__ import annotations

from torch import Tensor

from ..config import TransferConfig
from ..unet.windows import is_open
from .matching import calmed, latent_swap
from .references import References

LATENT_WINDOW = (0.2, 0.8)
"""Shares of the sampling between which the latent swap acts. Later it smears eyes."""
CALM_WINDOW = (0.0, 0.8)
"""The same for frames of a film; later they lose detail to their neighbours."""


def corrected(
    z_0: Tensor, references: References, predicted: Tensor, config: TransferConfig, sigma: float, done: float
) -> Tensor:
    """The clean latent that a step should go to.

    Args:
        z_0: (B, 4, h, w) what the step predicts, after guidance.
        predicted: (P + 1, 4, h, w) the noise that the base predicts for the references at this level.
        sigma: the noise level. done: share of the sampling that is over, 0 to 1.
    """
    if config.returned:
        # DDIM backwards asks at the level it goes to, with the latent of the one it leaves: what that missed is known. Where
        # the noise is not the photo's, it would be noise of its own.
        missed = (1 - references.around(config)) * (references.slope(sigma) - predicted)[:-1]
        z_0 = z_0 - config.returned * sigma * missed.repeat(len(z_0) // len(missed), 1, 1, 1)
    if config.latent and is_open(LATENT_WINDOW, done):
        z_0 = latent_swap(z_0, references.style, config.latent)
    if config.palette_mean or config.palette_deviation:
        z_0 = toned(z_0, references.style, config.palette_mean, config.palette_deviation)
    if config.calm and references.photos == len(z_0) and is_open(CALM_WINDOW, done):
        z_0 = calmed(z_0, references.latents[-1, :-1], config.calm)
    return z_0


def toned(z_0: Tensor, style: Tensor, mean: float, deviation: float) -> Tensor:
    """z_0 (B, 4, h, w) with each channel's mean and deviation so far on the way to those of a latent (1, 4, h', w')."""
    dims = (2, 3)
    own, own_spread = z_0.mean(dims, keepdim=True), z_0.std(dims, keepdim=True)
    scale = own_spread.lerp(style.std(dims, keepdim=True), deviation) / (own_spread + 1e-5)
    return (z_0 - own) * scale + own.lerp(style.mean(dims, keepdim=True), mean)
