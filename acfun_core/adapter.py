"""What is learned from one style image and one face photo."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor, nn

from .afun import AFun, interpolate_row
from .cfun import CFunStack
from .config import AdapterConfig, Strengths
from .injection import Transform


class TextSide(Protocol):
    """CLIP's text side of a base, bound to one face description. The host provides it."""

    initial_row: Tensor
    """(width,) token embedding of the initial word."""
    position: int
    """Index of S* among the description's tokens."""

    def encode(self, row: Tensor) -> Tensor:
        """The description with S* standing for ``row`` (width,) -> context (1, T, width), differentiable."""


@dataclass
class TrainingRecord:
    """How an adapter came about; kept in its file.

    Attributes:
        settings: the TrainConfig as a plain dict.
        style_loss, face_loss: unweighted terms of eq. 4, one value a step.
        before, after: [style, face] terms on the same fixed timesteps and noises, before and after training.
        skipped_steps: optimizer steps left out because half-precision gradients overflowed.
        resolution: (height, width) in pixels at which it was trained.
    """

    settings: dict = field(default_factory=dict)
    style_loss: list[float] = field(default_factory=list)
    face_loss: list[float] = field(default_factory=list)
    before: list[float] = field(default_factory=list)
    after: list[float] = field(default_factory=list)
    skipped_steps: int = 0
    resolution: tuple[int, int] = (0, 0)


class StyleAdapter(nn.Module):
    """AFun, CFun and the style image's tokens: everything inference needs beside the base.

    Args:
        initial_row: (text_width,) embedding of the initial word.
        style_tokens: (N, image_width) CLIP tokens of the style image, e_is.
        channels: canonical block name -> channels, for the blocks that carry CFun.
    """

    base_family = "sd1"

    def __init__(self, config: AdapterConfig, initial_row: Tensor, style_tokens: Tensor, channels: dict[str, int]):
        super().__init__()
        self.config = config
        self.afun = AFun(initial_row, style_tokens.shape[-1], config)
        self.cfun = CFunStack(channels)
        self.register_buffer("style_tokens", style_tokens.detach().clone().float())
        # e_a as trained: inference needs neither the style image, nor CLIP vision, nor a second pass through the text side.
        self.register_buffer("e_a", self.afun.initial_row.clone())
        self.record = TrainingRecord()

    @property
    def text_width(self) -> int:
        return self.afun.text_width

    def fuse(self, text: TextSide) -> Tensor:
        """e_a for the description of ``text`` (width,), differentiable (eq. 1-2)."""
        e_tf = text.encode(self.afun.row)
        return self.afun(e_tf, self.style_tokens[None], text.position)

    @torch.no_grad()
    def settle(self, text: TextSide) -> None:
        """Fix e_a after training and round all weights to what the file keeps, so that a saved adapter is the same one."""
        self.eval()
        for tensor in (*self.parameters(), self.style_tokens):
            tensor.copy_(tensor.half().float())
        self.e_a.copy_(self.fuse(text))

    def row(self, strength: float = 1.0) -> Tensor:
        """What stands for S* in a prompt at an abstract strength, (text_width,)."""
        return interpolate_row(self.afun.initial_row, self.e_a, strength)


def block_transforms(adapters: Sequence[tuple[StyleAdapter, Strengths]]) -> dict[str, Transform]:
    """Transforms of the residual branches for several adapters at once.

    Changes add up: ``h + sum_i strength_i (CFun_i(h) - h)``. Blocks whose strengths are all 0 get no transform at all, so that
    strength 0 is the base bit for bit.
    """
    parts: dict[str, list] = {}
    for adapter, strengths in adapters:
        for name in adapter.cfun.names():
            strength = strengths.for_block(name)
            if strength != 0:
                parts.setdefault(name, []).append((adapter.cfun[name], strength))
    return {name: _sum_of_changes(members) for name, members in parts.items()}


def _sum_of_changes(members: list) -> Transform:
    def transform(h: Tensor) -> Tensor:
        changed = h
        for cfun, strength in members:
            changed = changed + strength * cfun.delta(h)
        return changed

    return transform
