"""What a host hands over: the frozen base an adapter is learned on, through what the core needs of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from .diffusion.sampling import PredictNoise
from .diffusion.schedule import NoiseSchedule
from .unet.blocks import ResBlockSite


class TextSide(Protocol):
    """CLIP's text side of a base, bound to one face description or prompt. The host provides it."""

    initial_row: Tensor
    """(width,) token embedding of the initial word."""
    position: int
    """Index of S* among the text's tokens."""

    def encode(self, row: Tensor) -> Tensor:
        """The text with S* standing for ``row`` (width,) -> context (1, T, width), differentiable."""


@dataclass(frozen=True)
class Base:
    """The frozen model an adapter is learned on.

    Attributes:
        predict_noise: see :data:`~acfun_core.diffusion.sampling.PredictNoise`.
        sites: ResBlocks of the UNet behind ``predict_noise``.
        text: CLIP's text side, bound to the description.
        schedule: the noise schedule.
        device: where the UNet computes.
        family: kind of base, one of :data:`~acfun_core.method.adapter.FAMILIES`.
        key: names its weights, if adapters of other weights are of no use on it (see :mod:`acfun_core.demo_base`).
    """

    predict_noise: PredictNoise
    sites: Mapping[str, ResBlockSite]
    text: TextSide
    schedule: NoiseSchedule
    device: torch.device
    family: str = "sd1"
    key: str = ""
