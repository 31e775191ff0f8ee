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
class Numbers:
    """A text as its encoder takes it, on the encoder's device; B is the number of sections, T that of tokens in each.

    Attributes:
        ids: (B, T) token numbers; 0 where S* stands. With weights there is one more section, of an empty prompt.
        is_star: (B, T, 1) where S* stands; None if nowhere.
        weights: (sections, T, 1) one a token; None if all are 1.
    """

    ids: Tensor
    is_star: Tensor | None
    weights: Tensor | None


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
        return self.encode_numbers(self.numbers(sections), row)

    def numbers(self, sections: list[Section]) -> Numbers:
        """What :meth:`encode_numbers` takes, on the encoder's device: for a text that is encoded again and again."""
        device = self.embeddings.weight.device
        weights = torch.tensor([section.weights for section in sections])
        weighted = bool((weights != 1).any())
        empty = self.sections("") if weighted else []
        ids = torch.tensor([section.ids for section in [*sections, *empty]])
        is_star = (ids == STAR)[..., None] if bool((ids == STAR).any()) else None
        return Numbers(
            ids.clamp(min=0).to(device),
            None if is_star is None else is_star.to(device),
            weights[..., None].to(device) if weighted else None,
        )

    def encode_numbers(self, numbers: Numbers, row: Tensor | None = None) -> Tensor:
        """As :meth:`encode`; what is on a device stays there, and the host does not wait."""
        with self._row_at(numbers.is_star, row):
            hidden = self.model(input_ids=numbers.ids).last_hidden_state.float()
        if numbers.weights is not None:
            # A weight moves a token's state away from the state an empty prompt has there.
            hidden, nothing = hidden[:-1], hidden[-1:]
            hidden = nothing + numbers.weights.to(hidden) * (hidden - nothing)
        return hidden.flatten(0, 1)[None]

    @contextmanager
    def _row_at(self, is_star: Tensor | None, row: Tensor | None) -> Iterator[None]:
        """While active, token embeddings are ``row`` where ``is_star`` (B, T, 1)."""
        if is_star is None:
            yield
            return

        def replace(module, inputs, output):
            return torch.where(is_star, row.to(output), output)

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
        self._numbers = encoder.numbers(self._sections)
        self.initial_row = encoder.word_row()

    @property
    def position(self) -> int:
        """Index of the first S* among the tokens of all sections."""
        return [token for section in self._sections for token in section.ids].index(STAR)

    def encode(self, row: Tensor) -> Tensor:
        """(width,) -> (1, T, width) on the row's device, differentiable."""
        return self._encoder.encode_numbers(self._numbers, row).to(row.device)
