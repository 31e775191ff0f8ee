"""What is learned from one style image and one face photo."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor, nn

from ..config import AdapterConfig
from ..errors import ACFunError
from ..host import StyledText, TextSide
from .afun import AFun, interpolate_row
from .cfun import CFunStack

FAMILIES = {"sd1": "Stable Diffusion 1.x", "sd2": "Stable Diffusion 2.x", "sdxl": "SDXL"}
"""Kinds of base, and how people call them. On SDXL both text encoders stand side by side in one row."""

PREDICTIONS = {"epsilon": "the noise", "v": "the velocity (v-prediction)"}
"""What a base predicts, and what that is (see :mod:`~acfun_core.diffusion.schedule`)."""


@dataclass
class TrainingRecord:
    """How an adapter came about; kept in its file.

    Attributes:
        settings: the TrainConfig as a plain dict.
        style_loss, face_loss: unweighted terms of eq. 4, one value a step.
        before, after: [style, face] terms on the same fixed timesteps and noises, before and after training.
        skipped_steps: optimizer steps left out because half-precision gradients overflowed.
        resolution: (height, width) in pixels at which it was trained.
        looks: [step, copied share, weighted loss] of each look of the copy guard.
        kept_step: the step whose weights the guard kept, or None without a guard or a look below its limit.
    """

    settings: dict = field(default_factory=dict)
    style_loss: list[float] = field(default_factory=list)
    face_loss: list[float] = field(default_factory=list)
    before: list[float] = field(default_factory=list)
    after: list[float] = field(default_factory=list)
    skipped_steps: int = 0
    resolution: tuple[int, int] = (0, 0)
    looks: list[list[float]] = field(default_factory=list)
    kept_step: int | None = None


class Slider(NamedTuple):
    """What a slider leads toward and what away from, in words: ``a smiling person``, ``a serious person``."""

    more: str
    less: str


class StyleAdapter(nn.Module):
    """AFun, CFun and the style image's tokens: everything inference needs beside the base.

    Args:
        initial_row: (text_width,) embedding of the initial word.
        style_tokens: (N, image_width) CLIP tokens of the style image, e_is; of several style images (K, N, image_width), which
            AFun's attention reads as one picture of K N tokens; pooled, as the mean of their class tokens.
        channels: canonical block name -> channels, for the blocks that carry CFun.
        base_family: one of :data:`FAMILIES`.
        base_key: names the weights it is for, if it is for no others of the family.
        base_prediction: what the base it was learned on predicts, one of :data:`PREDICTIONS`.
        slider: the two descriptions between which it leads, if it is no style (see :mod:`acfun_core.training.slider`): then
            only CFun is learned, and S* stays the initial word.
    """

    def __init__(
        self,
        config: AdapterConfig,
        initial_row: Tensor,
        style_tokens: Tensor,
        channels: dict[str, int],
        base_family: str = "sd1",
        base_key: str = "",
        base_prediction: str = "epsilon",
        slider: Slider | None = None,
    ):
        super().__init__()
        self.config, self.slider = config, slider
        self.base_family, self.base_key, self.base_prediction = base_family, base_key, base_prediction
        self.afun = AFun(initial_row, style_tokens.shape[-1], config)
        self.cfun = CFunStack(channels, config)
        # CLIP vision puts its class token first.
        of_each = style_tokens if style_tokens.ndim == 3 else style_tokens[None]
        kept = of_each[:, :1].mean(dim=0) if config.image_tokens == "pooled" else of_each.flatten(0, 1)
        self.register_buffer("style_tokens", kept.detach().clone().float())
        # In token mode e_a as trained: inference needs neither the style image, nor CLIP vision, nor a second pass through the
        # text side. In the sequence modes e_a depends on the prompt, and this is the learned row of S*.
        self.register_buffer("e_a", self.afun.initial_row.clone())
        self.record = TrainingRecord()

    @property
    def text_width(self) -> int:
        return self.afun.text_width

    @property
    def is_token(self) -> bool:
        """Whether e_a is one embedding that stands for S* in a prompt, rather than all of the encoded prompt."""
        return self.config.abstract_mode == "token"

    def fuse(self, text: TextSide) -> Tensor:
        """e_a for S* in the text of ``text`` (width,), differentiable (eq. 1-2, mode ``token``).

        Raises:
            ACFunError: the adapter is compact or of a sequence mode.
        """
        if self.config.compact or not self.is_token:
            raise ACFunError(
                "This adapter cannot fuse a new embedding for S*: it is "
                + ("compact." if self.config.compact else f"of abstract_mode {self.config.abstract_mode}."),
                "a whole adapter of abstract_mode token",
                "use the adapter that was trained, or row() for the embedding it keeps",
            )
        e_tf = text.encode(self.afun.row)
        return self.afun(e_tf, self.style_tokens[None], text.position)

    def condition(self, text: TextSide) -> Tensor:
        """What the UNet is conditioned with in training, (1, T, width), differentiable."""
        return text.encode(self.fuse(text)) if self.is_token else self._fused_sequence(text)

    def context(self, text: StyledText, strength: float = 1.0) -> Tensor:
        """What the UNet is conditioned with at inference for any text that holds S*, (1, T, width).

        Args:
            strength: abstract strength; 0 is the text with the plain initial word.
        """
        if self.is_token:
            return text.encode(self.row(strength))
        plain = text.encode(self.afun.initial_row)
        return plain if strength == 0 else torch.lerp(plain, self._fused_sequence(text), strength)

    def _fused_sequence(self, text: StyledText) -> Tensor:
        return self.afun.sequence(text.encode(self.afun.row), self.style_tokens[None])

    @torch.no_grad()
    def settle(self, text: TextSide) -> None:
        """Fix e_a after training and round all weights to half precision, so that a saved adapter is the same one.

        The file holds the rows in float32: ``e_a`` is not rounded, and what stands in ``afun.row`` is, which costs nothing.
        """
        self.eval()
        for tensor in (*self.parameters(), self.style_tokens):
            tensor.copy_(tensor.half().float())
        if not self.config.learned_row:
            self.afun.row.copy_(self.afun.initial_row)
        self.e_a.copy_(self.fuse(text) if self.is_token else self.afun.row)

    def row(self, strength: float = 1.0) -> Tensor:
        """What stands for S* in a prompt at an abstract strength, (text_width,); in the sequence modes, before AFun."""
        return interpolate_row(self.afun.initial_row, self.e_a, strength)
