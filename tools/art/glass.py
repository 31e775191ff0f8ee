"""Stained glass: leaded cells of lit glass, with the face painted on in dark enamel."""

from __future__ import annotations

import cv2
import numpy as np
from scipy.ndimage import distance_transform_edt

from .field import blur, noise, over, rgb, step
from .head import Person
from .scene import Scene, compose

SITTER = Person(
    yaw=9,
    roll=-5,
    age=28,
    eye_distance=0.20,
    face_width=0.94,
    jaw=0.9,
    nose_width=0.8,
    lips=1.1,
    eye_size=1.18,
    lashes=0.7,
    brow_lift=0.7,
    hairdo="long",
    gaze=(0.03, 0.03),
    light=(-0.6, -0.45, 0.65),
    colours={
        "ground": "2450a8",
        "skin": "f4cfa0",
        "hair": "b8360f",
        "cloth": "1f7a4d",
        "white": "fff6dc",
        "iris": "2f7f5a",
        "lip": "d2453f",
        "line": "2a1510",
    },
)
SKY = ("16388f", "1f55b8", "2f7fd0", "1b2f7a", "3aa0c8", "273fa0")
HALO = ("f6b21b", "ffd24a", "f08a1a", "ffe27a")
ROBE = ("0f7a4a", "1c9a63", "0b5f50", "4fb36b", "7a1f6a")
HAIR = ("b8360f", "d9541a", "94240d", "e8781f", "c4451a")
SKIN = ("fbcf94", "f6c184", "fdd9a4", "f3b877")
BORDER = ("a3162a", "1f7a4d", "f6b21b", "24409a")


