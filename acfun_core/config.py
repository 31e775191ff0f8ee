"""Frozen, self-validating settings. Every reading that METHOD leaves open is a named field here."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass

from .errors import ACFunError

PLACEHOLDER = "S*"
"""The pseudo-word that stands for the style in a prompt."""

INITIAL_WORD = "painting"
"""The word whose embedding the learned S* row starts from."""


def _require(condition: bool, what: str, expected: str, fix: str) -> None:
    if not condition:
        raise ACFunError(what, expected, fix)


def _number_in(value: float, low: float, high: float) -> bool:
    return isinstance(value, (int, float)) and math.isfinite(value) and low <= value <= high


def check_description(text: str) -> str:
    """Return the stripped face description, or say what is missing from it.

    Raises:
        ACFunError: the text is empty or does not contain ``S*`` exactly once.
    """
    text = (text or "").strip()
    example = f'"a painting of a woman in {PLACEHOLDER} style"'
    _require(bool(text), "The face description is empty.", f"a short text such as {example}", "describe the face")
    count = text.count(PLACEHOLDER)
    _require(
        count == 1,
        f"The face description holds {PLACEHOLDER} {count} times: {text[:120]!r}.",
        f"{PLACEHOLDER} exactly once, as in {example}",
        f"write {PLACEHOLDER} where the name of the style would stand",
    )
    return text


@dataclass(frozen=True)
class AdapterConfig:
    """What kind of adapter is learned. Stored in the adapter file.

    Attributes:
        description: face description with ``S*`` in it once, the text y of eq. 1.
        layers, heads, head_width, dropout: the cross-attention stack of AFun (eq. 2).
        blocks: which ResBlocks carry CFun; ``both`` is encoder and decoder without the middle block.
    """

    description: str
    layers: int = 2
    heads: int = 8
    head_width: int = 64
    dropout: float = 0.05
    blocks: str = "both"

    BLOCK_CHOICES = ("none", "encoder", "decoder", "both", "all")

    def __post_init__(self):
        object.__setattr__(self, "description", check_description(self.description))
        for name, low, high in (("layers", 1, 16), ("heads", 1, 64), ("head_width", 1, 512)):
            value = getattr(self, name)
            _require(
                isinstance(value, int) and low <= value <= high,
                f"AFun {name} is {value}.",
                f"a whole number from {low} to {high}",
                f"set {name} to a value in that range",
            )
        _require(
            _number_in(self.dropout, 0.0, 0.9), f"AFun dropout is {self.dropout}.", "a number from 0 to 0.9", "use 0.05"
        )
        _require(
            self.blocks in self.BLOCK_CHOICES,
            f"CFun blocks is {self.blocks!r}.",
            "one of " + ", ".join(self.BLOCK_CHOICES),
            "choose one of these",
        )

    def as_dict(self) -> dict:
        return dataclasses.asdict(self)


@dataclass(frozen=True)
class TrainConfig:
    """How the adapter is learned.

    Attributes:
        steps: optimizer steps; each is one style pass and one face pass.
        learning_rate: AdamW step size, the same for every width of base (see :mod:`acfun_core.cfun`).
        style_weight, face_weight: weights of the two terms of eq. 4, named by role (0.8 and 1.0 in the paper).
        seed: seeds initialisation, dropout, timesteps and noise.
        warmup_steps: the learning rate rises linearly from 0 over this many steps.
        max_grad_norm: gradients are clipped to this L2 norm.
    """

    steps: int = 500
    learning_rate: float = 1e-4
    style_weight: float = 0.8
    face_weight: float = 1.0
    seed: int = 0
    warmup_steps: int = 20
    max_grad_norm: float = 1.0

    def __post_init__(self):
        _require(
            isinstance(self.steps, int) and 1 <= self.steps <= 100_000,
            f"Training steps is {self.steps}.",
            "a whole number from 1 to 100000",
            "use about 500",
        )
        _require(
            _number_in(self.learning_rate, 1e-9, 1.0),
            f"The learning rate is {self.learning_rate}.",
            "a finite number above 0 and at most 1",
            "use 0.0001",
        )
        for name in ("style_weight", "face_weight"):
            _require(
                _number_in(getattr(self, name), 0.0, 100.0),
                f"The {name.replace('_', ' ')} is {getattr(self, name)}.",
                "a finite number from 0 to 100",
                "use 0.8 for the style and 1.0 for the face",
            )
        _require(
            self.style_weight + self.face_weight > 0,
            "Both loss weights are 0.",
            "at least one above 0",
            "use 0.8 for the style and 1.0 for the face",
        )
        _require(
            isinstance(self.seed, int) and 0 <= self.seed < 2**64,
            f"The seed is {self.seed}.",
            "a whole number from 0 to 2^64 - 1",
            "use 0",
        )
        _require(
            isinstance(self.warmup_steps, int) and self.warmup_steps >= 0,
            f"Warm-up is {self.warmup_steps} steps.",
            "0 or more",
            "use 20",
        )
        _require(
            _number_in(self.max_grad_norm, 1e-6, 1e6),
            f"The gradient limit is {self.max_grad_norm}.",
            "a finite number above 0",
            "use 1.0",
        )

    def as_dict(self) -> dict:
        return dataclasses.asdict(self)


@dataclass(frozen=True)
class Strengths:
    """How much of each part is used at inference: 0 is the base, 1 is as trained, up to 2.

    Attributes:
        abstract: how far S* has moved from its initial word to the fused embedding e_a.
        encoder, decoder: scale of CFun's change in the encoder (with the middle) and decoder ResBlocks.
    """

    abstract: float = 1.0
    encoder: float = 1.0
    decoder: float = 1.0

    def __post_init__(self):
        for name in ("abstract", "encoder", "decoder"):
            _require(
                _number_in(getattr(self, name), 0.0, 2.0),
                f"The {name} strength is {getattr(self, name)}.",
                "a number from 0 to 2",
                "use 1",
            )

    def for_block(self, name: str) -> float:
        """Strength of CFun in the block with this canonical name."""
        return self.decoder if name.startswith("dec.") else self.encoder
