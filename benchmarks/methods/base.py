"""The interface of a method, and its state between training and drawing."""

from __future__ import annotations

import hashlib
import re
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn import functional as F

from ..lists import Pair
from ..workbench import Workbench

State = Any
"""What a training leaves; a dict of tensors unless the method says otherwise."""


class Method(ABC):
    """One way to draw a face in a style.

    Attributes:
        name: in files, rows and claims. title: in tables.
        anchor: one of those that must never win.
        trained: whether :meth:`train` does anything; the others have no state.
        style_only: the training sees only the style, so that one serves all faces.
    """

    name: str = ""
    title: str = ""
    anchor: bool = False
    trained: bool = False
    style_only: bool = False

    @property
    def state_name(self) -> str:
        """Methods with the same name here share their trainings."""
        return self.name

    def train(self, bench: Workbench, pair: Pair) -> State:
        """Learn from a pair within the settings' budget."""
        return {}

    @abstractmethod
    def sample(self, bench: Workbench, pair: Pair, state: State, seed: int) -> Tensor:
        """Draw one picture (side, side, 3), values 0-1."""

    def save(self, state: State, path: Path) -> None:
        save_file({key: value.detach().contiguous() for key, value in state.items()}, path)

    def load(self, path: Path) -> State:
        return load_file(path)

    def close(self) -> None:  # noqa: B027
        """Give back what the method holds beside the workbench, such as a server."""


def slug(text: str) -> str:
    """A file name for a method with options."""
    plain = re.sub(r"[^a-zA-Z0-9_.=-]+", "_", text)
    return plain if len(plain) <= 80 else f"{plain[:60]}-{hashlib.sha256(text.encode()).hexdigest()[:12]}"


def noise_error(bench: Workbench, latents: Tensor, context: Tensor, generator: torch.Generator, t: Tensor) -> Tensor:
    """Mean squared error of the predicted noise, the loss that Stable Diffusion is trained with.

    Args:
        latents: (B, 4, h, w) clean. context: (1 or B, T, width). t: (B,) timesteps.
    """
    noise = torch.randn(latents.shape, generator=generator)
    z_t = bench.base.schedule.add_noise(latents, noise, t)
    predicted = bench.base.predict_noise(z_t, t, context.expand(len(latents), -1, -1))
    return F.mse_loss(predicted, noise)
