"""Bases with random weights: of any width for the page of stability, and in their full size for time and memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import nn

from acfun_core.backends.clip import read_json
from acfun_core.backends.families import SD1, SDXL, Family, Parts
from acfun_core.backends.vision import KNOWN
from acfun_core.diffusion.schedule import NoiseSchedule
from acfun_core.host import Base
from acfun_core.method.cfun import CFun, channel_sigma
from acfun_core.unet.blocks import find_sites

TEXT_WIDTH, IMAGE_WIDTH, TOKENS, STYLE_TOKENS = 768, 1024, 77, 64

_PATCHES = {"patch_size": 14, "image_size": 224}
VIT_L = {"hidden_size": 1024, "num_hidden_layers": 24, "projection_dim": 768, **_PATCHES, **KNOWN[1024]}
VIT_H = {"hidden_size": 1280, "num_hidden_layers": 32, "projection_dim": 1024, **_PATCHES, **KNOWN[1280]}
"""transformers' settings of CLIP vision: OpenAI's ViT-L/14 and OpenCLIP's ViT-H/14."""


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


def settings_of(family: Family) -> dict[str, dict]:
    """diffusers' and transformers' settings of a base in its full size, by part; ``image_encoder`` is the usual CLIP vision."""
    names = ("unet", "vae", *(reading.part for reading in family.readings))
    settings = {name: read_json(family.configs / name / "config.json") for name in names}
    settings["image_encoder"] = VIT_L if family is SD1 else VIT_H
    return settings


def made(dtype: torch.dtype, make: Callable[[], nn.Module]) -> nn.Module:
    """A module in a precision from the start: it is never there twice, and FakeTensorMode's tensors cannot be changed."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        return make()
    finally:
        torch.set_default_dtype(before)


def random_part(name: str, settings: dict, device: torch.device, dtype: torch.dtype) -> nn.Module:
    """One part of a base, frozen, with the random weights that its library begins a training with.

    Args:
        name: one of :func:`settings_of`; settings: that part's.
    """
    from diffusers import AutoencoderKL, UNet2DConditionModel
    from transformers import (
        CLIPTextConfig,
        CLIPTextModelWithProjection,
        CLIPVisionConfig,
        CLIPVisionModelWithProjection,
    )

    makers = {
        "unet": UNet2DConditionModel.from_config,
        "vae": AutoencoderKL.from_config,
        "image_encoder": lambda given: CLIPVisionModelWithProjection(CLIPVisionConfig(**given)),
    }
    make = makers.get(name, lambda given: CLIPTextModelWithProjection(CLIPTextConfig(**given)))
    with torch.device(device):
        return made(dtype, lambda: make(settings)).eval().requires_grad_(False)


def text_dtype(family: Family, device: torch.device, dtype: torch.dtype) -> torch.dtype:
    """That of the text encoders beside a UNet in ``dtype``, as ``acfun train`` loads them."""
    halved = dtype == torch.float16 and (torch.device(device).type == "cuda" or family is SDXL)
    return dtype if halved else torch.float32


def random_parts(family: Family, settings: dict[str, dict], device: torch.device, dtype: torch.dtype) -> Parts:
    """A base without CLIP vision, made on its device one part after the other."""
    torch.manual_seed(0)
    unet = random_part("unet", settings["unet"], device, dtype)
    vae = random_part("vae", settings["vae"], device, torch.float32)
    of_texts = text_dtype(family, device, dtype)
    names = [reading.part for reading in family.readings]
    texts = tuple(random_part(name, settings[name], device, of_texts) for name in names)
    words = tuple(_Words(settings[name]["vocab_size"]) for name in names)
    return Parts(unet, vae, texts, words, NoiseSchedule.stable_diffusion(), family)


def random_stable_diffusion(device: torch.device, dtype: torch.dtype):
    """Stable Diffusion 1.5 in its full size, CLIP ViT-L/14 vision with it, with random weights.

    -> :class:`~acfun_core.backends.stable_diffusion.StableDiffusion`, as it is loaded in this precision.
    """
    from acfun_core.backends.stable_diffusion import StableDiffusion

    settings = settings_of(SD1)
    base = StableDiffusion(random_parts(SD1, settings, device, dtype), None, device)
    base._image_encoder = random_part("image_encoder", settings["image_encoder"], device, torch.float32)
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
