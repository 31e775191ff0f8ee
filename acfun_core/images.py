"""Checks and crops of picture tensors in ComfyUI's and our common form: (B, H, W, C), float, 0-1."""

from __future__ import annotations

import logging

import torch
from torch import Tensor
from torch.nn import functional as F

from .config import COPY_LIMIT
from .demo_base import NATIVE_SIDE
from .errors import ACFunError

MIN_SIDE, MAX_SIDE = 16, 16_384
OVERSHOOT = 0.05
"""How far values may lie outside of 0-1: sharp resampling goes that far beyond what it was given, another scale further."""
LEAST_CONTRAST = 0.01
"""Between the darkest and the lightest value of a picture that something is to be learned from; 2.5 of 255 grey values."""


MOST_STYLES = 8
"""Pictures of one style that a training learns from at once."""


def check_image(image: Tensor, role: str, contrast: bool = False) -> Tensor:
    """Return one picture (1, H, W, 3), or say what is wrong with it before any long work starts.

    Args:
        image: (B, H, W, C) with C 1, 3 or 4 and values in 0-1; what resampling adds on both sides, :data:`OVERSHOOT`, is cut.
            A fourth channel is opacity: the picture is laid over white, and the log says so.
        role: how the user knows it, such as "style image".
        contrast: refuse a picture of one colour: something is to be learned from it.

    Raises:
        ACFunError: wrong rank, empty, more than one picture, too small or too large, not finite, of another range, or flat.
    """
    if isinstance(image, Tensor) and image.ndim == 4 and len(image) > 1 and image.numel():
        raise ACFunError(
            f"The {role} is a batch of {image.shape[0]} pictures.",
            "exactly one picture",
            "pick one with Image From Batch",
        )
    picture = check_batch(image, role)
    if contrast and float(picture.max() - picture.min()) < LEAST_CONTRAST:
        raise ACFunError(
            f"The {role} has one colour everywhere.",
            "a picture with something in it",
            "choose another picture, or look at the node that makes it",
        )
    return picture


def check_styles(image: Tensor, role: str) -> Tensor:
    """Return the pictures of one style (K, H, W, 3), each checked as by :func:`check_image`, with contrast.

    Raises:
        ACFunError: one of them cannot be used, or there are more than :data:`MOST_STYLES`.
    """
    pictures = check_batch(image, role)
    check_few(len(pictures), role)
    if len(pictures) > 1:
        for number, picture in enumerate(pictures.split(1), 1):
            check_image(picture, f"{role} {number} of {len(pictures)}", contrast=True)
        return pictures
    return check_image(image, role, contrast=True)


def check_few(count: int, role: str) -> None:
    """Raise if a style has more pictures than a training takes."""
    if count > MOST_STYLES:
        raise ACFunError(
            f"The {role} is a batch of {count} pictures.",
            f"one picture, or up to {MOST_STYLES} in one style",
            "pick some of them, those that differ most in what they show",
        )


def check_batch(image: Tensor, role: str) -> Tensor:
    """Return pictures (B, H, W, 3), or say what is wrong with the batch; see :func:`check_image`."""
    shape = tuple(getattr(image, "shape", ()))
    if not isinstance(image, Tensor) or image.ndim != 4 or image.is_complex():
        raise ACFunError(
            f"The {role} has shape {shape}.",
            "an IMAGE of shape (batch, height, width, channels)",
            "connect an IMAGE output such as Load Image",
        )
    if image.numel() == 0:
        raise ACFunError(f"The {role} is empty (shape {shape}).", "one picture", "connect a node that yields a picture")
    _, height, width, channels = shape
    if min(height, width) < MIN_SIDE or max(height, width) > MAX_SIDE:
        raise ACFunError(
            f"The {role} is {width} x {height} pixels.",
            f"sides from {MIN_SIDE} to {MAX_SIDE} pixels",
            "resize the picture or choose another",
        )
    if channels not in (1, 3, 4):
        raise ACFunError(f"The {role} has {channels} channels.", "1, 3 or 4 channels", "convert the picture to RGB")
    pictures = over_white(in_range(image.detach().float(), role), role)
    return pictures.expand(-1, -1, -1, 3) if channels == 1 else pictures


def in_range(picture: Tensor, role: str) -> Tensor:
    """The values cut to 0-1, if that is what they are but for :data:`OVERSHOOT`.

    Raises:
        ACFunError: a value is not finite, or lies further outside.
    """
    if not torch.isfinite(picture).all():
        raise ACFunError(
            f"The {role} holds values that are not numbers (NaN or infinity).",
            "values from 0 to 1",
            "check the node that makes the picture",
        )
    low, high = float(picture.min()), float(picture.max())
    if low < -OVERSHOOT or high > 1 + OVERSHOOT:
        raise ACFunError(
            f"The {role} holds values from {low:.4g} to {high:.4g}.",
            f"values from 0 to 1 (up to {OVERSHOOT} beyond is cut)",
            "divide by 255 if they count to 255, or check the node that makes the picture",
        )
    return picture.clamp(0, 1)


def over_white(pictures: Tensor, role: str) -> Tensor:
    """(B, H, W, 4) with opacity -> (B, H, W, 3) on white; others as they are: hidden colours are not learned."""
    if pictures.shape[-1] != 4:
        return pictures
    colours, opacity = pictures[..., :3], pictures[..., 3:]
    if bool((opacity == 1).all()):
        return colours
    logging.warning("ACFun: the %s is partly transparent; it is laid over white.", role)
    return torch.lerp(torch.ones_like(colours), colours, opacity)


def square(image: Tensor, side: int) -> Tensor:
    """Centre crop to a square and resize to ``side`` pixels with antialiasing. (B, H, W, C) -> (B, side, side, C)."""
    height, width = image.shape[1:3]
    edge = min(height, width)
    top, left = (height - edge) // 2, (width - edge) // 2
    crop = image[:, top : top + edge, left : left + edge].movedim(-1, 1)
    if edge != side:
        crop = F.interpolate(crop, size=(side, side), mode="bicubic", antialias=True, align_corners=False)
    return crop.clamp(0, 1).movedim(1, -1).contiguous()


def check_side(role: str, pixels: int, multiple: int, most: int = 4096) -> None:
    """Raise unless a side in pixels is one that latents can have: a multiple of 8, or of more for some UNets.

    Raises:
        ACFunError: it is not.
    """
    if not isinstance(pixels, int) or not 64 <= pixels <= most or pixels % multiple:
        raise ACFunError(
            f"The {role} is {pixels}.",
            f"a multiple of {multiple} from 64 to {most}",
            f"use 512, or {NATIVE_SIDE} for the demo base",
        )


def explained_share(wanted: Tensor, basis: Tensor) -> Tensor:
    """R^2 of the least-squares fit ``wanted = basis @ factors``, (D,) by (D, K), of mean 0 where constants are free. -> ().

    It is 1 for every blend of the basis, and 0 for what is constant.
    """
    spread = wanted.square().sum()
    if spread <= 1e-9:
        return wanted.new_zeros(())
    # gelsd also takes a basis whose members are equal or 0.
    factors = torch.linalg.lstsq(basis, wanted[:, None], driver="gelsd").solution
    return (1 - (wanted - (basis @ factors)[:, 0]).square().sum() / spread).clamp(0, 1)


def is_copy(share: float, limit: float = COPY_LIMIT) -> bool:
    """Whether a picture of which its training pictures explain so much counts as a copy or a blend of them."""
    return share >= limit
