"""Pictures as the training sees them: latents by the graph's VAE, tokens by its CLIP vision."""

from __future__ import annotations

import torch
from torch import Tensor

from ...acfun_core.config import TrainConfig
from ...acfun_core.errors import ACFunError
from ...acfun_core.images import square
from ...acfun_core.training.material import Material, latent_mask, vary


def encode_pictures(model, vae, pictures: Tensor) -> Tensor:
    """Square pictures (B, S, S, 3) -> latents (B, 4, S / 8, S / 8) as the UNet sees them, ordinary tensors on the CPU."""
    encoded = vae.encode(pictures)
    with torch.inference_mode(False):
        latents = model.model.process_latent_in(encoded.clone()).clone().float().cpu()
    if latents.shape[1] != 4 or latents.shape[-1] * 8 != pictures.shape[1]:
        raise ACFunError(
            f"The VAE gives latents of shape {tuple(latents.shape)}.",
            "4 channels at an eighth of the size",
            "connect the VAE of a Stable Diffusion 1.x checkpoint",
        )
    return latents


def encode_pair(model, vae, style: Tensor, face: Tensor, resolution: int) -> Tensor:
    """(2, 4, h, w) latents of style and face."""
    return encode_pictures(model, vae, torch.cat([square(style, resolution), square(face, resolution)]))


def encode_material(
    model, vae, style: Tensor, config: TrainConfig, resolution: int, style_mask: Tensor | None, face_mask: Tensor | None
) -> Material:
    """Variants of the style picture and masks, encoded once before the training.

    Args:
        style: (1, H, W, 3), values 0-1.
        style_mask, face_mask: (1, H, W) of the size of their pictures, checked by :func:`~acfun_core.masks.check_mask_of`.
    """
    side = resolution // 8
    variants = style_masks = None
    if config.varies_style:
        with_mask = style if style_mask is None else torch.cat([style, style_mask[..., None]], dim=-1)
        pictures = vary(with_mask, config, resolution, config.seed)
        variants = encode_pictures(model, vae, pictures[..., :3])
        if style_mask is not None:
            style_masks = torch.cat([latent_mask(one[None], side, "style mask") for one in pictures[..., 3]])
    elif style_mask is not None:
        style_masks = latent_mask(square(style_mask[..., None], resolution)[..., 0], side, "style mask")
    if face_mask is not None:
        face_mask = latent_mask(square(face_mask[..., None], resolution)[..., 0], side, "face mask")
    with torch.inference_mode(False):
        ordinary = (None if part is None else part.clone() for part in (variants, style_masks, face_mask))
        return Material(*ordinary)


def style_tokens(clip_vision, style: Tensor) -> Tensor:
    """e_is: (N, width) tokens of the style image from the last layer but one of CLIP vision."""
    hidden = clip_vision.encode_image(style)["penultimate_hidden_states"]
    with torch.inference_mode(False):
        return hidden[0].clone().float().cpu()
