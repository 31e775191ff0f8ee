"""OpenCV, which only finding and telling faces apart needs: imported when it is first used."""

from __future__ import annotations

from typing import Any

from ..errors import ACFunError


def opencv(what: str, otherwise: str) -> Any:
    """The module ``cv2``.

    Args:
        what: what cannot be done to faces without it. otherwise: what to do without it.

    Raises:
        ACFunError: it is not installed.
    """
    try:
        import cv2
    except ImportError as error:
        raise ACFunError(
            f"Faces cannot be {what} without OpenCV: {error}.",
            "OpenCV 4.8 or newer",
            f"pip install opencv-python-headless, or {otherwise}",
        ) from error
    return cv2
