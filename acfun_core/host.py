"""The frozen model an adapter is learned on, as a host hands it over, and how well an adapter does on it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from .config import Strengths
from .diffusion.schedule import NoiseSchedule
from .method.adapter import StyleAdapter, TextSide, block_transforms
from .training.alignment_loss import PredictNoise, measure_alignment
from .unet.blocks import ResBlockSite
from .unet.injection import injected


@dataclass(frozen=True)
class Base:
    """The frozen model an adapter is learned on.

    Attributes:
        predict_noise: see :data:`~acfun_core.training.alignment_loss.PredictNoise`.
        sites: ResBlocks of the UNet behind ``predict_noise``.
        text: CLIP's text side, bound to the description.
        schedule: the noise schedule.
        device: where the UNet computes.
        family: kind of base, one of :data:`~acfun_core.method.adapter.FAMILIES`.
    """

    predict_noise: PredictNoise
    sites: Mapping[str, ResBlockSite]
    text: TextSide
    schedule: NoiseSchedule
    device: torch.device
    family: str = "sd1"


@torch.no_grad()
def measure_adapter(base: Base, adapter: StyleAdapter, latents: Tensor, draws: int = 10) -> list[float]:
    """[style, face] terms of eq. 4 with this adapter on fixed timesteps and noises; its mode is kept."""
    training = adapter.training
    adapter.eval()
    try:
        with injected(base.sites, block_transforms([(adapter, Strengths())])):
            context = adapter.condition(base.text)
            return measure_alignment(base.predict_noise, base.schedule, latents, context, draws).tolist()
    finally:
        adapter.train(training)
