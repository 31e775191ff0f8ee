"""Line engraving: hatching that follows the form, swelling with the shadow, on old paper."""

from __future__ import annotations

import numpy as np

from .field import blur, noise, over, rgb, rim, step, streaks
from .head import Person
from .scene import Scene, compose

SITTER = Person(
    yaw=-16,
    pitch=2,
    roll=3,
    age=74,
    eye_distance=0.20,
    face_width=0.97,
    nose_length=1.10,
    nose_width=1.12,
    nose_height=1.08,
    lips=0.8,
    brow_thick=2.0,
    eye_open=0.85,
    hairdo="crown",
    beard=0.8,
    light=(-0.72, -0.50, 0.48),
    colours={
        "ground": "b0a890",
        "skin": "f0ead8",
        "hair": "d8d2c4",
        "cloth": "3a3a3a",
        "white": "ffffff",
        "iris": "5a5a5a",
        "lip": "c8b8a8",
        "line": "000000",
    },
)


def hatch(phase: np.ndarray, ink: np.ndarray) -> np.ndarray:
    """Lines at whole numbers of `phase`, `ink` (0..1) of the period wide; anti-aliased by the phase's slope."""
    gy, gx = np.gradient(phase)
    slope = np.clip(np.hypot(gx, gy), 1e-4, 0.6)
    distance = np.abs(phase - np.rint(phase))
    return np.clip((0.5 * ink - distance) / slope + 0.5, 0, 1) * (ink > 0.04)


def _tone(s: Scene) -> np.ndarray:
    """Darkness 0..1 of the finished picture."""
    dark = 1 - s.painted(shadow=(0.12,) * 3, glow=(1.12,) * 3).mean(2)
    dark = np.clip(1.25 * blur(dark, 1.5) - 0.12, 0, 1)
    n = s.size
    yy, xx = np.mgrid[:n, :n] / n
    ground = np.clip(0.22 + 0.75 * np.clip(1.25 - 1.5 * xx, 0, 1) * (1.1 - 0.5 * yy), 0, 0.8)
    back = s.parts["ground"]
    return (dark * (1 - back) + ground * back).astype(np.float32)


def engraving(size: int, seed: int) -> np.ndarray:
    """Old man with a white beard, in brown-black ink on toned paper."""
    rng = np.random.default_rng(seed)
    s = compose(SITTER, size, rng)
    p, n, u = s.parts, size, s.head.unit
    tone = _tone(s)
    x, y, z = np.moveaxis(s.form.canon, 2, 0)
    wobble = 0.10 * noise(n, n / 10, rng, 2)
    yy, xx = np.mgrid[:n, :n].astype(np.float32)
    period = 0.086  # of a head unit
    bend = 0.42 * z + 0.10 * np.abs(x)
    contour = (y + bend - 0.25 * blur(s.form.depth, 0.05 * u)) / period + wobble
    across = (0.8 * x + 0.65 * y - 0.3 * z) / (period * 1.05) + wobble
    third = (-0.9 * x + 0.55 * y - 0.25 * z) / (period * 1.1) + wobble
    form = hatch(contour, np.clip(tone * 1.05, 0, 0.74))
    form = np.maximum(form, hatch(across, np.clip((tone - 0.40) * 1.15, 0, 0.6)))
    form = np.maximum(form, hatch(third, np.clip((tone - 0.66) * 1.5, 0, 0.6)))
    ground = hatch(yy / (period * 0.92 * u) + 0.5 * wobble, np.clip(tone * 0.95, 0, 0.8))
    ground = np.maximum(
        ground, hatch((0.7 * xx + 0.7 * yy) / (period * u) + wobble, np.clip((tone - 0.45) * 1.2, 0, 0.6))
    )
    back = p["ground"]
    ink = form * (1 - back) + ground * back
    locks = np.clip(np.maximum(p["hair_front"], p["hair_back"] * (1 - np.maximum(p["head"], p["bust"]))), 0, 1)
    ink = over(ink[..., None], _strand_ink(s.strands, 0.9 * tone + 0.12)[..., None], locks)[..., 0]
    ink = over(ink[..., None], _strand_ink(_whiskers(s, rng), 0.95 * tone + 0.10)[..., None], p["beard"])[..., 0]
    ink = over(ink[..., None], _strand_ink(_whiskers(s, rng), 0.45 + 0 * tone)[..., None], p["brow"])[..., 0]
    ink = ink * (1 - 0.8 * p["white"] * (1 - p["iris"]) * step(-tone, -0.55, 0.2))
    lines = s.ink("eye nose mouth lid fold ear", 0.8)
    for mask, width in ((p["head"] * (1 - locks) * (1 - p["beard"]), 0.035), (p["cloth"], 0.05), (1 - back, 0.035)):
        lines = np.maximum(lines, 0.9 * rim(mask, width * u))
    ink = np.maximum(ink, lines * (1 - 0.8 * np.maximum(locks, p["beard"]) * (back < 0.5)))
    ink = np.maximum(ink, p["pupil"])
    glint = [c.mean(0) + u * np.array([-0.07, -0.08]) for c in (s.features.iris(k) for k in (-1, 1))]
    for gx, gy in glint:
        ink = ink * (1 - (np.hypot(xx - gx, yy - gy) < 0.055 * u))
    return _printed(ink * _oval(n, rng), rng)


