"""Pictures in and out of a base: latents, CLIP tokens, and files."""

from __future__ import annotations

import io
import logging
import struct
from dataclasses import dataclass
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


def read_picture(path: str | Path, role: str, contrast: bool = False, content: bytes | None = None) -> Tensor:
    """A picture file as (1, H, W, 3), values 0-1, turned as its EXIF entry says; what is transparent is laid over white.

    Args:
        contrast: as for :func:`~acfun_core.images.check_image`.
        content: the file's bytes, where they were read before; ``path`` is then its name in messages only.

    Raises:
        ACFunError: the file is missing, no picture, or of a size, range or contrast that cannot be used.
    """
    path = Path(path)
    try:
        with Image.open(path if content is None else io.BytesIO(content)) as file:
            stored = _Stored.of(file)
            stored.check(path, role)
            picture = ImageOps.exif_transpose(file)
            deep = picture.mode in _DEEP
            pixels = _grey(picture, stored, path, role) if deep else _colours(picture, stored, role)
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
    # Pillow would name the place in memory of what was read before.
    why = "it is of no kind that Pillow knows" if isinstance(error, UnidentifiedImageError) else error
    return ACFunError(f"The {role} {path} cannot be read: {why}.", "a picture file (PNG, JPEG, WebP)", "check the path")


@dataclass(frozen=True)
class _Stored:
    """How a file stores its values, as far as Pillow does not see to it.

    Attributes:
        deep: whether a channel has more than 8 bits.
        inverted: whether 0 is white; Pillow turns only 8 bits round.
        apart: whether one channel follows the other. Pillow reads the bytes of deeper ones as if they were values.
        signed: whether values may be negative, so that nothing says what is white.
    """

    deep: bool
    inverted: bool = False
    apart: bool = False
    signed: bool = False

    @classmethod
    def of(cls, file: Image.Image) -> _Stored:
        tags = getattr(file, "tag_v2", None)
        if tags is None:
            # The first of a decoder's arguments names how it unpacks, such as "RGB;16B".
            arguments = file.tile[0][3] if getattr(file, "tile", None) else ""
            return cls(";16" in str(arguments[0] if isinstance(arguments, tuple) and arguments else arguments))
        bits, kinds = tags.get(_BITS, (1,)), tags.get(_NUMBERS, (1,))
        return cls(max(bits) > 8, tags.get(_WHITE) == 0, tags.get(_LAYOUT) == 2, 2 in kinds)

    def check(self, path: Path, role: str) -> None:
        """Raise if Pillow would give other values than the file's."""
        if (self.apart and self.deep) or self.signed:
            how = "signed numbers" if self.signed else "16 bits a channel, one channel after the other"
            raise ACFunError(
                f"The {role} {path} holds {how}, which cannot be read.",
                "8 or 16 bits a channel, without a sign, the channels of a pixel side by side",
                "save it as PNG",
            )


_BITS, _WHITE, _LAYOUT, _NUMBERS = 258, 262, 284, 339
"""TIFF's tags: BitsPerSample, PhotometricInterpretation, PlanarConfiguration, SampleFormat."""


def _colours(picture: Image.Image, stored: _Stored, role: str) -> np.ndarray:
    """(H, W, 3 or 4) of 8 bits a channel, values 0-1. Of 16 bits a channel Pillow keeps the upper 8, and the log says so."""
    if stored.deep:
        logging.warning("ACFun: the %s has 16 bits a channel; of colours the upper 8 are used.", role)
        key = picture.info.get("transparency")
        if isinstance(key, tuple):
            picture.info["transparency"] = tuple(value >> 8 for value in key)
    # A palette, or one colour that stands for nothing, hides its transparency in the file's entries.
    mode = "RGBA" if picture.mode in ("RGBA", "RGBa", "LA", "La", "PA") or "transparency" in picture.info else "RGB"
    return np.asarray(picture.convert(mode), dtype=np.float32) / 255.0


def _grey(picture: Image.Image, stored: _Stored, path: Path, role: str) -> np.ndarray:
    """(H, W, 1 or 4) of 16 bits, or of floats on the scale that their largest value tells: 1, 255 or 65535."""
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
    scaled = values / fitting[0]
    if top < fitting[0] / 8 and not stored.inverted:
        # Cameras and scanners put 10 or 12 bits into 16 as they are.
        logging.warning("ACFun: the %s is very dark: its lightest value is %g of %g.", role, top, fitting[0])
    if stored.inverted:
        scaled = 1 - scaled
    key = picture.info.get("transparency")
    return scaled if key is None else np.concatenate([scaled, scaled, scaled, values != key], axis=-1, dtype=np.float32)


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
def seen_by(image_encoder: Any, pictures: Tensor) -> tuple[Tensor, Tensor]:
    """What CLIP vision sees in (B, H, W, 3): tokens of its last layer but one (B, N, width), embeddings (B, D), on the CPU."""
    parameter = next(image_encoder.parameters())
    pixels = clip_pixels(pictures, image_encoder.config.image_size).to(parameter)
    seen = image_encoder(pixel_values=pixels, output_hidden_states=True)
    return seen.hidden_states[-2].float().cpu(), seen.image_embeds.float().cpu()


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
