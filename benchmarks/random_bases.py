"""Bases of any width with random weights, to train on for the page of stability."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from acfun_core.diffusion.schedule import NoiseSchedule
from acfun_core.host import Base
from acfun_core.method.cfun import CFun, channel_sigma
from acfun_core.unet.blocks import find_sites

TEXT_WIDTH, IMAGE_WIDTH, TOKENS, STYLE_TOKENS = 768, 1024, 77, 64


class RandomText:
    """A text side of Stable Diffusion's sizes: fixed words, mixed causally, S* in the middle."""

    position = 9

    def __init__(self, seed: int, device: torch.device):
        generator = torch.Generator().manual_seed(seed)
        self.words = (0.02 * torch.randn(TOKENS, TEXT_WIDTH, generator=generator)).to(device)
        self.mix = (torch.randn(TEXT_WIDTH, TEXT_WIDTH, generator=generator) / TEXT_WIDTH**0.5).to(device)
        self.initial_row = self.words[self.position].cpu()

    def encode(self, row: torch.Tensor) -> torch.Tensor:
        """(width,) -> (1, T, width)."""
        words = torch.cat([self.words[: self.position], row[None], self.words[self.position + 1 :]])
        history = words.cumsum(dim=0) / torch.arange(1, TOKENS + 1, device=row.device)[:, None]
        return torch.nn.functional.layer_norm(words + history @ self.mix, (TEXT_WIDTH,))[None]


def random_base(channels: int, levels: int, layers: int, side: int, seed: int, device: str = "cpu") -> Base:
    """A random UNet in Stable Diffusion 1.x layout: ``levels`` of its four, each ``layers`` ResBlocks deep, no middle block."""
    # Late, for the caller may have to mend torchvision first.
    from diffusers import UNet2DConditionModel

    device = torch.device(device)
    widths = [channels * factor for factor in (1, 2, 4, 4)[:levels]]
    torch.manual_seed(seed)
    unet = UNet2DConditionModel(
        sample_size=side,
        layers_per_block=layers,
        block_out_channels=widths,
        cross_attention_dim=TEXT_WIDTH,
        attention_head_dim=8,
        down_block_types=["CrossAttnDownBlock2D"] * (levels - 1) + ["DownBlock2D"],
        # The middle block carries no CFun by default, and would be a third of the time.
        mid_block_type=None,
        up_block_types=["UpBlock2D"] + ["CrossAttnUpBlock2D"] * (levels - 1),
    )
    unet = unet.eval().requires_grad_(False).to(device, memory_format=torch.channels_last)
    return Base(
        lambda z, t, context: unet(z, t, context).sample,
        find_sites(unet),
        RandomText(seed, device),
        NoiseSchedule.stable_diffusion(),
        device,
    )


class _Words:
    """A tokenizer that knows no words: a made-up number for each."""

    def __init__(self, size: int):
        self.size = size

    def __call__(self, text: str) -> dict[str, list[int]]:
        words = [1 + sum(map(ord, word)) % (self.size - 3) for word in text.split()]
        return {"input_ids": [self.size - 2, *words, self.size - 1]}


def random_stable_diffusion(device: torch.device, dtype: torch.dtype):
    """Stable Diffusion 1.5 in its full size, CLIP ViT-L/14 vision with it, with random weights.

    -> :class:`~acfun_core.backends.stable_diffusion.StableDiffusion`, as it is loaded in this precision.
    """
    import json

    from diffusers import AutoencoderKL, UNet2DConditionModel
    from transformers import (
        CLIPTextConfig,
        CLIPTextModelWithProjection,
        CLIPVisionConfig,
        CLIPVisionModelWithProjection,
    )

    from acfun_core.backends.families import SD1, Parts
    from acfun_core.backends.stable_diffusion import StableDiffusion
    from acfun_core.backends.vision import KNOWN

    settings = {
        part: json.loads((SD1.configs / part / "config.json").read_text()) for part in ("unet", "vae", "text_encoder")
    }
    vision = {"hidden_size": 1024, "patch_size": 14, "image_size": 224, "num_hidden_layers": 24, "projection_dim": 768}
    torch.manual_seed(0)
    with device:
        unet = UNet2DConditionModel.from_config(settings["unet"]).to(dtype)
        vae = AutoencoderKL.from_config(settings["vae"])
        text = CLIPTextModelWithProjection(CLIPTextConfig(**settings["text_encoder"]))
        seeing = CLIPVisionModelWithProjection(CLIPVisionConfig(**vision, **KNOWN[1024]))
    if device.type == "cuda" and dtype == torch.float16:
        text.half()
    for module in (unet, vae, text, seeing):
        module.eval().requires_grad_(False)
    words = _Words(settings["text_encoder"]["vocab_size"])
    base = StableDiffusion(Parts(unet, vae, (text,), (words,), NoiseSchedule.stable_diffusion()), None, device)
    base._image_encoder = seeing
    return base


def random_material(side: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Latents (2, 4, side, side) and style tokens (N, width)."""
    generator = torch.Generator().manual_seed(seed)
    latents = torch.randn(2, 4, side, side, generator=generator)
    return latents, torch.randn(STYLE_TOKENS, IMAGE_WIDTH, generator=generator)


@contextmanager
def to_the_letter() -> Iterator[None]:
    """Eq. 3 with sigma as it is: not normalised, the maps not scaled by their width."""

    def delta(self: CFun, h: torch.Tensor) -> torch.Tensor:
        sigma = channel_sigma(h)
        gamma, beta = self.gamma(sigma), self.beta(sigma)
        return gamma[:, :, None, None] * h + beta[:, :, None, None]

    ours, CFun.delta = CFun.delta, delta
    try:
        yield
    finally:
        CFun.delta = ours
