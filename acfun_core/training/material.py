"""What a training can be given beside the pair of pictures: more of the style, masks of either loss term, a start of S*.

Crops, flips and colour change the latents, so the variants are made from pixels and encoded once, before the training: the VAE
is not needed while it runs.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from ..chance import generator
from ..config import AdapterConfig, TrainConfig
from ..errors import ACFunError
from ..images import square
from ..masks import check_mask_of
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
        styles: (K, 4, h, w) clean latents of the style pictures where there are several; the variants are made of all of them.
        start_row: (width,) what S* stands for before the first step, in the place of the initial word.
    """

    style_variants: Tensor | None = None
    style_masks: Tensor | None = None
    face_mask: Tensor | None = None
    styles: Tensor | None = None
    start_row: Tensor | None = None

    def to(self, device: torch.device) -> Material:
        """The same on another device, in float32."""
        return self.each(lambda part: part.to(device, torch.float32))

    def each(self, change: Callable[[Tensor], Tensor]) -> Material:
        """The same with every tensor changed."""
        parts = (self.style_variants, self.style_masks, self.face_mask, self.styles, self.start_row)
        return Material(*(None if part is None else change(part) for part in parts))

    def check(self, config: TrainConfig, latents: Tensor) -> None:
        """Raise unless this is what the config asks for and fits the latents (2, 4, h, w)."""
        varies = config.varies_style or self.styles is not None
        if varies != (self.style_variants is not None):
            raise ACFunError(
                "The settings ask for variants of the style picture, but none were encoded."
                if varies
                else "Variants of the style picture were given, but the settings ask for none.",
                "variants if, and only if, style_crop, style_flip or style_colour is set",
                "set these to 0 and no, or use the training node, which makes the variants",
            )
        for part in (self.style_variants, self.style_masks, self.face_mask, self.styles):
            if part is not None and part.shape[-2:] != latents.shape[-2:]:
                raise ACFunError(
                    f"Material for the training is {tuple(part.shape[-2:])} large, the latents are "
                    f"{tuple(latents.shape[-2:])}.",
                    "everything at the size of the latents",
                    "encode everything at one resolution",
                )

    def pictures(self, latents: Tensor) -> Tensor:
        """Latents (K + 1, 4, h, w) of all style pictures and, last, the face, from those of one pair (2, 4, h, w)."""
        return latents if self.styles is None else torch.cat([self.styles, latents[FACE:]])

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


Pictures = Tensor | Sequence[Tensor]
"""One style picture (1, H, W, 3), or several: of one size (K, H, W, 3), or each by itself."""


def each_of(pictures: Pictures) -> list[Tensor]:
    """Pictures one by one, (1, H, W, 3)."""
    return list(pictures.split(1)) if isinstance(pictures, Tensor) else list(pictures)


def style_mask_of(mask: Tensor | None, pictures: Pictures) -> Tensor | None:
    """Masks (K, H, W) of K style pictures, see :func:`~acfun_core.masks.check_mask_of`.

    Raises:
        ACFunError: the pictures are of different sizes, or a mask does not fit them.
    """
    if mask is None:
        return None
    found = each_of(pictures)
    sizes = {tuple(one.shape[1:3]) for one in found}
    if len(sizes) > 1:
        raise ACFunError(
            f"The style pictures have {len(sizes)} different sizes, and there is a style mask.",
            "a mask for pictures of one size",
            "resize the pictures, or leave the mask out",
        )
    return check_mask_of(mask, torch.cat(found), "style")


def check_start(start_row: Tensor | None, config: AdapterConfig, width: int) -> None:
    """Raise unless S* can start from a row: it is as wide as the base's embeddings, and it is learned."""
    if start_row is None:
        return
    if start_row.shape != (width,):
        raise ACFunError(
            f"The embedding that S* is to start from is {start_row.shape[-1]} wide, those of this base are {width} wide.",
            "a textual inversion of the same kind of base (768: Stable Diffusion 1.x, 1024: 2.x, 768 + 1280: SDXL)",
            "choose another embedding",
        )
    if not config.learned_row:
        raise ACFunError(
            "S* is to start from an embedding, and learned_row is off, which keeps it the initial word.",
            "learned_row on with an embedding",
            "set learned_row, or leave the embedding out",
        )


def encode_pair(encode: Encode, style: Pictures, face: Tensor, resolution: int) -> Tensor:
    """(2, 4, h, w) latents of the middle squares of style and face (1, H, W, 3), at ``resolution`` pixels.

    Of several style pictures it is the first.
    """
    return encode(torch.cat([square(each_of(style)[0], resolution), square(face, resolution)]))


def face_or_style(face: Tensor | None, style: Pictures, config: TrainConfig) -> Tensor:
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
    return each_of(style)[0]


def encode_material(
    encode: Encode,
    style: Pictures,
    config: TrainConfig,
    resolution: int,
    style_mask: Tensor | None = None,
    face_mask: Tensor | None = None,
    start_row: Tensor | None = None,
) -> Material:
    """Variants of the style pictures and masks, encoded once before the training.

    Several style pictures share the number of variants that the settings ask for.

    Args:
        style: values 0-1.
        style_mask, face_mask: (K, H, W) of the size of their pictures, as :func:`~acfun_core.masks.check_mask_of` returns them.
        start_row: see :class:`Material`.

    Raises:
        ACFunError: a mask leaves almost nothing to learn from.
    """
    side, variants, style_masks, styles = resolution // 8, None, None, None
    whole = each_of(style)
    if style_mask is not None:
        # A mask is cropped and mirrored along with its picture, as a fourth channel.
        whole = [torch.cat([one, mask[..., None]], dim=-1) for one, mask in zip(whole, style_mask.split(1))]
    if config.varies_style:
        share = dataclasses.replace(config, style_variants=max(2, config.style_variants // len(whole)))
        drawn = [vary(one, share, resolution, config.seed + number) for number, one in enumerate(whole)]
    else:
        drawn = [square(one, resolution) for one in whole]
    squares = torch.cat(drawn)
    if config.varies_style or len(whole) > 1:
        variants = encode(squares[..., :3])
    if len(whole) > 1:
        # The first variant of each picture is the picture itself.
        styles = torch.cat([one[:1] for one in variants.split([len(part) for part in drawn])])
    if style_mask is not None:
        style_masks = torch.cat([latent_mask(mask[None], side, "style mask") for mask in squares[..., 3]])
    if face_mask is not None:
        face_mask = latent_mask(square(face_mask[..., None], resolution)[..., 0], side, "face mask")
    return Material(variants, style_masks, face_mask, styles, start_row)


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
