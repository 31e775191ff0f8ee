"""The name under which finished work on a base is kept, and how pages say it."""

from __future__ import annotations

from pathlib import Path

from acfun_core.demo_base import base_key

__all__ = ["base_key", "said_of"]


def said_of(base: Path) -> str:
    """A page's sentence about the weights it was measured on, which may not be those shipped when it is read."""
    return f"The base's weights had the key `{base_key(base)}`; the shipped ones have the key in base/README.md."
