"""How many portraits are done, and how long the rest takes."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass
class Tally:
    """Counts of one run of a batch.

    Attributes:
        trainings, drawings: how many are to be done in this run; ``trained`` and ``drawn`` of them are, ``not_trained`` and
            ``not_drawn`` failed.
        before: portraits that were done before it. failed: rows that failed, before or now.
    """

    trainings: int
    drawings: int
    before: int = 0
    failed: int = 0
    workers: int = 1
    clock: Callable[[], float] = time.monotonic
    running: int = 0
    trained: int = 0
    drawn: int = 0
    not_trained: int = 0
    not_drawn: int = 0
    _seconds: dict[str, float] = field(default_factory=lambda: {"training": 0.0, "drawing": 0.0})

    def __post_init__(self):
        self._start = self.clock()

    def add(self, kind: str, seconds: float) -> None:
        """A ``training`` or ``drawing`` is done that took so long."""
        self._seconds[kind] += seconds
        if kind == "training":
            self.trained += 1
        else:
            self.drawn += 1

    @property
    def a_minute(self) -> float:
        """Portraits a minute since the start of this run."""
        return 60 * self.drawn / max(self.clock() - self._start, 1e-9)

    @property
    def left(self) -> float | None:
        """Seconds until all is done, by what trainings and drawings took so far; None before one of each is known."""
        trainings = self.trainings - self.trained - self.not_trained
        drawings = self.drawings - self.drawn - self.not_drawn
        if (trainings and not self.trained) or (drawings and not self.drawn):
            return None
        a_training = self._seconds["training"] / max(self.trained, 1)
        a_drawing = self._seconds["drawing"] / max(self.drawn, 1)
        return (max(trainings, 0) * a_training + max(drawings, 0) * a_drawing) / max(self.workers, 1)

    def as_dict(self) -> dict:
        left = self.left
        return {
            "done": self.before + self.drawn,
            "running": self.running,
            "failed": self.failed,
            "seconds_left": None if left is None else round(left),
            "pictures_a_minute": round(self.a_minute, 1),
        }

    def line(self) -> str:
        """For a person."""
        left = self.left
        time_left = "time left not known yet" if left is None else f"{_duration(left)} left"
        return f"{self.running} running, {self.failed} failed, {time_left}, {self.a_minute:.1f} pictures a minute"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min" if minutes >= 5 else f"{60 * minutes + rest} s"
