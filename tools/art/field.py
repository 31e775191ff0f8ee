"""Noise, line integral convolution, flow from a picture, colour helpers."""

from __future__ import annotations

import cv2
import numpy as np


def blur(image: np.ndarray, sigma: float) -> np.ndarray:
    return cv2.GaussianBlur(image.astype(np.float32), (0, 0), sigma)


def noise(size: int, scale: float, rng: np.random.Generator, octaves: int = 3) -> np.ndarray:
    """Smooth noise (size, size) of mean 0 and deviation 1; scale in pixels."""
    out = np.zeros((size, size), np.float32)
    for k in range(octaves):
        n = max(2, int(np.ceil(size / (scale / 2**k))) + 2)
        out += (
            cv2.resize(rng.standard_normal((n, n)).astype(np.float32), (size, size), interpolation=cv2.INTER_CUBIC)
            / 2**k
        )
    return (out - out.mean()) / (out.std() + 1e-6)


def streaks(source: np.ndarray, flow: np.ndarray, length: int) -> np.ndarray:
    """Line integral convolution of source (N, N) along flow (N, N, 2), normalised to deviation 1."""
    n = source.shape[0]
    grid = np.stack(np.meshgrid(np.arange(n), np.arange(n)), -1).astype(np.float32)
    total = source.astype(np.float32).copy()
    for sign in (1, -1):
        at, heading = grid.copy(), sign * flow
        for _ in range(length // 2):
            at = at + heading
            total += cv2.remap(source, at[..., 0], at[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
            heading = sign * cv2.remap(flow, at[..., 0], at[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
    return (total - total.mean()) / (total.std() + 1e-6)


def contour_flow(image: np.ndarray, sigma: float) -> np.ndarray:
    """Unit vectors along the edges of image (N, N, 3), from the smoothed structure tensor."""
    gx, gy = (cv2.Sobel(image, cv2.CV_32F, *d) for d in ((1, 0), (0, 1)))
    e, f, g = (blur((a * b).sum(2), sigma) for a, b in ((gx, gx), (gx, gy), (gy, gy)))
    angle = 0.5 * np.arctan2(2 * f, e - g) + np.pi / 2
    return np.stack([np.cos(angle), np.sin(angle)], -1).astype(np.float32)


def rgb(code: str) -> np.ndarray:
    """ "e8b04a" -> (3,) float32 in 0..1."""
    return np.array([int(code[i : i + 2], 16) for i in (0, 2, 4)], np.float32) / 255


def over(canvas: np.ndarray, colour, cover: np.ndarray) -> np.ndarray:
    """Lays colour ((3,) or (N, N, 3)) over the canvas where cover is 1."""
    return canvas + (np.asarray(colour, np.float32) - canvas) * cover[..., None]


def step(x: np.ndarray, edge: float, soft: float) -> np.ndarray:
    """Smooth threshold: 0 below edge, 1 above, over a width of `soft`."""
    t = np.clip((x - edge) / soft + 0.5, 0, 1)
    return t * t * (3 - 2 * t)


def shrink(image: np.ndarray, size: int) -> np.ndarray:
    """To `size` by area averaging, 8-bit RGB."""
    image = np.clip(image, 0, 1).astype(np.float32)
    return (cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA) * 255 + 0.5).astype(np.uint8)


def rim(mask: np.ndarray, width, centre: float = 0.0) -> np.ndarray:
    """Coverage of a line along the edge of mask; width in pixels, a number or (N, N)."""
    inside = (mask > 0.5).astype(np.uint8)
    d = cv2.distanceTransform(inside, cv2.DIST_L2, 5) - cv2.distanceTransform(1 - inside, cv2.DIST_L2, 5)
    d = blur(np.clip(d, -60, 60), 1.5)
    return np.clip(np.asarray(width) / 2 - np.abs(d - centre) + 0.5, 0, 1).astype(np.float32)
