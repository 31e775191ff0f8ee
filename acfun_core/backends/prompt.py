"""Prompts as ComfyUI reads them: weights in parentheses, sections of 75 tokens, and S* as a token of its own.

``(words)`` multiplies the weight by 1.1, ``(words:1.3)`` sets it, ``\\(`` and ``\\)`` are plain parentheses.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from ..config import INITIAL_WORD, PLACEHOLDER
from ..errors import ACFunError

EMPHASIS = 1.1
WORD_TOKENS = 8
"""Pieces of a prompt shorter than this many tokens are not torn apart at the end of a section."""

DEEPEST = 100
"""Parentheses in parentheses; weights that deep mean nothing, and Python's stack ends at some point."""

_ESCAPES = (("\\)", "\0\1", ")"), ("\\(", "\0\2", "("))

STAR = -1
"""Stands for S* in a list of token numbers."""


@dataclass(frozen=True)
class Section:
    """One pass through the text encoder.

    Attributes:
        ids: token numbers from start to padding; :data:`STAR` where S* stands.
        weights: one a token, 1.0 is plain.
    """

    ids: tuple[int, ...]
    weights: tuple[float, ...]


def weighted_parts(prompt: str) -> list[tuple[str, float]]:
    """Split a prompt into pieces of equal weight, also where its parentheses do not fit together.

    ComfyUI counts parentheses from the left. After one that closes nothing, the next one only makes up for it and opens no
    group; and what is still open at the end is a group nevertheless if it begins and ends with a parenthesis.

    Raises:
        ACFunError: parentheses in parentheses without end.
    """
    for escaped, stand_in, _ in _ESCAPES:
        prompt = prompt.replace(escaped, stand_in)
    pieces = []
    for text, weight in _parts(prompt, 1.0, 0):
        for _, stand_in, plain in _ESCAPES:
            text = text.replace(stand_in, plain)
        pieces.append((text, weight))
    return pieces


def _parts(text: str, weight: float, depth: int) -> Iterator[tuple[str, float]]:
    if depth > DEEPEST:
        raise ACFunError(
            f"The prompt has parentheses in parentheses, {DEEPEST} deep.",
            "weights such as (word:1.2)",
            "leave out some parentheses",
        )
    for piece in _pieces(text):
        if len(piece) < 2 or piece[0] != "(" or piece[-1] != ")":
            yield piece, weight
            continue
        words, _, number = piece[1:-1].rpartition(":")
        if words and _is_number(number):
            yield from _parts(words, float(number), depth + 1)
        else:
            yield from _parts(piece[1:-1], weight * EMPHASIS, depth + 1)


def _is_number(text: str) -> bool:
    """Unlike ComfyUI, which would draw noise with them, not NaN and infinity."""
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def _pieces(text: str) -> Iterator[str]:
    """The text cut before each parenthesis that opens a group and after each that closes one; none is empty."""
    start = depth = 0
    for index, letter in enumerate(text):
        if letter == "(":
            if depth == 0 and index > start:
                yield text[start:index]
                start = index
            depth += 1
        elif letter == ")":
            depth -= 1
            if depth == 0:
                yield text[start : index + 1]
                start = index + 1
    if start < len(text):
        yield text[start:]


def to_sections(
    prompt: str,
    words_to_ids: Callable[[str], list[int]],
    start: int,
    end: int,
    length: int = 77,
    styled: bool = True,
    pad: int | None = None,
) -> list[Section]:
    """Token sections of a prompt, at least one.

    Args:
        words_to_ids: tokenizer, without start and end.
        start, end: special tokens.
        length: tokens a section.
        styled: S* is a token of its own; otherwise it is the plain initial word.
        pad: token that fills a section up; None is ``end`` again.

    Raises:
        ACFunError: the prompt names a textual inversion, which only ComfyUI loads.
    """
    if "embedding:" in prompt:
        raise ACFunError(
            "The prompt names a textual inversion with embedding:.",
            f"words and {PLACEHOLDER}",
            "use it in ComfyUI, or leave it out",
        )
    if not styled:
        prompt = prompt.replace(PLACEHOLDER, INITIAL_WORD)
    groups: list[list[tuple[int, float]]] = []
    for text, weight in weighted_parts(prompt):
        for index, words in enumerate(text.split(PLACEHOLDER)):
            if index > 0:
                groups.append([(STAR, weight)])
            groups.append([(token, weight) for token in words_to_ids(words)] if words.strip() else [])
    filling = end if pad is None else pad
    return [_closed(section, end, filling, length) for section in _packed(groups, start, length)]


def _packed(groups: list[list[tuple[int, float]]], start: int, length: int) -> Iterator[list[tuple[int, float]]]:
    section = [(start, 1.0)]
    for group in groups:
        may_tear = len(group) >= WORD_TOKENS
        while len(group) > (room := length - 1 - len(section)):
            if may_tear:
                section, group = section + group[:room], group[room:]
            yield section
            section = [(start, 1.0)]
        section = section + group
    yield section


def _closed(section: list[tuple[int, float]], end: int, filling: int, length: int) -> Section:
    full = [*section, (end, 1.0)] + [(filling, 1.0)] * (length - len(section) - 1)
    return Section(tuple(token for token, _ in full), tuple(weight for _, weight in full))
