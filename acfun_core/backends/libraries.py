"""diffusers and transformers, imported when they are first needed."""

from __future__ import annotations

import importlib
from typing import Any

from ..errors import ACFunError


def imported(library: str, name: str) -> Any:
    """Attribute ``name`` of an optional library.

    Raises:
        ACFunError: the library is missing, too old, or does not import here.
    """
    try:
        return getattr(importlib.import_module(library), name)
    # Both libraries import their parts on access and wrap what goes wrong there in other types.
    except (ImportError, AttributeError, RuntimeError) as error:
        raise ACFunError(
            f"{library}.{name} cannot be imported: {str(error).strip().splitlines()[0][:300]}.",
            "diffusers 0.30 or newer and transformers 4.40 or newer in this Python",
            "pip install diffusers transformers (and a torchvision that fits your torch, if you have one)",
        ) from error
