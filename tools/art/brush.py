"""Impasto oil: bristle strokes that follow a flow, with the paint's relief lit from the side."""

from __future__ import annotations

import cv2
import numpy as np

from .field import blur, contour_flow, noise, over, rgb, streaks
from .head import Person
from .scene import Scene, compose

SITTER = Person(
    yaw=15,
    roll=-3,
    age=52,
    eye_distance=0.20,
    jaw=1.03,
    nose_length=1.06,
    nose_width=1.1,
    brow_thick=1.7,
    beard=0.55,
    hairdo="short",
    gaze=(-0.03, 0.0),
    face_width=0.97,
    light=(-0.6, -0.5, 0.6),
    colours={
        "ground": "2f5f9e",
        "skin": "efb98a",
        "hair": "b4551c",
        "cloth": "1f5a5e",
        "iris": "2f8f8a",
        "lip": "b8503f",
        "line": "1d2a4a",
        "white": "eef0dc",
    },
)


def swirl(size: int, centres, base: float = 0.0) -> np.ndarray:
    """Unit vectors of a stream with vortices at centres (x, y, radius, sign), fractions of the size."""
    yy, xx = np.mgrid[:size, :size].astype(np.float32) / size
    u = np.ones_like(xx) * np.cos(base)
    v = 0.35 * np.sin(7 * xx + 3 * yy)
    for cx, cy, radius, sign in centres:
        dx, dy = xx - cx, yy - cy
        pull = 5 * sign * np.exp(-(dx**2 + dy**2) / (2 * radius**2)) / radius
        u, v = u - pull * dy, v + pull * dx
    field = np.stack([u, v], -1)
    return (field / (np.linalg.norm(field, axis=2, keepdims=True) + 1e-6)).astype(np.float32)


