"""When the state of a training is written, where it lies, and when it goes."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from pathlib import Path

from safetensors import SafetensorError, safe_open

from ..errors import ACFunError
from ..method.adapter import StyleAdapter
from ..whole_files import SECONDS_A_DAY, clean
from . import state as states
from .state import Running, State, StateMisfit

SECONDS_BETWEEN = 20.0
LARGEST_SHARE = 0.02
"""Of the training's time that writing its state may take: where a write is slow, there are fewer."""

SUPPOSED_SPEED = 200e6
"""Bytes a second that the first write is taken to run at, before one was measured."""

DAYS_KEPT = 7
"""So long the state of a killed training waits; then the next training in that folder removes it."""


class StateKeeper:
    """Keeps the state of one training in one file, beside the adapters.

    Args:
        folder: where the file lies.
        key: which training it is, from :func:`~acfun_core.training.key.training_key`.
        resume: go on from a state that is found; without, begin anew.
        keep: leave the state of the last step there at the end, so that the training can be continued.
        say: is told in a sentence what was found, and what went wrong.
        seconds_between: at least so many between two writes; without it, :data:`SECONDS_BETWEEN`.
        clock: seconds; only differences count.

    Attributes:
        resumed: the step from which the training went on, or None.
        written: the step whose state was written last, or None.
    """

    def __init__(
        self,
        folder: Path,
        key: str,
        resume: bool = True,
        keep: bool = False,
        say: Callable[[str], None] = lambda sentence: None,
        seconds_between: float | None = None,
        clock: Callable[[], float] = time.monotonic,
    ):
        self.path = folder / f".acfun-{key}.state"
        self.resume, self.keep, self.say, self.clock = resume, keep, say, clock
        self.resumed: int | None = None
        self.written: int | None = None
        self._seconds_between = SECONDS_BETWEEN if seconds_between is None else seconds_between
        self._due: float | None = None
        self._began = self._spent = 0.0
        self._failed = False
        clean(folder)
        _clear_old(folder, self.path)

    def found(self, steps: int) -> State | None:
        """The state to go on from, if there is one that can be used.

        Args:
            steps: how many are wanted in all.
        """
        if not self.path.exists():
            return None
        try:
            state = states.read(self.path)
        except ACFunError as error:
            self.say(f"{error.what} The training starts anew.")
            return None
        if not self.resume:
            self.say(f"This training was done up to step {state.step} before. It starts anew, as was asked.")
            return None
        if state.step > steps:
            self.say(f"This training was done up to step {state.step}, more than {steps}. It starts anew.")
            return None
        return state

    def learned(self, steps: int, learn: Callable[[State | None], StyleAdapter]) -> StyleAdapter:
        """What ``learn`` learns from the state that is there; from the start, if there is none or it does not fit.

        Args:
            steps: how many are wanted in all.
        """
        try:
            return learn(self.found(steps))
        except StateMisfit as misfit:
            self.say(f"{misfit} The training starts anew.")
            return learn(None)

    def restore(self, running: Running, state: State | None) -> int:
        """Put a training, just begun, where the state was taken. -> the step that was done last, 0 if there is no state.

        Raises:
            StateMisfit: the state is of another training.
        """
        if state is None:
            return 0
        states.restore(running, state)
        self.resumed = state.step
        self.say(f"This training was done up to step {state.step} before. It goes on from there.")
        return state.step

    def check_space(self, adapter: StyleAdapter, steps: int) -> None:
        """Raise before any step if the adapter's file would not fit on the disk.

        Raises:
            ACFunError: less is free than the file will take; it is said to be so for now.
        """
        # Half precision, and two losses a step in the metadata.
        needed = 2 * sum(value.numel() for value in adapter.state_dict().values()) + 64 * steps + 2**16
        free = shutil.disk_usage(self.path.parent).free
        if free < needed:
            raise ACFunError(
                f"Only {free / 1e6:.1f} MB are free in {self.path.parent}.",
                f"at least {needed / 1e6:.1f} MB, which the adapter takes",
                "free disk space or choose another folder, then try again",
                for_now=True,
            )

    def due(self, running: Running, last: bool = False) -> bool:
        """Whether it is time to write, or the last step, whose state is to be kept."""
        now = self.clock()
        if self._due is None:
            self._began = now
            self._due = self._due_after(now, states.size(running) / SUPPOSED_SPEED)
        return not self._failed and (now >= self._due or (last and self.keep))

    def write(self, running: Running, step: int, last: bool = False) -> None:
        """Write the state after ``step`` steps, over the one before it."""
        now = self.clock()
        try:
            states.write(states.captured(running, step), self.path, kept=last and self.keep)
        except ACFunError as error:
            self._failed = True
            self.say(f"{error.what} The training goes on without a state to resume from.")
        else:
            self.written = step
            cost = self.clock() - now
            self._spent += cost
            self._due = self._due_after(self.clock(), cost)

    def _due_after(self, now: float, cost: float) -> float:
        """When the next write may come, if it costs so many seconds: after it, all of them are within their share."""
        return max(now + self._seconds_between, self._began + (self._spent + cost) / LARGEST_SHARE)

    def end(self) -> None:
        """The adapter is safe: the state goes, unless it is to be kept."""
        if not self.keep:
            self.discard()

    def discard(self) -> None:
        """Remove the state, if there is one."""
        self.path.unlink(missing_ok=True)


def _clear_old(folder: Path, mine: Path) -> None:
    """Remove the states of killed trainings that nobody came back to."""
    for path in folder.glob(".acfun-*.state"):
        try:
            if path != mine and time.time() - path.stat().st_mtime > DAYS_KEPT * SECONDS_A_DAY and not _kept(path):
                path.unlink()
        except OSError:
            # Somebody else was faster, or it is not ours to remove.
            continue


def _kept(path: Path) -> bool:
    try:
        with safe_open(str(path), framework="pt", device="cpu") as file:
            return (file.metadata() or {}).get("kept") == "True"
    except SafetensorError:
        return False
