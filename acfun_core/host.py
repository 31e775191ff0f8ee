"""What a host hands over: the frozen base an adapter is learned on, through what the core needs of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from .diffusion.sampling import PredictNoise, PredictVelocity
from .diffusion.schedule import NoiseSchedule
from .unet.blocks import ResBlockSite


class StyledText(Protocol):
    """A prompt with S* in it, whose meaning is left open, and CLIP's text transformer behind it. The host provides it."""

    def encode(self, row: Tensor) -> Tensor:
        """The text with S* standing for ``row`` (width,) -> context (1, T, width)."""


class TextSide(StyledText, Protocol):
    """The text of a training: differentiable, and with what AFun starts from."""

    initial_row: Tensor
    """(width,) token embedding of the initial word."""
    position: int
    """Index of S* among the text's tokens."""


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
        predict_velocity: of a base that was trained to predict v (see :mod:`~acfun_core.diffusion.schedule`); ``predict_noise``
            is then the noise that this means. None where the base predicts noise.
        dtype: the precision in which the UNet computes.
        not_as_a_graph: why a step cannot be written down as one CUDA graph, as a sentence; "" where nothing speaks against it.
    """

    predict_noise: PredictNoise
    sites: Mapping[str, ResBlockSite]
    text: TextSide
    schedule: NoiseSchedule
    device: torch.device
    family: str = "sd1"
    key: str = ""
    predict_velocity: PredictVelocity | None = None
    dtype: torch.dtype = torch.float32
    not_as_a_graph: str = ""

    @property
    def prediction(self) -> str:
        """What the base itself predicts, one of :data:`~acfun_core.method.adapter.PREDICTIONS`."""
        return "epsilon" if self.predict_velocity is None else "v"

    @property
    def predict(self) -> PredictNoise | PredictVelocity:
        """The base's own prediction, which the loss compares."""
        return self.predict_velocity or self.predict_noise
