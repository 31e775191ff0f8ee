"""Pictures about training: the loss curve, and portraits on the way."""

from __future__ import annotations

import comfy.taesd.taesd
import latent_preview
import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor

from ...acfun_core.chance import generator
from ...acfun_core.diffusion import sampling
from ...acfun_core.host import Base
from ...acfun_core.method.adapter import StyleAdapter
from ...acfun_core.method.mixing import applied
from ..host.text import encode_tokens

SAMPLER_STEPS, GUIDANCE = 10, 3.0
_STYLE_COLOUR, _FACE_COLOUR = (214, 93, 57), (46, 110, 172)


def smooth(values: list[float], window: int) -> np.ndarray:
    """Running mean over the last ``window`` values."""
    sums = np.cumsum(np.insert(np.asarray(values, dtype=float), 0, 0.0))
    ends = np.arange(1, len(values) + 1)
    starts = np.maximum(0, ends - window)
    return (sums[ends] - sums[starts]) / (ends - starts)


def draw_loss_curve(style: list[float], face: list[float], size: tuple[int, int] = (768, 448)) -> Tensor:
    """Both terms over the steps, smoothed, single values as dots. -> IMAGE (1, H, W, 3), values 0-1."""
    width, height = size
    left, top, right, bottom = 64, 40, width - 20, height - 44
    image = Image.new("RGB", size, (250, 249, 246))
    draw = ImageDraw.Draw(image)
    highest = max(max(style), max(face), 1e-6) * 1.05
    steps = len(style)

    def at(index: int, value: float) -> tuple[float, float]:
        return left + (right - left) * (index + 0.5) / steps, bottom - (bottom - top) * value / highest

    for part in range(5):
        value = highest * part / 4
        y = at(0, value)[1]
        draw.line([(left, y), (right, y)], fill=(226, 223, 216))
        draw.text((left - 8, y), f"{value:.3f}", fill=(90, 88, 84), anchor="rm")
    for values, colour, name, x in (
        (style, _STYLE_COLOUR, "style term", left),
        (face, _FACE_COLOUR, "face term", left + 130),
    ):
        for index, value in enumerate(values):
            px, py = at(index, value)
            draw.ellipse([px - 1, py - 1, px + 1, py + 1], fill=tuple(c + (255 - c) * 2 // 3 for c in colour))
        curve = smooth(values, max(1, steps // 12))
        draw.line([at(index, value) for index, value in enumerate(curve)], fill=colour, width=3)
        draw.text((x, 14), name, fill=colour)
    draw.text((left, bottom + 16), "1", fill=(90, 88, 84), anchor="mm")
    draw.text((right, bottom + 16), f"step {steps}", fill=(90, 88, 84), anchor="rm")
    return torch.from_numpy(np.asarray(image, dtype=np.float32) / 255.0)[None]


def preview_image(latent: Tensor, model, vae) -> Image.Image:
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


class PortraitPreview:
    """The portrait an adapter draws at some point of its training, always from the same noise."""

    def __init__(self, base: Base, model, clip, vae, latent_size, seed: int):
        self.base, self.model, self.vae = base, model, vae
        self.noise = torch.randn(1, 4, *latent_size, generator=generator(seed)).to(base.device)
        with torch.no_grad():
            self.empty = encode_tokens(clip, clip.tokenize(""))[0].to(base.device)

    @torch.no_grad()
    def __call__(self, adapter: StyleAdapter) -> Image.Image:
        levels = sampling.even_levels(self.base.schedule, SAMPLER_STEPS)
        with applied(self.base, adapter) as context:
            latent = sampling.draw(self.base.predict_noise, levels, self.noise, context, self.empty, GUIDANCE)
        return preview_image(latent, self.model, self.vae)
