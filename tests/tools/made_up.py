"""A made-up folder of training data: drawn faces in the layout that tools/base/pictures/album.py describes."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np

SIDE = 320
OVAL = np.arange(100, 136)
PLACES = {
    33: (131, 141),
    133: (151, 142),
    362: (169, 142),
    263: (189, 141),
    4: (160, 175),
    127: (105, 145),
    356: (215, 145),
}
"""Points of the mesh that the code knows by number."""


def points(rng: np.random.Generator) -> np.ndarray:
    """The 468 points of a face: those with a name where they belong, the others inside the oval."""
    turn = np.linspace(0, 2 * np.pi, len(OVAL), endpoint=False)
    axes, middle = np.array([58, 75]) * rng.uniform(0.9, 1.1, 2), np.array([160.0, 165.0])
    spread = rng.uniform(0, 2 * np.pi, 468), np.sqrt(rng.uniform(0, 0.9, 468))
    found = middle + axes * (spread[1] * np.stack([np.cos(spread[0]), np.sin(spread[0])])).T
    found[OVAL] = middle + axes * np.stack([np.cos(turn), np.sin(turn)], 1)
    for index, place in PLACES.items():
        found[index] = np.array(place) + rng.normal(0, 1, 2)
    return found


def face(mesh: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A face with these points, uint8 [320, 320, 3]."""
    image = np.full((SIDE, SIDE, 3), rng.integers(60, 220, 3), np.uint8)
    cv2.ellipse(image, (160, 320), (110, 70), 0, 0, 360, rng.integers(0, 120, 3).tolist(), -1)
    skin = rng.integers((120, 90, 70), (230, 160, 130)).tolist()
    cv2.fillPoly(image, [mesh[OVAL].astype(np.int32)], skin)
    for a, b in ((33, 133), (362, 263)):
        cv2.circle(image, ((mesh[a] + mesh[b]) / 2).astype(int).tolist(), 6, (30, 30, 40), -1)
    cv2.line(image, (140, 205), (180, 205), (150, 50, 50), 3)
    noise = cv2.GaussianBlur(rng.normal(0, 25, image.shape), (0, 0), 2)
    return np.clip(image + noise, 0, 255).astype(np.uint8)


def album(folder: Path, sitters: int = 4) -> Path:
    """`sitters` of each sex with a grey photo and a picture of art for every other one, and as many again kept unseen."""
    rng = np.random.default_rng(0)
    (folder / "img").mkdir(parents=True)
    records, meshes = [], []
    for heldout in (False, True):
        for k in range(2 * sitters):
            gender = ("male", "female")[k % 2]
            known = {
                "file": f"made_up/{k + 2 * sitters * heldout}.jpg",
                "heldout": heldout,
                "gender": gender,
                "mood": "smiling",
                "glasses": k % 4 == 3,
                "birth_year": 1940 + 4 * k,
            }
            kinds = [{"kind": "photo", "medium": "photo", "colour": True}]
            if k % 2:
                kinds.append({"kind": "photo", "medium": "photo", "colour": False})
                kinds.append({"kind": "art", "medium": "painting", "colour": True, "title": "a lady"})
            for kind in kinds:
                mesh = points(rng)
                image = face(mesh, rng)
                if not kind["colour"]:
                    image = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
                cv2.imwrite(
                    str(folder / "img" / f"{len(records):05d}.webp"), image[:, :, ::-1], [cv2.IMWRITE_WEBP_QUALITY, 80]
                )
                records.append({"id": len(records), "mesh": kind["kind"] == "photo", "portrait": True, **known, **kind})
                meshes.append(mesh)
    (folder / "records.jsonl").write_text("".join(json.dumps(r) + "\n" for r in records))
    np.savez(folder / "mesh.npz", pts=np.array(meshes, np.float16), oval=OVAL)
    return folder
