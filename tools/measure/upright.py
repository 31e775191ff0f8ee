"""Faces turned upright by their eyes, and a simple reading of glasses on them."""

from __future__ import annotations

import cv2
import numpy as np


def align(
    image: np.ndarray, landmarks: list, side: int, eye_distance: float, eye_center: tuple[float, float]
) -> np.ndarray:
    """Rotate, scale and shift so that the eyes' middle lies at `eye_center` (in 0..1 of `side`)
    and the eyes are `eye_distance * side` apart. Missing border is mirrored."""
    left, right = np.asarray(landmarks[0], float), np.asarray(landmarks[1], float)
    middle, delta = (left + right) / 2, right - left
    scale = eye_distance * side / max(float(np.hypot(*delta)), 1e-3)
    angle = np.arctan2(delta[1], delta[0])
    cos, sin = np.cos(angle) * scale, np.sin(angle) * scale
    matrix = np.array([[cos, sin, 0.0], [-sin, cos, 0.0]])
    matrix[:, 2] = np.asarray(eye_center) * side - matrix[:, :2] @ middle
    if scale < 0.7:  # warpAffine does not low-pass
        image = cv2.GaussianBlur(image, (0, 0), 0.45 / scale)
    return cv2.warpAffine(image, matrix, (side, side), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT_101)


def glasses_score(aligned: np.ndarray, eye: float, center: tuple[float, float]) -> float:
    """Strength of horizontal edges on the nose bridge and below the eyes, where frames run."""
    side = len(aligned)
    x, y, d = center[0] * side, center[1] * side, eye * side
    gray = cv2.cvtColor(aligned, cv2.COLOR_RGB2GRAY).astype(np.float32)

    def cut(image: np.ndarray, cx: float, cy: float, hw: float, hh: float) -> np.ndarray:
        return image[round(cy - hh) : round(cy + hh), round(cx - hw) : round(cx + hw)]

    gray = cv2.GaussianBlur(gray, (0, 0), 0.8) / (cut(gray, x, y + 0.24 * d, 0.9 * d, 1.07 * d).mean() + 1)
    edge = np.abs(cv2.Sobel(gray, cv2.CV_32F, 0, 1, ksize=3))
    rims = [cut(edge, x + s * d / 2, y + 0.43 * d, 0.23 * d, 0.19 * d).max(0).mean() for s in (-1, 1)]
    return float(cut(edge, x, y - 0.02 * d, 0.14 * d, 0.19 * d).max(0).mean() + 0.7 * np.mean(rims))
