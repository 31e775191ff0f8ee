"""What S* stands for in a prompt, for one adapter or several at once.

In token mode ``e = e_0 + sum_i w_i a_i (e_a,i - e_0)`` with e_0 the initial word, w_i the weights of the mix and a_i the
abstract strengths; AFun was asked for e_a,i at the end of the training. As soon as one adapter is of a sequence mode, the same
sum is taken over encoded prompts.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from ..errors import ACFunError
from ..host import StyledText
from ..presets import scaled
from ..strengths import Strengths
from ..unet.windows import is_open
from .adapter import StyleAdapter

Members = Sequence[tuple[StyleAdapter, Strengths]]

_ALWAYS = {"abstract_start": 0.0, "abstract_end": 1.0}


def check_same_text(members: Members) -> None:
    """Raise unless all adapters were learned with the same CLIP."""
    rows = [adapter.afun.initial_row for adapter, _ in members]
    first = rows[0]
    if any(row.shape != first.shape or not torch.equal(row.cpu(), first.cpu()) for row in rows[1:]):
        raise ACFunError(
            "The adapters of the mix were learned with different text encoders.",
            "adapters of one base",
            "mix adapters that were trained on the same checkpoint",
        )


def styles_of(members: Members) -> Members:
    """Those that give S* a meaning: a slider has none for it."""
    return [(adapter, strengths) for adapter, strengths in members if adapter.slider is None]


def scaled_members(members: Members, by: Strengths) -> Members:
    """Adapters with their strengths times a preset's; sliders, which no preset was chosen for, keep their own."""
    return [(adapter, own if adapter.slider is not None else scaled(own, by)) for adapter, own in members]


def is_plain(members: Members) -> bool:
    """Whether S* is the plain initial word: every abstract share is 0."""
    return all(strengths.abstract_share == 0 for _, strengths in styles_of(members))


def style_embedding(members: Members) -> Tensor:
    """What stands for S* in a prompt, (text_width,), for adapters of token mode."""
    members = styles_of(members)
    if len(members) == 1:
        [(adapter, strengths)] = members
        return adapter.row(strengths.abstract_share)
    check_same_text(members)
    initial = members[0][0].afun.initial_row
    row = initial.clone()
    for adapter, strengths in members:
        row += strengths.abstract_share * (adapter.e_a.to(row) - initial)
    return row


def style_context(members: Members, text: StyledText) -> Tensor:
    """What the UNet is conditioned with for any text that holds S*, (1, T, width)."""
    members = styles_of(members)
    if all(adapter.is_token for adapter, _ in members):
        return text.encode(style_embedding(members))
    if len(members) == 1:
        [(adapter, strengths)] = members
        return adapter.context(text, strengths.abstract_share)
    check_same_text(members)
    plain = text.encode(members[0][0].afun.initial_row)
    context = plain.clone()
    for adapter, strengths in members:
        if strengths.abstract_share != 0:
            context += strengths.abstract_share * (adapter.context(text).to(plain) - plain)
    return context


def style_pooled(members: Members, pooled: Callable[[Tensor], Tensor]) -> Tensor:
    """The pooled embedding that belongs to :func:`style_context`, (1, P): SDXL's UNet is conditioned with it too.

    In the sequence modes it is that of the prompt with AFun's row in S*'s place, at the same shares as the context.

    Args:
        pooled: what stands for S* (text_width,) -> the prompt's pooled embedding.
    """
    members = styles_of(members)
    if all(adapter.is_token for adapter, _ in members):
        return pooled(style_embedding(members))
    mixed = plain = pooled(members[0][0].afun.initial_row)
    for adapter, strengths in members:
        if strengths.abstract_share != 0:
            mixed = mixed + strengths.abstract_share * (pooled(adapter.row()) - plain)
    return mixed


def windowed(members: Members) -> bool:
    """Whether the meaning of S* changes during the sampling."""
    return any(strengths.window("abstract") != (0.0, 1.0) for _, strengths in styles_of(members))


def members_at(members: Members, done: float) -> Members:
    """The adapters as S* takes them when this share of the sampling is over: outside its window one has abstract strength 0.

    Windows of CFun stay as they are; no abstract window is left.
    """
    return tuple(
        (
            adapter,
            dataclasses.replace(
                own, abstract=own.abstract if is_open(own.window("abstract"), done) else 0.0, **_ALWAYS
            ),
        )
        for adapter, own in members
    )


def abstract_intervals(members: Members) -> list[tuple[float, float, Members]]:
    """The sampling cut where some adapter's abstract window opens or closes.

    Returns:
        (start, end, members) as shares of the sampling, without gaps; the members are those of :func:`members_at` in between.
    """
    borders = sorted({0.0, 1.0, *(border for _, strengths in members for border in strengths.window("abstract"))})
    return [(start, end, members_at(members, (start + end) / 2)) for start, end in zip(borders, borders[1:])]
