"""Parametric head and bust as smooth surfaces, projected to pixel maps.

Coordinates: x to the right of the picture, y down, z towards the viewer. The eyes lie at (-1, 0) and (+1, 0),
so one unit is half the eye distance. A surface is a stack of horizontal superellipse sections; the face is
modelled on the front half by smooth bumps. The bust has its own, smaller turn.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import cv2
import numpy as np
from scipy.interpolate import PchipInterpolator
from scipy.ndimage import distance_transform_edt

# Rows: y, half width, front depth, section centre depth, back depth.
# fmt: off
SKULL = np.array([
    (-3.72, 0.00, 0.00, 0.0, 0.0), (-3.66, 0.78, 0.90, 0.0, 0.9), (-3.40, 1.42, 1.65, 0.0, 1.8),
    (-2.90, 1.97, 2.20, 0.0, 2.5), (-2.10, 2.28, 2.50, 0.0, 3.0), (-1.20, 2.38, 2.60, 0.0, 3.2),
    (-0.40, 2.36, 2.62, 0.0, 3.1), (0.40, 2.28, 2.48, 0.0, 2.8), (1.20, 2.14, 2.48, 0.0, 2.3),
    (1.90, 1.95, 2.52, 0.2, 1.6), (2.50, 1.66, 2.52, 0.5, 1.2), (3.00, 1.26, 2.54, 0.9, 0.9),
    (3.38, 0.84, 2.48, 1.2, 0.7), (3.60, 0.42, 2.25, 1.4, 0.4), (3.68, 0.00, 1.80, 1.5, 0.0)])
BUST = np.array([
    (1.6, 1.32, 0.80, -0.7, 1.2), (2.6, 1.34, 0.75, -0.7, 1.2), (3.5, 1.36, 0.70, -0.7, 1.2),
    (3.95, 1.46, 0.70, -0.7, 1.3), (4.25, 1.90, 0.75, -0.7, 1.3), (4.55, 2.90, 0.85, -0.6, 1.4),
    (4.90, 3.75, 1.00, -0.5, 1.4), (5.50, 4.35, 1.25, -0.4, 1.5), (6.50, 4.70, 1.50, -0.3, 1.6),
    (8.00, 4.90, 1.60, -0.3, 1.6)])
# fmt: on
POWER = 2.25


@dataclass(frozen=True)
class Person:
    """An invented sitter: pose in degrees, proportions as factors (1 = average), ages in years."""

    yaw: float = 0.0
    pitch: float = 0.0
    roll: float = 0.0
    eye_distance: float = 0.21  # of the picture's width
    eye_height: float = 0.43  # of the picture's height
    age: float = 35.0
    face_width: float = 1.0
    jaw: float = 1.0
    chin: float = 0.0  # units added below the mouth
    shoulders: float = 1.0
    neck: float = 1.0
    nose_length: float = 1.0
    nose_width: float = 1.0
    nose_height: float = 1.0
    lips: float = 1.0
    mouth_width: float = 1.0
    smile: float = 0.0  # -1..1
    eye_size: float = 1.0
    eye_open: float = 1.0
    eye_tilt: float = 0.0  # outer corner up, units
    gaze: tuple[float, float] = (0.0, 0.0)
    brow_thick: float = 1.0
    brow_lift: float = 0.0
    lashes: float = 0.5
    beard: float = 0.0  # 0..1, full beard
    hairdo: str = "short"
    light: tuple[float, float, float] = (-0.55, -0.55, 0.65)
    colours: dict = field(default_factory=dict)  # part -> (r, g, b) in 0..1


@dataclass
class Form:
    """Pixel maps of the projected surfaces, each (N, N[, k]) float32.

    head, bust: coverage 0..1; normal: unit vectors; canon: surface coordinates (x, y, z) before the turn;
    depth: z after the turn; around: angle of the section, radians (0 in front).
    """

    head: np.ndarray
    bust: np.ndarray
    normal: np.ndarray
    canon: np.ndarray
    depth: np.ndarray
    around: np.ndarray


def rotation(yaw: float, pitch: float, roll: float) -> np.ndarray:
    """Turn by yaw about y, then pitch about x, then roll about z; degrees."""
    a, b, c = np.deg2rad([yaw, pitch, roll])
    ry = np.array([[np.cos(a), 0, np.sin(a)], [0, 1, 0], [-np.sin(a), 0, np.cos(a)]])
    rx = np.array([[1, 0, 0], [0, np.cos(b), np.sin(b)], [0, -np.sin(b), np.cos(b)]])
    rz = np.array([[np.cos(c), -np.sin(c), 0], [np.sin(c), np.cos(c), 0], [0, 0, 1]])
    return rz @ rx @ ry


class Head:
    """The sitter's surface: lifts face coordinates to 3-D, turns and projects them to pixels."""

    def __init__(self, person: Person, size: int):
        self.person, self.size = person, size
        self.unit = 0.5 * person.eye_distance * size
        self.turn = rotation(person.yaw, person.pitch, person.roll)
        self.bust_turn = rotation(0.45 * person.yaw, 0.0, 0.3 * person.roll)
        self.skull = self._sections(SKULL, self._shape_skull)
        self.body = self._sections(BUST, self._shape_bust)
        eyes = self._turned(np.array([[-1.0, 0, self.depth(-1.0, 0.0)], [1.0, 0, self.depth(1.0, 0.0)]]))
        stretch = 2.0 / max(np.hypot(*(eyes[1] - eyes[0])[:2]), 0.5)
        self.unit *= min(stretch, 1.12)  # a turned head keeps nearly the same eye distance
        self.origin = np.array([0.5, person.eye_height]) * size - self.unit * np.array([0.8, 1.0]) * eyes.mean(0)[:2]

    def _sections(self, rows: np.ndarray, shape) -> np.ndarray:
        """Dense table (K, 5) of shaped section rows."""
        rows = shape(rows.copy())
        k = np.linspace(0, len(rows) - 1, 900)
        return np.stack([PchipInterpolator(np.arange(len(rows)), rows[:, j])(k) for j in range(5)], 1)

    def _shape_skull(self, rows: np.ndarray) -> np.ndarray:
        p, y = self.person, rows[:, 0]
        low = np.clip((y - 0.6) / 2.2, 0, 1)
        rows[:, 1] *= p.face_width * (1 + (p.jaw - 1) * low)
        rows[:, 0] += p.chin * np.clip((y - 2.0) / 1.4, 0, 1)
        return rows

    def _shape_bust(self, rows: np.ndarray) -> np.ndarray:
        p, y = self.person, rows[:, 0]
        wide = np.clip((y - 4.0) / 0.8, 0, 1)
        rows[:, 1] *= p.neck * (1 - wide) + p.shoulders * wide
        return rows

    def half_width(self, y):
        return np.interp(y, self.skull[:, 0], self.skull[:, 1])

    def depth(self, x, y):
        """z of the front of the face at face coordinates; 0 outside of the outline."""
        x, y = np.asarray(x, float), np.asarray(y, float)
        t = self.skull
        w, front, mid = (np.interp(y, t[:, 0], t[:, j]) for j in (1, 2, 3))
        inside = np.clip(1 - (np.abs(x) / np.maximum(w, 1e-3)) ** POWER, 0, 1)
        return mid + (front - mid) * inside ** (1 / POWER) + self.relief(x, y) * np.sqrt(inside)

    def relief(self, x, y):
        """Bumps of the face over the section surface, in units of z."""
        p, ax = self.person, np.sqrt(np.square(x) + 0.004)  # no crease on the midline

        def bump(cx, cy, sx, sy, height):
            return height * np.exp(-0.5 * (((ax - cx) / sx) ** 2 + ((y - cy) / sy) ** 2))

        old = np.clip((p.age - 30) / 45, 0, 1)
        z = bump(0.98, -0.05, 0.46, 0.30, -0.34) + bump(1.0, 0.03, 0.36, 0.27, 0.27)
        z += bump(0.85, -0.66, 0.66, 0.27, 0.12) + bump(1.50, 0.95, 0.50, 0.45, 0.20 + 0.1 * old)
        z += bump(1.25, 1.95, 0.40, 0.55, -0.12 - 0.22 * old) + bump(0.95, 0.42, 0.38, 0.14, -0.08 * old)
        tip = 1.25 * p.nose_length
        ridge = (
            np.interp(
                y,
                [-0.5, 0.0, 0.5, tip - 0.15, tip + 0.10, tip + 0.30, tip + 0.50],
                [0.0, 0.22, 0.50, 0.98, 0.92, 0.35, 0.0],
            )
            * p.nose_height
        )
        ridge_width = np.interp(y, [-0.5, 0.3, tip], [0.16, 0.20, 0.31]) * p.nose_width
        z += ridge * np.exp(-0.5 * (ax / ridge_width) ** 2 * (1 + 0.35 * (ax / ridge_width) ** 2))
        z += bump(0.40 * p.nose_width, tip + 0.07, 0.14, 0.15, 0.34)
        mouth = 2.15
        z += bump(0, mouth, 0.75, 0.42, 0.18) + bump(0.10, mouth - 0.13, 0.34, 0.08, 0.10 * p.lips)
        z += bump(0, mouth + 0.17, 0.36, 0.10, 0.14 * p.lips) + bump(0, mouth + 0.01, 0.42, 0.045, -0.07)
        z += bump(0, mouth - 0.4, 0.07, 0.14, -0.06) + bump(0, mouth + 0.48, 0.5, 0.15, -0.13)
        z += bump(0, 3.12 + 0.7 * p.chin, 0.42, 0.28, 0.22)
        return z

    def _turned(self, points: np.ndarray, bust: bool = False) -> np.ndarray:
        return points @ (self.bust_turn if bust else self.turn).T

    def project(self, points, bust: bool = False) -> np.ndarray:
        """Pixels (K, 2) of points (K, 2) on the face, or (K, 3) anywhere."""
        points = np.asarray(points, float)
        if points.shape[1] == 2:
            points = np.column_stack([points, self.depth(points[:, 0], points[:, 1])])
        return self.origin + self.unit * self._turned(points, bust)[:, :2]

    def form(self) -> Form:
        """Z-buffer of the head and bust at half the size, smoothed and enlarged."""
        n = self.size // 2
        layers = [self._splat(self.skull, n, False), self._splat(self.body, n, True)]
        behind = layers[1]["depth"] > layers[0]["depth"]
        maps = {
            k: np.where(behind[..., None], layers[1][k], layers[0][k])
            if layers[0][k].ndim == 3
            else np.where(behind, layers[1][k], layers[0][k])
            for k in layers[0]
        }
        soft = [cv2.GaussianBlur(layer["cover"], (0, 0), 1.3) for layer in layers]
        grown = {
            k: cv2.resize(_filled(v, maps["cover"] > 0.5), (self.size,) * 2, interpolation=cv2.INTER_CUBIC)
            for k, v in maps.items()
            if k != "cover"
        }
        cover = [
            np.clip((cv2.resize(s, (self.size,) * 2, interpolation=cv2.INTER_CUBIC) - 0.5) * 4 + 0.5, 0, 1)
            for s in soft
        ]
        normal = grown["normal"] / (np.linalg.norm(grown["normal"], axis=2, keepdims=True) + 1e-6)
        return Form(cover[0], cover[1], normal, grown["canon"], grown["depth"], grown["around"])

    def _splat(self, table: np.ndarray, n: int, bust: bool) -> dict:
        theta = np.linspace(-np.pi, np.pi, 1500)
        s, c = np.sin(theta), np.cos(theta)
        bend = 2 / POWER
        y, w, front, mid, back = (table[:, j : j + 1] for j in range(5))
        x = w * (np.sign(s) * np.abs(s) ** bend)[None]
        z = mid + np.where(c > 0, front - mid, back) * (np.sign(c) * np.abs(c) ** bend)[None]
        y = np.broadcast_to(y, x.shape)
        if not bust:
            inside = np.clip(1 - (np.abs(x) / np.maximum(w, 1e-3)) ** POWER, 0, 1)
            z = z + np.where(c > 0, self.relief(x, y) * np.sqrt(inside), 0)
        points = np.stack([x, y, z], -1)
        across, down = np.gradient(points, axis=1), np.gradient(points, axis=0)
        normal = np.cross(across, down)
        normal /= np.linalg.norm(normal, axis=-1, keepdims=True) + 1e-9
        turn = self.bust_turn if bust else self.turn
        flat, normal = points.reshape(-1, 3), normal.reshape(-1, 3) @ turn.T
        turned = flat @ turn.T
        px = (self.origin + self.unit * turned[:, :2]) * n / self.size
        around = np.broadcast_to(theta, x.shape).reshape(-1)
        order = np.argsort(turned[:, 2])
        order = order[normal[order, 2] > -0.05]
        ix, iy = np.rint(px[order, 0]).astype(int), np.rint(px[order, 1]).astype(int)
        keep = (ix >= 0) & (ix < n) & (iy >= 0) & (iy < n)
        ix, iy, order = ix[keep], iy[keep], order[keep]
        out = {
            "cover": np.zeros((n, n), np.float32),
            "depth": np.full((n, n), -9, np.float32),
            "normal": np.zeros((n, n, 3), np.float32),
            "canon": np.zeros((n, n, 3), np.float32),
            "around": np.zeros((n, n), np.float32),
        }
        for key, value in (
            ("cover", 1.0),
            ("depth", turned[order, 2]),
            ("normal", normal[order]),
            ("canon", flat[order]),
            ("around", around[order]),
        ):
            out[key][iy, ix] = value
        # close pinholes between splats
        solid = cv2.morphologyEx(out["cover"], cv2.MORPH_CLOSE, np.ones((5, 5), np.uint8))
        for key in ("depth", "normal", "canon", "around"):
            out[key] = np.where(
                (solid > 0)[..., None] if out[key].ndim == 3 else solid > 0,
                _filled(out[key], out["cover"] > 0.5),
                out[key],
            )
        out["cover"] = solid
        return out


def _filled(values: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Unknown pixels take the value of the nearest known one."""
    rows, cols = distance_transform_edt(~known, return_distances=False, return_indices=True)
    return np.ascontiguousarray(values[rows, cols]).astype(np.float32)
