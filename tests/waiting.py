"""Waiting for words that another thread prints, without a fixed time."""

from __future__ import annotations

import time
from collections.abc import Callable


def appears(words: str, read: Callable[[], str], seconds: float = 10.0) -> bool:
    """Whether the words come in time.

    Args:
        read: gives what was printed since it was asked last.
    """
    deadline, seen = time.monotonic() + seconds, ""
    while words not in seen and time.monotonic() < deadline:
        time.sleep(0.1)
        seen += read()
    return words in seen
