"""What several media share: palettes, tones, paper, cells."""

from __future__ import annotations

import cv2
import numpy as np
from scipy.spatial import cKDTree

PALETTES = {
    "blue and orange": [(18, 32, 74), (38, 92, 156), (226, 122, 42), (250, 208, 140)],
    "red and black": [(20, 14, 16), (110, 20, 28), (206, 40, 42), (244, 226, 208)],
    "green and yellow": [(16, 48, 36), (48, 116, 72), (176, 186, 60), (246, 236, 156)],
    "purple and pink": [(40, 18, 66), (106, 48, 138), (222, 96, 160), (252, 212, 226)],
    "brown": [(36, 22, 14), (98, 62, 36), (176, 128, 82), (242, 222, 190)],
    "blue": [(10, 24, 60), (30, 78, 148), (104, 164, 214), (228, 242, 250)],
    "teal and red": [(12, 44, 52), (24, 122, 124), (220, 78, 66), (248, 224, 196)],
    "gold and brown": [(44, 24, 10), (132, 78, 24), (214, 160, 48), (252, 236, 176)],
    "gray": [(24, 24, 26), (92, 92, 96), (164, 164, 166), (240, 240, 238)],
    "pink and green": [(24, 60, 52), (86, 148, 110), (240, 140, 160), (252, 232, 224)],
}
"""Name -> colours from dark to light, RGB."""


def gray_of(image: np.ndarray, contrast: bool = True) -> np.ndarray:
    """float32 luminance in 0..1, with local contrast evened out."""
    gray = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    if contrast:
        gray = cv2.createCLAHE(2.0, (4, 4)).apply(gray)
    return gray.astype(np.float32) / 255


def noise(shape, rng, sigma: float) -> np.ndarray:
    """Smooth float32 noise, zero mean, unit deviation."""
    noise = cv2.GaussianBlur(rng.standard_normal(shape).astype(np.float32), (0, 0), sigma)
    return noise / (noise.std() + 1e-6)


def smooth(image: np.ndarray, passes: int = 2) -> np.ndarray:
    for _ in range(passes):
        image = cv2.bilateralFilter(image, 7, 40, 7)
    return image


def any_palette(rng) -> tuple[str, np.ndarray]:
    name = list(PALETTES)[rng.integers(len(PALETTES))]
    return name, np.array(PALETTES[name], np.float32)


def mapped(gray: np.ndarray, colours: np.ndarray) -> np.ndarray:
    """Gradient map of 0..1 luminance through the palette: float32 [h, w, 3] in 0..255."""
    place = np.linspace(0, 1, len(colours))
    return np.stack([np.interp(gray, place, colours[:, c]) for c in range(3)], -1).astype(np.float32)


def tint(image: np.ndarray, rng, chance: float = 0.6) -> tuple[np.ndarray, dict]:
    """With some chance pull the picture's colours towards a palette."""
    if rng.random() > chance:
        return image.astype(np.float32), {}
    name, colours = any_palette(rng)
    mixed = 0.3 * image.astype(np.float32) + 0.7 * mapped(gray_of(image), colours)
    return mixed, {"palette": name}


def vivid(image: np.ndarray, gain: float) -> np.ndarray:
    gray = image.mean(-1, keepdims=True)
    return gray + gain * (image - gray)


def clip(image: np.ndarray) -> np.ndarray:
    return np.clip(image, 0, 255).astype(np.uint8)


def on_paper(gray: np.ndarray, rng) -> tuple[np.ndarray, dict]:
    """0..1 ink coverage (0 = full ink) on white or tinted paper."""
    papers = [(250, 249, 244), (238, 226, 198), (222, 214, 204)]
    inks = [(22, 22, 26), (22, 22, 26), (70, 36, 18), (24, 38, 90)]
    paper, ink = np.array(papers[rng.integers(3)], np.float32), np.array(inks[rng.integers(4)], np.float32)
    return clip(ink + gray[..., None] * (paper - ink)), {}


def ring(shape: tuple[int, int], rng) -> np.ndarray:
    """Distance from the middle, uneven as by hand: 0 there, 0.9 at the middle of a side."""
    height, width = shape
    ys, xs = np.mgrid[0:height, 0:width].astype(np.float32)
    ring = np.hypot((xs - width / 2) / (width * 0.56), (ys - height / 2) / (height * 0.56))
    return ring + 0.05 * noise(shape, rng, 6)


def cells(image: np.ndarray, points: np.ndarray) -> np.ndarray:
    height, width = image.shape[:2]
    ys, xs = np.mgrid[0:height, 0:width]
    return cKDTree(points).query(np.stack([ys, xs], -1).reshape(-1, 2))[1].reshape(height, width)


def means(image: np.ndarray, label: np.ndarray) -> np.ndarray:
    count = np.maximum(np.bincount(label.ravel()), 1)
    return np.stack([np.bincount(label.ravel(), image[..., c].ravel().astype(float)) / count for c in range(3)], -1)


def detail_points(image: np.ndarray, count: int, rng) -> np.ndarray:
    """Random points, denser where there are edges: float [count, 2] as (y, x)."""
    gray = gray_of(image)
    weight = cv2.GaussianBlur(np.abs(cv2.Laplacian(gray, cv2.CV_32F)), (0, 0), 3) + 0.015
    chosen = rng.choice(gray.size, count, replace=False, p=(weight / weight.sum()).ravel())
    return np.stack(np.unravel_index(chosen, gray.shape), -1).astype(float)