def _cells(s: Scene, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Cell numbers (N, N) and the palette index of each: 0 sky, 1 halo, 2 robe, 3 hair, 4 skin, 5 border."""
    n, u, p = s.size, s.head.unit, s.parts
    yy, xx = np.mgrid[:n, :n].astype(np.float32)
    bend = 0.12 * u * noise(n, n / 5, rng, 1)
    cx, cy = s.head.project(np.array([[0.0, -0.9, 0.0]]))[0]
    r, a = np.hypot(xx - cx, yy - cy) / u, np.arctan2(yy - cy, xx - cx)
    halo = r + 0 * bend < 4.35
    sector = np.floor((a + np.pi) / (2 * np.pi) * 22).astype(int)
    sky = (
        np.floor((xx + 1.5 * bend) / (1.55 * u)) * 31 + np.floor((yy + 0.35 * (xx - n / 2) + bend) / (1.2 * u))
    ).astype(int)
    kind, cell = np.zeros((n, n), int), sky + 500
    kind, cell = np.where(halo, 1, kind), np.where(halo, sector + 30 * (r > 3.75) + 2000, cell)
    x, y = s.form.canon[..., 0], s.form.canon[..., 1]
    hair = np.maximum(p["hair_front"], p["hair_back"] * (1 - np.maximum(p["head"], p["bust"]))) > 0.5
    bust = (p["bust"] > 0.5) & ~(p["head"] > 0.5)
    cloth = bust & (p["cloth"] > 0.5)
    robe = np.floor(1.1 * x + 0.35 * np.sin(1.7 * y)).astype(int) + 20 * np.floor(
        (y - 0.42 * np.abs(x) + 0.2) / 0.62
    ).astype(int)
    kind, cell = np.where(cloth, 2, kind), np.where(cloth, robe + 4000, cell)
    face = ((p["head"] > 0.5) | (bust & ~cloth)) & ~hair
    plan = np.where(p["head"] > 0.5, 2, 1)  # the face is one pane, as painted faces are
    kind, cell = np.where(face, 4, kind), np.where(face, plan + 6000, cell)
    # locks: bands across the distance from the face, cut along the fall of the hair
    fall = s.head.unit
    side = np.where(xx < s.head.project(np.array([[0.1, -2.6, 2.3]]))[0][0] + 0.1 * (yy - cy), 0, 1)
    radial = np.abs(xx - cx + 0.8 * bend) / fall * np.where(yy > cy, 1, 0) + np.where(yy > cy, 0, r)
    band = np.floor((radial + 0.18 * np.sin(yy / (0.8 * u))) / 0.52).astype(int)
    cut = np.floor((yy + 1.1 * u * np.sin(2.1 * band) + 0.5 * np.abs(xx - cx) + bend) / (1.9 * u)).astype(int)
    kind, cell = np.where(hair, 3, kind), np.where(hair, side * 700 + band * 40 + cut + 8000, cell)
    edge = np.minimum(np.minimum(xx, n - 1 - xx), np.minimum(yy, n - 1 - yy))
    frame = edge < 0.40 * u
    along = np.where(np.minimum(xx, n - 1 - xx) < np.minimum(yy, n - 1 - yy), yy, xx)
    kind, cell = (
        np.where(frame, 5, kind),
        np.where(frame, np.floor(along / (n / 14)).astype(int) + 12000 + 20 * (xx > yy) + 40 * (xx + yy > n), cell),
    )
    return cell, kind


def _lead(cell: np.ndarray, width: float) -> tuple[np.ndarray, np.ndarray]:
    """Coverage of the lead and the distance to it in pixels."""
    border = np.zeros(cell.shape, np.uint8)
    border[:, 1:] |= cell[:, 1:] != cell[:, :-1]
    border[1:] |= cell[1:] != cell[:-1]
    distance = blur(cv2.distanceTransform(1 - border, cv2.DIST_L2, 5), 1.2)
    return np.clip(width / 2 - distance + 0.5, 0, 1), distance


def glass(size: int, seed: int) -> np.ndarray:
    """Red-haired woman with a golden halo, lit from behind."""
    rng = np.random.default_rng(seed)
    s = compose(SITTER, size, rng)
    n, u, p = size, s.head.unit, s.parts
    cell, kind = _cells(s, rng)
    ids, index = np.unique(cell, return_inverse=True)
    index = index.reshape(n, n)
    sizes = np.bincount(index.ravel())
    kinds = np.zeros(len(ids), int)
    kinds[index.ravel()] = kind.ravel()
    # slivers would be all lead: they join their surroundings by a majority filter
    tiny = sizes[index] < (0.30 * u) ** 2
    rows, cols = distance_transform_edt(tiny, return_distances=False, return_indices=True)
    index = index[rows, cols]
    tints = np.zeros((len(ids), 3), np.float32)
    last = -1
    for k, kd in enumerate(kinds):
        palette = (SKY, HALO, ROBE, HAIR, SKIN, BORDER)[kd]
        pick = int(rng.integers(len(palette)))
        pick = (pick + 1) % len(palette) if pick == last else pick
        last = pick
        tints[k] = rgb(palette[pick]) * (1 + 0.05 * rng.standard_normal())
    pane = tints[index]
    light = blur(s.light, 0.08 * u)
    enamel = (
        0.62 + 0.30 * step(light, 0.42, 0.12) + 0.20 * step(light, 0.78, 0.12)
    )  # washes of matt, brushed out of the lights
    shade = np.where((kind == 4) | (kind == 2), enamel, np.where(kind == 3, 0.62 + 0.5 * light, 1.0))
    ripple = 1 + (0.065 * noise(n, 0.9 * u, rng) + 0.045 * noise(n, 0.16 * u, rng, 2)) * np.where(kind == 4, 0.35, 1.0)
    seeds = step(noise(n, 0.09 * u, rng, 1), 2.6, 0.4)
    yy, xx = np.mgrid[:n, :n] / n
    sun = 0.80 + 0.36 * np.exp(-(((xx - 0.45) / 0.5) ** 2 + ((yy - 0.33) / 0.5) ** 2))
    image = pane * (shade * ripple * sun + 0.10 * seeds)[..., None]
    skin = kind == 4
    image = over(image, rgb("d8603f"), 0.55 * s.blush() * skin)
    image = over(image, s.colour("lip"), np.maximum(p["lip_up"], p["lip_low"]) * skin * 0.9)
    image = over(image, s.colour("white"), p["white"] * 0.95)
    image = over(image, s.colour("iris"), p["iris"])
    paint = np.maximum(s.ink("eye nose mouth lid ear", 1.15), np.maximum(p["pupil"], p["brow"] * skin))
    paint = np.maximum(paint, 0.55 * step(s.strands, 1.0, 0.5) * (kind == 3))
    fold = np.abs(np.sin(3.2 * s.form.canon[..., 0] + 1.2 * np.sin(s.form.canon[..., 1])))
    paint = np.maximum(paint, 0.40 * step(-fold, -0.12, 0.1) * (kind == 2))
    image = over(image, rgb("2a120c"), 0.92 * paint)
    width = np.where(skin, 0.085, 0.125) * u
    lead, distance = _lead(index, blur(width, 0.1 * u))
    glow = blur(image * (1 - lead)[..., None], 0.22 * u)
    image = 1 - (1 - np.clip(image, 0, 1)) * (1 - 0.28 * np.clip(glow, 0, 1))
    image *= np.clip(0.62 + 0.38 * distance / (0.16 * u), 0, 1)[..., None] ** 0.8
    came = rgb("17161a") + 0.22 * np.clip(1 - distance / (0.028 * u), 0, 1)[..., None] * (
        0.7 + 0.3 * noise(n, 0.3 * u, rng)[..., None]
    )
    return np.clip(image * (1 - lead[..., None]) + came * lead[..., None], 0, 1)
