"""Faceted portrait: two views of one head, cut into planes that are shifted, tinted and brushed."""

from __future__ import annotations

import cv2
import numpy as np

from .brush import Canvas
from .field import blur, over, rgb, rim, step
from .head import Person
from .scene import Scene, compose

LOOK = dict(
    age=38,
    eye_distance=0.21,
    face_width=0.95,
    jaw=0.92,
    nose_length=1.1,
    nose_height=1.25,
    lips=1.4,
    mouth_width=0.95,
    eye_size=1.45,
    brow_thick=1.5,
    hairdo="fringe",
    light=(-0.7, -0.4, 0.5),
)
WARM = {
    "ground": "d9a05b",
    "skin": "f0b27a",
    "hair": "1d2440",
    "cloth": "b23a2e",
    "iris": "2d6f73",
    "lip": "c4322f",
    "line": "1c1512",
    "white": "f6eedd",
}
COLD = {
    "ground": "4b7f86",
    "skin": "7fa6a0",
    "hair": "1f2a3a",
    "cloth": "2b4a6f",
    "iris": "d98e2b",
    "lip": "8f2f46",
    "line": "14131a",
    "white": "e9f0e6",
}
TINTS = ("f2b93b", "d8512c", "5fa8a0", "2b5f86", "f6dfae", "a8323a", "e8d3a0", "c98435")
DARKS = ("1d2440", "6a1f45", "14525e", "33286e", "24344a")
# Cuts as (x, y, angle in degrees) through fractions of the picture; every side of every cut is another plane.
CUTS = (
    (0.50, 0.40, 83),
    (0.50, 0.55, 8),
    (0.33, 0.40, 118),
    (0.68, 0.42, 62),
    (0.50, 0.22, -14),
    (0.50, 0.76, 22),
    (0.30, 0.70, 45),
    (0.76, 0.70, 128),
    (0.15, 0.5, 80),
    (0.86, 0.45, 104),
)


def facets(size: int) -> np.ndarray:
    """Number of the plane of each pixel (N, N)."""
    yy, xx = np.mgrid[:size, :size].astype(np.float32) / size
    number = np.zeros((size, size), int)
    for k, (cx, cy, angle) in enumerate(CUTS):
        a = np.deg2rad(angle)
        number += ((xx - cx) * np.sin(a) - (yy - cy) * np.cos(a) > 0).astype(int) << k
    return np.unique(number, return_inverse=True)[1].reshape(size, size)


def _view(colours: dict, size: int, rng: np.random.Generator, **pose) -> tuple[Scene, np.ndarray, np.ndarray]:
    """One look at the head: the scene, its flat planes of tone and its lines."""
    s = compose(Person(**{**LOOK, **pose, "colours": colours}), size, rng)
    u, light = s.head.unit, blur(s.light, 0.06 * s.head.unit)
    tone = 0.62 + 0.22 * step(light, 0.42, 0.04) + 0.24 * step(light, 0.72, 0.04)  # three hard planes of light
    picture = over(s.flat(), s.flat() * tone[..., None], 1 - s.parts["ground"])
    ink = np.maximum(
        s.ink("eye nose mouth lid brow", 1.6), rim(s.parts["head"] * (1 - s.parts["hair_front"]), 0.11 * u)
    )
    ink = np.maximum(ink, np.maximum(rim(1 - s.parts["ground"], 0.11 * u), rim(s.parts["cloth"], 0.09 * u)))
    return s, picture, ink


def _two_views(size: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray, float]:
    """A profile that looks left, laid into the right half of a frontal face.

    Returns the picture, its lines, how far a plane may tint skin and ground, and hair (N, N, 2), and the head unit in pixels.
    """
    front, picture, ink = _view(WARM, size, rng, yaw=-3, roll=4)
    side, other, other_ink = _view(COLD, size, rng, yaw=-62, roll=-3, hairdo="crown")  # no hair over the cheek
    u = front.head.unit
    shift = np.float32([[1, 0, 0.95 * u], [0, 1, 0.05 * u]])

    def moved(image):
        return cv2.warpAffine(image, shift, (size, size), borderMode=cv2.BORDER_REPLICATE)

    face = moved(side.parts["head"]) * step(np.mgrid[:size, :size][1].astype(np.float32), 0.40 * size, 2)
    profile = face * front.parts["head"] * (1 - front.parts["hair_front"])
    picture = over(picture, moved(other), profile)
    ink = ink * (1 - profile) + moved(other_ink) * profile
    ink = np.maximum(ink, rim(profile, 0.13 * u))
    p = front.parts
    hair = np.maximum(p["hair_front"], p["hair_back"] * (1 - np.maximum(p["head"], p["bust"])))
    loose = np.dstack([0.14 + 0.56 * p["ground"] + 0.2 * p["cloth"] - 0.14 * hair, 0.75 * hair]).astype(np.float32)
    return picture, ink, loose, u


def cubist(size: int, seed: int) -> np.ndarray:
    """Woman seen from the front and from the side at once."""
    rng = np.random.default_rng(seed)
    picture, lines, loose, u = _two_views(size, rng)
    plane = facets(size)
    yy, xx = np.mgrid[:size, :size].astype(np.float32)
    image, ink = np.zeros((size, size, 3), np.float32), np.zeros((size, size), np.float32)
    flow = np.zeros((size, size, 2), np.float32)
    for k in range(plane.max() + 1):
        inside = plane == k
        cx, cy = xx[inside].mean(), yy[inside].mean()
        angle, zoom = np.deg2rad(rng.uniform(-8, 8)), rng.uniform(0.82, 1.08)
        dx, dy = rng.uniform(-0.030, 0.030, 2) * size
        c, s = np.cos(angle) * zoom, np.sin(angle) * zoom
        mx = (cx + c * (xx - cx) - s * (yy - cy) + dx).astype(np.float32)
        my = (cy + s * (xx - cx) + c * (yy - cy) + dy).astype(np.float32)
        piece = cv2.remap(picture, mx, my, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
        tint = rgb(TINTS[int(rng.integers(len(TINTS)))])
        heading = rng.uniform(0, 2 * np.pi)
        ramp = np.clip(((xx - cx) * np.cos(heading) + (yy - cy) * np.sin(heading)) / (0.20 * size), -1, 1)
        tinted = cv2.remap(loose, mx, my, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
        piece = over(over(piece, tint, tinted[..., 0]), rgb(DARKS[int(rng.integers(len(DARKS)))]), tinted[..., 1])
        piece = piece * (1 + 0.24 * ramp)[..., None]
        image[inside] = piece[inside]
        ink[inside] = cv2.remap(lines, mx, my, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)[inside]
        flow[inside] = (np.cos(heading + 1.5), np.sin(heading + 1.5))
    grey = image.mean(2, keepdims=True)
    image = np.clip(grey + 1.35 * (image - grey), 0, 1)
    painting = Canvas(image, rng)
    painting.layer(image, flow, 0.13 * u, 0.30 * u, 2.2, jitter=0.016, load=0.6)
    painting.layer(image, flow, 0.07 * u, 0.16 * u, 1.2, where=blur(ink, 0.15 * u), jitter=0.01, load=0.4)
    out = over(painting.lit(0.07, 0.03), image, 0.35 + 0 * ink)
    edges = np.zeros((size, size), np.float32)
    for k in range(plane.max() + 1):
        edges = np.maximum(edges, rim((plane == k).astype(np.float32), 0.045 * u))
    out = over(out, rgb("1c1512"), 0.75 * edges)
    return np.clip(over(out, rgb("17110f"), 0.95 * ink), 0, 1)
