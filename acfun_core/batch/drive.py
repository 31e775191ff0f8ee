"""The loop that hands out jobs and takes their outcomes, whatever engine does them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from ..errors import ACFunError
from .jobs import Drawing, Job, Training, Work
from .results import of_training
from .tally import Tally
from .work import Outcome

AHEAD = 8
"""Drawings that are ready for each worker; with fewer, the next training begins, so that workers are not left without."""
LOOKED_AT = 32
"""Drawings among which the one is chosen that suits a worker best."""
SECONDS_A_LOOK = 1.0
"""Between two looks at the engine in which nothing ended, so that progress is shown meanwhile."""


class Workers(Protocol):
    """An engine. It holds as many jobs as it has workers, and no queue: what waits, waits in the driver, as keys."""

    count: int

    def room(self) -> int:
        """How many jobs it takes now."""

    def suits(self, job: Drawing) -> int:
        """How well it goes with what workers without a job have in memory; compared with others, the highest is taken."""

    def start(self, job: Job) -> None:
        """Begin a job; only while there is room."""

    def wait(self, seconds: float) -> list[Outcome]:
        """What ended; empty if nothing did within so many seconds."""


Tell = Callable[[str, dict[str, Any]], None]
"""Is told the kind of an event and what belongs to it."""


class Driver:
    """Does the jobs of a plan that are left.

    Args:
        trainings, drawings: keys of what is to be done.
        tally: is kept up to date.
        tell: of each outcome (``trained``, ``drawn``, ``failed``), and ``progress`` before every look at the engine.

    Attributes:
        records: key of a drawing -> its record, of those that this run did.
        failures: key of a drawing -> its reason.
    """

    def __init__(self, work: Work, trainings: Sequence[str], drawings: Sequence[str], tally: Tally, tell: Tell):
        self._work, self._tally, self._tell = work, tally, tell
        self._trainings, self._ready = deque(trainings), deque[str]()
        self._waiting: dict[str, list[str]] = {key: [] for key in trainings}
        for key in drawings:
            # What an adapter of an earlier run serves can begin at once.
            self._waiting.get(work.drawings[key].training, self._ready).append(key)
        self._running = 0
        self.records: dict[str, dict[str, Any]] = {}
        self.failures: dict[str, str] = {}

    def run(self, workers: Workers) -> None:
        """Until nothing is left.

        Raises:
            ACFunError: something is wrong that is no job's own fault; what is done stays done.
        """
        while self._trainings or self._ready or self._running:
            while workers.room() and (job := self._next(workers)) is not None:
                workers.start(job)
                self._running += 1
            self._tally.workers, self._tally.running = workers.count, self._running
            self._tell("progress", self._tally.as_dict())
            for outcome in workers.wait(SECONDS_A_LOOK):
                self._running -= 1
                self._take(outcome)
        self._tally.running = 0
        self._tell("progress", self._tally.as_dict())

    def _next(self, workers: Workers) -> Job | None:
        """A training as long as few drawings are ready: they take longest, and others wait for them."""
        if self._trainings and len(self._ready) < AHEAD * workers.count:
            return self._work.trainings[self._trainings.popleft()]
        if not self._ready:
            return None
        # Of those that suit alike, the first: max keeps it.
        at = max(range(min(len(self._ready), LOOKED_AT)), key=lambda at: workers.suits(self._drawing(at)))
        job = self._drawing(at)
        del self._ready[at]
        return job

    def _drawing(self, at: int) -> Drawing:
        return self._work.drawings[self._ready[at]]

    def _take(self, outcome: Outcome) -> None:
        if outcome.stop is not None:
            raise ACFunError(*outcome.stop)
        training = self._work.trainings.get(outcome.key)
        if training is not None:
            self._take_training(training, outcome)
        elif outcome.record is None:
            self._fail(outcome.key, outcome.reason)
        else:
            self.records[outcome.key] = outcome.record
            self._tally.add("drawing", outcome.record.get("seconds", 0.0))
            self._tell("drawn", {**self._told(outcome.key), **outcome.record})

    def _take_training(self, training: Training, outcome: Outcome) -> None:
        waiting = self._waiting.pop(training.key)
        if outcome.record is None:
            self._tally.not_trained += 1
            for key in waiting:
                self._fail(key, of_training(outcome.reason))
            return
        self._tally.add("training", outcome.record.get("seconds", 0.0))
        self._tell("trained", {"key": training.key, "style": training.style.address, **outcome.record})
        self._ready.extend(waiting)

    def _fail(self, key: str, reason: str) -> None:
        self.failures[key] = reason
        self._tally.not_drawn += 1
        self._tally.failed += 1
        self._tell("failed", {**self._told(key), "reason": reason})

    def _told(self, key: str) -> dict[str, Any]:
        """Which drawing it is, for a person and for a program."""
        job = self._work.drawings[key]
        return {"key": key, "name": job.name, "style_picture": job.style.address, "face_picture": job.face.address}
