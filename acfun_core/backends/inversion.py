"""From pictures to the noise that a base would draw them from: DDIM backwards under the empty prompt."""

from __future__ import annotations

import torch
from torch import Tensor

from ..config import PALETTE_HOLD, DrawConfig
from ..diffusion.palette import own_noise
from ..diffusion.sampling import Levels, OnSample, Predict, invert
from ..images import check_side, square
from ..transfer.references import References
from .passes import UNetPass


class Inversion:
    """The part of :class:`~acfun_core.backends.stable_diffusion.StableDiffusion` that goes backwards."""

    prediction: str
    predict: UNetPass

    @torch.no_grad()
    def photo_noise(
        self,
        photo: Tensor,
        style: Tensor | None = None,
        steps: int = 40,
        resolution: int | None = None,
        on_sample: OnSample | None = None,
        hold: float = PALETTE_HOLD,
    ) -> Tensor:
        """The noise that DDIM would draw the photos from, (B, 4, h, w) of about unit variance.

        Args:
            photo: (B, H, W, 3), values 0-1, their middle squares.
            style: (1, H', W', 3), draws the noise toward the statistics of its own, and so toward its palette.
            steps: of the DDIM backwards; the drawing may take another number.
            resolution: side in pixels; the default is the base's own.
            hold: 0-1, how far it goes there.

        Raises:
            ACFunError: the resolution or the number of steps is out of range.
        """
        resolution = self._side(resolution)
        check_side("resolution", resolution, 8)
        DrawConfig(steps=steps, palette_hold=hold)
        levels = self.levels(steps)

        def backwards(latents: Tensor) -> Tensor:
            return levels.z_t(self._ways(latents, levels, on_sample)[0], 0)

        return own_noise(self.encode, backwards, photo, style, resolution, hold)[0]

    @torch.no_grad()
    def references(
        self,
        photo: Tensor,
        style: Tensor,
        steps: int = 40,
        resolution: int | None = None,
        on_sample: OnSample | None = None,
    ) -> References:
        """Photos and a style picture on their way to noise, for :meth:`sample`'s ``transfer``.

        Args:
            photo: (B, H, W, 3), values 0-1. style: (1, H', W', 3). Their middle squares are taken.
            steps: of the DDIM backwards; the drawing may take another number.
            resolution: side in pixels; the default is the base's own.

        Raises:
            ACFunError: the resolution or the number of steps is out of range.
        """
        side = self._side(resolution)
        both = torch.cat([square(one, side) for one in (photo, style)])
        return References(self.levels(steps).sigmas, self.way_to_noise(both, steps, side, on_sample))

    @torch.no_grad()
    def way_to_noise(
        self, pictures: Tensor, steps: int = 40, resolution: int | None = None, on_sample: OnSample | None = None
    ) -> Tensor:
        """Latents of pictures (B, H, W, 3) on their ways to noise, (N + 1, B, 4, h, w) as in :class:`References`.

        Raises:
            ACFunError: the resolution or the number of steps is out of range.
        """
        resolution = self._side(resolution)
        check_side("resolution", resolution, 8)
        DrawConfig(steps=steps)
        return torch.stack(self._ways(self.encode(square(pictures, resolution)), self.levels(steps), on_sample))

    def _ways(self, latents: Tensor, levels: Levels, on_sample: OnSample | None) -> list[Tensor]:
        return invert(self._plain(levels), levels.sigmas, latents, on_sample, self.prediction)

    def _plain(self, levels: Levels) -> Predict:
        """The noise prediction of the base itself, without guidance, under the empty prompt."""
        empty = self.told("")

        def predict(x: Tensor, index: int) -> Tensor:
            return self.predict.guided(levels, lambda index: (empty, empty), 1.0, len(x))(x, index)

        return predict
