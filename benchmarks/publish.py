"""The published table: its raw rows as CSV, its summary as JSON, its portraits, and comparing a repeated part with it."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image as PIL

from acfun_core.errors import ACFunError
from tools.contact_sheet import SHEET_CELL, picture_grid

from .aggregate import COSTS, cost, with_means
from .lists import JUDGED, PictureList
from .measures import as_array
from .store import Store

PUBLISHED = Path(__file__).with_name("published")
KEYS = ("method", "face", "style", "seed")
COMPARED = {"identity": 0.05, "style": 0.05, "copied": 0.0, "found": 0.0}
"""Numbers that a repeated part must give again, and how far its means may be off; shares may be off by one picture."""


def write_rows(images: Sequence[dict], path: Path) -> None:
    """Measured images, one line each, numbers with four digits."""
    names = sorted({name for image in images for name in image["numbers"]})
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow([*KEYS, *COSTS, *names])
        for image in images:
            costs = [_short(image[name]) for name in COSTS]
            writer.writerow([*(image[key] for key in KEYS), *costs, *(_short(image["numbers"].get(n)) for n in names)])


def _short(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"


def portraits(store: Store, images: Sequence[dict], pictures: PictureList, method: str) -> PIL.Image | None:
    """Every first portrait by a method: the styles from left to right, the faces from top to bottom, which are not shown.

    -> None where some were not drawn here.
    """
    files = {(i["face"], i["style"]): i for i in images if i["method"] == method and i["seed"] == 0 and "file" in i}
    if len(files) < len(pictures.pairs()):
        return None
    rows = [("style pictures", [PIL.fromarray(as_array(style, SHEET_CELL)) for style in pictures.styles])]
    for number, face in enumerate(pictures.faces, 1):
        drawn = [PIL.open(store.file(files[face.id, style.id])) for style in pictures.styles]
        rows.append((f"{face.person} {number}", drawn))
    return picture_grid(rows)


def read_rows(path: Path) -> list[dict]:
    """The images that :func:`write_rows` wrote."""
    images = []
    with path.open(newline="", encoding="utf-8") as file:
        for line in csv.DictReader(file):
            image = {**{key: line.pop(key) for key in KEYS}, **{name: _number(line.pop(name)) for name in COSTS}}
            image["numbers"] = {name: float(value) for name, value in line.items() if value}
            image["seed"] = int(image["seed"])
            images.append(image)
    return images


def _number(text: str) -> float | None:
    return float(text) if text else None


def kept(again: Sequence[str], run: str, settings: dict, folder: Path = PUBLISHED) -> list[dict]:
    """The published images of all methods that are not drawn again.

    Args:
        again: methods that are. run, settings: of the present run; numbers of another base, list or grid cannot be kept.

    Raises:
        ACFunError: there is no table, or it is another run's.
    """
    if not (folder / "summary.json").is_file():
        raise ACFunError(f"There is no table in {folder} to keep rows of.", "a published table", "leave --only out")
    known = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    # Only the fixed list is ever published.
    differ = [name for name, value in settings.items() if {"list": JUDGED, **known["settings"]}.get(name) != value]
    if known["run"] != run or differ:
        raise ACFunError(
            f"The published table is of another run: {', '.join(differ) or known['run']}.",
            "the base and settings of the published table",
            "leave --only out",
        )
    return [image for image in read_rows(folder / "rows.csv") if image["method"] not in again]


def part_pairs(images: Sequence[dict], minutes: float = 36.0, workers: int = 2, most: int = 4) -> int:
    """How many pairs of all methods, one picture each, take no longer than so many minutes by the published times."""
    by_method: dict[str, list[float]] = {}
    for image in images:
        by_method.setdefault(image["method"], []).append(cost(image, "train_seconds") + cost(image, "seconds"))
    seconds = sum(float(np.nanmean(times)) for times in by_method.values() if np.isfinite(times).any())
    return int(np.clip(minutes * 60 * workers / max(seconds, 1e-9), 1, most))


def differences(published: Sequence[dict], again: Sequence[dict]) -> dict[str, dict[str, float]]:
    """Method -> number -> mean over the repeated images minus the published mean over the same images."""
    known = {tuple(image[key] for key in KEYS): with_means(image["numbers"]) for image in published}
    found: dict[str, list[dict[str, float]]] = {}
    for image in again:
        key = tuple(image[key] for key in KEYS)
        if key in known and image["numbers"]:
            now = with_means(image["numbers"])
            found.setdefault(image["method"], []).append({name: now[name] - known[key][name] for name in COMPARED})
    return {
        method: {name: float(np.mean([one[name] for one in ones])) for name in COMPARED} | {"images": len(ones)}
        for method, ones in found.items()
    }


def disagreements(found: dict[str, dict[str, float]], methods: Sequence[str]) -> list[str]:
    """What does not agree, in words; empty if all does."""
    wrong = [f"{name}: not repeated" for name in methods if name not in found]
    for method, one in found.items():
        for name, limit in COMPARED.items():
            allowed = limit or 1.0 / one["images"] + 1e-9
            if abs(one[name]) > allowed:
                wrong.append(f"{method}: {name} is off by {one[name]:+.3f}")
    return wrong


def write_summary(summary: dict, path: Path) -> None:
    path.write_text(json.dumps(summary, indent=1) + "\n", encoding="utf-8")
