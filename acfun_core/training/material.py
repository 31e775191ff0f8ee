"""What a training can be given beside the pair of pictures: variants of the style picture, and masks of either loss term.

Crops, flips and colour change the latents, so the variants are made from pixels and encoded once, before the training: the VAE
is not needed while it runs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from ..chance import generator
from ..config import TrainConfig
from ..errors import ACFunError
from ..images import square
from .targets import FACE, STYLE

Encode = Callable[[Tensor], Tensor]
"""A VAE: square pictures (B, S, S, 3), values 0-1 -> latents (B, 4, S / 8, S / 8) as the UNet sees them."""

SMALLEST_MASK = 1e-3
"""Mean of a mask below which its term would learn from almost nothing."""


@dataclass(frozen=True)
class Material:
    """Optional inputs of a training.

    Attributes:
        style_variants: (K, 4, h, w) clean latents that take the style picture's place, one by chance each step.
        style_masks: (1 or K, 1, h, w) weight of each place in the style term, 0 to 1.
        face_mask: (1, 1, h, w) weight of each place in the face term, 0 to 1.
    """

    style_variants: Tensor | None = None
    style_masks: Tensor | None = None
    face_mask: Tensor | None = None

    def to(self, device: torch.device) -> Material:
        """The same on another device, in float32."""
        return self.each(lambda part: part.to(device, torch.float32))

    def each(self, change: Callable[[Tensor], Tensor]) -> Material:
        """The same with every tensor changed."""
        parts = (self.style_variants, self.style_masks, self.face_mask)
        return Material(*(None if part is None else change(part) for part in parts))

    def check(self, config: TrainConfig, latents: Tensor) -> None:
        """Raise unless this is what the config asks for and fits the latents (2, 4, h, w)."""
        if config.varies_style != (self.style_variants is not None):
            raise ACFunError(
                "The settings ask for variants of the style picture, but none were encoded."
                if config.varies_style
                else "Variants of the style picture were given, but the settings ask for none.",
                "variants if, and only if, style_crop, style_flip or style_colour is set",
                "set these to 0 and no, or use the training node, which makes the variants",
            )
        for part in (self.style_variants, self.style_masks, self.face_mask):
            if part is not None and part.shape[-2:] != latents.shape[-2:]:
                raise ACFunError(
                    f"Material for the training is {tuple(part.shape[-2:])} large, the latents are "
                    f"{tuple(latents.shape[-2:])}.",
                    "everything at the size of the latents",
                    "encode everything at one resolution",
                )

    def step(self, latents: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor | None]:
        """Latents (2, 4, h, w) and masks (2, 1, h, w) or None for one step."""
        choice = 0
        if self.style_variants is not None:
            choice = int(torch.randint(len(self.style_variants), (1,), generator=generator, device=generator.device))
            latents = torch.cat([self.style_variants[choice : choice + 1], latents[FACE:]])
        if self.style_masks is None and self.face_mask is None:
            return latents, None
        masks = torch.ones_like(latents[:, :1])
        if self.style_masks is not None:
            masks[STYLE] = self.style_masks[choice if len(self.style_masks) > 1 else 0]
        if self.face_mask is not None:
            masks[FACE] = self.face_mask[0]
        return latents, masks


def encode_pair(encode: Encode, style: Tensor, face: Tensor, resolution: int) -> Tensor:
    """(2, 4, h, w) latents of the middle squares of style and face, each (1, H, W, 3), at ``resolution`` pixels."""
    return encode(torch.cat([square(style, resolution), square(face, resolution)]))


def face_or_style(face: Tensor | None, style: Tensor, config: TrainConfig) -> Tensor:
    """The face photo, or where only the style is learned and there is none, the style picture in its place.

    Raises:
        ACFunError: there is none, and the face term counts.
    """
    if face is not None:
        return face
    if config.face_weight > 0:
        raise ACFunError(
            f"There is no face photo, and its weight in the loss is {config.face_weight:g}.",
            "a photo, or the style alone to be learned",
            "give a photo, choose the preset keep_person, or set face_weight to 0",
        )
    return style


def encode_material(
    encode: Encode,
    style: Tensor,
    config: TrainConfig,
    resolution: int,
    style_mask: Tensor | None = None,
    face_mask: Tensor | None = None,
) -> Material:
    """Variants of the style picture and masks, encoded once before the training.

    Args:
        style: (1, H, W, 3), values 0-1.
        style_mask, face_mask: (1, H, W) of the size of their pictures, as :func:`~acfun_core.masks.check_mask_of` returns them.

    Raises:
        ACFunError: a mask leaves almost nothing to learn from.
    """
    side, variants, style_masks = resolution // 8, None, None
    # A mask is cropped and mirrored along with its picture, as a fourth channel.
    whole = style if style_mask is None else torch.cat([style, style_mask[..., None]], dim=-1)
    squares = vary(whole, config, resolution, config.seed) if config.varies_style else square(whole, resolution)
    if config.varies_style:
        variants = encode(squares[..., :3])
    if style_mask is not None:
        style_masks = torch.cat([latent_mask(mask[None], side, "style mask") for mask in squares[..., 3]])
    if face_mask is not None:
        face_mask = latent_mask(square(face_mask[..., None], resolution)[..., 0], side, "face mask")
    return Material(variants, style_masks, face_mask)


def latent_mask(mask: Tensor, side: int, role: str) -> Tensor:
    """A mask of a square picture (1, H, H) at the size of its latents, (1, 1, side, side).

    Raises:
        ACFunError: the mask leaves almost nothing to learn from.
    """
    small = F.interpolate(mask[:, None].float(), size=(side, side), mode="area").clamp(0, 1)
    if small.mean() < SMALLEST_MASK:
        raise ACFunError(
            f"The {role} is empty.", "a mask that is 1 where the picture counts", "paint the mask or disconnect it"
        )
    return small


def vary(picture: Tensor, config: TrainConfig, side: int, seed: int) -> Tensor:
    """Variants of a picture: random crops, flips and colours. The first is the picture itself.

    Args:
        picture: (1, H, W, C), values 0-1; channels beyond three (a mask) are cropped and flipped along, not coloured.
        side: of the results in pixels.

    Returns:
        (style_variants, side, side, C), values 0-1.
    """
    draws = generator(seed)
    whole = square(picture, min(picture.shape[1:3]))
    edge = whole.shape[1]
    variants = [square(whole, side)]
    while len(variants) < config.style_variants:
        u = torch.rand(7, generator=draws).tolist()
        size = max(16, round(edge * (1 - config.style_crop * u[0])))
        top, left = round((edge - size) * u[1]), round((edge - size) * u[2])
        variant = square(whole[:, top : top + size, left : left + size], side)
        if config.style_flip and u[3] < 0.5:
            variant = variant.flip(2)
        if config.style_colour > 0:
            factors = [1 + config.style_colour * (2 * value - 1) for value in u[4:7]]
            variant = torch.cat([jitter(variant[..., :3], *factors), variant[..., 3:]], dim=-1)
        variants.append(variant)
    return torch.cat(variants)


def jitter(picture: Tensor, brightness: float, contrast: float, saturation: float) -> Tensor:
    """Scale brightness, contrast around the mean grey and saturation around each pixel's grey. (B, H, W, 3), values 0-1."""
    weights = torch.tensor([0.299, 0.587, 0.114])
    picture = (picture * brightness).clamp(0, 1)
    grey = (picture * weights).sum(-1, keepdim=True)
    picture = torch.lerp(grey.mean(dim=(1, 2), keepdim=True), picture, contrast).clamp(0, 1)
    grey = (picture * weights).sum(-1, keepdim=True)
    return torch.lerp(grey, picture, saturation).clamp(0, 1)
