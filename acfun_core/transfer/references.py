"""The two pictures that a portrait is drawn beside, at every noise level."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ..config import TransferConfig
from ..diffusion.palette import with_statistics
from ..errors import ACFunError

OVAL = {"centre": (0.5, 0.45), "radii": (0.36, 0.45), "edge": 0.2}
"""Where the head of a portrait is, as *Crop Face* cuts it: shares of width and height, and the softness of the border."""


def oval(height: int, width: int) -> Tensor:
    """(height, width) 1 in the head's place, 0 around it."""
    y, x = (((torch.arange(side) + 0.5) / side) for side in (height, width))
    (centre_x, centre_y), (radius_x, radius_y) = OVAL["centre"], OVAL["radii"]
    far = (((x[None] - centre_x) / radius_x) ** 2 + ((y[:, None] - centre_y) / radius_y) ** 2).sqrt()
    return ((1 + OVAL["edge"] - far) / (2 * OVAL["edge"])).clamp(0, 1)


def turned(x: Tensor, to: Tensor, share: Tensor) -> Tensor:
    """One noise turned to another by a share of a right angle: what lies between has the variance of both."""
    angle = math.pi / 2 * share
    return angle.cos() * x + angle.sin() * to


@dataclass(frozen=True)
class References:
    """Photos and a style picture on their own ways to noise, as :func:`~acfun_core.diffusion.sampling.invert` found them.

    Attributes:
        sigmas: (N + 1,) falling noise levels, the last one 0.
        latents: (N + 1, P + 1, 4, h, w), for each level x = z_t / a_t of P photos and, last, of the style picture.
    """

    sigmas: Tensor
    latents: Tensor

    @property
    def photos(self) -> int:
        """P."""
        return self.latents.shape[1] - 1

    @property
    def style(self) -> Tensor:
        """(1, 4, h, w) the style picture's clean latent."""
        return self.latents[-1, -1:]

    def to(self, like: Tensor) -> References:
        return References(self.sigmas.to(like.device), self.latents.to(like))

    def at(self, sigma: float) -> Tensor:
        """x of all of them, (P + 1, 4, h, w), at any noise level.

        Between two levels of the way it is a straight line, as Euler's method goes it; samplers may visit other levels than
        the way did.
        """
        index, share = self._place(sigma)
        return torch.lerp(self.latents[index], self.latents[index + 1], share)

    def slope(self, sigma: float) -> Tensor:
        """The noise that a step from this level must predict to go the way home exactly, (P + 1, 4, h, w)."""
        index, _ = self._place(sigma)
        steps = (self.sigmas[index + 1] - self.sigmas[index]).to(self.latents)
        return (self.latents[index + 1] - self.latents[index]) / steps

    def _place(self, sigma: float) -> tuple[int, float]:
        """The level before a noise level, and how far it is from there to the next, 0 to 1."""
        levels = self.sigmas.tolist()
        index = max(place for place, level in enumerate(levels[:-1]) if level >= min(sigma, levels[0]) or place == 0)
        share = (levels[index] - sigma) / (levels[index] - levels[index + 1])
        return index, min(1.0, max(0.0, share))

    def start(self, sigma: float, noise: Tensor, config: TransferConfig) -> Tensor:
        """x to begin a sampling with: the photos' at this level, moved to the style's palette and turned to a seed's noise,
        with the style picture's own around the head.

        Args:
            noise: (B, 4, h, w) unit noise of the seed.

        Returns:
            (B, 4, h, w) x = z_t / a_t.

        Raises:
            ACFunError: another size than the photos have, or neither one photo nor one for each portrait.
        """
        self.check(noise)
        level = self.at(sigma)
        x = with_statistics(level[:-1], level[-1:], config.palette_start)
        x = x.repeat(len(noise) // len(x), 1, 1, 1)
        # Both are about unit noise, scaled alike: so are their turns by an angle, which each place may have for itself.
        x = turned(x, math.sqrt(1 + sigma**2) * noise, torch.tensor(config.turn).to(x))
        return turned(x, level[-1:], self.around(config))

    def around(self, config: TransferConfig) -> Tensor:
        """(h, w) share of the style picture's ground at each place, 0 to 1."""
        return config.background * (1 - oval(*self.latents.shape[-2:]).to(self.latents))

    def check(self, portraits: Tensor) -> None:
        """Raise unless portraits (B, 4, h, w) can be drawn beside these."""
        height, width = self.latents.shape[-2:]
        if portraits.shape[-2:] != (height, width):
            wanted = f"{8 * portraits.shape[-1]} x {8 * portraits.shape[-2]}"
            raise ACFunError(
                f"The portrait is {wanted} pixels, the photo was read at {8 * width} x {8 * height}.",
                "one size for both",
                f"draw at {8 * width} x {8 * height}, or read the photo at the portrait's size",
            )
        if self.photos not in (1, len(portraits)):
            raise ACFunError(
                f"There are {self.photos} photos for {len(portraits)} portraits.",
                "one photo, or one for each portrait",
                f"set the batch size to {self.photos}",
            )
