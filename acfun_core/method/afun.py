"""AFun, the abstract side of a style (eq. 1-2).

The face description, with a learned row for S*, goes through CLIP's text side (e_tf). Cross-attention layers take Q from it
and K, V from the style image's CLIP tokens (e_is):

    e_a^(n+1) = softmax(Q_n K^T / sqrt(d)) V,    Q_n = W_q e_a^(n),    e_a^(0) = e_tf

Where e_a goes is an option (``abstract_mode``):

* ``token``: the fused vector at S* is added to the row, replaces S* in the prompt, and the text transformer runs on it. So a
  prompt can be edited around S*, and the vector is an ordinary textual-inversion embedding.
* ``sequence``: e_tf plus the projected fusion, all tokens, goes straight to the UNet.
* ``sequence_literal``: the last layer's output, all tokens, goes straight to the UNet, as eq. 2 has it.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..config import AdapterConfig
from .steering import REFERENCE_CHANNELS


class CrossAttention(nn.Module):
    """``softmax(Q K^T / sqrt(d)) V`` with Q from the text and K, V from the image; widths may differ."""

    def __init__(self, text_width: int, image_width: int, heads: int, head_width: int, dropout: float):
        super().__init__()
        inner = heads * head_width
        self.heads, self.dropout = heads, dropout
        self.norm_text = nn.LayerNorm(text_width)
        self.norm_image = nn.LayerNorm(image_width)
        self.to_q = nn.Linear(text_width, inner, bias=False)
        self.to_k = nn.Linear(image_width, inner, bias=False)
        self.to_v = nn.Linear(image_width, inner, bias=False)
        self.to_out = nn.Linear(inner, text_width)

    def forward(self, text: Tensor, image: Tensor) -> Tensor:
        """``text`` (B, T, text_width), ``image`` (B, N, image_width) -> (B, T, text_width)."""
        image = self.norm_image(image)
        q, k, v = (
            x.unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for x in (self.to_q(self.norm_text(text)), self.to_k(image), self.to_v(image))
        )
        fused = F.scaled_dot_product_attention(q, k, v)
        fused = self.to_out(fused.transpose(1, 2).flatten(2))
        return F.dropout(fused, self.dropout, self.training)


class AFun(nn.Module):
    """Fuses a face description with the tokens of the style image: into one embedding for S*, or into all of e_a.

    Args:
        initial_row: (text_width,) embedding of the initial word ("painting") in the base's own CLIP.
        image_width: width of the style image's tokens.
    """

    def __init__(self, initial_row: Tensor, image_width: int, config: AdapterConfig):
        super().__init__()
        width = initial_row.shape[-1]
        self.mode = config.abstract_mode
        self.row = nn.Parameter(initial_row.detach().clone().float().reshape(width), requires_grad=config.learned_row)
        self.register_buffer("initial_row", self.row.detach().clone())
        if config.compact:
            return
        self.layers = nn.ModuleList(
            CrossAttention(width, image_width, config.heads, config.head_width, config.dropout)
            for _ in range(config.layers)
        )
        self.norm = nn.LayerNorm(width, elementwise_affine=False)
        if self.mode != "sequence_literal":
            output = nn.Linear(width, width)
            nn.init.zeros_(output.weight)
            nn.init.zeros_(output.bias)
            # Named by what it yields, so that the file says it too.
            self.add_module("to_row" if self.mode == "token" else "to_sequence", output)

    @property
    def text_width(self) -> int:
        return self.row.shape[-1]

    def forward(self, e_tf: Tensor, e_is: Tensor, position: int) -> Tensor:
        """e_a for the S* token (mode ``token``).

        Args:
            e_tf: (1, T, text_width) the description after CLIP's text transformer, S* standing for ``row``.
            e_is: (1, N, image_width) tokens of the style image.
            position: index of S* in the T tokens.

        Returns:
            (text_width,) in the space of CLIP's token embeddings; equal to ``row`` before training.
        """
        e_a = self._attend(e_tf[:, position : position + 1], e_is)
        # Token embeddings are tiny beside transformer states: the step is measured in the size of the initial word.
        return self.row + self._unit(self.initial_row) * self.to_row(self.norm(e_a))[0, 0]

    def sequence(self, e_tf: Tensor, e_is: Tensor) -> Tensor:
        """e_a for every token (the sequence modes), (1, T, text_width); ``sequence`` equals e_tf before training."""
        e_a = self._attend(e_tf, e_is)
        if self.mode == "sequence_literal":
            return e_a
        return e_tf + self._unit(e_tf.detach()) * self.to_sequence(self.norm(e_a))

    def _attend(self, e_a: Tensor, e_is: Tensor) -> Tensor:
        for layer in self.layers:
            e_a = layer(e_a, e_is)
        return e_a

    def _unit(self, reference: Tensor) -> Tensor:
        """One step of the output map in the size of what it is added to, whatever the width, as in CFun's maps."""
        return reference.square().mean().sqrt() * (REFERENCE_CHANNELS / self.text_width)


def interpolate_row(initial_row: Tensor, e_a: Tensor, strength: float) -> Tensor:
    """S* at an abstract strength: the initial word at 0, e_a at 1, beyond it up to 2. All (text_width,)."""
    return torch.lerp(initial_row, e_a, strength)
