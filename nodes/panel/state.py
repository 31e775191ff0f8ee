"""What the browser's training panel shows: one record a training, bounded and safe to read from another thread."""

from __future__ import annotations

import math
import threading
import time
import uuid
from collections import OrderedDict
from dataclasses import dataclass, field

MAX_POINTS = 240
MAX_PREVIEWS = 12
MAX_TRAININGS = 8
RUNNING = ("preparing", "training")
ENDED = ("finished", "stopped", "guarded", "cancelled", "failed")


class LossPoints:
    """Means of both loss terms over equal runs of steps: at most ``MAX_POINTS`` of them, however long the training.

    When it is full, neighbours are merged and the runs get twice as long.
    """

    def __init__(self):
        self.steps_per_point = 1
        self._points: list[tuple[float, float]] = []
        self._open: list[tuple[float, float]] = []

    def add(self, style: float, face: float) -> None:
        self._open.append((style, face))
        if len(self._open) == self.steps_per_point:
            self._points.append(_mean(self._open))
            self._open = []
            if len(self._points) == MAX_POINTS:
                self._points = [_mean(self._points[at : at + 2]) for at in range(0, MAX_POINTS, 2)]
                self.steps_per_point *= 2

    def series(self) -> tuple[list[float | None], list[float | None]]:
        """(style, face), oldest first; the last value may stand for an unfinished run, None for no number."""
        points = [*self._points, _mean(self._open)] if self._open else self._points
        style, face = ([_number(point[term]) for point in points] for term in (0, 1))
        return style, face


def _mean(points: list[tuple[float, float]]) -> tuple[float, float]:
    return sum(style for style, _ in points) / len(points), sum(face for _, face in points) / len(points)


def _number(value: float) -> float | None:
    """JSON has no infinity, and five digits are more than a curve shows."""
    return float(f"{value:.5g}") if math.isfinite(value) else None


@dataclass(frozen=True)
class Origin:
    """Who started a training, and which node it belongs to.

    Attributes:
        client_id: the browser tab that queued the prompt; None for a prompt without one.
        prompt_id: ComfyUI's id of the prompt.
        node_id: the node's id; inside subgraphs the ids of the way there, joined by colons.
        workflow_id: id of the workflow the prompt was made from, "" if unknown.
    """

    client_id: str | None
    prompt_id: str
    node_id: str
    workflow_id: str = ""


@dataclass
class LiveTraining:
    """One training. Its methods may be called from any thread.

    Attributes:
        origin: whose it is.
        steps: how many it was asked for.
    """

    origin: Origin
    steps: int
    id: str = field(default_factory=lambda: uuid.uuid4().hex)

    def __post_init__(self):
        self._lock = threading.Lock()
        self._phase, self._message, self._adapter_name = "preparing", "", ""
        self._step, self._first_step, self._first_step_at, self._seconds_left = 0, 0, 0.0, None
        self._losses = LossPoints()
        self._readouts: dict[str, float] = {}
        self._previews: list[tuple[int, bytes]] = []
        self._request: str | None = None
        self._kept_step: int | None = None
        self._notice = ""

    def add_step(
        self, step: int, style_loss: float, face_loss: float, jpeg: bytes | None = None, readouts: dict | None = None
    ) -> None:
        """Record step ``step`` (from 1), with a picture of the portrait if one was drawn."""
        now = time.monotonic()
        with self._lock:
            self._phase, self._step = "training", step
            self._losses.add(style_loss, face_loss)
            self._readouts.update(readouts or {})
            if self._first_step == 0:
                # Not always step 1: a training may go on where another stopped.
                self._first_step, self._first_step_at = step, now
            else:
                # Previews are part of the mean, as they will be part of what is left.
                each = (now - self._first_step_at) / (step - self._first_step)
                self._seconds_left = each * (self.steps - step)
            if jpeg is not None:
                self._previews.append((step, jpeg))
                if len(self._previews) > MAX_PREVIEWS:
                    self._previews = [*self._previews[:-1:2], self._previews[-1]]

    def note(self, sentence: str) -> None:
        """Something the user should know about this training."""
        with self._lock:
            self._notice = sentence

    def ask(self, request: str) -> bool:
        """Ask for "stop" (and keep) or "cancel"; False if the training has ended. A cancel overrules a stop."""
        with self._lock:
            if self._phase not in RUNNING:
                return False
            if self._request != "cancel":
                self._request = request
            return True

    @property
    def request(self) -> str | None:
        with self._lock:
            return self._request

    def end(
        self, phase: str, adapter_name: str = "", message: str = "", kept_step: int | None = None, done: int = 0
    ) -> None:
        """Close the record; only the first call counts.

        Args:
            phase: one of ``ENDED``; it becomes "guarded" if the copy guard kept the weights of an earlier step than the last.
            done: how many steps the training has. The last one that was told may be an earlier one, or none.
        """
        with self._lock:
            if self._phase in RUNNING:
                earlier = phase in ("finished", "stopped") and kept_step is not None and kept_step < done
                self._phase = "guarded" if earlier else phase
                self._adapter_name, self._message, self._kept_step = adapter_name, message, kept_step
                self._seconds_left = None

    def preview(self, step: int) -> bytes | None:
        """The JPEG of the portrait at a step, if there is one."""
        with self._lock:
            return dict(self._previews).get(step)

    def snapshot(self) -> dict:
        """Everything the panel shows, ready for JSON; a few kilobytes at most."""
        with self._lock:
            style, face = self._losses.series()
            return {
                "id": self.id,
                "prompt_id": self.origin.prompt_id,
                "node_id": self.origin.node_id,
                "workflow_id": self.origin.workflow_id,
                "phase": self._phase,
                "request": self._request if self._phase in RUNNING else None,
                "step": self._step,
                "steps": self.steps,
                "first_step": self._first_step,
                "steps_per_point": self._losses.steps_per_point,
                "style_loss": style,
                "face_loss": face,
                "seconds_left": None if self._seconds_left is None else round(self._seconds_left, 1),
                "readouts": {name: _number(value) for name, value in self._readouts.items()},
                "previews": [step for step, _ in self._previews],
                "adapter_name": self._adapter_name,
                "message": self._message,
                "kept_step": self._kept_step,
                "notice": self._notice,
            }


class Trainings:
    """The latest trainings of this server; older ones are forgotten."""

    def __init__(self):
        self._lock = threading.Lock()
        self._by_id: OrderedDict[str, LiveTraining] = OrderedDict()

    def add(self, training: LiveTraining) -> None:
        with self._lock:
            self._by_id[training.id] = training
            while len(self._by_id) > MAX_TRAININGS:
                self._by_id.popitem(last=False)

    def get(self, training_id: str) -> LiveTraining | None:
        with self._lock:
            return self._by_id.get(training_id)

    def of_client(self, client_id: str) -> list[LiveTraining]:
        """The trainings one browser tab started, oldest first."""
        with self._lock:
            return [training for training in self._by_id.values() if training.origin.client_id == client_id]
