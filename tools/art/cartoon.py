"""Strongly deformed cartoon: huge eyes, tiny nose and mouth, gouache planes and soft outlines."""

from __future__ import annotations

import numpy as np

from .features import fill
from .field import blur, noise, over, rgb, rim, step
from .head import Person
from .prints import paper
from .scene import Scene, compose

SITTER = Person(
    yaw=-6,
    roll=7,
    age=10,
    eye_distance=0.225,
    eye_height=0.42,
    face_width=1.17,
    jaw=0.72,
    chin=-0.45,
    neck=0.55,
    shoulders=0.72,
    nose_length=0.72,
    nose_width=0.55,
    nose_height=0.4,
    lips=0.8,
    mouth_width=0.55,
    smile=0.9,
    eye_size=1.86,
    eye_open=1.62,
    lashes=1.0,
    brow_thick=0.7,
    brow_lift=1.9,
    gaze=(0.06, -0.05),
    hairdo="fringe",
    light=(-0.6, -0.55, 0.6),
    colours={
        "ground": "ffb38a",
        "skin": "ffd9bf",
        "hair": "4a2f7a",
        "cloth": "ff5d73",
        "white": "fffdf6",
        "iris": "19a7a0",
        "pupil": "1a1238",
        "lip": "e0485f",
        "line": "3a1f4f",
    },
)


def _ground(s: Scene) -> np.ndarray:
    """Sunset bands, a moon and leaves."""
    n = s.size
    yy, xx = np.mgrid[:n, :n].astype(np.float32) / n
    canvas = np.broadcast_to(rgb("ffcf9a"), (n, n, 3)).copy()
    for radius, colour in ((0.78, "ffb38a"), (0.62, "ff9a86"), (0.50, "f57f8c"), (0.40, "ffe3b0")):
        canvas = over(canvas, rgb(colour), step(radius - np.hypot(xx - 0.5, yy - 0.42), 0, 2.5 / n))
    for k in range(18):
        a = 2 * np.pi * (k + 0.5) / 18
        t = np.linspace(0, 1, 40)
        half = 0.035 * np.sin(np.pi * t) ** 0.8
        root, reach = 0.44 + 0.05 * (k % 2), 0.30
        along = np.array([np.cos(a), np.sin(a)])
        side = np.array([-along[1], along[0]])
        spine = np.array([0.5, 0.45]) + (root + reach * t)[:, None] * along
        leaf = np.vstack([spine + half[:, None] * side, (spine - half[:, None] * side)[::-1]]) * n
        canvas = over(canvas, rgb("2f8f83" if k % 2 else "1f6f78"), fill(n, leaf))
        vein = np.vstack([spine + 0.06 * half[:, None] * side, (spine - 0.06 * half[:, None] * side)[::-1]]) * n
        canvas = over(canvas, rgb("bfe3c0"), fill(n, vein))
    return canvas


def _eyes(canvas: np.ndarray, s: Scene) -> np.ndarray:
    """Glassy irises: a graded ring, a low glow and two highlights."""
    n, u, p = s.size, s.head.unit, s.parts
    yy, xx = np.mgrid[:n, :n].astype(np.float32)
    for side in (-1, 1):
        ring = s.features.iris(side, 0.27)
        cx, cy = ring.mean(0)
        r = np.hypot(xx - cx, yy - cy) / (np.abs(ring[:, 0] - cx).max())
        disc = np.clip((1 - r) * 0.27 * 2 * u + 0.5, 0, 1) * p["white"]
        down = np.clip((yy - cy) / (0.5 * u), -1, 1)
        iris = rgb("0f6a78") + (rgb("4fe0c6") - rgb("0f6a78")) * np.clip(0.45 + 0.6 * down, 0, 1)[..., None]
        spokes = 1 + 0.12 * np.sin(26 * np.arctan2(yy - cy, xx - cx)) * (r > 0.45)
        canvas = over(canvas, iris * spokes[..., None], disc)
        canvas = over(canvas, s.colour("pupil"), disc * np.maximum(step(0.47 - r, 0, 0.06), step(r, 0.90, 0.06)))
        for dx, dy, size in ((-0.20, -0.22, 0.15), (0.20, 0.20, 0.08)):
            canvas = over(
                canvas,
                (1, 1, 1),
                np.clip(size * u - np.hypot(xx - cx - dx * u, yy - cy - dy * u) + 0.5, 0, 1) * p["white"],
            )
    return canvas


def cartoon(size: int, seed: int) -> np.ndarray:
    """Girl with violet hair."""
    rng = np.random.default_rng(seed)
    s = compose(SITTER, size, rng)
    p, u, n = s.parts, s.head.unit, size
    skin = np.clip(p["head"] + p["ears"] + p["bust"] * (1 - p["cloth"]), 0, 1)
    light = blur(s.light, 0.06 * u)
    canvas = _ground(s)
    behind = p["hair_back"] * (1 - skin)
    locks = s.colour("hair") * 0.62
    canvas = over(canvas, locks, behind)
    canvas = over(canvas, s.colour("skin"), skin)
    canvas = over(canvas, rgb("f2a68f"), skin * step(-light, -0.60, 0.10))
    canvas = over(canvas, rgb("c96f86"), skin * step(-light, -0.33, 0.08))
    canvas = over(canvas, rgb("ff8a86"), 0.75 * np.clip(1.2 * s.blush(), 0, 1))
    canvas = over(canvas, s.colour("cloth"), p["cloth"])
    stripe = np.sin(9 * s.form.canon[..., 1] + 1.5 * np.cos(1.2 * s.form.canon[..., 0])) > 0.35
    canvas = over(canvas, rgb("fff1d6"), p["cloth"] * blur(stripe.astype(np.float32), 1))
    canvas = over(canvas, canvas * 0.72, p["cloth"] * step(-light, -0.5, 0.1))
    canvas = over(canvas, s.colour("white"), p["white"])
    lid_shadow = p["white"] * step(-np.roll(blur(p["white"], 0.10 * u), int(0.16 * u), axis=0), -0.55, 0.3)
    canvas = over(canvas, rgb("b9b6dd"), 0.8 * lid_shadow)
    canvas = _eyes(canvas, s)
    canvas = over(canvas, s.colour("lip"), np.maximum(p["lip_up"], p["lip_low"]))
    hair = p["hair_front"]
    tone = s.light + 0.05 * s.strands
    canvas = over(canvas, s.colour("hair"), hair)
    canvas = over(canvas, rgb("7a4fc0"), hair * step(tone, 0.62, 0.06))
    canvas = over(canvas, rgb("c58cf0"), hair * step(tone, 0.93, 0.05))
    canvas = over(canvas, rgb("2e1b57"), hair * step(s.strands, 1.7, 0.3) * 0.8)
    ink = s.ink("eye mouth lid", 1.25)
    ink = np.maximum(ink, np.maximum(p["brow"], 0.8 * s.ink("nose", 1.0) * (s.form.canon[..., 1] > 0.8)))
    for mask in (p["head"] * (1 - hair), hair, np.maximum(behind, hair), p["cloth"]):
        ink = np.maximum(ink, rim(mask, (0.075 + 0.02 * noise(n, n / 8, rng, 1)) * u))
    canvas = over(canvas, s.colour("line"), np.clip(ink, 0, 1))
    gouache = 1 + 0.018 * noise(n, n / 30, rng, 3)[..., None]
    return paper(canvas * gouache, rng, 0.012)
