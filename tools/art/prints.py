"""Flat prints: a colour woodblock and a screen print with halftone dots."""

from __future__ import annotations

import cv2
import numpy as np

from .features import fill, smooth, tapered
from .field import blur, noise, over, rgb, rim, step
from .head import Person
from .scene import Scene, compose

LADY = Person(
    yaw=-9,
    roll=4,
    age=24,
    eye_distance=0.20,
    face_width=0.93,
    jaw=0.9,
    nose_width=0.75,
    nose_height=0.8,
    lips=0.95,
    mouth_width=0.62,
    eye_size=0.98,
    eye_open=0.62,
    eye_tilt=0.10,
    brow_thick=0.75,
    brow_lift=1.2,
    lashes=0.9,
    gaze=(-0.04, 0.02),
    hairdo="updo",
    neck=0.86,
    shoulders=0.92,
    light=(-0.5, -0.5, 0.7),
    colours={
        "ground": "e9d9b0",
        "skin": "f4e3c6",
        "hair": "1d2230",
        "cloth": "2d5c7c",
        "white": "f8f0dd",
        "iris": "2a2220",
        "lip": "b5342c",
        "line": "1a1a22",
    },
)
SINGER = Person(
    yaw=11,
    roll=-4,
    age=30,
    eye_distance=0.20,
    face_width=0.96,
    jaw=0.95,
    nose_width=1.25,
    lips=1.5,
    mouth_width=1.05,
    eye_size=1.1,
    lashes=1.0,
    brow_thick=1.0,
    brow_lift=0.6,
    hairdo="afro",
    smile=0.3,
    light=(-0.75, -0.35, 0.55),
    colours={
        "ground": "ffd23f",
        "skin": "c9703f",
        "hair": "1b1440",
        "cloth": "00a6a6",
        "lip": "e3175f",
        "iris": "1b1440",
        "white": "fff7e6",
        "line": "1b1440",
    },
)


def scales(size: int, radius: float) -> np.ndarray:
    """Overlapping-wave pattern: ink lines 0..1."""
    yy, xx = np.mgrid[:size, :size].astype(np.float32)
    out = np.zeros((size, size), np.float32)
    done = np.zeros((size, size), bool)
    row_height = radius * 0.5
    for row in range(int(size / row_height) + 3, -2, -1):  # the nearest row covers the ones behind
        shift = radius * (row % 2)
        d = np.hypot((xx - shift + radius) % (2 * radius) - radius, yy - row * row_height)
        new = (d < radius) & ~done
        ring = np.min([np.abs(d - radius * k) for k in (0.97, 0.70, 0.43)], axis=0)
        out[new] = np.clip(radius * 0.055 - ring + 0.5, 0, 1)[new]
        done |= new
    return out


