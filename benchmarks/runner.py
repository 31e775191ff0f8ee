"""The runner of all work here: cells that are done whole or not at all, by one process or by several.

Stopped at any moment, even by a kill, a run goes on where it was: what is done lies in the store and is not done again.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import psutil
import torch

from .store import Store


@dataclass(frozen=True)
class Cell:
    """One piece of work, which makes one row of the store.

    Attributes:
        kind, settings: what the row is and which one; they name it.
        make: does the work. -> the other columns. ``file`` among them is the path of a file without which the row is worth
            nothing; it lies in the store's folder.
        made_from: further columns. A kept row that was made from something else does not count.
        group: cells of one group share a training or a server, so one process does them all.
    """

    kind: str
    settings: dict[str, Any]
    make: Callable[[], dict[str, Any]]
    made_from: dict[str, Any] = field(default_factory=dict)
    group: str = ""

    @property
    def title(self) -> str:
        return " ".join(map(str, self.settings.values()))


class Work(ABC):
    """What one kind of run adds to the runner: its cells. It is sent to the workers, so it holds no server and no base before
    the first cell is made.

    Args:
        run: name of everything that was made with one base and one choice of settings; others never mix with it.
    """

    def __init__(self, store: Store, run: str):
        self.store, self.run = store, run

    @abstractmethod
    def cells(self) -> list[Cell]:
        """All that is to be done, in this order."""

    def close(self) -> None:  # noqa: B027
        """Give back what the making of cells has opened, such as a server."""

    def kept(self, cell: Cell) -> dict | None:
        """The row of a cell that is done."""
        row = self.store.row(self.run, cell.kind, cell.settings)
        known = row is not None and all(row.get(name) == value for name, value in cell.made_from.items())
        return row if known and self.store.is_whole(row) else None

    def done(self, cell: Cell) -> dict:
        """The row of a cell, which is made now if it is not there yet."""
        return self.kept(cell) or self.store.keep(self.run, cell.kind, cell.settings, cell.made_from | cell.make())


def go_on(work: Work, workers: int = 1, minutes: float = 0.0) -> None:
    """Do what is not done yet.

    Args:
        workers: processes at once; several have one thread and one core each.
        minutes: stop between two cells after so long; 0 is never.

    Raises:
        SystemExit: a worker failed.
    """
    end_cleanly()
    if all(work.kept(cell) for cell in work.cells()):
        return
    if workers <= 1:
        do_share(work, minutes=minutes)
        return
    spawn, children = multiprocessing.get_context("spawn"), []
    try:
        for index in range(workers):
            children.append(spawn.Process(target=do_share, args=(work, index, workers, minutes)))
            children[-1].start()
        for child in children:
            child.join()
    finally:
        for child in children:
            child.terminate()
            child.join()
    if codes := [child.exitcode for child in children if child.exitcode]:
        raise SystemExit(f"A worker ended with {codes[0]}; start again to go on.")


def do_share(work: Work, index: int = 0, workers: int = 1, minutes: float = 0.0) -> None:
    """One process's share of the cells: those of every so-manieth group."""
    end_cleanly()
    if workers > 1:
        take_one_core(index)
    cells, end, parent = work.cells(), time.monotonic() + 60 * minutes, multiprocessing.parent_process()
    groups = sorted({cell.group for cell in cells})
    mine = [cell for cell in cells if groups.index(cell.group) % workers == index]
    try:
        for number, cell in enumerate(mine, 1):
            orphan = parent is not None and not parent.is_alive()
            if orphan or (minutes and time.monotonic() > end):
                return
            if work.kept(cell) is None:
                start = time.monotonic()
                work.done(cell)
                took = time.monotonic() - start
                # Standard output is for results.
                print(f"[{number}/{len(mine)}] {cell.title}: {took:.0f} s", file=sys.stderr, flush=True)
    finally:
        work.close()


def take_one_core(index: int) -> None:
    """Keep this process and those that it starts to one core and one thread: threads that wait for each other slow two
    processes up to twentyfold."""
    os.environ["OMP_NUM_THREADS"] = "1"
    torch.set_num_threads(1)
    process = psutil.Process()
    # macOS cannot bind a process to a core.
    if hasattr(process, "cpu_affinity"):
        cores = process.cpu_affinity()
        process.cpu_affinity([cores[index % len(cores)]])


def end_cleanly() -> None:
    """Let SIGTERM end this process as Ctrl+C does, so that workers and servers end with it."""

    def end(number, frame) -> None:
        raise SystemExit(128 + number)

    # Only the main thread may set it; elsewhere the caller has its own way to end.
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, end)
