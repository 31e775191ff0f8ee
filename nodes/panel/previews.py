"""Portraits that an adapter draws while it learns."""

from __future__ import annotations

import torch
from PIL import Image

from ...acfun_core.chance import generator
from ...acfun_core.diffusion import sampling
from ...acfun_core.host import Base
from ...acfun_core.method.adapter import StyleAdapter
from ...acfun_core.method.applied import applied
from ..host.pictures import quick_picture
from ..host.text import encode_tokens

SAMPLER_STEPS, GUIDANCE = 10, 3.0


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
        return quick_picture(latent, self.model, self.vae)
