"""Pictures in and out of a base: latents, CLIP tokens, and files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor
from torch.nn import functional as F

from ..errors import ACFunError
from ..images import check_image

CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)
"""Statistics of the pictures CLIP was trained on; every CLIP vision model uses them."""


def read_picture(path: str | Path, role: str) -> Tensor:
    """A picture file as (1, H, W, 3), values 0-1, turned as its EXIF entry says.

    Raises:
        ACFunError: the file is missing, no picture, or of a size that cannot be used.
    """
    path = Path(path)
    try:
        with Image.open(path) as file:
            pixels = np.asarray(ImageOps.exif_transpose(file).convert("RGB"), dtype=np.float32) / 255.0
    except (OSError, UnidentifiedImageError, Image.DecompressionBombError) as error:
        raise ACFunError(
            f"The {role} {path} cannot be read: {error}.", "a picture file (PNG, JPEG, WebP)", "check the path"
        ) from error
    return check_image(torch.from_numpy(pixels)[None], role)


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
