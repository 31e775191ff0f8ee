"""The main job in a real ComfyUI: train on one style and one face, draw the portrait, make a contact sheet.

Started by ``make demo``. Runs ``workflows/api/stylization.json`` as it is, in a server of its own, and writes into ``out/``.
The last line it prints is the path of the contact sheet.
"""

from __future__ import annotations

import argparse
import copy
import json
import shutil
import sys
import time
from pathlib import Path

REPO = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(REPO / "tests"), str(REPO)]

from host.client import Event, NodeError, Run, Workflow, WorkflowRejected  # noqa: E402
from host.server import ComfyServer, ServerError  # noqa: E402

from acfun_core.config import INITIAL_WORD, PLACEHOLDER  # noqa: E402
from tools.contact_sheet import contact_sheet  # noqa: E402
from tools.workflows.api import node_id  # noqa: E402

WORKFLOW = REPO / "workflows" / "api" / "stylization.json"
OUT = REPO / "out"
PANELS = {
    "face": "Face preview",
    "style": "Style preview",
    "result": "Result",
    "same seed, no adapter": "Without adapter",
}
"""Caption -> title of the node in the workflow."""


def panel_nodes(workflow: Workflow) -> dict[str, str]:
    """Caption of the contact sheet -> id of the node that shows the picture."""
    return {caption: node_id(workflow, title) for caption, title in PANELS.items()}


class Terminal:
    """Shows which node runs and how far it is: a bar that moves on a terminal, a few lines in a log."""

    WIDTH = 32

    def __init__(self, workflow: Workflow):
        self.workflow = workflow
        self.live = sys.stdout.isatty()
        self.start = self.last_shown = time.monotonic()
        self.bar_open = False

    def __call__(self, event: Event) -> None:
        if event.kind == "executing" and event.node is not None:
            self._close_bar()
            self.start = self.last_shown = time.monotonic()
            print(f"[demo] {self.workflow[event.node]['_meta']['title']}", flush=True)
        elif event.kind == "progress":
            self._progress(event.data["value"], event.data["max"])

    def _progress(self, value: int, maximum: int) -> None:
        now = time.monotonic()
        last = value >= maximum
        if not last and now - self.last_shown < (0.2 if self.live else 15.0):
            return
        self.last_shown = now
        elapsed = now - self.start
        left = elapsed * (maximum - value) / max(value, 1)
        filled = self.WIDTH * value // maximum
        line = f"[demo]   [{'#' * filled:<{self.WIDTH}}] step {value}/{maximum}, {elapsed:.0f} s, {left:.0f} s left   "
        print(f"\r{line}" if self.live else line.rstrip(), end="" if self.live else "\n", flush=True)
        self.bar_open = self.live
        if last:
            self._close_bar()

    def _close_bar(self) -> None:
        if self.bar_open:
            print(flush=True)
            self.bar_open = False


def changed(workflow: Workflow, options: argparse.Namespace) -> Workflow:
    """The workflow with the values given on the command line."""
    workflow = copy.deepcopy(workflow)

    def change(title: str, name: str, value) -> None:
        if value is not None:
            workflow[node_id(workflow, title)]["inputs"][name] = value

    change("Train", "steps", options.steps)
    change("Sampler", "seed", options.seed)
    change("Sampler without adapter", "seed", options.seed)
    change("Face", "picture", options.face)
    change("Style", "picture", options.style)
    return workflow


def note(workflow: Workflow) -> str:
    """One line that says how the pictures were made."""
    train = workflow[node_id(workflow, "Train")]["inputs"]
    sampler = workflow[node_id(workflow, "Sampler")]["inputs"]
    return (
        f'"{sampler["prompt"]}": {train["steps"]} training steps at {train["resolution"]} px, seed {train["seed"]}; '
        f"{sampler['steps']} sampling steps from pure noise, cfg {sampler['cfg']}, seed {sampler['seed']}; "
        f'without the adapter, "{INITIAL_WORD}" stands for {PLACEHOLDER}.'
    )


def write_results(run: Run, workflow: Workflow, models: Path) -> Path:
    """Write the single pictures, the loss curve, the adapter and the contact sheet; return the sheet's path."""
    panels = []
    for caption, node in panel_nodes(workflow).items():
        image = run.images(node)[0].convert("RGB")
        image.save(OUT / f"{caption.replace(',', '').replace(' ', '_')}.png")
        panels.append((caption, image))
    run.images(node_id(workflow, "Train"))[0].save(OUT / "loss_curve.png")
    for adapter in sorted((models / "acfun").glob("*.safetensors")):
        shutil.copy2(adapter, OUT / adapter.name)
    path = OUT / "contact_sheet.png"
    contact_sheet(panels, note(workflow)).save(path)
    return path


def demo(options: argparse.Namespace) -> Path:
    """Run everything; return the path of the contact sheet."""
    workflow = changed(json.loads(options.workflow.read_text(encoding="utf-8")), options)
    start = time.monotonic()
    OUT.mkdir(exist_ok=True)
    print("[demo] starting ComfyUI with this pack ...", flush=True)
    with ComfyServer(log_path=OUT / "server.log") as server, server.client() as client:
        print(f"[demo] ComfyUI answers after {time.monotonic() - start:.0f} s", flush=True)
        run = client.run(workflow, timeout=options.timeout, on_event=Terminal(workflow))
        path = write_results(run, workflow, server.folder("models"))
    print(f"[demo] done in {time.monotonic() - start:.0f} s; all files are in {OUT}", flush=True)
    return path


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workflow", type=Path, default=WORKFLOW, help="API-format workflow to run")
    parser.add_argument("--steps", type=int, help="training steps")
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
