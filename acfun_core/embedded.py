"""The embedded base: where it lies, and the size it draws at."""

from __future__ import annotations

from pathlib import Path

EMBEDDED = Path(__file__).resolve().parents[1] / "base"
"""The small base that lies beside the package in the repository; an installed package has none."""

NATIVE_SIDE = 256
"""Side in pixels of the pictures it was trained on: 8 times ``sample_size`` in ``base/unet/config.json``."""
