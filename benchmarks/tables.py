"""Measuring what a store holds, and the table of its numbers."""

from __future__ import annotations

import argparse
import json
import os
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image as PIL

from tools.measure import style as styles
from tools.measure.faces import MissingModel

from . import aggregate, methods
from .drawing import images, pairs_of, set_numbers, settings_of
from .lists import LISTS, Image, PictureList
from .measures import VERSION, Measures, as_array, corners
from .pages import Table
from .store import Store

COLUMNS = {
    "identity_earned": "id margin",
    "face_first_earned": "face rank-1",
    "style_earned": "style margin",
    "style_first_earned": "style rank-1",
    "copied": "copy rate",
    "ghost": "ghost R²",
    "found": "faces",
    "leak_sface": "leak",
    "pose_ratio": "pose ratio",
    "train_passes": "passes",
    "total_seconds": "seconds",
    "state_mb": "MB",
}


SHARES = ("face_first_earned", "style_first_earned", "copied", "found")


def real_art(
    data: Path, pictures: PictureList, side: int, keep: Path, every: int = 1, parts: bool = False
) -> np.ndarray | None:
    """The art of the training data folder that is in no fixed list; it spans the space of styles. None for other folders.

    Args:
        keep: file where its statistics are kept for the next time.
        every: take one picture of so many. parts: four quarters of each instead of the whole.
    """
    manifest = data / "manifest.jsonl"
    if not pictures.name.startswith(("report", "tuning", "unseen")) or not manifest.is_file():
        return None
    if keep.is_file():
        return np.load(keep)
    listed = {found for path in LISTS.glob("*.json") for found in re.findall(r"[0-9a-f]{64}", path.read_text())}
    records = [json.loads(line) for line in manifest.read_text(encoding="utf-8").splitlines()]
    art = [record for record in records if record["kind"] == "art" and record["sha256"] not in listed]
    art = art[::every]
    whole = [as_array(Image(record["sha256"], data / record["file"]), side) for record in art]
    seen = [part for picture in whole for part in corners(picture)] if parts else whole
    found = np.stack([styles.statistics(picture) for picture in seen])
    # The measures come before the first picture, so nothing has made the folder yet.
    keep.parent.mkdir(parents=True, exist_ok=True)
    partial = keep.with_suffix(f".{os.getpid()}.npy")
    np.save(partial, found)
    partial.replace(keep)
    return found


def measures_of(options, pictures: PictureList) -> Measures:
    """The judges of a run.

    Raises:
        SystemExit: a face or feature model is not installed; the text says which and how.
    """
    # 0 stands for what the base was made for.
    side = settings_of(options).side
    keep = options.out / f"art-{VERSION}-{side}.npy"
    views = keep.with_name(f"parts-{keep.name}")
    try:
        collection = real_art(options.data, pictures, side, keep)
        quarters = real_art(options.data, pictures, side, views, every=4, parts=True)
        return Measures(pictures, side, collection, quarters)
    except (MissingModel, ImportError) as error:
        raise SystemExit(f"{error} (pip install -r benchmarks/requirements.txt, see benchmarks/README.md)") from None


def measure(store: Store, run: str, pictures: PictureList, measures: Measures) -> int:
    """Measure the images that were not measured by this version against this list. -> how many."""
    mark, count = f"{VERSION}:{pictures.name}:{len(pictures.faces)}x{len(pictures.styles)}", 0
    for row in images(store, run):
        listed = row["face"] in measures.faces and row["style"] in measures.styles
        if listed and row["measured_by"] != mark:
            picture = np.asarray(PIL.open(store.file(row)).convert("RGB"))
            set_numbers(store, run, row, measures.numbers(picture, row["face"], row["style"]), mark)
            count += 1
    return count


def measured(options: argparse.Namespace, pictures: PictureList, measures: Measures) -> list[dict]:
    """All measured images of the options' run, pairs and seeds."""
    store, run = Store(options.out), settings_of(options).run
    measure(store, run, pictures, measures)
    wanted = {pair.id for pair in pairs_of(options, pictures)}
    found = [image for image in images(store, run) if image["numbers"] and image["seed"] < options.seeds]
    return [image for image in found if f"{image['face']}-{image['style']}" in wanted]


def anchors(names: Sequence[str]) -> list[str]:
    return [name for name in names if methods.method(name).anchor]


def numbers(rows: dict[str, aggregate.Rows], judged: aggregate.Judgement, apart: Sequence[str] = ()) -> Table:
    """All methods, the best J first, and below them those that stand ``apart``."""
    lines, kinds = [], []
    for name in sorted(judged.names, key=lambda name: (name in apart, -judged.j[judged.names.index(name)])):
        low, high = judged.interval(name)
        value = judged.j[judged.names.index(name)]
        cells = [methods.method(name).title, f"{value:.3f}", f"{low:.3f} to {high:.3f}"]
        lines.append(cells + [cell(column, rows[name].mean(column)) for column in COLUMNS])
        kinds.append("anchor" if name in apart else "own" if name == aggregate.ACFUN else "")
    return Table(["method", "J", "95 %", *COLUMNS.values()], lines, kinds)


def cell(column: str, value: float) -> str:
    """A number as it stands in a table."""
    if not np.isfinite(value):
        return ""
    if column in SHARES:
        return f"{value:.0%}"
    return f"{value:.0f}" if column in ("train_passes", "total_seconds") else f"{value:.2f}"
