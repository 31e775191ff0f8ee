"""The engine that is this process: one job after the other."""

from __future__ import annotations

from collections.abc import Callable

from .jobs import Drawing, Job
from .work import Outcome, Workshop


class Here:
    """One worker, in this process.

    Args:
        make: gives the workshop; called when the first job begins, since a base takes long to load.
    """

    count = 1

    def __init__(self, make: Callable[[], Workshop]):
        self._make = make
        self._workshop: Workshop | None = None
        self._job: Job | None = None

    def room(self) -> int:
        return 0 if self._job else 1

    def suits(self, job: Drawing) -> int:
        """One worker has everything in memory that was there."""
        return 0

    def start(self, job: Job) -> None:
        self._job = job

    def wait(self, seconds: float) -> list[Outcome]:
        """Does the job that was begun, however long it takes."""
        if self._job is None:
            return []
        if self._workshop is None:
            self._workshop = self._make()
        job, self._job = self._job, None
        return [self._workshop.do(job)]
