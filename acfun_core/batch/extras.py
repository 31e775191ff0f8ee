"""Libraries that only a batch needs, imported where they are used."""

from __future__ import annotations

import importlib
from types import ModuleType

from ..errors import ACFunError

PIP_NAMES = {"yaml": "pyyaml"}


def needed(library: str, what_for: str, otherwise: str = "") -> ModuleType:
    """An optional library.

    Args:
        what_for: what cannot be done without it, as the end of a sentence.
        otherwise: what to do instead of installing it.

    Raises:
        ACFunError: it does not import here.
    """
    try:
        return importlib.import_module(library)
    except ImportError as error:
        name = PIP_NAMES.get(library, library)
        raise ACFunError(
            f"{name} cannot be imported, and without it {what_for}: {error}.",
            f"{name} in this Python",
            f"pip install {name}, or everything for batches with pip install 'acfun[ray]'"
            + (f"; or {otherwise}" if otherwise else ""),
        ) from error


def has(library: str) -> bool:
    """Whether an optional library imports here."""
    try:
        importlib.import_module(library)
    except ImportError:
        return False
    return True
