"""Does a method still follow the text? How far a changed word changes the picture, and what it costs in identity and style.

A smile is read from the width of the mouth over the distance of the eyes, glasses from the edges on the nose bridge and
below the eyes: the same simple readings that labelled the base's photos.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from acfun_core.demo_base import NATIVE_SIDE
from tools.measure.faces import Face
from tools.measure.pictures import paired_interval
from tools.measure.upright import align, glasses_score

from . import aggregate, methods
from .methods.edited import EDITS
from .pages import Table

EDITED = ("follow_text", "keep_person", "acfun", "text", "img2img_0.6", "textual_inversion", "lora_our_loss")
"""Methods whose text can be changed after the training."""
READING = {"smiling": "smile", "glasses": "glasses"}
EYES, CENTRE = 0.28, (0.5, 0.42)


def readings(picture: np.ndarray, face: Face | None) -> dict[str, float]:
    """Signs of a smile and of glasses in a picture, uint8 [h, w, 3]; nothing without a face."""
    if face is None:
        return {}
    mouth, eyes = (float(np.linalg.norm(face.landmarks[a] - face.landmarks[b])) for a, b in ((3, 4), (0, 1)))
    if eyes < 1:
        return {}
    upright = align(picture, face.landmarks.tolist(), NATIVE_SIDE, EYES, CENTRE)
    return {"smile": mouth / eyes, "glasses": glasses_score(upright, EYES, CENTRE)}


def names() -> list[str]:
    """The edited methods by name."""
    return [methods.method(f"{name}+{edit}").name for name in EDITED for edit in EDITS]


def table(images: Sequence[dict]) -> Table:
    """Change of the reading and of both margins by each edit, with paired 95 % intervals over pictures."""
    known = {(i["method"], i["face"], i["style"], i["seed"]): i["numbers"] for i in images if i["numbers"]}
    rows = []
    for name in EDITED:
        for edit, reading in READING.items():
            edited = {key[1:]: numbers for key, numbers in known.items() if key[0] == f"{name}+{edit}"}
            plain = {key[1:]: numbers for key, numbers in known.items() if key[0] == name}
            pairs = [(edited[key], plain[key]) for key in edited if key in plain]
            both = [(now, before) for now, before in pairs if reading in now and reading in before]
            if not both:
                continue
            change = np.array([now[reading] - before[reading] for now, before in both])
            low, high = paired_interval(change)
            costs = [np.mean([_of(now, k) - _of(before, k) for now, before in pairs]) for k in ("identity", "style")]
            cells = [methods.method(name).title, edit, f"{len(both)} of {len(pairs)}", f"{change.mean():+.3f}"]
            rows.append([*cells, f"{low:+.3f} to {high:+.3f}", *(f"{cost:+.3f}" for cost in costs)])
    return Table(["method", "edit", "pictures", "reading", "95 %", "id margin", "style margin"], rows)


def _of(numbers: dict[str, float], name: str) -> float:
    return aggregate.with_means(numbers)[name]
