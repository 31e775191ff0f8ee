"""The main job in a real ComfyUI: one photo and one style picture, drawn in the pack's three ways, on one contact sheet.

Started by ``make demo``. Runs ``stylization`` (without a training, and with one on the style) and ``text_edits`` (drawn by
words) of ``workflows/api`` as they are, in a server of its own, and writes into ``out/``.
The last line it prints is the path of the contact sheet.
"""

from __future__ import annotations

import argparse
import copy
import re
import shutil
import sys
import threading
import time
from pathlib import Path

from acfun_core.presets import PRESETS
from tools.comfy.client import Event, NodeError, Run, Workflow, WorkflowRejected
from tools.comfy.server import ComfyServer, ServerError
from tools.contact_sheet import contact_sheet
from tools.workflows.api import load, node_id

REPO = Path(__file__).resolve().parents[1]

OUT = REPO / "out"
WORKFLOWS = {
    "stylization": "without a training, and with one on the style",
    "text_edits": "without a training, by words",
}
"""API workflow -> what of it is shown."""
PANELS = {
    "face": ("stylization", "Face preview"),
    "style": ("stylization", "Style preview"),
    "instant, no training": ("stylization", "Without training"),
    "keep the person": ("stylization", "Result"),
    "follow the text": ("text_edits", "Result"),
}
"""Caption -> workflow and title of the node that shows the picture."""


class Terminal:
    """Shows which node runs and how far it is: a bar that moves on a terminal; in a log, a line at least every ten seconds.

    The time left is counted from a node's first step on: before it, models are loaded and pictures encoded.
    """

    WIDTH = 32
    SECONDS_BETWEEN_LINES = 10.0

    def __init__(self, workflow: Workflow):
        self.workflow = workflow
        self.live = sys.stdout.isatty()
        self.lock = threading.RLock()
        self.over = threading.Event()
        self._begin()

    def __enter__(self) -> Terminal:
        threading.Thread(target=self._signs_of_life, daemon=True, name="demo-progress").start()
        return self

    def __exit__(self, *exception) -> None:
        self.over.set()

    def _begin(self) -> None:
        self.start = self.last_shown = time.monotonic()
        self.first: tuple[int, float] | None = None
        self.shown, self.bar_open = "", False

    def __call__(self, event: Event) -> None:
        with self.lock:
            if event.kind == "executing" and event.node is not None:
                self._close_bar()
                self._begin()
                print(f"[demo] {self.workflow[event.node]['_meta']['title']}", flush=True)
            elif event.kind == "progress":
                self._progress(event.data["value"], event.data["max"])

    def _progress(self, value: int, maximum: int) -> None:
        now = time.monotonic()
        if self.first is None:
            self.first = value, now
        left = time_left(value, maximum, *self.first, now)
        filled = self.WIDTH * value // maximum
        self.shown = f"[{'#' * filled:<{self.WIDTH}}] step {value}/{maximum}" + (
            "" if left is None else f", {left:.0f} s left"
        )
        if value >= maximum or now - self.last_shown >= (0.2 if self.live else self.SECONDS_BETWEEN_LINES - 1):
            self._show()
        if value >= maximum:
            self._close_bar()

    def _show(self) -> None:
        self.last_shown = time.monotonic()
        line = f"[demo]   {self.shown or 'preparing'}, {self.last_shown - self.start:.0f} s"
        print(f"\r{line}   " if self.live else line, end="" if self.live else "\n", flush=True)
        self.bar_open = self.live

    def _signs_of_life(self) -> None:
        while not self.over.wait(1.0):
            with self.lock:
                if time.monotonic() - self.last_shown >= self.SECONDS_BETWEEN_LINES - 1:
                    self._show()

    def _close_bar(self) -> None:
        if self.bar_open:
            print(flush=True)
            self.bar_open = False


def time_left(value: int, maximum: int, first: int, first_at: float, now: float) -> float | None:
    """Seconds until step ``maximum``, from what the steps since the first one that was seen took; None before a second one."""
    return None if value <= first else (now - first_at) / (value - first) * (maximum - value)


def titles(workflow: Workflow) -> list[str]:
    return [node["_meta"]["title"] for node in workflow.values()]