def paper(image: np.ndarray, rng: np.random.Generator, strength: float = 0.03) -> np.ndarray:
    """Multiplies fibres and a slow mottle into the picture."""
    n = image.shape[0]
    fibre = cv2.resize(rng.standard_normal((n, n // 6)).astype(np.float32), (n, n)) + cv2.resize(
        rng.standard_normal((n // 6, n)).astype(np.float32), (n, n)
    )
    tone = strength * (0.5 * fibre + 0.7 * noise(n, n / 6, rng))
    return np.clip(image * (1 + tone[..., None]), 0, 1)


def _sea(scene: Scene, rng: np.random.Generator) -> np.ndarray:
    """Sky with a graded top, a red sun, hills of water."""
    n = scene.size
    yy, xx = np.mgrid[:n, :n].astype(np.float32) / n
    canvas = np.broadcast_to(scene.colour("ground"), (n, n, 3)).copy()
    canvas = over(canvas, rgb("3f6f8c"), np.clip(1 - yy / 0.26, 0, 1) ** 1.3)
    canvas = over(canvas, rgb("d98a5b"), 0.55 * np.exp(-(((yy - 0.60) / 0.12) ** 2)))
    sun = fill(
        n, n * (np.array([0.80, 0.25]) + 0.15 * np.column_stack([np.cos(t := np.linspace(0, 6.3, 90)), np.sin(t)]))
    )
    canvas = over(canvas, rgb("c8402f"), sun * (1 - 0.35 * np.clip((yy - 0.2) / 0.2, 0, 1)))
    for level, colour, phase in ((0.60, "8fb3b0", 0.3), (0.70, "4f86a0", 1.9), (0.80, "2c5a80", 3.4)):
        swell = level + 0.025 * np.sin(9 * xx + phase) + 0.012 * np.sin(21 * xx + 2 * phase)
        wave = step(yy, swell, 2.0 / n)
        canvas = over(canvas, rgb(colour), wave)
        for k in (0.012, 0.032, 0.058):
            crest = np.exp(-((((yy - swell) - k - 0.006 * np.sin(40 * xx + 9 * phase)) * n / (1.6 + 30 * k)) ** 2))
            canvas = over(canvas, rgb("f4ead0"), crest * wave)
        canvas = over(canvas, rgb("1a1a22"), np.exp(-(((yy - swell) * n / 2.2) ** 2)))
    return canvas


def woodblock(size: int, seed: int) -> np.ndarray:
    """Woman with an upswept hairdo before the sea, in flat colours and brush outlines."""
    rng = np.random.default_rng(seed)
    s = compose(LADY, size, rng)
    p, u, n, ink = s.parts, s.head.unit, size, s.colour("line")
    canvas = _sea(s, rng)
    mass = np.maximum(p["hair_back"], p["hair_front"])
    behind = p["hair_back"] * (1 - np.maximum(p["bust"], p["head"]))
    canvas = over(canvas, s.colour("hair"), behind)
    canvas = over(canvas, s.colour("skin"), np.maximum(p["bust"], p["head"]))
    neck_shadow = p["bust"] * (1 - p["head"]) * (1 - p["cloth"]) * step(-s.light, -0.42, 0.06)
    canvas = over(canvas, rgb("e3c29a"), neck_shadow)
    canvas = over(canvas, rgb("ecb9a0"), 0.35 * np.clip(s.blush() + 0.9 * _lidshade(s), 0, 1))
    x, y = s.form.canon[..., 0], s.form.canon[..., 1]
    robe = over(np.broadcast_to(s.colour("cloth"), (n, n, 3)).copy(), rgb("cfe0d2"), 0.9 * scales(n, 0.62 * u))
    canvas = over(canvas, robe, p["cloth"])
    neckline = 4.05 + np.clip(0.75 - 0.42 * np.abs(x), -0.2, 1) + 0.05 * np.abs(x)
    inner, outer = ((np.abs(y - neckline - c) < w) * p["cloth"] for c, w in ((0.10, 0.10), (0.40, 0.20)))
    canvas = over(canvas, rgb("f3e6cd"), inner.astype(np.float32))
    canvas = over(canvas, rgb("b5342c"), outer.astype(np.float32))
    canvas = over(canvas, s.colour("white"), p["white"])
    canvas = over(canvas, s.colour("iris"), p["iris"])
    canvas = over(canvas, s.colour("lip"), np.maximum(p["lip_up"], p["lip_low"]))
    canvas = over(canvas, s.colour("hair"), p["brow"] * 0.9)
    canvas = over(canvas, s.colour("hair"), p["hair_front"])
    comb = (np.abs(s.strands) > 1.25) * mass * step(s.light, 0.42, 0.3)
    canvas = over(canvas, rgb("586079"), 0.75 * comb.astype(np.float32) * np.maximum(behind, p["hair_front"]))
    sway = (0.040 + 0.018 * noise(n, n / 9, rng, 2)) * u
    lines = s.ink("eye nose mouth lid ear", 1.0)
    for mask, gain in (
        (p["head"] * (1 - p["hair_front"]), 1.2),
        (p["bust"] * (1 - p["head"]), 1.2),
        (p["cloth"], 1.2),
        (inner, 0.7),
        (outer, 0.7),
        (p["lip_low"], 0.5),
    ):
        lines = np.maximum(lines, rim(np.asarray(mask, np.float32), np.maximum(sway * gain, 1.5)))
    canvas = over(canvas, ink, np.clip(lines, 0, 1) * (1 - 0.999 * p["hair_front"]))
    canvas = _ornaments(canvas, s)
    canvas = _seal(canvas, s)
    grain = noise(n, n / 40, rng, 1)
    grain = np.sin(np.mgrid[:n, :n][0] / (0.09 * u) + 2.4 * cv2.resize(grain[:, : n // 9].copy(), (n, n)))
    canvas = canvas * (1 + 0.022 * grain[..., None] * (canvas.mean(2, keepdims=True) < 0.85))
    return _frame(paper(canvas, rng, 0.022), rgb("efe3c4"), 0.028)


def _lidshade(s: Scene) -> np.ndarray:
    x, y = np.abs(s.form.canon[..., 0]), s.form.canon[..., 1]
    return (
        np.exp(-0.5 * (((x - 1.15) / 0.42) ** 2 + ((y + 0.24) / 0.16) ** 2)) * s.parts["head"] * (1 - s.parts["white"])
    )


def _ornaments(canvas: np.ndarray, s: Scene) -> np.ndarray:
    """Comb and hairpins."""
    n, u = s.size, s.head.unit
    for a, b, colour in (((-1.2, -3.6, 1), (-3.9, -4.3, 0), "d9a441"), ((1.2, -3.7, 1), (3.8, -4.6, 0), "d9a441")):
        rod = s.head.project(np.linspace(a, b, 12))
        canvas = over(canvas, rgb("1a1a22"), tapered(n, rod, 0.24 * u, 0.9, 0.9))
        canvas = over(canvas, rgb(colour), tapered(n, rod, 0.15 * u, 0.9, 0.9))
        knob = s.head.project(np.array([b]))[0] + 0.2 * u * np.column_stack(
            [np.cos(t := np.linspace(0, 6.3, 40)), np.sin(t)]
        )
        canvas = over(
            over(canvas, rgb("1a1a22"), fill(n, knob)),
            rgb("c8402f"),
            fill(n, 0.72 * (knob - knob.mean(0)) + knob.mean(0)),
        )
    comb = smooth(
        [
            (-1.05, -3.15, 1.6),
            (-0.6, -3.65, 1.4),
            (0, -3.82, 1.3),
            (0.6, -3.65, 1.4),
            (1.05, -3.15, 1.6),
            (0, -3.38, 1.6),
        ],
        closed=True,
    )
    shape = fill(n, s.head.project(comb))
    canvas = over(canvas, rgb("d9a441"), shape)
    return over(canvas, rgb("1a1a22"), rim(shape, 0.05 * u))


def _seal(canvas: np.ndarray, s: Scene) -> np.ndarray:
    """A small red seal with invented strokes."""
    n, u = s.size, s.head.unit
    x, y, w = 0.105 * n, 0.33 * n, 0.42 * u
    box = np.array([(x - w, y - 1.6 * w), (x + w, y - 1.6 * w), (x + w, y + 1.6 * w), (x - w, y + 1.6 * w)])
    canvas = over(canvas, rgb("b5342c"), fill(n, box))
    for px, py, qx, qy in (
        (-0.6, -1.1, 0.6, -1.1),
        (0, -1.3, 0, -0.2),
        (-0.6, -0.5, 0.6, -0.3),
        (-0.6, 0.3, 0.6, 0.3),
        (-0.4, 0.3, -0.5, 1.2),
        (0.4, 0.3, 0.5, 1.2),
        (-0.5, 0.8, 0.5, 0.8),
    ):
        rod = np.linspace((x + px * w, y + py * w), (x + qx * w, y + qy * w), 8)
        canvas = over(canvas, rgb("f3e6cd"), tapered(n, rod, 0.09 * u, 0.8, 0.8))
    return canvas


def _frame(image: np.ndarray, colour: np.ndarray, share: float) -> np.ndarray:
    n, w = image.shape[0], int(share * image.shape[0])
    out = np.broadcast_to(colour, image.shape).copy()
    out[w:-w, w:-w] = image[w:-w, w:-w]
    out[w : n - w, w : n - w][:3] = out[w : n - w, w : n - w][-3:] = 0.15
    out[w : n - w, w : w + 3] = out[w : n - w, n - w - 3 : n - w] = 0.15
    return out


def dots(tone: np.ndarray, pitch: float, angle: float) -> np.ndarray:
    """Halftone coverage 0..1 of tone (N, N), 1 = full ink."""
    n = tone.shape[0]
    yy, xx = np.mgrid[:n, :n].astype(np.float32)
    a = np.deg2rad(angle)
    u, v = (xx * np.cos(a) + yy * np.sin(a)) / pitch, (-xx * np.sin(a) + yy * np.cos(a)) / pitch
    d = np.hypot(u - np.rint(u), v - np.rint(v))
    radius = np.sqrt(np.clip(tone, 0, 1) / np.pi) * 1.12
    return np.clip((radius - d) * pitch + 0.5, 0, 1) * (tone > 0.03)


def _shift(mask: np.ndarray, dx: float, dy: float) -> np.ndarray:
    return cv2.warpAffine(
        mask.astype(np.float32), np.float32([[1, 0, dx], [0, 1, dy]]), mask.shape[::-1], borderMode=cv2.BORDER_REPLICATE
    )


def pop(size: int, seed: int) -> np.ndarray:
    """Singer with a round hairdo: five screen inks, dots, loose registration."""
    rng = np.random.default_rng(seed)
    s = compose(SINGER, size, rng)
    p, u, n = s.parts, s.head.unit, size
    yy, xx = np.mgrid[:n, :n].astype(np.float32) / n
    skin = np.clip(p["head"] + p["ears"] + p["bust"] * (1 - p["cloth"]), 0, 1) * (1 - p["hair_front"])
    canvas = np.broadcast_to(rgb("ffd23f"), (n, n, 3)).copy()
    ray = step(np.sin(18 * np.arctan2(yy - 0.42, xx - 0.5)), 0.0, 0.12)
    canvas = over(canvas, rgb("ff9f1c"), ray * 0.9)
    canvas = over(canvas, rgb("f25c54"), dots(np.clip(1.5 * (yy - 0.35), 0, 0.7), 0.20 * u, 20) * 0.9)
    hair = np.maximum(p["hair_front"], p["hair_back"] * (1 - skin))
    canvas = over(
        canvas, rgb("fff7e6"), step(blur(np.maximum(hair, np.maximum(p["bust"], skin)), 0.10 * u), 0.12, 0.08)
    )
    loose = lambda m, dx, dy: _shift(m, dx * u * 0.05, dy * u * 0.05)  # noqa: E731
    light = blur(s.light, 0.05 * u)
    canvas = over(canvas, rgb("d9743f"), loose(skin, -1, 1))
    canvas = over(canvas, rgb("ffb26b"), loose(skin * step(light, 0.80, 0.05), -1, 1))
    canvas = over(canvas, rgb("00a6a6"), loose(p["cloth"], 1, -1))
    canvas = over(canvas, rgb("fff7e6"), loose(p["cloth"], 1, -1) * dots(0.35 + 0 * xx, 0.42 * u, 45))
    shade = np.clip((0.66 - light) / 0.42, 0, 1)
    canvas = over(canvas, rgb("8a1c5a"), loose(skin, 0.5, 0.5) * dots(0.85 * shade, 0.155 * u, 45))
    canvas = over(canvas, rgb("5b1a6e"), loose(skin * step(-light, -0.27, 0.05), 0.5, 0.5) * 0.85)
    lid = np.clip(1.3 * _lidshade(s), 0, 1)
    canvas = over(canvas, rgb("00a6a6"), loose(step(lid, 0.35, 0.1), 1.0, -0.4))
    canvas = over(canvas, rgb("e3175f"), loose(np.maximum(p["lip_up"], p["lip_low"]), 1.2, 0.4))
    canvas = over(canvas, rgb("ff8fb1"), loose(p["lip_low"] * step(light, 0.70, 0.1), 1.2, 0.4))
    canvas = over(canvas, rgb("fff7e6"), p["white"])
    key = np.maximum(p["iris"], p["brow"])
    curl = noise(n, 0.34 * u, rng, 2)
    ragged = step(blur(hair, 0.10 * u) + 0.10 * curl * (hair < 0.98), 0.5, 0.1) * (1 - skin)
    key = np.maximum(key, np.maximum(ragged, p["hair_front"]))
    key = np.maximum(key, s.ink("eye nose mouth lid", 1.25))
    key = np.maximum(key, rim(p["head"] * (1 - p["hair_front"]), 0.07 * u))
    key = np.maximum(key, rim(p["cloth"], 0.07 * u))
    canvas = over(canvas, rgb("1b1440"), key)
    tight = np.maximum(hair, p["hair_front"]) * step(s.light, 0.30, 0.2)
    canvas = over(
        canvas, rgb("e3175f"), loose(tight, -1, -1) * dots(0.42 * step(s.light + 0.10 * curl, 0.72, 0.3), 0.19 * u, 75)
    )
    spark = sum(
        fill(n, 0.25 * (c - c.mean(0)) + c.mean(0) + u * np.array([-0.07, -0.07]))
        for c in (s.features.iris(k) for k in (-1, 1))
    )
    canvas = over(canvas, (1, 1, 1), np.clip(spark, 0, 1) * p["white"])
    for side in (-1, 1):
        lobe = s.head.project(np.array([[side * 2.35, 1.35, 0.0]]))[0] + np.array([0, 0.75 * u])
        t = np.linspace(0, 2 * np.pi, 80)
        ring = [fill(n, lobe + r * u * np.column_stack([np.cos(t), np.sin(t)])) for r in (0.78, 0.70, 0.50, 0.44)]
        canvas = over(canvas, rgb("1b1440"), np.clip(ring[0] - ring[3], 0, 1))
        canvas = over(canvas, rgb("ffd23f"), np.clip(ring[1] - ring[2], 0, 1))
    return paper(canvas, rng, 0.012)
