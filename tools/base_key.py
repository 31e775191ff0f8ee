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
