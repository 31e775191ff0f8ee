"""Numbers about drawn pictures beside their two training pictures: copies, blends, texture; and how sure they are.

Pictures are uint8 RGB arrays [h, w, 3].
"""

from __future__ import annotations

import cv2
import numpy as np

DETAIL, COARSE = 48, 12
"""Sides at which pictures are compared: nearly all of a small portrait, and only where light and dark lie."""


def shrunk(picture: np.ndarray, side: int) -> np.ndarray:
    """The picture as float [side * side, 3] without each channel's mean, values about -1 to 1."""
    small = cv2.resize(picture, (side, side), interpolation=cv2.INTER_AREA).astype(np.float64).reshape(-1, 3) / 255
    return small - small.mean(0)


def likeness(picture: np.ndarray, other: np.ndarray, side: int = DETAIL) -> float:
    """Cosine of two pictures without their mean colour: 1 for a copy, also a paler one."""
    one, two = shrunk(picture, side).ravel(), shrunk(other, side).ravel()
    size = np.linalg.norm(one) * np.linalg.norm(two)
    return float(one @ two / size) if size > 0 else 0.0


def explained(picture: np.ndarray, references: list[np.ndarray], side: int = DETAIL) -> float:
    """R^2 of the least-squares fit ``picture = sum_i a_i reference_i + c``: 1 for a copy of any of them and for any blend."""
    wanted = shrunk(picture, side).ravel()
    basis = np.stack([shrunk(reference, side).ravel() for reference in references], axis=1)
    factors = np.linalg.lstsq(basis, wanted, rcond=None)[0]
    spread = float(wanted @ wanted)
    return float(1 - np.square(wanted - basis @ factors).sum() / spread) if spread > 0 else 0.0


def texture(picture: np.ndarray) -> float:
    """Mean size of the Laplacian of the grey picture, values 0-1: high for strokes and sharp edges, low for blur."""
    grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY).astype(np.float32) / 255
    return float(np.abs(cv2.Laplacian(grey, cv2.CV_32F)).mean())


def unexplained_chroma(picture: np.ndarray, side: int = 64) -> float:
    """Root mean square of the CIE Lab chroma that lightness does not explain, 0 for a grey or evenly toned picture.

    A sepia photo has chroma, but the same for the same lightness: a and b of the picture at `side` px are each fitted by
    ``c_0 + c_1 L + c_2 L^2`` (least squares), and what is left over is measured. Skin, lips, hair, cloth and background of a
    colour photo differ at the same lightness.
    """
    small = cv2.resize(picture, (side, side), interpolation=cv2.INTER_AREA)
    lab = cv2.cvtColor(small.astype(np.float32) / 255, cv2.COLOR_RGB2LAB).reshape(-1, 3).astype(np.float64)
    basis = np.vander(lab[:, 0] / 100, 3)
    left = lab[:, 1:] - basis @ np.linalg.lstsq(basis, lab[:, 1:], rcond=None)[0]
    return float(np.sqrt(np.square(left).sum(1).mean()))


def paired_interval(differences: np.ndarray, draws: int = 4000, seed: int = 0) -> tuple[float, float]:
    """95 % interval of the mean of paired differences [n], by bootstrap."""
    rng = np.random.default_rng(seed)
    means = np.asarray(differences)[rng.integers(len(differences), size=(draws, len(differences)))].mean(1)
    low, high = np.quantile(means, [0.025, 0.975])
    return float(low), float(high)


def share(marks: np.ndarray) -> dict[str, float]:
    """Share of true ones in bool [n] with its 95 % interval (Wilson 1927): ``value``, ``low``, ``high``, ``of`` (n)."""
    count, z = len(marks), 1.96
    if not count:
        return {"value": 0.0, "low": 0.0, "high": 1.0, "of": 0}
    value = float(np.mean(marks))
    middle = (value + z**2 / (2 * count)) / (1 + z**2 / count)
    half = z / (1 + z**2 / count) * np.sqrt(value * (1 - value) / count + z**2 / (4 * count**2))
    return {"value": value, "low": max(0.0, float(middle - half)), "high": min(1.0, float(middle + half)), "of": count}
