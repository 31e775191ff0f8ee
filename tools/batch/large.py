"""Plan, interrupt, resume and report a plan of 10,000 rows with the drawing left out: what the driver itself costs.

Usage: ``python -m tools.batch.large``; prints one JSON line with seconds and the most memory that the process had.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from acfun_core.batch.jobs import Drawing, Job, Training
from acfun_core.batch.plan import read_plan
from acfun_core.batch.results import Results
from acfun_core.batch.run import carry_out, planned
from acfun_core.batch.work import Outcome


class Nothing:
    """One worker that writes the same small picture for every job, and stops where it is told to."""

    count = 1

    def __init__(self, results: Results, content: bytes, stops_after: int | None):
        self._results, self._content, self._left, self._job = results, content, stops_after, None

    def room(self) -> int:
        return 0 if self._job else 1

    def suits(self, job: Drawing) -> int:
        return 0

    def start(self, job: Job) -> None:
        self._job = job

    def wait(self, seconds: float) -> list[Outcome]:
        if self._left == 0:
            raise KeyboardInterrupt
        self._left = None if self._left is None else self._left - 1
        job, self._job = self._job, None
        if isinstance(job, Training):
            self._results.keep_adapter(job.key, b"adapter")
            return [Outcome(job.key, {"seconds": 0.1})]
        told = {"seconds": 0.1, "identity": 0.5, "style": 0.5, "copy": 0.1, "machine": "none"}
        return [Outcome(job.key, self._results.keep_picture(job, self._content, told))]


def made_plan(folder: Path, styles: int, faces: int) -> Path:
    """A CSV of every face in every style, and pictures that differ."""
    chance = np.random.default_rng(0)
    lines = ["style,face,draw.steps"]
    for kind, count in (("style", styles), ("face", faces)):
        for number in range(count):
            pixels = chance.integers(0, 256, (32, 32, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / f"{kind}{number}.png")
    lines += [f"style{style}.png,face{face}.png,20" for style in range(styles) for face in range(faces)]
    path = folder / "plan.csv"
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def tried(folder: Path, styles: int, faces: int) -> dict:
    """Three runs: half of the jobs, the rest, nothing."""
    plan, results = made_plan(folder, styles, faces), Results(str(folder / "out"))
    content, told = (folder / "face0.png").read_bytes(), {"rows": styles * faces}
    jobs = styles * faces + styles
    for name, stops in (("half", jobs // 2), ("rest", None), ("nothing_left", None)):
        start, computed = time.monotonic(), time.process_time()
        left = planned(read_plan(plan), "no base", results)
        told[f"{name}_planned"] = round(time.monotonic() - start, 1)
        try:
            ended = carry_out(left, results, partial(Nothing, results, content, stops), lambda kind, event: None)
        except KeyboardInterrupt:
            ended = {}
        told[f"{name}_seconds"] = round(time.monotonic() - start, 1)
        told[f"{name}_cpu_seconds"] = round(time.process_time() - computed, 1)
    told["done"] = ended["done"]
    # Kilobytes on Linux.
    told["most_memory_mb"] = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
    return told


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--styles", type=int, default=100)
    parser.add_argument("--faces", type=int, default=100)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        told = tried(Path(folder), options.styles, options.faces)
    print(json.dumps(told))
    return 0 if told["done"] == told["rows"] else 1


if __name__ == "__main__":
    sys.exit(main())
