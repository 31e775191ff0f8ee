"""The engine that is a Ray cluster: one actor a worker, each with the base in memory; the driver hands out one job at a time.

What Ray would do by itself is chosen here on purpose:

* **Retries.** Ray starts neither actors nor their tasks again (``max_restarts`` and ``max_task_retries`` are 0). A worker that
  is lost is replaced here, and its job counted: a job that costs :data:`MOST_DEATHS` workers fails, where Ray would go on for
  ever or not at all.
* **Queues.** Ray takes as many tasks as it is given and keeps them and their arguments. Here a worker has one job at a time,
  and what waits are keys in the driver.
* **The object store.** Jobs and outcomes are a few kilobytes; pictures and adapters go through files. A cluster of one machine
  gets the smallest store that Ray allows, where it would take 30 % of the memory.
* **Where it runs.** Without an address Ray would join a cluster that happens to run on this machine; here it starts its own.
* **Statistics.** A cluster that is started here reports nothing to Ray's makers.
* **Words.** Ray tells of dead workers on the driver's standard output, whatever it is asked; here they go to standard error,
  since a program may read standard output.
"""

from __future__ import annotations

import logging
import os
import platform
import sys
import time
from collections import deque
from collections.abc import Callable
from contextlib import ExitStack, redirect_stdout
from dataclasses import dataclass, field
from typing import Any

from ..backends.chosen import ChosenBase
from ..errors import ACFunError
from .extras import needed
from .jobs import Drawing, Job
from .keys import identity_of
from .results import Results
from .work import Outcome, Workshop

LOCAL = "local"
"""In place of an address: a cluster of this machine alone."""
OBJECT_STORE = 80 * 2**20
"""Bytes. Ray's least is 75 MiB."""
SECONDS_WITHOUT_WORKERS = 60.0
"""After which it is said what they wait for."""
MOST_DEATHS = 4
"""Workers that may die of one job, or in a row before any is ready."""


@dataclass(frozen=True)
class Settings:
    """What every worker is given. Small, and the same for all.

    Attributes:
        base: to load.
        identity: from :func:`~acfun_core.batch.keys.identity_of`, as the driver found it.
        out: address of the results.
        token: of the results folder, from :meth:`~acfun_core.batch.results.Results.token`.
        threads: of torch in each worker, and its ``num_cpus``.
        gpus: of each worker; a fraction lets several share one.
    """

    base: ChosenBase
    identity: str
    out: str
    token: str
    threads: int = 1
    gpus: float = 0.0


class Worker:
    """What an actor is: a base in memory and the jobs that are done with it."""

    def __init__(self, settings: Settings):
        self._settings = settings
        self._workshop: Workshop | None = None

    def ready(self) -> tuple[str, str, str] | None:
        """Load the base. -> what is wrong here, as the parts of an :class:`ACFunError`; None if nothing."""
        settings, machine = self._settings, platform.node()
        try:
            results = Results(settings.out)
            results.check_token(settings.token, machine)
            if identity_of(settings.base) != settings.identity:
                raise ACFunError(
                    f"The base {settings.base.path} on the machine {machine} is another than where the batch was started.",
                    "the same files at the same path on every machine",
                    "copy the base there again",
                )
            self._workshop = Workshop(settings.base.load(), results, settings.threads)
        except ACFunError as error:
            return f"Machine {machine}: {error.what}", error.expected, error.fix
        return None

    def do(self, job: Job) -> Outcome:
        """See :meth:`~acfun_core.batch.work.Workshop.do`."""
        try:
            return self._workshop.do(job)
        except ACFunError as error:
            return Outcome(job.key, stop=(error.what, error.expected, error.fix))


@dataclass
class _Hired:
    """An actor and what it is at: loading while ``job`` is None and ``call`` is not.

    Attributes:
        faces: digests of the photos it drew, whose ways to noise it has in memory unless there were very many since.
    """

    actor: Any
    call: Any
    job: Job | None = None
    ready: bool = False
    faces: set[str] = field(default_factory=set)

    @property
    def idle(self) -> bool:
        return self.ready and self.call is None


