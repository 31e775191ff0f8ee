"""Pictures in and out of a base: latents, CLIP tokens, and files."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor
from torch.nn import functional as F

from ..errors import ACFunError
from ..images import OVERSHOOT, check_image

CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)
"""Statistics of the pictures CLIP was trained on; every CLIP vision model uses them."""


def read_picture(path: str | Path, role: str, contrast: bool = False) -> Tensor:
    """A picture file as (1, H, W, 3), values 0-1, turned as its EXIF entry says; what is transparent is laid over white.

    Args:
        contrast: as for :func:`~acfun_core.images.check_image`.

    Raises:
        ACFunError: the file is missing, no picture, or of a size, range or contrast that cannot be used.
    """
    path = Path(path)
    try:
        with Image.open(path) as file:
            picture = ImageOps.exif_transpose(file)
            pixels = _grey(picture, path, role) if picture.mode in _DEEP else _colours(picture)
    # Pillow answers files that are damaged in the middle with many types.
    except (
        OSError,
        EOFError,
        SyntaxError,
        struct.error,
        UnidentifiedImageError,
        Image.DecompressionBombError,
    ) as error:
        raise _unreadable(path, role, error) from error
    except ValueError as error:
        if isinstance(error, ACFunError):
            raise
        raise _unreadable(path, role, error) from error
    return check_image(torch.from_numpy(pixels)[None], role, contrast)


_DEEP = ("I;16", "I;16L", "I;16B", "I;16N", "I", "F")
"""Pillow's modes of one channel with more than 8 bits; its conversion to RGB would cut them at 255."""


def _unreadable(path: Path, role: str, error: Exception) -> ACFunError:
    return ACFunError(
        f"The {role} {path} cannot be read: {error}.", "a picture file (PNG, JPEG, WebP)", "check the path"
    )


def _colours(picture: Image.Image) -> np.ndarray:
    """(H, W, 3 or 4) of 8 bits a channel, values 0-1."""
    # A palette, or one colour that stands for nothing, hides its transparency in the file's entries.
    mode = "RGBA" if picture.mode in ("RGBA", "RGBa", "LA", "La", "PA") or "transparency" in picture.info else "RGB"
    return np.asarray(picture.convert(mode), dtype=np.float32) / 255.0


def _grey(picture: Image.Image, path: Path, role: str) -> np.ndarray:
    """(H, W, 1) of 16 bits, or of floats on the scale that their largest value tells: 1, 255 or 65535."""
    values = np.asarray(picture).astype(np.float32)[..., None]
    top = float(values.max(initial=0.0))
    scales = [1.0, 255.0, 65535.0] if picture.mode == "F" else [65535.0]
    fitting = [scale for scale in scales if top <= scale * (1 + OVERSHOOT)]
    # Between 1 and 16 a float may be light beyond white, or a very dark picture that counts to 255.
    if not np.isfinite(values).all() or not fitting or (picture.mode == "F" and 1 + OVERSHOOT < top < 16):
        raise ACFunError(
            f"The {role} {path} holds values up to {top:.4g}.",
            "values that count to 1, 255 or 65535",
            "save it with 8 or 16 bits a channel",
        )
    return values / fitting[0]


def to_pil(picture: Tensor) -> Image.Image:
    """(H, W, 3), values 0-1 -> an 8-bit picture, rounded down as ComfyUI's Save Image does."""
    return Image.fromarray((picture.detach().cpu().float().clamp(0, 1) * 255).numpy().astype(np.uint8))


def clip_pixels(picture: Tensor, side: int) -> Tensor:
    """What a CLIP vision model sees of (B, H, W, 3): the middle square, 8 bits a channel, normalised. -> (B, 3, side, side)."""
    pixels = picture.movedim(-1, 1)
    height, width = pixels.shape[2:]
    if (height, width) != (side, side):
        scale = side / min(height, width)
        size = round(scale * height), round(scale * width)
        pixels = F.interpolate(pixels, size=size, mode="bicubic", antialias=True)
        top, left = (size[0] - side) // 2, (size[1] - side) // 2
        pixels = pixels[:, :, top : top + side, left : left + side]
    pixels = (255 * pixels).clamp(0, 255).round() / 255
    mean, std = (torch.tensor(values).to(pixels)[:, None, None] for values in (CLIP_MEAN, CLIP_STD))
    return (pixels - mean) / std


@torch.no_grad()
def encode_style(image_encoder: Any, picture: Tensor) -> Tensor:
    """e_is: tokens of one picture (1, H, W, 3) from the last layer but one of CLIP vision, (N, width) float32 on the CPU."""
    parameter = next(image_encoder.parameters())
    pixels = clip_pixels(picture, image_encoder.config.image_size).to(parameter)
    hidden = image_encoder(pixel_values=pixels, output_hidden_states=True).hidden_states[-2]
    return hidden[0].float().cpu()


@torch.no_grad()
def encode_latents(vae: Any, pictures: Tensor) -> Tensor:
    """(B, H, W, 3), values 0-1 -> (B, 4, H / 8, W / 8) latents as the UNet sees them, float32."""
    parameter = next(vae.parameters())
    encoded = vae.encode((2 * pictures.movedim(-1, 1) - 1).to(parameter))
    # A full VAE gives a distribution, of which the mean is used; a tiny one gives the latent itself.
    latents = encoded.latents if hasattr(encoded, "latents") else encoded.latent_dist.mode()
    return latents.float() * vae.config.scaling_factor


@torch.no_grad()
def decode_latents(vae: Any, latents: Tensor) -> Tensor:
    """The inverse of :func:`encode_latents`: (B, 4, h, w) -> (B, 8 h, 8 w, 3), values 0-1, float32 on the CPU."""
    parameter = next(vae.parameters())
    # One at a time: the decoder's activations are the largest of all.
    decoded = [vae.decode((latent[None] / vae.config.scaling_factor).to(parameter)).sample for latent in latents]
    return (torch.cat(decoded).float() / 2 + 0.5).clamp(0, 1).movedim(1, -1).cpu()