def trace(flow: np.ndarray, start: np.ndarray, length: float, steps: int = 9) -> np.ndarray:
    """Paths (K, steps, 2) of `length` pixels through start (K, 2), keeping their heading."""
    n = flow.shape[0]
    halves = []
    for sign in (-1, 1):
        at, previous, path = start.copy(), None, []
        for _ in range(steps // 2):
            i = np.clip(np.rint(at).astype(int), 0, n - 1)
            heading = sign * flow[i[:, 1], i[:, 0]]
            if previous is not None:
                heading = np.where(((heading * previous).sum(1) < 0)[:, None], -heading, heading)
            previous, at = heading, at + heading * (length / (steps - 1))
            path.append(at)
        halves.append(path)
    return np.stack(halves[0][::-1] + [start] + halves[1], 1)


class Canvas:
    """Wet paint: colour (N, N, 3) and relief (N, N) in bristle heights."""

    def __init__(self, ground: np.ndarray, rng: np.random.Generator):
        self.colour, self.rng = np.ascontiguousarray(ground, np.float32), rng
        self.relief = np.zeros(ground.shape[:2], np.float32)

    def layer(
        self,
        reference: np.ndarray,
        flow: np.ndarray,
        width: float,
        length: float,
        density: float,
        where: np.ndarray | None = None,
        jitter: float = 0.05,
        load: float = 1.0,
    ) -> None:
        """One pass of strokes of `width` pixels, coloured by the reference under their middle."""
        n, rng = reference.shape[0], self.rng
        count = int(density * (n / width) ** 2)
        start = rng.uniform(0, n, (count, 2)).astype(np.float32)
        i = np.clip(start.astype(int), 0, n - 1)
        if where is not None:
            kept = rng.random(count) < where[i[:, 1], i[:, 0]]
            start, i = start[kept], i[kept]
        colours = blur(reference, width * 0.18)[i[:, 1], i[:, 0]]
        colours = (
            colours
            + jitter * rng.standard_normal((len(start), 1))
            + 0.8 * jitter * rng.standard_normal((len(start), 3))
        )
        paths = trace(flow, start, length)
        bristles = max(3, int(width / 2.2))
        offsets = np.linspace(-0.5, 0.5, bristles) * width * 0.9
        thick = max(1, int(np.ceil(width / bristles * 1.5)))
        for path, colour in zip(paths, colours, strict=True):
            self._stroke(path, colour, offsets, thick, jitter, load)

    def _stroke(self, path, colour, offsets, thick, jitter, load) -> None:
        rng = self.rng
        tangent = np.gradient(path, axis=0)
        tangent /= np.linalg.norm(tangent, axis=1, keepdims=True) + 1e-6
        side = np.column_stack([-tangent[:, 1], tangent[:, 0]])
        tints = np.clip(colour + 0.55 * jitter * rng.standard_normal((len(offsets), 1)), 0, 1)
        heights = load * (
            0.55
            + 0.45 * np.cos(np.pi * np.linspace(-0.5, 0.5, len(offsets)))
            + 0.35 * rng.standard_normal(len(offsets))
        )
        cuts = rng.integers(0, 2, (len(offsets), 2))
        for offset, tint, height, (a, b) in zip(offsets, tints, heights, cuts, strict=True):
            line = path[a : len(path) - b] + side[a : len(path) - b] * offset
            line = [np.rint(line * 8).astype(np.int32)]
            cv2.polylines(self.colour, line, False, tint.tolist(), thick, cv2.LINE_8, 3)
            cv2.polylines(self.relief, line, False, float(height), thick, cv2.LINE_8, 3)

    def lit(self, strength: float = 0.13, gloss: float = 0.10) -> np.ndarray:
        """The painting under raking light from the upper left."""
        height = blur(self.relief, 1.0)
        slope = cv2.Sobel(height, cv2.CV_32F, 1, 0) + cv2.Sobel(height, cv2.CV_32F, 0, 1)
        image = blur(self.colour, 0.7) * (1 + strength * np.clip(slope, -2, 2))[..., None]
        return np.clip(image + gloss * np.clip(slope - 0.9, 0, 1)[..., None], 0, 1)


def _night(scene: Scene, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Swirling ground: colours and flow."""
    n = scene.size
    vortices = [
        (0.16, 0.22, 0.10, 1),
        (0.86, 0.18, 0.11, -1),
        (0.90, 0.60, 0.09, 1),
        (0.10, 0.66, 0.10, -1),
        (0.5, -0.1, 0.2, 1),
    ]
    flow = swirl(n, vortices)
    bands = streaks(noise(n, n / 26, rng, 1), flow, n // 8)
    ramp = np.stack([rgb(c) for c in ("16306b", "1f4f96", "3d83b8", "7fb7b4", "cfd39a")])
    at = np.clip(1.7 + 0.95 * bands, 0, len(ramp) - 1.001)
    k = at.astype(int)
    colours = ramp[k] + (ramp[k + 1] - ramp[k]) * (at - k)[..., None]
    yy, xx = np.mgrid[:n, :n] / n
    for cx, cy, radius, _ in vortices[:4]:
        glow = np.exp(-((xx - cx) ** 2 + (yy - cy) ** 2) / (2 * (0.42 * radius) ** 2))
        colours = over(colours, rgb("f6d25c"), 0.95 * glow.astype(np.float32))
    return colours.astype(np.float32), flow


def oil(size: int, seed: int) -> np.ndarray:
    """Post-impressionist man with a red beard, size x size, 0..1."""
    rng = np.random.default_rng(seed)
    scene = compose(SITTER, size, rng)
    ground, ground_flow = _night(scene, rng)
    reference = scene.painted(shadow=(0.20, 0.34, 0.50), glow=(1.14, 1.05, 0.84))
    grey = reference.mean(2, keepdims=True)
    reference = np.clip(grey + 1.35 * (reference - grey), 0, 1)
    back = scene.parts["ground"]
    reference = over(reference, ground, back)
    flow = contour_flow(blur(reference, 2), 0.16 * scene.head.unit)
    locks = np.maximum(scene.parts["hair_front"], scene.parts["hair_back"] * (1 - scene.parts["head"]))
    flow = np.where((locks > 0.5)[..., None], scene.hair_flow, flow)
    whiskers = np.stack([0.25 * np.sign(scene.form.canon[..., 0]), np.ones_like(back)], -1)
    flow = np.where((scene.parts["beard"] > 0.5)[..., None], whiskers + 0.25 * flow, flow)
    flow = np.where((back > 0.5)[..., None], ground_flow, flow).astype(np.float32)
    flow /= np.linalg.norm(flow, axis=2, keepdims=True) + 1e-6
    u = scene.head.unit
    face = blur(scene.parts["head"] * (1 - scene.parts["hair_front"]), 0.2 * u)
    x, y = scene.form.canon[..., 0], scene.form.canon[..., 1]
    features = face * np.clip(
        np.exp(-0.5 * ((np.abs(x) - 0.95) / 0.6) ** 2 - 0.5 * ((y + 0.2) / 0.42) ** 2)
        + np.exp(-0.5 * (x / 0.75) ** 2 - 0.5 * ((y - 1.8) / 0.6) ** 2),
        0,
        1,
    )
    canvas = Canvas(0.5 * blur(reference, 0.5 * u) + 0.5 * rgb("6b4a2e"), rng)
    canvas.layer(reference, flow, 0.34 * u, 1.7 * u, 2.2, jitter=0.06)
    canvas.layer(reference, flow, 0.20 * u, 1.15 * u, 1.5, where=1 - 0.35 * back, jitter=0.06)
    canvas.layer(reference, flow, 0.12 * u, 0.60 * u, 1.1, where=np.clip(1 - back, 0, 1), jitter=0.045)
    canvas.layer(reference, flow, 0.07 * u, 0.30 * u, 1.6, where=np.clip(1.3 * features, 0, 1), jitter=0.02, load=0.6)
    # eyes, nose and mouth are drawn last, with a small round brush
    drawn = np.maximum(0.8 * scene.ink("eye"), 0.6 * scene.ink("nose mouth"))
    eyes = np.clip(1.4 * blur(np.maximum(scene.parts["white"], drawn), 0.025 * u), 0, 1)
    canvas.colour = over(canvas.colour, blur(reference, 1.5), 0.85 * eyes)
    return canvas.lit()
