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

    def change(self, h: Tensor, moment: Moment | None) -> Tensor:
        change = self.strengths.for_block(self.name) * self.cfun.delta(h)
        scale = factor(self.strengths, self.name, moment, h)
        return change if scale is None else scale * change


def _sum_of_changes(members: list[_Member], moment: Moment | None) -> Transform:
    def transform(h: Tensor) -> Tensor:
        changed = h
        for member in members:
            changed = changed + member.change(h, moment)
        return changed

    return transform


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
