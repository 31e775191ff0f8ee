"""One sitter as flat parts, light, lines and flow: what every medium starts from."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from . import hair
from .features import Curve, Features, fill, smooth, tapered
from .field import blur, noise, over, rgb, step, streaks
from .head import Form, Head, Person

COLOURS = {
    "ground": "8fa3ad",
    "skin": "e2b594",
    "hair": "3a2619",
    "cloth": "3f5a78",
    "white": "f1ece2",
    "iris": "4d6a6b",
    "pupil": "120e0d",
    "lip": "b5574f",
    "line": "2b1b16",
}


@dataclass
class Scene:
    """parts: name -> coverage (N, N); light: 0..1 (N, N); lines: (pixel curve, width in units, kind)."""

    person: Person
    head: Head
    form: Form
    features: Features
    parts: dict[str, np.ndarray]
    light: np.ndarray
    lines: list[tuple[Curve, float, str]]
    hair_flow: np.ndarray
    strands: np.ndarray

    @property
    def size(self) -> int:
        return self.head.size

    def colour(self, part: str) -> np.ndarray:
        return rgb(self.person.colours.get(part, COLOURS[part]))

    def flat(self) -> np.ndarray:
        """Local colours without light (N, N, 3)."""
        n = self.size
        canvas = np.broadcast_to(self.colour("ground"), (n, n, 3)).copy()
        for part, key in (
            ("hair_back", "hair"),
            ("bust", "skin"),
            ("cloth", "cloth"),
            ("head", "skin"),
            ("ears", "skin"),
            ("lip_low", "lip"),
            ("lip_up", "lip"),
            ("white", "white"),
            ("iris", "iris"),
            ("pupil", "pupil"),
            ("beard", "hair"),
            ("brow", "hair"),
            ("hair_front", "hair"),
        ):
            colour = self.colour(key) * (0.85 if part == "lip_up" else 0.75 if part == "hair_back" else 1)
            canvas = over(canvas, colour, self.parts[part])
        return canvas

    def ink(self, kinds: str = "eye lid nose mouth fold brow", width: float = 1.0) -> np.ndarray:
        """Coverage (N, N) of the drawn lines of these kinds."""
        out = np.zeros((self.size,) * 2, np.float32)
        for curve, units, kind in self.lines:
            if kind in kinds.split():
                out = np.maximum(out, tapered(self.size, curve, max(units * width * self.head.unit, 1.2)))
        hidden = self.parts["hair_front"] + (0 if "beard" in kinds else self.parts["beard"])
        return out * np.clip(1 - hidden, 0, 1)

    def painted(self, shadow=(0.34, 0.24, 0.30), glow=(1.06, 1.02, 0.94)) -> np.ndarray:
        """Local colours under warm light and cool shadow, with the main lines (N, N, 3)."""
        tint = np.asarray(shadow) + (np.asarray(glow) - shadow) * self.light[..., None]
        image = self.flat() * tint
        person = 1 - self.parts["ground"]
        image = over(self.flat(), image, person)
        flush = self.blush()[..., None] * np.array([0.055, -0.025, -0.015], np.float32)
        image = image + flush
        spark = sum(
            fill(self.size, 0.28 * (c - c.mean(0)) + c.mean(0) + self.head.unit * np.array([-0.06, -0.07]))
            for c in (self.features.iris(s) for s in self.features.sides)
        )
        image = over(image, (1, 1, 1), np.clip(spark, 0, 1) * 0.9 * self.parts["iris"])
        return np.clip(over(image, self.colour("line"), 0.85 * self.ink()), 0, 1)

    def blush(self) -> np.ndarray:
        x, y = np.abs(self.form.canon[..., 0]), self.form.canon[..., 1]
        cheek = np.exp(-0.5 * (((x - 1.25) / 0.5) ** 2 + ((y - 1.05) / 0.4) ** 2))
        nose = np.exp(-0.5 * ((x / 0.4) ** 2 + ((y - 1.2) / 0.3) ** 2))
        return ((cheek + 0.7 * nose) * self.parts["head"] * (1 - self.parts["hair_front"])).astype(np.float32)


def compose(person: Person, size: int, rng: np.random.Generator) -> Scene:
    """Builds the sitter at size x size pixels."""
    head = Head(person, size)
    form, features = head.form(), Features(head)
    parts = _parts(head, form, features, rng)
    flow = hair.direction(head, size)
    strands = streaks(noise(size, size / 170, rng, 1), flow, size // 14)
    light = _light(head, form, parts, strands)
    return Scene(person, head, form, features, parts, light, _lines(features), flow, strands)


def _union(size: int, curves) -> np.ndarray:
    out = np.zeros((size, size), np.float32)
    for curve in curves:
        out = np.maximum(out, fill(size, curve))
    return out


def _parts(head: Head, form: Form, f: Features, rng: np.random.Generator) -> dict[str, np.ndarray]:
    n, p = head.size, head.person
    almonds = {s: fill(n, np.vstack([f.lids(s)[0], f.lids(s)[1][::-1]])) for s in f.sides}
    lips = f.mouth()
    parts = {
        "hair_back": _union(n, hair.outlines(head, "back")),
        "bust": form.bust,
        "head": form.head,
        "white": np.max(list(almonds.values()), 0),
        "iris": sum(fill(n, f.iris(s)) * almonds[s] for s in f.sides),
        "pupil": sum(fill(n, f.iris(s, 0.10)) * almonds[s] for s in f.sides),
        "lip_up": fill(n, lips[0]),
        "lip_low": fill(n, lips[1]),
        "brow": _union(n, [f.brow(s) for s in f.sides]),
        "hair_front": _union(n, hair.outlines(head, "front")),
        "ears": np.zeros((n, n), np.float32),
    }
    for side in (-1, 1):
        if side * p.yaw < 12:  # the far ear hides behind the cheek
            parts["ears"] = np.maximum(parts["ears"], fill(n, f.ear(side)))
    x, y, z = np.moveaxis(form.canon, 2, 0)
    neckline = 4.05 + np.clip(0.75 - 0.42 * np.abs(x), -0.2, 1) * (z > -0.9) + 0.05 * np.abs(x)
    on_bust = form.bust * (1 - form.head)
    parts["cloth"] = on_bust * step(y - neckline, 0, 0.06)
    parts["beard"] = _beard(head, form, rng) if p.beard else np.zeros((n, n), np.float32)
    person = np.zeros((n, n), np.float32)
    for name in ("hair_back", "bust", "head", "hair_front", "ears", "beard"):
        person = np.maximum(person, parts[name])
    parts["ground"] = 1 - person
    parts["head"] = np.clip(parts["head"], 0, 1)
    return parts


def _beard(head: Head, form: Form, rng: np.random.Generator) -> np.ndarray:
    """Full beard with moustache; grows past the chin."""
    n, grow = head.size, head.person.beard
    outline = [
        (-2.12, 0.7, 0.5),
        (-2.15, 1.8, 0.5),
        (-1.9, 2.9, 0.9),
        (-1.2, 3.7 + 0.5 * grow, 1.2),
        (0, 3.9 + 0.9 * grow, 1.5),
        (1.2, 3.7 + 0.5 * grow, 1.2),
        (1.9, 2.9, 0.9),
        (2.15, 1.8, 0.5),
        (2.12, 0.7, 0.5),
        (1.85, 1.3, 1.3),
        (1.35, 1.75, 2.0),
        (0.85, 1.72, 2.5),
        (0.3, 1.62, 2.7),
        (0, 1.72, 2.7),
        (-0.3, 1.62, 2.7),
        (-0.85, 1.72, 2.5),
        (-1.35, 1.75, 2.0),
        (-1.85, 1.3, 1.3),
    ]
    mask = fill(n, head.project(smooth(outline, closed=True)))
    lip = head.project(
        smooth([(-0.62, 2.22), (0, 2.08), (0.62, 2.22), (0.35, 2.46), (0, 2.5), (-0.35, 2.46)], closed=True)
    )
    mask = mask * (1 - fill(n, lip))
    ragged = blur(mask, 0.05 * head.unit) + 0.06 * noise(n, 0.14 * head.unit, rng)
    return step(ragged, 0.5, 0.3)


def _light(head: Head, form: Form, parts: dict, strands: np.ndarray) -> np.ndarray:
    """Lambert light with soft cast shadows of hair, chin and nose, 0..1."""
    unit, n = head.unit, head.size
    sun = np.asarray(head.person.light) / np.linalg.norm(head.person.light)
    light = 0.16 + 0.84 * np.clip((form.normal @ sun.astype(np.float32)) * 0.85 + 0.2, 0, 1)
    shift = np.float32([[1, 0, -sun[0] * 0.32 * unit], [0, 1, -sun[1] * 0.55 * unit]])

    def cast(mask, by=1.0):
        moved = shift.copy()
        moved[:, 2] *= by
        return blur(cv2.warpAffine(mask, moved, (n, n)), 0.13 * unit)

    on_head = parts["head"] * (1 - parts["hair_front"])
    light *= 1 - 0.45 * cast(parts["hair_front"]) * on_head
    light *= 1 - 0.60 * cast(parts["head"], 1.8) * parts["bust"] * (1 - parts["head"])
    lids = cast(np.clip(parts["white"], 0, 1), -0.12)
    light = light + (0.55 + 0.4 * lids - light) * parts["white"] * 0.75
    # hair: a dome around the crown, a sheen and strands
    cx, cy = head.project(np.array([[0.0, -1.2, 0.0]]))[0]
    yy, xx = np.mgrid[:n, :n].astype(np.float32)
    nx, ny = (xx - cx) / (3.6 * unit), (yy - cy) / (4.2 * unit)
    nz = np.sqrt(np.clip(1 - nx**2 - ny**2, 0.03, 1))
    dome = np.clip(nx * sun[0] + ny * sun[1] + nz * sun[2], 0, 1)
    locks = 0.30 + 0.55 * dome + 0.6 * np.exp(-(((dome - 0.9) / 0.08) ** 2)) * 0.5 + 0.10 * strands
    back = parts["hair_back"] * (1 - np.maximum(parts["head"], parts["bust"]))
    light = over(light[..., None], np.clip(locks * 0.75, 0, 1)[..., None], back)[..., 0]
    light = over(light[..., None], np.clip(light + 0.10 * strands, 0, 1)[..., None], parts["beard"])[..., 0]
    light = over(light[..., None], np.clip(locks, 0, 1.3)[..., None], parts["hair_front"])[..., 0]
    return np.clip(light, 0, 1.2).astype(np.float32)


def _lines(f: Features) -> list[tuple[Curve, float, str]]:
    """Pen lines with widths in head units; their kinds let a medium choose."""
    p = f.person
    shade = 1 if p.light[0] < 0 else -1
    lines = [
        (f.bridge(shade), 0.05, "nose"),
        (f.nose_tip(), 0.05, "nose"),
        (f.mouth()[2], 0.085, "mouth"),
        (f.under_lip(), 0.04, "mouth"),
    ]
    for side in f.sides:
        upper, lower = f.lids(side)
        lines += [
            (upper, 0.10 + 0.06 * p.lashes, "eye"),
            (lower, 0.035, "eye"),
            (f.crease(side), 0.04, "lid"),
            (f.nose_wing(side), 0.055, "nose"),
            (f.nostril(side), 0.05, "nose"),
            (f.ear_fold(side), 0.04, "ear"),
        ]
        if p.age > 45:
            lines += [(f.under_eye(side), 0.045, "fold"), (f.laugh_line(side), 0.06, "fold")]
    if p.age > 58:
        lines += [(c, 0.04, "fold") for c in f.forehead()]
    return lines