def _whiskers(s: Scene, rng: np.random.Generator) -> np.ndarray:
    """Streaks that fall from the mouth and fan out."""
    x = s.form.canon[..., 0]
    n = s.size
    sway = 0.35 * noise(n, n / 9, rng, 2)
    flow = np.stack([0.45 * np.tanh(1.2 * x) + sway, np.ones_like(x)], -1)
    flow = (flow / np.linalg.norm(flow, axis=2, keepdims=True)).astype(np.float32)
    return streaks(noise(n, n / 230, rng, 1), flow, n // 12)


def _strand_ink(strands: np.ndarray, tone: np.ndarray) -> np.ndarray:
    """Darkest share `tone` of the strands becomes ink."""
    order = np.interp(strands, np.quantile(strands, np.linspace(0, 1, 65)), np.linspace(0, 1, 65))
    return step(np.clip(tone, 0.08, 0.92) - order, 0, 0.16)


def _oval(n: int, rng: np.random.Generator) -> np.ndarray:
    """Vignette: the hatching ends in a soft oval; below it runs to the edge."""
    yy, xx = np.mgrid[:n, :n] / n
    r = np.hypot((xx - 0.5) / 0.485, (yy - 0.5) / 0.495)
    return step(1.0 - r + 0.004 * noise(n, n / 90, rng, 1), 0.0, 0.012).astype(np.float32)


def _printed(ink: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    n = ink.shape[0]
    yy, xx = np.mgrid[:n, :n] / n
    sheet = np.broadcast_to(rgb("ead9b4"), (n, n, 3)) * (
        1 + 0.02 * noise(n, n / 5, rng)[..., None] + 0.012 * noise(n, 5, rng, 1)[..., None]
    )
    age = np.clip(np.max([np.abs(xx - 0.5), np.abs(yy - 0.5)], 0) * 2, 0, 1) ** 5
    sheet = over(sheet, rgb("b98d55"), (0.45 * age).astype(np.float32))
    spots = noise(n, n / 22, rng, 2)
    sheet = over(sheet, rgb("b07b40"), 0.30 * step(spots, 2.5, 0.5))
    r = np.hypot((xx - 0.5) / 0.485, (yy - 0.5) / 0.495)
    for radius, half in ((1.0, 0.0045), (0.982, 0.0022)):
        ink = np.maximum(ink, step(half - np.abs(r - radius), 0, 0.003))
    worn = np.clip(0.97 + 0.05 * noise(n, n / 30, rng), 0.6, 1)
    return np.clip(over(sheet, rgb("2a1a12"), (blur(ink, 0.7) * 0.94 * worn).astype(np.float32)), 0, 1)
