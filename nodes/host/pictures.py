"""Pictures as the training sees them: latents by the graph's VAE and back for previews, tokens by its CLIP vision."""

from __future__ import annotations

from functools import partial

import comfy.taesd.taesd
import latent_preview
import torch
from PIL import Image
from torch import Tensor

from ...acfun_core.config import TrainConfig
from ...acfun_core.errors import ACFunError
from ...acfun_core.images import square
from ...acfun_core.training import material
from ...acfun_core.training.material import Material

BATCH = 8
"""Pictures that CLIP vision sees at once."""


def encode_pictures(model, vae, pictures: Tensor) -> Tensor:
    """Square pictures (B, S, S, 3) -> latents (B, 4, S / 8, S / 8) as the UNet sees them, ordinary tensors on the CPU."""
    encoded = vae.encode(pictures)
    with torch.inference_mode(False):
        latents = model.model.process_latent_in(encoded.clone()).clone().float().cpu()
    if latents.shape[1] != 4 or latents.shape[-1] * 8 != pictures.shape[1]:
        raise ACFunError(
            f"The VAE gives latents of shape {tuple(latents.shape)}.",
            "4 channels at an eighth of the size",
            "connect the VAE of a Stable Diffusion 1.x, 2.x or SDXL checkpoint",
        )
    return latents


def encode_material(
    model, vae, style: Tensor, config: TrainConfig, resolution: int, *further: Tensor | None
) -> Material:
    """See :func:`~acfun_core.training.material.encode_material`; all of it ordinary tensors, which a training can keep."""
    encoded = material.encode_material(partial(encode_pictures, model, vae), style, config, resolution, *further)
    with torch.inference_mode(False):
        return encoded.each(Tensor.clone)


def style_tokens(clip_vision, style: Tensor) -> Tensor:
    """e_is: tokens of the style image from the last layer but one of CLIP vision, (N, width); of several (K, N, width)."""
    # One by one, so that each is seen as it is seen alone.
    hidden = [clip_vision.encode_image(one)["penultimate_hidden_states"] for one in style.split(1)]
    with torch.inference_mode(False):
        tokens = torch.cat([one.clone().float().cpu() for one in hidden])
        return tokens[0] if len(tokens) == 1 else tokens


def seen_by(clip_vision, pictures: Tensor) -> tuple[Tensor, Tensor]:
    """The core's See: middle squares of (B, H, W, 3) -> tokens (B, N, width), embeddings (B, D), on the CPU."""
    tokens, embeddings = [], []
    for part in pictures.split(BATCH):
        seen = clip_vision.encode_image(square(part, min(part.shape[1:3])))
        tokens.append(seen["penultimate_hidden_states"].cpu())
        embeddings.append(seen["image_embeds"].double().cpu())
    return torch.cat(tokens), torch.cat(embeddings)


def quick_picture(latent: Tensor, model, vae) -> Image.Image:
    """A picture of a clean UNet latent (1, 4, h, w): by the VAE if it is a tiny one, else by ComfyUI's linear latent preview.

    A full VAE is not used here: it could push the UNet off the device in mid-training.
    """
    if isinstance(vae.first_stage_model, comfy.taesd.taesd.TAESD):
        pixels = vae.decode(model.model.process_latent_out(latent))[0]
        return Image.fromarray((pixels.detach().cpu().clamp(0, 1) * 255).round().byte().numpy())
    factors = model.model.latent_format.latent_rgb_factors
    bias = model.model.latent_format.latent_rgb_factors_bias
    small = latent_preview.Latent2RGBPreviewer(factors, bias).decode_latent_to_preview(latent)
    return small.resize((small.width * 8, small.height * 8), Image.Resampling.BILINEAR)
