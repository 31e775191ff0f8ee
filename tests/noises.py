"""On how many noises trainings measure their loss, before their first step and after their last: here, and for users."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import pytest

FEW, USERS = 1, 10
"""To measure on ten takes more than half of the time of a training of a few steps, and the tests have hundreds of those."""


@contextmanager
def measuring_on(noises: int) -> Iterator[None]:
    """In this process."""
    from acfun_core.training import loop, slider
    from acfun_core.training.alignment_loss import measure_adapter

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(loop, "measure_adapter", partial(measure_adapter, draws=noises))
        patched.setattr(slider, "MEASURED", noises)
        yield


def measured_on(noises: int) -> dict:
    """In a server with the pack ``process_probe``, the graph that makes it do so."""
    from tools.comfy.graphs import node

    return {"measured": node("ProbeMeasuredOn", noises=noises)}
