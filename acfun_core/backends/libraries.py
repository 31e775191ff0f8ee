"""diffusers and transformers, imported when they are first needed."""

from __future__ import annotations

import importlib
import sys
from functools import lru_cache
from typing import Any

from ..errors import ACFunError


def imported(library: str, name: str) -> Any:
    """Attribute ``name`` of an optional library.

    Raises:
        ACFunError: the library is missing, too old, or does not import here; the message names the first cause.
    """
    try:
        _set_aside_broken_torchvision()
        return getattr(importlib.import_module(library), name)
    # Both libraries import their parts on access and wrap what goes wrong there in other types.
    except (ImportError, AttributeError, RuntimeError) as error:
        raise ACFunError(
            f"{library}.{name} cannot be imported: {_first_cause(error)}.",
            "diffusers 0.30 or newer and transformers 4.40 or newer in this Python",
            "pip install diffusers transformers (and a torchvision that fits your torch, if you have one)",
        ) from error


def _first_cause(error: BaseException) -> str:
    """What went wrong at the bottom of a chain of errors; those above only say that something did."""
    while (cause := error.__cause__ or error.__context__) is not None:
        error = cause
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"


@lru_cache(maxsize=1)
def _set_aside_broken_torchvision() -> None:
    """Let both libraries do without a torchvision that does not import.

    Nothing of what is used here needs torchvision, but both libraries import it where it is installed. One that was built for
    another torch then fails with a RuntimeError, which neither takes for a missing library. A module that stands as ``None`` in
    ``sys.modules`` is missing to everybody.
    """
    try:
        importlib.import_module("torchvision")
    except ImportError:
        # Not there, which both libraries know how to live with; or not loadable, which they must take for the same.
        sys.modules.setdefault("torchvision", None)
    except (RuntimeError, OSError, AttributeError):
        sys.modules["torchvision"] = None
