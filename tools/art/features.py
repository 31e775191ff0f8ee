"""Eyes, brows, nose, mouth, ears and hair as curves over the head; all in face coordinates."""

from __future__ import annotations

import cv2
import numpy as np

from .head import Head

Curve = np.ndarray


def smooth(points, closed: bool = False, steps: int = 14) -> Curve:
    """Catmull-Rom curve through the points (K, 2 or 3)."""
    p = np.asarray(points, float)
    p = np.vstack([p[-1], p, p[0], p[1]]) if closed else np.vstack([2 * p[0] - p[1], p, 2 * p[-1] - p[-2]])
    t = np.linspace(0, 1, steps, endpoint=False)[:, None]
    parts = []
    for a, b, c, d in zip(p[:-3], p[1:-2], p[2:-1], p[3:], strict=True):
        parts.append(0.5 * (2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2 + (3 * b - a - 3 * c + d) * t**3))
    out = np.vstack(parts)
    return out if closed else np.vstack([out, p[-2]])


def fill(size: int, polygon: Curve) -> np.ndarray:
    """Coverage 0..1 (size, size) of a pixel polygon, with sub-pixel edges."""
    image = np.zeros((size, size), np.uint8)
    cv2.fillPoly(image, [np.rint(polygon * 16).astype(np.int32)], 255, cv2.LINE_AA, 4)
    return image.astype(np.float32) / 255


def tapered(
    size: int, line: Curve, width: float, start: float = 0.2, end: float = 0.1, swell: float = 0.5
) -> np.ndarray:
    """Coverage of a pen line; width in pixels at the swell (0..1 along it), start and end as fractions of it."""
    s = np.linspace(0, 1, len(line))
    half = 0.5 * width * np.interp(s, [0, swell, 1], [start, 1, end])
    tangent = np.gradient(line, axis=0)
    tangent /= np.linalg.norm(tangent, axis=1, keepdims=True) + 1e-6
    side = np.column_stack([-tangent[:, 1], tangent[:, 0]]) * half[:, None]
    return fill(size, np.vstack([line + side, (line - side)[::-1]]))


