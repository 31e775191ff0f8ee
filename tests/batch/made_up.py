"""Small pictures, plans and workers that draw nothing, for tests of what is around the drawing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from acfun_core.batch.jobs import Drawing, Job, Training
from acfun_core.batch.plan import Row
from acfun_core.batch.results import Results
from acfun_core.batch.run import Planned, carry_out, planned
from acfun_core.batch.work import Outcome

BASE = "made-up base"


def picture(path: Path, seed: int, side: int = 16) -> Path:
    """A picture of coloured noise, another for each seed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (side, side, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def folders(root: Path, styles: int, faces: int) -> tuple[str, str]:
    """Two folders of pictures."""
    for number in range(styles):
        picture(root / "styles" / f"style{number}.png", number)
    for number in range(faces):
        picture(root / "faces" / f"face{number}.png", 1000 + number)
    return str(root / "styles"), str(root / "faces")


class Faked:
    """One worker that writes its jobs' names in place of pictures.

    Args:
        fails: names of drawings, or the word "training", that fail.
        stops_after: raises KeyboardInterrupt, as a kill would end the loop, when so many jobs are done.
    """

    count = 1

    def __init__(self, results: Results, fails: tuple[str, ...] = (), stops_after: int | None = None):
        self.results, self.fails, self.stops_after = results, fails, stops_after
        self.done: list[Job] = []
        self.job: Job | None = None

    def room(self) -> int:
        return 0 if self.job else 1

    def suits(self, job: Drawing) -> int:
        return 0

    def start(self, job: Job) -> None:
        self.job = job

    def wait(self, seconds: float) -> list[Outcome]:
        if len(self.done) == self.stops_after:
            raise KeyboardInterrupt
        job, self.job = self.job, None
        if ("training" if isinstance(job, Training) else job.name) in self.fails:
            self.results.keep_failure(job.key, "as asked")
            return [Outcome(job.key, reason="as asked")]
        self.done.append(job)
        if isinstance(job, Training):
            self.results.keep_adapter(job.key, b"adapter")
            return [Outcome(job.key, {"seconds": 1.0})]
        told = {"seconds": 0.5, "identity": 0.25, "style": 0.5, "copy": 0.1, "machine": "made up"}
        return [Outcome(job.key, self.results.keep_picture(job, small_png(), told))]


def small_png() -> bytes:
    import io

    written = io.BytesIO()
    Image.new("RGB", (8, 8), (200, 30, 60)).save(written, "PNG")
    return written.getvalue()


def drawn(rows: list[Row], results: Results, retry: bool = False, **faked) -> tuple[dict, Faked, Planned]:
    """A batch with a faked worker. -> what it said, the worker, the plan."""
    plan = planned(rows, BASE, results, retry)
    worker = Faked(results, **faked)
    return carry_out(plan, results, lambda: worker, lambda kind, told: None), worker, plan
