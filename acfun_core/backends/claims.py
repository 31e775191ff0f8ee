"""What a config.json says of a model, held against the tensors that are there, before memory and time are spent on it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch

from ..errors import ACFunError

LARGER = 2.0
"""How many times as many numbers as its file holds a model may have; what exactly is missing, its loader says."""


def check_claims(
    build: Callable[[dict], torch.nn.Module], config: dict, shapes: Mapping[str, tuple[int, ...]], role: str
) -> None:
    """Raise if settings describe no model, or one that is much larger than its file.

    Args:
        build: makes the model from its settings.
        shapes: of all tensors in its file.
        role: how the user knows it, such as "text encoder".
    """
    fix = "copy settings and weights of one model again"
    for name, value in config.items():
        if ("layers" in name or "blocks" in name) and any(count > len(shapes) for count in _counts(value)):
            raise ACFunError(
                f"The {role} does not fit: its settings say {name} {str(value)[:60]}, but most of its weights are missing: "
                f"its file holds {len(shapes)} tensors.",
                "settings and weights of one model",
                fix,
            )
    try:
        # Without memory behind it.
        with torch.device("meta"):
            want = sum(parameter.numel() for parameter in build(config).parameters())
    except ACFunError:
        raise
    # The settings are foreign, and so are the libraries that trip over them.
    except Exception as error:
        raise ACFunError(
            f"The settings of the {role} describe no model: {str(error).strip()[:200]}.", "settings as they came", fix
        ) from error
    have = sum(map(math.prod, shapes.values()))
    if want > LARGER * have:
        raise ACFunError(
            f"The settings of the {role} describe a model of {want} numbers, its file holds {have}.",
            "settings and weights of one model",
            fix,
        )


def _counts(value: Any) -> list[int]:
    """The whole numbers in a setting that may be one or a list of them."""
    return [one for one in (value if isinstance(value, list) else [value]) if isinstance(one, int)]