def shown(workflow: Workflow) -> Workflow:
    """A copy with only the training and what the pictures on the sheet need: nothing is drawn and then not shown."""
    wanted = {title for _, title in PANELS.values()} | {"Train"}
    open_ids = [one for one, node in workflow.items() if node["_meta"]["title"] in wanted]
    kept: set[str] = set()
    while open_ids:
        one = open_ids.pop()
        if one not in kept:
            kept.add(one)
            links = [value for value in workflow[one]["inputs"].values() if isinstance(value, list)]
            open_ids += [str(link[0]) for link in links if str(link[0]) in workflow]
    return copy.deepcopy({one: node for one, node in workflow.items() if one in kept})


def changed(workflow: Workflow, options: argparse.Namespace) -> Workflow:
    """What of a workflow the contact sheet shows, with the values given on the command line."""
    workflow = shown(workflow)

    def change(title: str, name: str, value) -> None:
        if value is not None:
            workflow[node_id(workflow, title)]["inputs"][name] = value

    for sampler in [title for title in titles(workflow) if title.startswith("Sampler")]:
        change(sampler, "seed", options.seed)
    change("Face", "picture", options.face)
    change("Style", "picture", options.style)
    return workflow


def note(workflows: dict[str, Workflow]) -> str:
    """One line that says how the pictures were made."""

    def inputs(name: str, title: str) -> dict:
        return workflows[name][node_id(workflows[name], title)]["inputs"]

    kept, edited = inputs("stylization", "Sampler"), inputs("text_edits", "Sampler")
    return (
        f'Keep the person: {PRESETS["keep_person"].train.steps} training steps on the style, "{kept["prompt"]}". '
        f'Instant: "{inputs("stylization", "Sampler without training")["prompt"]}". '
        f'Follow the text: "{edited["prompt"]}", seed {edited["seed"]}. '
        f"All at {kept['width']} px with {kept['steps']} sampling steps."
    )


def write_results(runs: dict[str, Run], workflows: dict[str, Workflow], models: Path) -> Path:
    """Write the single pictures, the loss curve, the adapters and the contact sheet; return the sheet's path."""
    panels = []
    for caption, (name, title) in PANELS.items():
        image = runs[name].images(node_id(workflows[name], title))[0].convert("RGB")
        image.save(OUT / f"{re.sub('[^a-z]+', '_', caption)}.png")
        panels.append((caption, image))
    curve = runs["stylization"].images(node_id(workflows["stylization"], "Train"))[0]
    curve.save(OUT / "loss_curve.png")
    for adapter in sorted((models / "acfun").glob("*.safetensors")):
        shutil.copy2(adapter, OUT / adapter.name)
    path = OUT / "contact_sheet.png"
    contact_sheet(panels, note(workflows)).save(path)
    return path


def demo(options: argparse.Namespace) -> Path:
    """Run everything; return the path of the contact sheet."""
    workflows = {name: changed(load(name), options) for name in WORKFLOWS}
    runs, start = {}, time.monotonic()
    OUT.mkdir(exist_ok=True)
    print("[demo] starting ComfyUI with this pack ...", flush=True)
    with ComfyServer(log_path=OUT / "server.log") as server, server.client() as client:
        print(f"[demo] ComfyUI answers after {time.monotonic() - start:.0f} s", flush=True)
        for name, workflow in workflows.items():
            print(f"[demo] -- {len(runs) + 1} of {len(workflows)}: {WORKFLOWS[name]} (workflow {name})", flush=True)
            with Terminal(workflow) as terminal:
                runs[name] = client.run(workflow, timeout=options.timeout, on_event=terminal)
        path = write_results(runs, workflows, server.folder("models"))
    print(f"[demo] done in {time.monotonic() - start:.0f} s; all files are in {OUT}", flush=True)
    return path


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, help="seed of the portrait's noise")
    parser.add_argument("--face", help="an example picture's file name, such as face_astronaut.png")
    parser.add_argument("--style", help="an example picture's file name")
    parser.add_argument("--timeout", type=float, default=3600.0, help="seconds until the demo gives up")
    return parser.parse_args()


def main() -> int:
    try:
        path = demo(parse_arguments())
    except (NodeError, WorkflowRejected, ServerError, LookupError, OSError) as error:
        print(f"\n[demo] failed: {error}\n[demo] the server's log: {OUT / 'server.log'}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\n[demo] cancelled", file=sys.stderr)
        return 130
    print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
