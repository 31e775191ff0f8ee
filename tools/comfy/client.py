"""A client for ComfyUI's HTTP and websocket interface: queue an API workflow, wait, get the pictures."""

from __future__ import annotations

import io
import json
import struct
import time
import urllib.error
import urllib.parse
import urllib.request
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import websocket
from PIL import Image

Workflow = dict[str, dict[str, Any]]

# Types of binary websocket messages (the first four bytes, big-endian).
PREVIEW_IMAGE, TEXT, PREVIEW_IMAGE_WITH_METADATA = 1, 3, 4
HTTP_TIMEOUT = 60.0


class HTTPFailure(RuntimeError):
    """The server answered with an error status; ``status`` and the decoded ``body`` are kept."""

    def __init__(self, status: int, body: Any):
        super().__init__(f"HTTP {status}: {body}")
        self.status, self.body = status, body


class WorkflowRejected(RuntimeError):
    """The server refused a workflow before running it; ``node_errors`` maps node id -> messages."""

    def __init__(self, message: str, node_errors: dict[str, list[str]]):
        lines = [f"node {node}: {text}" for node, texts in node_errors.items() for text in texts]
        super().__init__("\n".join([message, *lines]))
        self.node_errors = node_errors


class NodeError(RuntimeError):
    """A node raised while running."""

    def __init__(self, node_id: str, node_type: str, message: str, exception_type: str, traceback: str):
        super().__init__(f"node {node_id} ({node_type}): {exception_type}: {message}")
        self.node_id, self.node_type, self.message = node_id, node_type, message
        self.exception_type, self.traceback = exception_type, traceback


class Interrupted(RuntimeError):
    """The prompt was cancelled while ``node_id`` was running."""

    def __init__(self, node_id: str):
        super().__init__(f"interrupted in node {node_id}")
        self.node_id = node_id


class PromptTimeout(TimeoutError):
    """A prompt did not end in time. It was asked to stop."""


@dataclass(frozen=True)
class Event:
    """One websocket message. ``seconds`` counts from queueing.

    ``kind`` is ComfyUI's own message type ("executing", "progress", "executed" ...), or
    "preview" (``image`` holds encoded bytes) or "text" for binary messages.
    """

    kind: str
    data: dict[str, Any]
    seconds: float
    image: bytes = b""

    @property
    def node(self) -> str | None:
        return self.data.get("node", self.data.get("node_id"))

    def picture(self) -> Image.Image:
        """The decoded picture of a "preview" event."""
        return Image.open(io.BytesIO(self.image)).convert("RGB")


@dataclass
class Run:
    """A finished prompt: what came back and what happened on the way."""

    prompt_id: str
    outputs: dict[str, dict[str, Any]] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)
    cached: list[str] = field(default_factory=list)
    seconds: float = 0.0
    _client: ComfyClient | None = None

    def progress(self, node: str | None = None) -> list[tuple[int, int]]:
        """(value, maximum) of every progress message, of one node or of all."""
        chosen = (e for e in self.events if e.kind == "progress" and node in (None, e.node))
        return [(e.data["value"], e.data["max"]) for e in chosen]

    def previews(self, node: str | None = None) -> list[Event]:
        """The preview pictures sent while running, of one node or of all."""
        return [e for e in self.events if e.kind == "preview" and node in (None, e.node)]

    def images(self, node: str | None = None) -> list[Image.Image]:
        """The pictures that output nodes saved or previewed, downloaded, in node order."""
        ids = [node] if node is not None else list(self.outputs)
        entries = [entry for key in ids for entry in self.outputs.get(key, {}).get("images", [])]
        return [self._client.image(entry) for entry in entries]

    def texts(self, node: str) -> list[str]:
        """The texts that an output node shows."""
        return [str(text) for text in self.outputs.get(node, {}).get("text", [])]


