"""CLIP's text side of a base on transformers' classes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..config import INITIAL_WORD
from .prompt import STAR, Section, to_sections


@dataclass(frozen=True)
class TextEncoder:
    """CLIP's text transformer and its tokenizer.

    Attributes:
        model: transformers' ``CLIPTextModelWithProjection``, frozen.
        tokenizer: transformers' ``CLIPTokenizer``.
    """

    model: Any
    tokenizer: Any

    @property
    def embeddings(self) -> torch.nn.Embedding:
        return self.model.get_input_embeddings()

    @property
    def width(self) -> int:
        return self.embeddings.weight.shape[1]

    def _special_tokens(self) -> tuple[int, int]:
        start, end = self.tokenizer("")["input_ids"][:2]
        return start, end

    def words_to_ids(self, words: str) -> list[int]:
        """Token numbers without start and end."""
        return list(self.tokenizer(words)["input_ids"][1:-1])

    def sections(self, prompt: str, styled: bool = True) -> list[Section]:
        """See :func:`~acfun_core.backends.prompt.to_sections`."""
        start, end = self._special_tokens()
        return to_sections(
            prompt, self.words_to_ids, start, end, self.model.config.max_position_embeddings, styled=styled
        )

    def encode(self, sections: list[Section], row: Tensor | None = None) -> Tensor:
        """The last hidden states of all sections, one after the other: (1, 77 n, width), differentiable in ``row``.

        Args:
            row: (width,) what stands for S*; needed if a section holds it.
        """
        weights = torch.tensor([section.weights for section in sections])
        weighted = bool((weights != 1).any())
        empty = self.sections("") if weighted else []
        ids = torch.tensor([section.ids for section in [*sections, *empty]], device=self.embeddings.weight.device)
        with self._row_at(ids == STAR, row):
            hidden = self.model(input_ids=ids.clamp(min=0)).last_hidden_state.float()
        if weighted:
            # A weight moves a token's state away from the state an empty prompt has there.
            hidden, nothing = hidden[:-1], hidden[-1:]
            hidden = nothing + weights.to(hidden)[..., None] * (hidden - nothing)
        return hidden.flatten(0, 1)[None]

    @contextmanager
    def _row_at(self, is_star: Tensor, row: Tensor | None) -> Iterator[None]:
        """While active, token embeddings are ``row`` where ``is_star`` (B, T)."""
        if not is_star.any():
            yield
            return

        def replace(module, inputs, output):
            return torch.where(is_star[..., None], row.to(output), output)

        handle = self.embeddings.register_forward_hook(replace)
        try:
            yield
        finally:
            handle.remove()

    @torch.no_grad()
    def word_row(self, words: str = INITIAL_WORD) -> Tensor:
        """(width,) mean token embedding of some words, float32 on the CPU."""
        return self.embeddings.weight[self.words_to_ids(words)].float().mean(dim=0).cpu()


class PromptSide:
    """The core's TextSide: one description or prompt, S* left open."""

    def __init__(self, encoder: TextEncoder, prompt: str):
        self._encoder = encoder
        self._sections = encoder.sections(prompt)
        self.initial_row = encoder.word_row()

    @property
    def position(self) -> int:
        """Index of the first S* among the tokens of all sections."""
        return [token for section in self._sections for token in section.ids].index(STAR)

    def encode(self, row: Tensor) -> Tensor:
        """(width,) -> (1, T, width) on the row's device, differentiable."""
        return self._encoder.encode(self._sections, row).to(row.device)
