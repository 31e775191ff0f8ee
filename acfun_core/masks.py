"""Checks of masks in all forms in which hosts hand them over; one for every input that takes a mask."""

from __future__ import annotations

import torch
from torch import Tensor

from .errors import ACFunError
from .images import OVERSHOOT

LOAD_IMAGE = "Load Image gives an empty 64 x 64 mask for every picture without transparency"


def check_masks(mask: Tensor, role: str, high: float = 1.0, count: int | None = None) -> Tensor:
    """Return masks (B, H, W), float32, values 0 to ``high``, or say what is wrong before any long work starts.

    Args:
        mask: (H, W), (B, H, W), (B, 1, H, W) or (B, H, W, 1). Values may overshoot by :data:`~acfun_core.images.OVERSHOOT`, as
            resampling does, and are cut.
        role: how the user knows it, such as "style mask".
        count: there must be one mask, or as many as this.

    Raises:
        ACFunError: another shape or number, empty of pixels, not finite, or out of range.
    """
    shape = tuple(getattr(mask, "shape", ()))
    if not isinstance(mask, Tensor) or not 2 <= mask.ndim <= 4 or mask.numel() == 0 or mask.is_complex():
        raise _misshapen(role, shape)
    if mask.ndim == 4:
        if 1 not in (shape[1], shape[3]):
            raise _misshapen(role, shape)
        mask = mask[:, 0] if shape[1] == 1 else mask[..., 0]
    masks = mask.detach().float().reshape(-1, *mask.shape[-2:])
    if not torch.isfinite(masks).all():
        raise ACFunError(
            f"The {role} holds values that are not numbers (NaN or infinity).",
            f"values from 0 to {high:g}",
            "check the node that makes the mask",
        )
    low, top = float(masks.min()), float(masks.max())
    if low < -OVERSHOOT or top > high + OVERSHOOT:
        raise ACFunError(
            f"The {role} holds values from {low:.4g} to {top:.4g}.",
            f"values from 0 to {high:g}" + (", where 1 is the style as trained" if high > 1 else ""),
            "check the node that makes the mask; divide by 255 if it counts to 255",
        )
    if count is not None:
        check_one_a_picture(len(masks), count, role)
    return masks.clamp(0, high)


def check_one_a_picture(masks: int, pictures: int, role: str) -> None:
    """Raise unless there is one mask for all pictures, or one for each."""
    if masks not in (1, pictures):
        raise ACFunError(
            f"The {role} is a batch of {masks} for {pictures} picture{'s' if pictures > 1 else ''}.",
            f"one mask, or {pictures}: one a picture" if pictures > 1 else "one mask",
            "make the masks from the same batch, or pick one of them",
        )


def check_mask_of(mask: Tensor | None, picture: Tensor, role: str) -> Tensor | None:
    """The masks of pictures (K, H, W, 3) that are to be learned, in any form -> (K, H, W), values 0-1, or None.

    Args:
        role: of both, such as "style".

    Raises:
        ACFunError: it is not one mask for all or one for each, not of the picture's size, not finite, out of range, or empty.
    """
    if mask is None:
        return None
    masks = check_masks(mask, f"{role} mask", count=len(picture))
    if masks.shape[1:] != picture.shape[1:3]:
        raise ACFunError(
            f"The {role} mask has shape {tuple(mask.shape)}, the {role} image {tuple(picture.shape[1:3])}.",
            f"one MASK of the size of the {role} image",
            f"make the mask from the same picture ({LOAD_IMAGE})",
        )
    for one in masks.split(1):
        check_not_empty(one, f"{role} mask", f"nothing would be learned from the {role} image")
    return masks.expand(len(picture), -1, -1)


def check_not_empty(masks: Tensor, role: str, would: str) -> None:
    """Raise if no mask holds anything.

    Args:
        would: what it would do, such as "no face would be put back".
    """
    if not bool((masks > 0).any()):
        raise ACFunError(
            f"The {role} is empty (0 everywhere): {would}.",
            "a mask that is 1 somewhere",
            f"paint the mask, or disconnect it ({LOAD_IMAGE})",
        )


def notice_of_empty(masks: Tensor, role: str, would: str) -> str | None:
    """What to tell of a mask that may be empty but seldom is so on purpose; None if it is not."""
    if bool((masks > 0).any()):
        return None
    return f"The {role} is empty (0 everywhere): {would}. Paint it, or disconnect it: {LOAD_IMAGE}."


def _misshapen(role: str, shape: tuple) -> ACFunError:
    return ACFunError(
        f"The {role} has shape {shape}.",
        "a MASK of shape (batch, height, width)",
        "connect a MASK output; for a picture, Convert Image to Mask comes in between",
    )
