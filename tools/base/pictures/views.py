"""Another look at a picture: nearer or farther, a little turned and moved, mirrored, in other light."""

from __future__ import annotations

import cv2
import numpy as np

from .album import SIDE, SIZE

EYES = 0.43
"""Height of the eyes in the base's pictures, in parts of their side."""


def placed(image: np.ndarray, rng: np.random.Generator, loose: float = 1.0) -> np.ndarray:
    """A view of 256 px of a stored picture, uint8 [320, 320, 3]: 0.98 to 1.32 times as near, turned and moved by a few degrees
    and pixels (times `loose`), half of the time mirrored."""
    zoom = np.exp(rng.uniform(np.log(0.98), np.log(1.32)))
    turn = np.deg2rad(rng.normal(0, 1.6) * loose)
    cos, sin = np.cos(turn) * zoom, np.sin(turn) * zoom
    matrix = np.array([[cos, sin, 0.0], [-sin, cos, 0.0]])
    eyes = np.array([SIDE / 2, EYES * SIZE + (SIDE - SIZE) / 2])
    matrix[:, 2] = np.array([SIZE / 2, EYES * SIZE]) + rng.normal(0, 2.5, 2) * loose - matrix[:, :2] @ eyes
    how = cv2.INTER_LINEAR if zoom < 1 else cv2.INTER_CUBIC
    out = cv2.warpAffine(image, matrix, (SIZE, SIZE), flags=how, borderMode=cv2.BORDER_REFLECT_101)
    return out[:, ::-1] if rng.random() < 0.5 else out


def lit(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The picture, uint8 [h, w, 3], with gamma, contrast, saturation and white a little changed."""
    x = (image.astype(np.float32) / 255) ** np.exp(rng.normal(0, 0.10))
    x = (x - 0.5) * np.exp(rng.normal(0, 0.06)) + 0.5
    gray = x.mean(-1, keepdims=True)
    x = gray + (x - gray) * np.exp(rng.normal(0, 0.10))
    x = x * np.exp(rng.normal(0, 0.02, 3))
    return np.clip(x * 255 + 0.5, 0, 255).astype(np.uint8)