class ComfyClient:
    """One client session (own client id, own websocket, opened at the first :meth:`run`)."""

    def __init__(self, url: str):
        self.url = url.rstrip("/")
        self.client_id = uuid.uuid4().hex
        # Loopback traffic must not go through a proxy that the environment names.
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        self._socket: websocket.WebSocket | None = None

    def __enter__(self) -> ComfyClient:
        return self

    def __exit__(self, *exc_info) -> None:
        self.close()

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    # -- HTTP ---------------------------------------------------------------------------

    def request(self, path: str, body: bytes | dict | None = None, headers: dict | None = None) -> bytes:
        """GET ``path``, or POST if there is a body (a dict is sent as JSON); returns the raw answer."""
        headers = dict(headers or {})
        if isinstance(body, dict):
            body, headers["Content-Type"] = json.dumps(body).encode(), "application/json"
        request = urllib.request.Request(f"{self.url}{path}", data=body, headers=headers)
        try:
            with self._opener.open(request, timeout=HTTP_TIMEOUT) as answer:
                return answer.read()
        except urllib.error.HTTPError as error:
            text = error.read().decode("utf-8", "replace")
            try:
                raise HTTPFailure(error.code, json.loads(text)) from None
            except json.JSONDecodeError:
                raise HTTPFailure(error.code, text) from None

    def get_json(self, path: str) -> Any:
        return json.loads(self.request(path))

    def object_info(self, node_class: str | None = None) -> dict[str, Any]:
        """The descriptions of all node classes, or of one (then without the outer dict)."""
        if node_class is None:
            return self.get_json("/object_info")
        return self.get_json(f"/object_info/{urllib.parse.quote(node_class)}")[node_class]

    def system_stats(self) -> dict[str, Any]:
        return self.get_json("/system_stats")

    def history(self, prompt_id: str) -> dict[str, Any] | None:
        """The stored record of a finished prompt, or None while there is none."""
        return self.get_json(f"/history/{prompt_id}").get(prompt_id)

    def interrupt(self) -> None:
        """Cancel what is running."""
        self.request("/interrupt", {})

    def free(self) -> None:
        """Unload all models and drop cached node results before the next prompt."""
        self.request("/free", {"unload_models": True, "free_memory": True})

    def image(self, entry: dict[str, str]) -> Image.Image:
        """Download one picture named by an output node ({"filename", "subfolder", "type"})."""
        return Image.open(io.BytesIO(self.image_file(entry)))

    def image_file(self, entry: dict[str, str]) -> bytes:
        """The same as the file's bytes."""
        query = urllib.parse.urlencode({key: entry[key] for key in ("filename", "subfolder", "type")})
        return self.request(f"/view?{query}")

    def upload_image(self, source: Path | Image.Image, name: str) -> str:
        """Put a picture into the server's input folder; returns the name that LoadImage takes."""
        if isinstance(source, Image.Image):
            buffer = io.BytesIO()
            source.save(buffer, "PNG")
            return self.upload(buffer.getvalue(), name)
        return self.upload(Path(source).read_bytes(), name)

    def upload(self, content: bytes, name: str) -> str:
        """Put a file into the server's input folder; returns the name that LoadImage takes."""
        boundary = uuid.uuid4().hex
        parts = [
            f'--{boundary}\r\nContent-Disposition: form-data; name="overwrite"\r\n\r\ntrue\r\n'.encode(),
            f'--{boundary}\r\nContent-Disposition: form-data; name="image"; filename="{name}"\r\n'.encode(),
            b"Content-Type: application/octet-stream\r\n\r\n" + content + b"\r\n",
            f"--{boundary}--\r\n".encode(),
        ]
        headers = {"Content-Type": f"multipart/form-data; boundary={boundary}"}
        return json.loads(self.request("/upload/image", b"".join(parts), headers))["name"]

    # -- running a workflow -------------------------------------------------------------

    def queue(self, workflow: Workflow, targets: Sequence[str] = ()) -> str:
        """Queue an API-format workflow; returns its prompt id or raises :class:`WorkflowRejected`.

        Args:
            targets: ids of the output nodes that shall run, default all.
        """
        body = {"prompt": workflow, "client_id": self.client_id}
        if targets:
            body["partial_execution_targets"] = list(targets)
        try:
            answer = json.loads(self.request("/prompt", body))
        except HTTPFailure as failure:
            if failure.status != 400 or not isinstance(failure.body, dict):
                raise
            raise _rejection(failure.body) from None
        if answer.get("node_errors"):
            # Some output nodes were dropped while others were queued: for us that is a failure.
            self.request("/queue", {"delete": [answer["prompt_id"]]})
            self.interrupt()
            raise _rejection(answer)
        return answer["prompt_id"]

    def run(
        self,
        workflow: Workflow,
        timeout: float = 600.0,
        on_event: Callable[[Event], None] | None = None,
        targets: Sequence[str] = (),
    ) -> Run:
        """Queue a workflow, or what its output nodes ``targets`` need, and wait for its end.

        ``on_event`` sees every message as it arrives. Raises :class:`WorkflowRejected`,
        :class:`NodeError`, :class:`Interrupted` or :class:`PromptTimeout`; the exception has the
        run so far as its ``run`` attribute where one was started.
        """
        self._connect()
        start = time.monotonic()
        run = Run(self.queue(workflow, targets), _client=self)
        try:
            self._follow(run, start, timeout, on_event)
        except (NodeError, Interrupted, PromptTimeout) as error:
            error.run = run
            raise
        finally:
            run.seconds = time.monotonic() - start
        record = self.history(run.prompt_id) or {}
        run.outputs = record.get("outputs", {})
        return run

    def _follow(self, run: Run, start: float, timeout: float, on_event: Callable[[Event], None] | None) -> None:
        """Read messages until the prompt has ended; collect them in ``run``."""
        failure: Exception | None = None
        while True:
            event = self._next_event(start, timeout)
            if event is None:
                self.interrupt()
                raise PromptTimeout(f"prompt {run.prompt_id} did not end within {timeout:.0f} s")
            if event.data.get("prompt_id", run.prompt_id) != run.prompt_id:
                continue
            run.events.append(event)
            if on_event is not None:
                on_event(event)
            if event.kind == "execution_cached":
                run.cached = list(event.data["nodes"])
            elif event.kind == "execution_error":
                failure = _node_error(event.data)
            elif event.kind == "execution_interrupted":
                failure = Interrupted(event.data.get("node_id"))
            elif event.kind == "executing" and event.node is None and "prompt_id" in event.data:
                # Sent after the history was written, in every case: the true end of a prompt.
                if failure is not None:
                    raise failure
                return

    def _connect(self) -> None:
        if self._socket is not None and self._socket.connected:
            return
        address = f"ws{self.url[4:]}/ws?clientId={self.client_id}"
        self._socket = websocket.create_connection(address, timeout=HTTP_TIMEOUT, http_no_proxy=["*"])
        # Must be the first message: it makes the server say which node a preview belongs to.
        flags = {"type": "feature_flags", "data": {"supports_preview_metadata": True}}
        self._socket.send(json.dumps(flags))

    def _next_event(self, start: float, timeout: float) -> Event | None:
        """The next message, or None when ``timeout`` seconds after ``start`` have passed."""
        while True:
            left = start + timeout - time.monotonic()
            if left <= 0:
                return None
            self._socket.settimeout(left)
            try:
                message = self._socket.recv()
            except websocket.WebSocketTimeoutException:
                return None
            event = _decode(message, time.monotonic() - start)
            if event is not None:
                return event


