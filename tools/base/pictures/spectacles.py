"""Glasses drawn on a face: few sitters wear any, and a base that sees them on the same few faces learns those."""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np

COLOURS = (
    *[(18, 16, 16)] * 4,
    *((52, 34, 24), (84, 52, 30), (60, 60, 66), (120, 118, 120), (150, 124, 70), (30, 40, 66), (96, 24, 30)),
)
"""Of frames, RGB; black is as common as four others."""
EYES = ((33, 133), (362, 263))
"""Points of the mesh: the corners of the sitter's right and left eye, from the picture's left to its right."""
EARS = (127, 356)
FINE = 3
"""Lines are drawn at so many times the picture's size."""


class Frame(NamedTuple):
    """What a pair of glasses looks like. Lengths are in the distance of the eyes."""

    width: float
    height: float
    round: float
    """Exponent of the superellipse that a rim is: 2 round, 4.5 nearly a rectangle."""
    thick: float
    drop: float
    """How far below the eyes the rims' middles sit."""
    brow: bool
    """The upper half of the rims is heavier."""
    colour: np.ndarray


def any_frame(rng: np.random.Generator) -> Frame:
    width = rng.uniform(0.80, 0.96)
    return Frame(
        width,
        width * rng.uniform(0.55, 0.86),
        rng.choice([2.0, 2.4, 3.2, 4.5]),
        rng.choice([0.018, 0.028, 0.042, 0.06]),
        rng.uniform(0.02, 0.10),
        rng.random() < 0.3,
        np.array(COLOURS[rng.integers(len(COLOURS))], np.float32) + rng.normal(0, 5, 3),
    )


class Rim(NamedTuple):
    """Outline of a lens [n, 2], which of its points are above the middle, and its outermost points left and right."""

    outline: np.ndarray
    upper: np.ndarray
    left: np.ndarray
    right: np.ndarray


def rims(frame: Frame, points: np.ndarray, across: np.ndarray, down: np.ndarray, apart: float) -> list[Rim]:
    """Both rims; on a turned head the farther one is narrower, as its eye is."""
    turn = np.linspace(0, 2 * np.pi, 73)
    rise = np.sin(turn)

    def bent(x: np.ndarray) -> np.ndarray:
        return np.sign(x) * np.abs(x) ** (2 / frame.round)

    eyes = [np.linalg.norm(points[a] - points[b]) for a, b in EYES]
    out = []
    for (a, b), eye in zip(EYES, eyes):
        middle = (points[a] + points[b]) / 2 + frame.drop * apart * down
        half = frame.width / 2 * apart * np.clip(2 * eye / sum(eyes), 0.72, 1.2)
        tall = frame.height / 2 * apart * np.where(rise < 0, 0.92, 1.0)
        outline = middle + np.outer(bent(np.cos(turn)), across) * half + np.outer(bent(rise) * tall, down)
        out.append(Rim(outline, rise < -0.15, middle - half * across, middle + half * across))
    return out


def drawn_lines(frame: Frame, pair: list[Rim], points: np.ndarray, down: np.ndarray, apart: float, side: int):
    """Coverage of frame and lenses, each float32 [side, side, 1] in 0..1."""
    line, lens = np.zeros((2, side * FINE, side * FINE), np.uint8)

    def stroke(path: np.ndarray, weight: float, closed: bool = False) -> None:
        thick = max(1, round(max(1.0, frame.thick * apart) * FINE * weight))
        cv2.polylines(line, [np.round(path * FINE).astype(np.int32)], closed, 255, thick, cv2.LINE_AA)

    for rim in pair:
        cv2.fillPoly(lens, [np.round(rim.outline * FINE).astype(np.int32)], 255)
        stroke(rim.outline, 1.0, closed=True)
        if frame.brow:
            stroke(rim.outline[rim.upper], 2.2)
    up = -0.06 * apart * down
    first, last = pair[0].right + up, pair[1].left + up
    top, t = (first + last) / 2 + up, np.linspace(0, 1, 12)[:, None]
    stroke((1 - t) ** 2 * first + 2 * t * (1 - t) * top + t**2 * last, 1.15)  # the bridge, a Bezier curve
    for hinge, ear in zip((pair[0].left, pair[1].right), EARS):
        hinge = hinge + 1.5 * up
        stroke(np.stack([hinge, 0.15 * hinge + 0.85 * points[ear]]), 1.2)
    small = (cv2.resize(x, (side, side), interpolation=cv2.INTER_AREA) for x in (line, lens))
    return [x.astype(np.float32)[..., None] / 255 for x in small]


def reflection(lens: np.ndarray, eye: np.ndarray, apart: float, rng: np.random.Generator) -> np.ndarray:
    """A slanted band of light across each lens, float [side, side, 1]."""
    ys, xs = np.mgrid[0 : len(lens), 0 : len(lens)].astype(np.float32)
    way = (xs - eye[0]) + (ys - eye[1]) * rng.uniform(0.4, 1.0) - rng.uniform(-0.4, 0.4) * apart
    band = sum(np.exp(-(((way - start) / (0.10 * apart)) ** 2)) for start in (0, apart))
    return lens * (band * rng.uniform(15, 60))[..., None]


def with_glasses(image: np.ndarray, points: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The picture, uint8 [s, s, 3], with glasses of a random kind on the face with these mesh points, in pixels [468, 2]."""
    frame = any_frame(rng)
    across = points[EYES[1][1]] - points[EYES[0][0]]
    across = across / np.linalg.norm(across)
    down = np.array([-across[1], across[0]], np.float32)
    right, left = ((points[a] + points[b]) / 2 for a, b in EYES)
    apart = float(np.linalg.norm(left - right))
    pair = rims(frame, points, across, down, apart)
    line, lens = drawn_lines(frame, pair, points, down, apart, len(image))
    shadow = cv2.GaussianBlur(np.roll(line, 3, 0), (0, 0), 2.0)[..., None]
    tint = rng.choice([0.0, 0.04, 0.10])
    out = image * (1 - 0.35 * shadow) * (1 - tint * lens) + tint * lens * rng.uniform(150, 235)
    if rng.random() < 0.3:
        out = out + reflection(lens, right, apart, rng)
    # A frame in the light is lighter.
    lit = 1 + 0.25 * (cv2.GaussianBlur(out.mean(-1), (0, 0), 4)[..., None] / 128 - 1)
    return np.clip(out * (1 - line) + line * frame.colour * lit, 0, 255).astype(np.uint8)
