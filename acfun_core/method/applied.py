"""CFun of one adapter or several inside a UNet: their changes add up."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

from torch import Tensor, nn

from ..host import Base
from ..strengths import Strengths
from ..unet.blocks import address
from ..unet.injection import Transform, injected
from ..unet.windows import Moment, factor
from . import fused
from .adapter import StyleAdapter
from .cfun import CFun


def block_transforms(
    adapters: Sequence[tuple[StyleAdapter, Strengths]], moment: Moment | None = None
) -> dict[str, Transform]:
    """Transforms for several adapters at once, by the address of what they change (:func:`~acfun_core.unet.blocks.address`).

    Changes add up: ``h + sum_i factor_i strength_i (CFun_i(h) - h)``. Blocks whose strengths are all 0 get no transform at all,
    so that strength 0 is the base bit for bit.

    Args:
        moment: where in the sampling the UNet call is; needed by windows and by guidance ``cond``.
    """
    parts: dict[str, list] = {}
    for adapter, strengths in adapters:
        for name in adapter.cfun.names():
            if strengths.for_block(name) != 0:
                member = _Member(adapter.cfun[name], strengths, name)
                parts.setdefault(address(name, adapter.config.place), []).append(member)
    return {key: _sum_of_changes(members, moment) for key, members in parts.items()}


class _Member(NamedTuple):
    cfun: CFun
    strengths: Strengths
    name: str

    @property
    def strength(self) -> float:
        return self.strengths.for_block(self.name)

    def factor(self, h: Tensor, moment: Moment | None) -> Tensor | None:
        return factor(self.strengths, self.name, moment, h)


def _sum_of_changes(members: list[_Member], moment: Moment | None) -> Transform:
    parameters = [parameter for member in members for parameter in member.cfun.parameters()]

    def transform(h: Tensor) -> Tensor:
        factors = [member.factor(h, moment) for member in members]
        whole = all(one is None or one.shape[1:].numel() == 1 for one in factors)
        if h.device.type in fused.DEVICES and whole:
            return fused.steered(h, lambda mean, sigma: _gain_and_shift(members, factors, mean, sigma), parameters)
        changed = h
        for member, scale in zip(members, factors):
            change = member.strength * member.cfun.delta(h)
            changed = changed + (change if scale is None else scale * change)
        return changed

    return transform


def _gain_and_shift(
    members: list[_Member], factors: list[Tensor | None], mean: Tensor, sigma: Tensor
) -> tuple[Tensor, Tensor]:
    """The same sum as ``gain h + shift``, (B, C) each: every change is of this form, and all have the same statistics."""
    gain = shift = None
    for member, scale in zip(members, factors):
        change = member.cfun.maps(mean, sigma)
        strength = member.strength if scale is None else member.strength * scale.flatten(1)
        # Most often there is one adapter at full strength: each kernel that does nothing would be one a block and step.
        gamma, beta = change if scale is None and strength == 1 else (strength * one for one in change)
        gain, shift = (1 + gamma, beta) if gain is None else (gain + gamma, shift + beta)
    return gain, shift


@contextmanager
def applied(base: Base, adapter: StyleAdapter) -> Iterator[Tensor]:
    """While active, an adapter is in the base's UNet as trained, without dropout. Yields its context, (1, T, width)."""
    with evaluating(adapter), injected(base.sites, block_transforms([(adapter, Strengths())])):
        yield adapter.condition(base.text)


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """While active, a module is in evaluation mode; then again in the one it was in."""
    training = module.training
    module.eval()
    try:
        yield
    finally:
        module.train(training)
