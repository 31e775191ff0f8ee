"""Checks and crops of picture tensors in ComfyUI's and our common form: (B, H, W, C), float, 0-1."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from .errors import ACFunError

MIN_SIDE, MAX_SIDE = 16, 16_384


def check_image(image: Tensor, role: str) -> Tensor:
    """Return one picture (1, H, W, 3), or say what is wrong with it before any long work starts.

    Args:
        image: (B, H, W, C) with C 1, 3 or 4 and values in 0-1.
        role: how the user knows it, such as "style image".

    Raises:
        ACFunError: wrong rank, empty, more than one picture, too small or too large, or not finite.
    """
    shape = tuple(getattr(image, "shape", ()))
    if not isinstance(image, Tensor) or image.ndim != 4:
        raise ACFunError(
            f"The {role} has shape {shape}.",
            "an IMAGE of shape (batch, height, width, channels)",
            "connect an IMAGE output such as Load Image",
        )
    if image.numel() == 0:
        raise ACFunError(f"The {role} is empty (shape {shape}).", "one picture", "connect a node that yields a picture")
    if image.shape[0] != 1:
        raise ACFunError(
            f"The {role} is a batch of {image.shape[0]} pictures.",
            "exactly one picture",
            "pick one with Image From Batch",
        )
    _, height, width, channels = shape
    if min(height, width) < MIN_SIDE or max(height, width) > MAX_SIDE:
        raise ACFunError(
            f"The {role} is {width} x {height} pixels.",
            f"sides from {MIN_SIDE} to {MAX_SIDE} pixels",
            "resize the picture or choose another",
        )
    if channels not in (1, 3, 4):
        raise ACFunError(f"The {role} has {channels} channels.", "1, 3 or 4 channels", "convert the picture to RGB")
    if not torch.isfinite(image).all():
        raise ACFunError(
            f"The {role} holds values that are not numbers (NaN or infinity).",
            "values from 0 to 1",
            "check the node that makes the picture",
        )
    picture = image.detach().float().clamp(0, 1)
    return picture.expand(-1, -1, -1, 3) if channels == 1 else picture[..., :3]


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
            "use 512, or 192 for the demo base",
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