def _decode(message: str | bytes, seconds: float) -> Event | None:
    """Turn a websocket message into an event; None for binary types that we do not know."""
    if isinstance(message, str):
        content = json.loads(message)
        return Event(content["type"], content.get("data") or {}, seconds)
    if len(message) < 8:
        return None
    kind, number = struct.unpack(">II", message[:8])
    if kind == PREVIEW_IMAGE:
        return Event("preview", {}, seconds, message[8:])
    if kind == PREVIEW_IMAGE_WITH_METADATA:
        return Event("preview", json.loads(message[8 : 8 + number]), seconds, message[8 + number :])
    if kind == TEXT:
        node, text = message[8 : 8 + number].decode(), message[8 + number :].decode("utf-8", "replace")
        return Event("text", {"node": node, "text": text}, seconds)
    return None


def _node_error(data: dict[str, Any]) -> NodeError:
    return NodeError(
        data.get("node_id"),
        data.get("node_type", "?"),
        str(data.get("exception_message", "")).strip(),
        data.get("exception_type", "?"),
        "".join(data.get("traceback") or []),
    )


def _rejection(answer: dict[str, Any]) -> WorkflowRejected:
    error = answer.get("error") or {}
    message = error.get("message", "invalid workflow") if isinstance(error, dict) else str(error)
    details = error.get("details") if isinstance(error, dict) else ""
    node_errors = {
        node: [": ".join(filter(None, (e.get("message"), e.get("details")))) for e in entry.get("errors", [])]
        for node, entry in (answer.get("node_errors") or {}).items()
    }
    return WorkflowRejected(f"{message}: {details}" if details else message, node_errors)
