"""The data on disk: aligned pictures, what is known of each, and where the points of its face lie.

The folder that `--data` names holds

- `records.jsonl`, one JSON object a picture: `id` (number of its file and of its row in the mesh), `file` (where it came from,
  by which two photos of one sitter are told), `kind` (`photo` or `art`), `medium`, `portrait` (a face is large enough to draw),
  `heldout` (kept unseen by every training), `colour` (false: grey or toned), `mesh` (the points are known), and where known
  `gender` (`male`, `female`), `birth_year`, `mood` (`smiling`, `serious`), `glasses`, `background`, `title`; `source` and
  `licence` of each;
- `img/00000.webp`, ...: 320 x 320 px, the eyes level, their middle at 0.5 of the width and 0.444 of the height, 0.176 of the
  width apart, so that the central 256 px are framed as the base draws;
- `mesh.npz`: `pts` [pictures, 468, 2], the points of MediaPipe's face mesh in pixels (zeros where there are none), and `oval`,
  the indices of those around the face.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

SIDE = 320
"""Side of the stored pictures."""
SIZE = 256
"""Side of the base's own pictures, the central part of the stored ones."""


GLASSES = json.loads(Path(__file__).with_name("glasses.json").read_text())
"""Colour photos, by `file`, whose record is wrong: it was measured by edges at the nose bridge, which overlooks thin or rimless
frames. `worn` wear glasses, `bare` do not; all were looked at."""


class Portrait(NamedTuple):
    """A picture, uint8 [s, s, 3]; its record; the points of its face in pixels, float32 [468, 2], or None."""

    image: np.ndarray
    record: dict
    points: np.ndarray | None = None


def looked_at(record: dict) -> dict:
    """The record with `glasses` as they are."""
    if record["file"] in GLASSES["worn"]:
        return {**record, "glasses": True}
    return {**record, "glasses": False} if record["file"] in GLASSES["bare"] else record


class Album:
    """The pictures that a training may see, or with `heldout` those that it may not.

    Raises:
        SystemExit: the folder does not hold what this module describes.
    """

    def __init__(self, folder: Path | None, heldout: bool = False) -> None:
        needed = ("records.jsonl", "mesh.npz", "img")
        if folder is None or not all((folder / name).exists() for name in needed):
            raise SystemExit(
                f"{folder} does not hold {', '.join(needed)}: name the folder of the training data with --data."
            )
        records = [looked_at(json.loads(line)) for line in (folder / "records.jsonl").read_text().splitlines()]
        self.folder, self.records = folder, [r for r in records if r["heldout"] == heldout]
        mesh = np.load(folder / "mesh.npz")
        self.mesh, self.oval = mesh["pts"].astype(np.float32), mesh["oval"]
        photos = [r for r in self.records if r["kind"] == "photo"]
        self.photos = [r for r in photos if r["colour"]]
        self.grey = [r for r in photos if not r["colour"]]
        self.art = [r for r in self.records if r["kind"] == "art" and r["portrait"]]
        self.other = [r for r in self.records if r["kind"] == "art" and not r["portrait"]]
        """Art without a face to draw; good enough for the autoencoder."""

    def open(self, record: dict) -> Portrait:
        """The stored picture, 320 px."""
        path = self.folder / "img" / f"{record['id']:05d}.webp"
        image = cv2.imread(str(path))
        if image is None:
            raise SystemExit(f"{path} is missing or no picture, but records.jsonl names it.")
        points = self.mesh[record["id"]] if record["mesh"] else None
        return Portrait(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), record, points)

    def plain(self, records: list[dict]) -> np.ndarray:
        """The pictures as the base frames them, unchanged: uint8 [n, 256, 256, 3]."""
        room = (SIDE - SIZE) // 2
        return np.stack([self.open(r).image[room : room + SIZE, room : room + SIZE] for r in records])
