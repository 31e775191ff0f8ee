"""Training as the browser follows it: events over ComfyUI's websocket, routes for reloads and for the two buttons."""

from __future__ import annotations

import io
import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import comfy.model_management
from aiohttp import web
from comfy_execution.utils import get_executing_context
from PIL import Image
from server import PromptServer

from ...acfun_core.errors import ACFunError
from ...acfun_core.training.loop import StepReport
from .state import LiveTraining, Origin, Trainings

EVENT = "acfun.training"
SECONDS_BETWEEN_EVENTS = 0.25
PREVIEW_SIDE = 256
PREVIEW_QUALITY = 88

_TRAININGS = Trainings()


class Watch:
    """Carries one training to the browser that started it, and the browser's wishes back."""

    def __init__(self, training: LiveTraining):
        self.training = training
        self._sent_at = 0.0
        self._stopped = False

    def step(self, report: StepReport, portrait: Image.Image | None = None, readouts: dict | None = None) -> bool:
        """Record a step; True means that the user wants to stop here and keep what was learned.

        Args:
            portrait: the preview drawn at this step, if any.
            readouts: further numbers to show, name -> value.

        Raises:
            InterruptProcessingException: the user pressed Cancel.
        """
        jpeg = None if portrait is None else _encode(portrait)
        self.training.add_step(report.step, report.style_loss, report.face_loss, jpeg, readouts)
        if jpeg is not None or time.monotonic() - self._sent_at >= SECONDS_BETWEEN_EVENTS:
            self.send()
        self.check_cancelled()
        self._stopped = self.training.request == "stop" and report.step < report.steps
        return self._stopped

    def check_cancelled(self) -> None:
        """Look for a Cancel, of the panel or of ComfyUI.

        Raises:
            InterruptProcessingException: the user pressed it.
        """
        comfy.model_management.throw_exception_if_processing_interrupted()
        if self.training.request == "cancel":
            raise comfy.model_management.InterruptProcessingException()

    def notice(self, sentence: str) -> None:
        """Something the user should know, in the log and in the panel."""
        logging.info("ACFun: %s", sentence)
        self.training.note(sentence)
        self.send()

    def saved(self, path: Path, done: int, kept_step: int | None = None) -> None:
        """The adapter is in its file: the panel may offer it.

        Args:
            done: how many steps the training has, those of which the panel was not told among them.
            kept_step: the step whose weights the copy guard kept, if it did.
        """
        phase = "stopped" if self._stopped else "finished"
        self.training.end(phase, adapter_name=path.name, kept_step=kept_step, done=done)
        self.send()

    def send(self) -> None:
        """Tell the browser tab that queued the prompt; nobody else's panel is concerned."""
        self._sent_at = time.monotonic()
        server = getattr(PromptServer, "instance", None)
        if server is not None and self.training.origin.client_id is not None:
            server.send_sync(EVENT, self.training.snapshot(), self.training.origin.client_id)


@contextmanager
def watch(steps: int, hidden) -> Iterator[Watch]:
    """A training of the node that is running now; however it ends, the panel is told.

    Args:
        hidden: the node class's ``hidden``, which knows the workflow.
    """
    training = LiveTraining(_origin(hidden), steps)
    _TRAININGS.add(training)
    watching = Watch(training)
    watching.send()
    try:
        yield watching
    except comfy.model_management.InterruptProcessingException:
        training.end("cancelled")
        raise
    except BaseException as error:
        training.end("failed", message=str(error))
        raise
    finally:
        watching.send()


def _origin(hidden) -> Origin:
    context = get_executing_context()
    server = getattr(PromptServer, "instance", None)
    workflow = (getattr(hidden, "extra_pnginfo", None) or {}).get("workflow") or {}
    return Origin(
        client_id=getattr(server, "client_id", None),
        prompt_id=context.prompt_id if context else "",
        node_id=str(context.node_id) if context else "",
        workflow_id=str(workflow.get("id") or ""),
    )


def _encode(portrait: Image.Image) -> bytes:
    small = portrait.convert("RGB")
    small.thumbnail((PREVIEW_SIDE, PREVIEW_SIDE), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    small.save(buffer, "JPEG", quality=PREVIEW_QUALITY)
    return buffer.getvalue()


# -- routes -----------------------------------------------------------------------------


def register_routes() -> None:
    """Add this pack's routes to the running server; without a server there is nothing to add them to."""
    server = getattr(PromptServer, "instance", None)
    if server is None:
        return
    other = _other_copy(server)
    if other is not None:
        # Its routes come first: the buttons of this copy's trainings would ask that one, which knows nothing of them.
        logging.error(
            "ACFun: there are two copies of this pack, %s and %s. Stop and Cancel work for one of them only. "
            "Remove one of the folders from custom_nodes and start ComfyUI again.",
            other,
            _folder(__file__),
        )
    server.routes.get("/acfun/trainings")(list_trainings)
    server.routes.get("/acfun/trainings/{id}/previews/{step}")(get_preview)
    server.routes.post("/acfun/trainings/{id}/stop")(stop_training)
    server.routes.post("/acfun/trainings/{id}/cancel")(cancel_training)


def _other_copy(server) -> Path | None:
    """The folder of another copy of this pack that has registered its routes before, if there is one."""
    for route in server.routes:
        if getattr(route, "path", None) == "/acfun/trainings":
            return _folder(route.handler.__code__.co_filename)
    return None


def _folder(file: str) -> Path:
    """The pack's folder, of the path of this file in it."""
    return Path(file).parents[2]


def _refuse(status: int, what: str, expected: str, fix: str) -> web.Response:
    """An error answer with the same three parts as every message of this pack."""
    error = ACFunError(what, expected, fix)
    body = {"what": error.what, "expected": error.expected, "fix": error.fix, "message": str(error)}
    return web.json_response({"error": body}, status=status)


async def list_trainings(request: web.Request) -> web.Response:
    """GET ?client_id=...: the trainings this browser tab started, oldest first."""
    client_id = request.query.get("client_id", "")
    if not client_id:
        return _refuse(400, "The client_id is missing.", "?client_id=ID", "name the tab whose trainings are wanted")
    return web.json_response({"trainings": [training.snapshot() for training in _TRAININGS.of_client(client_id)]})


async def get_preview(request: web.Request) -> web.Response:
    """GET: the portrait at a step as JPEG. It never changes, so browsers may keep it."""
    training, step = _TRAININGS.get(request.match_info["id"]), request.match_info["step"]
    jpeg = training.preview(int(step)) if training and step.isascii() and step.isdigit() else None
    if jpeg is None:
        return _refuse(404, "There is no such preview.", "a step named in the training's previews", "list it again")
    return web.Response(body=jpeg, content_type="image/jpeg", headers={"Cache-Control": "private, max-age=86400"})


async def stop_training(request: web.Request) -> web.Response:
    """POST: end at the next step, save and keep the adapter."""
    return _ask(request, "stop")


async def cancel_training(request: web.Request) -> web.Response:
    """POST: end at the next step, save nothing. Other prompts in the queue are not touched."""
    return _ask(request, "cancel")


def _ask(request: web.Request, wish: str) -> web.Response:
    training = _TRAININGS.get(request.match_info["id"])
    if training is None:
        return _refuse(404, "There is no such training.", "the id of a training of this server", "reload the page")
    if not training.ask(wish):
        return _refuse(409, "The training has already ended.", "a training in progress", "nothing: it is over")
    return web.json_response({"training": training.snapshot()})
