"""A tiny base for the core: a random diffusers UNet and a toy text side. No ComfyUI."""

from __future__ import annotations

import pytest
import torch

from tools.comfy.launcher import define_torchvision_operators

# diffusers imports torchvision, whose compiled operators may not fit a CPU build of torch.
define_torchvision_operators()

from diffusers import UNet2DConditionModel  # noqa: E402

from acfun_core.diffusion.schedule import NoiseSchedule  # noqa: E402
from acfun_core.host import Base  # noqa: E402
from acfun_core.unet.blocks import find_sites  # noqa: E402

TEXT_WIDTH, IMAGE_WIDTH, TOKENS, STAR = 32, 48, 7, 4


class ToyTextSide:
    """Token embeddings mixed causally by a fixed random map: enough for S* to see the words before it."""

    position = STAR

    def __init__(self):
        generator = torch.Generator().manual_seed(1)
        self.initial_row = 0.02 * torch.randn(TEXT_WIDTH, generator=generator)
        self.words = 0.02 * torch.randn(TOKENS, TEXT_WIDTH, generator=generator)
        self.mix = torch.randn(TEXT_WIDTH, TEXT_WIDTH, generator=generator) / TEXT_WIDTH**0.5

    def encode(self, row):
        words = torch.cat([self.words[:STAR], row[None], self.words[STAR + 1 :]])
        history = words.cumsum(dim=0) / torch.arange(1, TOKENS + 1)[:, None]
        return torch.nn.functional.layer_norm(words + history @ self.mix, (TEXT_WIDTH,))[None]


def tiny_unet(channels: int = 32) -> UNet2DConditionModel:
    """Random weights, two levels, one ResBlock a level, Stable Diffusion 1.x layout."""
    torch.manual_seed(0)
    return (
        UNet2DConditionModel(
            sample_size=8,
            layers_per_block=1,
            block_out_channels=(channels, 2 * channels),
            cross_attention_dim=TEXT_WIDTH,
            attention_head_dim=2,
            down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
            up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        )
        .eval()
        .requires_grad_(False)
    )


def base_on(unet: UNet2DConditionModel) -> Base:
    return Base(
        lambda z, t, context: unet(z, t, context).sample,
        find_sites(unet),
        ToyTextSide(),
        NoiseSchedule.stable_diffusion(),
        torch.device("cpu"),
    )


@pytest.fixture(scope="session")
def unet() -> UNet2DConditionModel:
    return tiny_unet()


@pytest.fixture
def base(unet) -> Base:
    return base_on(unet)


@pytest.fixture
def latents() -> torch.Tensor:
    return torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(2))


@pytest.fixture
def style_tokens() -> torch.Tensor:
    return torch.randn(16, IMAGE_WIDTH, generator=torch.Generator().manual_seed(3))
