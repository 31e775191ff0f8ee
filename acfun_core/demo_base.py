"""The demo base: where it lies, the size it draws at, and the key that tells its weights from any others."""

from __future__ import annotations

import hashlib
from pathlib import Path

from .errors import ACFunError

DEMO_BASE = Path(__file__).resolve().parents[1] / "base"
"""The small base that lies beside the package in the repository; an installed package has none."""

NATIVE_SIDE = 256
"""Side in pixels of the pictures it was trained on: 8 times ``sample_size`` in ``base/unet/config.json``."""


def base_key(base: Path, *settings: str) -> str:
    """Short name of a base's weights, 8 hexadecimal digits; with further settings, of work that was done with both."""
    digest = hashlib.sha256("\n".join(settings).encode())
    for path in sorted(base.rglob("*.safetensors")):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:8]


def check_weights(trained_on: str, key: str) -> None:
    """Raise unless an adapter was trained on these very weights.

    Stable Diffusion's checkpoints are trained from one another and share their adapters, so they have no key. The demo base
    has one: its weights have been replaced by others of the same shapes, on which an adapter of the earlier ones draws noise.

    Args:
        trained_on: key of the base the adapter was trained on; empty in files that say nothing of it.
        key: key of the present base; empty if any adapter of its family and shapes will do.

    Raises:
        ACFunError: the base has a key and the adapter has another one, or none.
    """
    if not key or trained_on == key:
        return
    where = (
        f"on the weights {trained_on[:40]}"
        if trained_on
        else "on weights that its file does not name (an earlier demo base)"
    )
    raise ACFunError(
        f"The adapter was trained {where}; this base has the weights {key}.",
        "an adapter trained on these very weights: on others of the same shapes it draws noise",
        "train it again on this base",
    )
