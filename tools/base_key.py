"""The name under which finished work on a base is kept."""

from __future__ import annotations

import hashlib
from pathlib import Path


def base_key(base: Path, *settings: str) -> str:
    """Short name of a base's weights and of further settings: what was made with others is never taken for this."""
    digest = hashlib.sha256("\n".join(settings).encode())
    for path in sorted(base.rglob("*.safetensors")):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:8]


def said_of(base: Path) -> str:
    """A page's sentence about the weights it was measured on, which may not be those shipped when it is read."""
    return f"The base's weights had the key `{base_key(base)}`; the shipped ones have the key in base/README.md."