@dataclass
class Cluster:
    """A connection to Ray, for as long as a ``with`` block lasts.

    Attributes:
        address: of a cluster; :data:`LOCAL` starts one on this machine that ends with the block.
    """

    address: str = LOCAL
    ray: Any = field(default=None, repr=False)
    _stack: ExitStack = field(default_factory=ExitStack, repr=False)

    def __enter__(self) -> Cluster:
        # Read when Ray is imported and when it starts.
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        self.ray = needed("ray", "there is no --ray", "leave out --ray to work in this process")
        settings: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
        if self.address == LOCAL:
            settings |= {"include_dashboard": False, "object_store_memory": OBJECT_STORE}
        self._stack.enter_context(redirect_stdout(sys.stderr))
        try:
            self.ray.init(self.address, **settings)
        # A plain Exception where its own programs do not start in time, several others where nobody answers.
        except Exception as error:
            # What has started must not stay.
            self.__exit__()
            what = (
                "Ray did not start on this machine"
                if self.address == LOCAL
                else f"There is no Ray cluster at {self.address}"
            )
            raise ACFunError(
                f"{what}: {' '.join(str(error).split())[:300]}.",
                "a machine with room for Ray, or the address of a cluster that runs, such as auto on one of its machines",
                "start the same command again, start a cluster with ray start --head, or leave out --ray",
            ) from error
        return self

    def __exit__(self, *exception) -> None:
        self.ray.shutdown()
        self._stack.close()

    def fitting(self, threads: int, gpus: float | None) -> tuple[int, float]:
        """How many workers there is room for now, and how many GPUs each gets: 1 if there are any and nothing was said."""
        nodes = [node["Resources"] for node in self.ray.nodes() if node["Alive"]]
        if gpus is None:
            gpus = 1.0 if any(node.get("GPU", 0) for node in nodes) else 0.0
        # A fraction such as 0.1 is a little less or more than what it says.
        fit = [int(node.get("CPU", 0) // threads) for node in nodes]
        if gpus:
            fit = [min(count, int(node.get("GPU", 0) / gpus + 1e-6)) for count, node in zip(fit, nodes)]
        return sum(fit), gpus


class OnRay:
    """Workers on a cluster.

    Args:
        cluster: that is connected.
        count: how many; more than fit wait until there is room, which is what an autoscaler looks at.
        notice: is told in a sentence what happened to workers.
    """

    def __init__(self, cluster: Cluster, settings: Settings, count: int, notice: Callable[[str], None]):
        self._ray, self._settings, self._notice = cluster.ray, settings, notice
        self._class = self._ray.remote(Worker).options(
            num_cpus=settings.threads, num_gpus=settings.gpus, max_restarts=0, max_task_retries=0, max_concurrency=1
        )
        self._hired: list[_Hired] = []
        self._again: deque[Job] = deque()
        self._deaths: dict[str, int] = {}
        self._deaths_in_a_row = 0
        self._told = time.monotonic()
        for _ in range(count):
            self._hire()

    @property
    def count(self) -> int:
        return max(1, sum(one.ready for one in self._hired))

    def _hire(self) -> None:
        actor = self._class.remote(self._settings)
        self._hired.append(_Hired(actor, actor.ready.remote()))

    def room(self) -> int:
        return max(0, sum(one.idle for one in self._hired) - len(self._again))

    def suits(self, job: Drawing) -> int:
        """2 if a worker without a job has drawn the face before, 1 if nobody has, 0 if only others have: so each keeps to its
        faces, whose ways to noise are found once.
        """
        having = [one for one in self._hired if job.face.digest in one.faces]
        return 2 if any(one.idle for one in having) else 0 if having else 1

    def start(self, job: Job) -> None:
        face = job.face.digest if isinstance(job, Drawing) else None
        idle = max((one for one in self._hired if one.idle), key=lambda one: face in one.faces)
        if face is not None:
            idle.faces.add(face)
        idle.job, idle.call = job, idle.actor.do.remote(job)

    def wait(self, seconds: float) -> list[Outcome]:
        """What ended; workers that became ready, and jobs that are to be done again, end nothing.

        Raises:
            ACFunError: workers cannot do what is asked of them, or die before they are ready.
        """
        while self._again and any(one.idle for one in self._hired):
            self.start(self._again.popleft())
        calls = {one.call: one for one in self._hired if one.call is not None}
        if not calls:
            return []
        self._say_if_nobody_comes()
        ended, _ = self._ray.wait(list(calls), num_returns=1, timeout=seconds)
        if ended:
            # Others that ended meanwhile.
            ended, _ = self._ray.wait(list(calls), num_returns=len(calls), timeout=0)
        outcomes = [self._take(calls[call]) for call in ended]
        return [outcome for outcome in outcomes if outcome is not None]

    def _say_if_nobody_comes(self) -> None:
        if not any(one.ready for one in self._hired) and time.monotonic() - self._told > SECONDS_WITHOUT_WORKERS:
            self._told = time.monotonic()
            needs = f"{self._settings.threads} cores and {self._settings.gpus:g} GPUs"
            self._notice(f"No worker is ready yet: each needs a machine with {needs} free, and loads the base.")

    def _take(self, hired: _Hired) -> Outcome | None:
        try:
            told = self._ray.get(hired.call)
        except self._ray.exceptions.RayActorError as error:
            return self._replace(hired, error)
        hired.call, job, hired.job = None, hired.job, None
        if job is not None:
            self._deaths_in_a_row = 0
            return told
        if told is not None:
            raise ACFunError(*told)
        hired.ready = True
        return None

    def _replace(self, hired: _Hired, error: Any) -> Outcome | None:
        """A worker is lost: another takes its place, and its job is done again, unless too many died of it."""
        self._hired.remove(hired)
        # One that only cannot be reached is not to go on beside its successor for longer than it must.
        self._ray.kill(hired.actor, no_restart=True)
        reason = " ".join(str(error).split())[:300]
        job = hired.job
        if job is None:
            self._deaths_in_a_row += 1
            if self._deaths_in_a_row >= MOST_DEATHS:
                raise ACFunError(
                    f"{self._deaths_in_a_row} workers died before they were ready: {reason}",
                    "workers with enough memory for the base",
                    "give each more room with --threads or --gpus, or look into Ray's logs on that machine",
                )
        self._notice(f"A worker was lost and is replaced: {reason}")
        self._hire()
        if job is None:
            return None
        # Whoever takes a machine back says nothing about the job.
        self._deaths[job.key] = self._deaths.get(job.key, 0) + (not error.preempted)
        if self._deaths[job.key] < MOST_DEATHS:
            self._again.append(job)
            return None
        reason = f"{MOST_DEATHS} workers died while they did it: {reason}"
        Results(self._settings.out).keep_failure(job.key, reason)
        return Outcome(job.key, reason=reason)