class Features:
    """Pixel curves of the face of `head`. side is -1 for the picture's left eye, +1 for the right one."""

    def __init__(self, head: Head):
        self.head, self.person = head, head.person
        # in profile only the near half of the face is drawn
        self.sides = (-1, 1) if abs(head.person.yaw) < 40 else (1 if head.person.yaw < 0 else -1,)

    def _on_face(self, points, **kw) -> Curve:
        return self.head.project(smooth(points, **kw))

    def lids(self, side: int) -> tuple[Curve, Curve]:
        """Upper and lower lid line, both from the inner to the outer corner."""
        p = self.person
        a, o, tilt = 0.50 * p.eye_size, p.eye_open * p.eye_size, p.eye_tilt
        upper = [(-a, 0.07), (-0.6 * a, -0.10 * o), (-0.05 * a, -0.21 * o), (0.5 * a, -0.17 * o), (a, -tilt)]
        lower = [(-a, 0.07), (-0.45 * a, 0.12 * o), (0.15 * a, 0.19 * o), (0.65 * a, 0.13 * o), (a, -tilt)]
        return tuple(self._on_face([(side * (1 + x), y) for x, y in c]) for c in (upper, lower))

    def crease(self, side: int) -> Curve:
        p = self.person
        a, o = 0.5 * p.eye_size, p.eye_open * p.eye_size
        return self._on_face(
            [
                (side * (1 + x), y)
                for x, y in [
                    (-0.85 * a, -0.05 * o - 0.05),
                    (-0.1 * a, -0.21 * o - 0.13),
                    (0.6 * a, -0.17 * o - 0.10),
                    (1.15 * a, -0.06 - p.eye_tilt),
                ]
            ]
        )

    def under_eye(self, side: int) -> Curve:
        return self._on_face([(side * 0.52, 0.22), (side * 0.8, 0.40), (side * 1.2, 0.43), (side * 1.5, 0.25)])

    def iris(self, side: int, radius: float = 0.225) -> Curve:
        p = self.person
        t = np.linspace(0, 2 * np.pi, 60)
        r = radius * p.eye_size
        x, y = side + p.gaze[0] + r * np.cos(t), -0.02 + p.gaze[1] + r * np.sin(t)
        z = self.head.depth(np.array([float(side)]), np.array([0.0]))
        return self.head.project(np.column_stack([x, y, np.full_like(x, z[0])]))

    def brow(self, side: int) -> Curve:
        p = self.person
        up, k = -0.10 * p.brow_lift - 0.17 * (p.eye_size - 1), 0.085 * p.brow_thick
        top = [(0.44, -0.58 - k), (0.80, -0.70 - k), (1.20, -0.74 - 0.8 * k), (1.68, -0.52)]
        low = [(1.68, -0.51), (1.20, -0.70 + 0.5 * k), (0.80, -0.65 + k), (0.44, -0.53 + k)]
        return np.vstack([self._on_face([(side * x, y + up) for x, y in c]) for c in (top, low)])

    def nose_wing(self, side: int) -> Curve:
        p, t = self.person, 1.25 * self.person.nose_length
        w = 0.52 * p.nose_width
        return self._on_face(
            [(side * x * w, t + y) for x, y in [(0.80, -0.18), (1.06, 0.0), (1.0, 0.17), (0.72, 0.22)]]
        )

    def nostril(self, side: int) -> Curve:
        p, t = self.person, 1.25 * self.person.nose_length
        w = 0.26 * p.nose_width
        return self._on_face(
            [(side * (w + x), t + y) for x, y in [(-0.13, 0.27), (-0.02, 0.21), (0.13, 0.20), (0.06, 0.28)]],
            closed=True,
        )

    def nose_tip(self) -> Curve:
        t, w = 1.25 * self.person.nose_length, self.person.nose_width
        return self._on_face([(-0.16 * w, t + 0.28), (0, t + 0.36), (0.16 * w, t + 0.28)])

    def bridge(self, side: int) -> Curve:
        t = 1.25 * self.person.nose_length
        return self._on_face(
            [(side * x, y) for x, y in [(0.44, -0.42), (0.22, -0.15), (0.15, 0.3), (0.20, 0.7), (0.30, t - 0.2)]]
        )

    def mouth(self) -> tuple[Curve, Curve, Curve]:
        """Upper lip outline, lower lip outline, line between them."""
        p = self.person
        w, full, up, y = 0.80 * p.mouth_width, p.lips, -0.13 * p.smile, 2.15
        line = [
            (-w, y + up),
            (-0.5 * w, y + 0.02),
            (-0.14, y - 0.01),
            (0, y + 0.03),
            (0.14, y - 0.01),
            (0.5 * w, y + 0.02),
            (w, y + up),
        ]
        top = [
            (w, y + up),
            (0.5 * w, y - 0.13 * full),
            (0.14, y - 0.21 * full),
            (0, y - 0.16 * full),
            (-0.14, y - 0.21 * full),
            (-0.5 * w, y - 0.13 * full),
            (-w, y + up),
        ]
        low = [
            (w, y + up),
            (0.55 * w, y + 0.19 * full),
            (0, y + 0.29 * full),
            (-0.55 * w, y + 0.19 * full),
            (-w, y + up),
        ]
        middle = self._on_face(line)
        return np.vstack([middle, self._on_face(top)]), np.vstack([middle, self._on_face(low)]), middle

    def under_lip(self) -> Curve:
        y = 2.15 + 0.42 * self.person.lips**0.5
        return self._on_face([(-0.30, y), (0, y + 0.05), (0.30, y)])

    def laugh_line(self, side: int) -> Curve:
        w = 0.80 * self.person.mouth_width
        return self._on_face(
            [(side * 0.62, 1.12), (side * 0.86, 1.45), (side * (w + 0.22), 1.95), (side * (w + 0.2), 2.3)]
        )

    def forehead(self) -> list[Curve]:
        return [
            self._on_face([(-1.1, y + 0.05), (-0.5, y - 0.04), (0, y + 0.02), (0.5, y - 0.05), (1.1, y + 0.04)])
            for y in (-1.15, -1.42, -1.68)
        ]

    def ear(self, side: int) -> Curve:
        w = float(self.head.half_width(0.5))
        shape = [
            (w - 0.08, 1.15),
            (w + 0.12, 1.25),
            (w + 0.22, 0.9),
            (w + 0.38, 0.3),
            (w + 0.34, -0.25),
            (w + 0.12, -0.42),
            (w - 0.1, -0.2),
        ]
        return self.head.project(smooth([(side * x, y, -0.25) for x, y in shape], closed=True))

    def ear_fold(self, side: int) -> Curve:
        w = float(self.head.half_width(0.5))
        return self.head.project(
            smooth(
                [
                    (side * (w + x), y, -0.2)
                    for x, y in [(0.02, -0.12), (0.2, -0.2), (0.26, 0.2), (0.14, 0.65), (0.02, 0.8)]
                ]
            )
        )
