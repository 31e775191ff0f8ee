"""CLIP's text side of a base on transformers' classes: one text encoder, or SDXL's two side by side."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ..config import INITIAL_WORD
from .families import Family
from .prompt import STAR, Section, to_sections


class Condition(NamedTuple):
    """What a UNet is told of a prompt.

    Attributes:
        context: (1, T, width) hidden states of all sections, one after the other.
        pooled: (1, P) projected embedding of the first section, of a family whose UNets are told it; else None.
    """

    context: Tensor
    pooled: Tensor | None = None


@dataclass(frozen=True)
class Numbers:
    """A text as its encoder takes it, on the encoder's device; B is the number of sections, T that of tokens in each.

    Attributes:
        ids: (B, T) token numbers; 0 where S* stands. With weights there is one more section, of an empty prompt.
        is_star: (B, T, 1) where S* stands; None if nowhere.
        weights: (sections, T, 1) one a token; None if all are 1.
        end: place of the first section's end token.
    """

    ids: Tensor
    is_star: Tensor | None
    weights: Tensor | None
    end: int


@dataclass(frozen=True)
class TextEncoder:
    """One of CLIP's text transformers and its tokenizer.

    Attributes:
        model: transformers' ``CLIPTextModelWithProjection``, frozen.
        tokenizer: transformers' ``CLIPTokenizer``.
        pad: token behind the end of a section; None is the end token again.
        penultimate: whether the last layer but one is read, before the last normalisation.
        pools: whether :attr:`Condition.pooled` comes from here.
    """

    model: Any
    tokenizer: Any
    pad: int | None = None
    penultimate: bool = False
    pools: bool = False

    @property
    def models(self) -> tuple[Any, ...]:
        return (self.model,)

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
        length = self.model.config.max_position_embeddings
        return to_sections(prompt, self.words_to_ids, start, end, length, styled, self.pad)

    def position(self, sections: list[Section]) -> int:
        """Index of the first S* among the tokens of all sections."""
        return [token for section in sections for token in section.ids].index(STAR)

    def encode(self, sections: list[Section], row: Tensor | None = None) -> Tensor:
        """The hidden states alone of :meth:`read`, (1, 77 n, width)."""
        return self.read(sections, row).context

    def read(self, sections: list[Section], row: Tensor | None = None) -> Condition:
        """All sections, one after the other, differentiable in ``row``.

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
            sections[0].ids.index(self._special_tokens()[1]),
        )

    def encode_numbers(self, numbers: Numbers, row: Tensor | None = None) -> Condition:
        """As :meth:`read`; what is on a device stays there, and the host does not wait."""
        with self._row_at(numbers.is_star, row):
            answer = self.model(input_ids=numbers.ids, output_hidden_states=self.penultimate)
        hidden = (answer.hidden_states[-2] if self.penultimate else answer.last_hidden_state).float()
        if numbers.weights is not None:
            # A weight moves a token's state away from the state an empty prompt has there.
            hidden, nothing = hidden[:-1], hidden[-1:]
            hidden = nothing + numbers.weights.to(hidden) * (hidden - nothing)
        pooled = None
        if self.pools:
            pooled = self.model.text_projection(answer.last_hidden_state[:1, numbers.end]).float()
        return Condition(hidden.flatten(0, 1)[None], pooled)

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


@dataclass(frozen=True)
class TextEncoders:
    """Several text encoders side by side: their embeddings, and their hidden states, stand one behind the other in a row.

    It does what a :class:`TextEncoder` does.
    """

    parts: tuple[TextEncoder, ...]

    @property
    def models(self) -> tuple[Any, ...]:
        return tuple(part.model for part in self.parts)

    @property
    def widths(self) -> list[int]:
        return [part.width for part in self.parts]

    @property
    def width(self) -> int:
        return sum(self.widths)

    def words_to_ids(self, words: str) -> list[int]:
        return [number for part in self.parts for number in part.words_to_ids(words)]

    def sections(self, prompt: str, styled: bool = True) -> list[list[Section]]:
        """Each part's."""
        return [part.sections(prompt, styled) for part in self.parts]

    def position(self, sections: Sequence[list[Section]]) -> int:
        return self.parts[0].position(sections[0])

    def encode(self, sections: Sequence[list[Section]], row: Tensor | None = None) -> Tensor:
        return self.read(sections, row).context

    def read(self, sections: Sequence[list[Section]], row: Tensor | None = None) -> Condition:
        return self.encode_numbers(self.numbers(sections), row)

    def numbers(self, sections: Sequence[list[Section]]) -> tuple[Numbers, ...]:
        return tuple(part.numbers(own) for part, own in zip(self.parts, sections))

    def encode_numbers(self, numbers: Sequence[Numbers], row: Tensor | None = None) -> Condition:
        """As :meth:`TextEncoder.encode_numbers`, the row (width,) split among the parts."""
        rows = [None] * len(self.parts) if row is None else row.split(self.widths)
        seen = [part.encode_numbers(own, piece) for part, own, piece in zip(self.parts, numbers, rows)]
        # Tokenizers that do not number the words alike may need more sections than others.
        length = min(one.context.shape[1] for one in seen)
        pooled = next((one.pooled for one in seen if one.pooled is not None), None)
        return Condition(torch.cat([one.context[:, :length] for one in seen], dim=-1), pooled)

    def word_row(self, words: str = INITIAL_WORD) -> Tensor:
        return torch.cat([part.word_row(words) for part in self.parts])


def text_side(family: Family, models: Sequence[Any], tokenizers: Sequence[Any]) -> TextEncoder | TextEncoders:
    """The text encoders of a base, as its family reads them."""
    parts = tuple(
        TextEncoder(model, tokenizer, 0 if reading.open_clip else None, reading.penultimate, reading.pools)
        for reading, model, tokenizer in zip(family.readings, models, tokenizers)
    )
    return parts[0] if len(parts) == 1 else TextEncoders(parts)


class PromptSide:
    """The core's TextSide: one description or prompt, S* left open.

    Attributes:
        pooled: of the last text that was encoded, differentiable; see :class:`Condition`.
    """

    def __init__(self, encoder: TextEncoder | TextEncoders, prompt: str):
        self._encoder = encoder
        self._sections = encoder.sections(prompt)
        self._numbers = encoder.numbers(self._sections)
        self.initial_row = encoder.word_row()
        self.pooled: Tensor | None = None

    @property
    def position(self) -> int:
        """Index of the first S* among the tokens of all sections."""
        return self._encoder.position(self._sections)

    def encode(self, row: Tensor) -> Tensor:
        """(width,) -> (1, T, width) on the row's device, differentiable."""
        return self.read(row).context

    def read(self, row: Tensor) -> Condition:
        """What stands for S* (width,) -> all that the UNet is told, on the row's device, differentiable."""
        seen = self._encoder.encode_numbers(self._numbers, row)
        context, self.pooled = (None if part is None else part.to(row.device) for part in seen)
        return Condition(context, self.pooled)
