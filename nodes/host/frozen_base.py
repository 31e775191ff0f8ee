"""A graph's MODEL and CLIP as the frozen base that the core trains on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import comfy.model_management
from torch import Tensor

from ...acfun_core.host import Base
from ...acfun_core.unet.blocks import find_sites
from .gradients import differentiable
from .text import DescriptionSide
from .unet import NoisePredictor, base_key_of, schedule_of


def load_for_training(model, clip, latents: Tensor) -> None:
    """Bring the UNet and the text encoder onto the device, with room for gradients of latents (2, 4, h, w)."""
    comfy.model_management.load_models_gpu(
        [model, clip.patcher], memory_required=4 * model.memory_required(list(latents.shape))
    )


@contextmanager
def trainable(model, clip, text: str) -> Iterator[Base]:
    """While active, MODEL and CLIP, which are loaded, let gradients through; then they are as they were.

    Args:
        text: what the training encodes, with S* in it once.
    """
    schedule = schedule_of(model)
    with differentiable(model.model, clip.cond_stage_model):
        side = DescriptionSide(clip, text)
        predict_noise, sites = NoisePredictor(model, schedule, side), find_sites(model.model.diffusion_model)
        yield Base(predict_noise, sites, side, schedule, model.load_device, side.family.name, base_key_of(model))
