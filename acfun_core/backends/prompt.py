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

_ESCAPES = (("\\(", "\ue000", "("), ("\\)", "\ue001", ")"))

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
    """Split a prompt into pieces of equal weight."""
    for escaped, stand_in, _ in _ESCAPES:
        prompt = prompt.replace(escaped, stand_in)
    pieces = []
    for text, weight in _parts(prompt, 1.0):
        for _, stand_in, plain in _ESCAPES:
            text = text.replace(stand_in, plain)
        pieces.append((text, weight))
    return pieces


def _parts(text: str, weight: float) -> Iterator[tuple[str, float]]:
    for inside, piece in _outermost_groups(text):
        if not inside:
            yield piece, weight
            continue
        words, _, number = piece.rpartition(":")
        if words and _is_number(number):
            yield from _parts(words, float(number))
        else:
            yield from _parts(piece, weight * EMPHASIS)


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def _outermost_groups(text: str) -> Iterator[tuple[bool, str]]:
    """(True, content) for each closed pair of parentheses that is in no other, (False, text) for what is between."""
    start = depth = 0
    opened = -1
    for index, letter in enumerate(text):
        if letter == "(":
            if depth == 0:
                opened = index
            depth += 1
        elif letter == ")" and depth > 0:
            depth -= 1
            if depth == 0:
                if opened > start:
                    yield False, text[start:opened]
                yield True, text[opened + 1 : index]
                start = index + 1
    if start < len(text):
        yield False, text[start:]


def to_sections(
    prompt: str, words_to_ids: Callable[[str], list[int]], start: int, end: int, length: int = 77, styled: bool = True
) -> list[Section]:
    """Token sections of a prompt, at least one.

    Args:
        words_to_ids: tokenizer, without start and end.
        start, end: special tokens; ``end`` pads as well.
        length: tokens a section.
        styled: S* is a token of its own; otherwise it is the plain initial word.

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
    return [_closed(section, end, length) for section in _packed(groups, start, length)]


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


def _closed(section: list[tuple[int, float]], end: int, length: int) -> Section:
    full = section + [(end, 1.0)] * (length - len(section))
    return Section(tuple(token for token, _ in full), tuple(weight for _, weight in full))
