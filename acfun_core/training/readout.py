"""What a training knows of its steps while the device is already at the next: numbers are read when they have arrived."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from .accelerator import Accelerator, Arrival

STEPS_AHEAD = 1
"""So many steps a device may still be at when the host goes on. It never runs out of work, and what the user wishes, such as to
cancel, is heard within the time of so many steps and the one that runs."""


class Outcome(NamedTuple):
    """One step that is done.

    Attributes:
        style_loss, face_loss: unweighted terms of eq. 4.
        norm: of all gradients together, before clipping.
        scale: of the loss in this step.
        skipped: whether gradients overflowed, so that nothing was learned.
    """

    step: int
    style_loss: float
    face_loss: float
    norm: float
    scale: float
    skipped: bool


class Readout:
    """Outcomes in the order of their steps.

    Args:
        accelerator: what copies numbers to the host while the device goes on; None where each step is read at once.
    """

    def __init__(self, accelerator: Accelerator | None = None):
        self._accelerator = accelerator
        self._ahead = 0 if accelerator is None else STEPS_AHEAD
        self._coming: deque[tuple[int, Arrival | Tensor]] = deque()

    def put(self, step: int, numbers: Tensor) -> None:
        """Numbers (5,) of a step that was asked for, as :func:`numbers_of` lays them out."""
        if self._accelerator is not None:
            numbers = self._accelerator.to_host(numbers)
        self._coming.append((step, numbers))

    def arrived(self, everything: bool = False) -> Iterator[Outcome]:
        """Those that are done, oldest first.

        Args:
            everything: wait for all steps that were asked for; otherwise for those before the last :data:`STEPS_AHEAD`.
        """
        while len(self._coming) > (0 if everything else self._ahead):
            step, numbers = self._coming.popleft()
            style, face, norm, scale, skipped = (numbers if isinstance(numbers, Tensor) else numbers.wait()).tolist()
            yield Outcome(step, style, face, norm, scale, skipped != 0)


def numbers_of(terms: Tensor, norm: Tensor, scale: Tensor | float) -> Tensor:
    """What :class:`Readout` takes of one step, (5,), without reading any of it.

    Args:
        terms: (2,) style and face. norm: of the gradients, not finite where they overflowed. scale: of the loss.
    """
    skipped = (~norm.isfinite()).to(terms)
    scale = scale if isinstance(scale, Tensor) else torch.full_like(norm, scale)
    return torch.stack([*terms.detach().unbind(), norm, scale, skipped])
