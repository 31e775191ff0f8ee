"""The main job in a real ComfyUI: train on one style and one face, draw the portrait, make a contact sheet.

Started by ``make demo``. Runs ``workflows/api/stylization.json`` in a server of its own, with a
second sampler added that draws from the same noise without the adapter, and writes into ``out/``.
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
from typing import Any

REPO = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(REPO / "tests"), str(REPO)]

from host.client import ComfyClient, Event, NodeError, Run, WorkflowRejected, Workflow  # noqa: E402
from host.server import ComfyServer, ServerError  # noqa: E402

from acfun_core.config import INITIAL_WORD, PLACEHOLDER  # noqa: E402
from tools.contact_sheet import contact_sheet  # noqa: E402

WORKFLOW = REPO / "workflows" / "api" / "stylization.json"
OUT = REPO / "out"
FACE, STYLE, RESULT, PLAIN = "demo_face", "demo_style", "demo_result", "demo_plain"
PLAIN_SAMPLER = "demo_plain_sampler"
SAMPLING_INPUTS = ("seed", "steps", "cfg", "sampler_name", "scheduler")


class DemoError(RuntimeError):
    """The workflow is not one that this demo can run."""


def one_of(workflow: Workflow, class_type: str) -> str:
    """Id of the only node of a class."""
    found = [node_id for node_id, node in workflow.items() if node["class_type"] == class_type]
    if len(found) != 1:
        raise DemoError(f"the workflow has {len(found)} nodes of class {class_type}, the demo needs exactly 1")
    return found[0]


def base_links(workflow: Workflow) -> tuple[list, list, list]:
    """(model, clip, vae) links of the unpatched base: what the training node is connected to."""
    inputs = workflow[one_of(workflow, "ACFunTrainStyle")]["inputs"]
    return inputs["model"], inputs["clip"], inputs["vae"]


def with_comparison(workflow: Workflow) -> Workflow:
    """The workflow with previews of face, style and result, and with the same portrait drawn without the adapter.

    The second sampler is ComfyUI's own KSampler on the unpatched base, with the same noise and
    settings; its prompt says "painting" where the other says S*, which is what S* starts from.
    """
    workflow = copy.deepcopy(workflow)
    train = workflow[one_of(workflow, "ACFunTrainStyle")]["inputs"]
    sampler_id = one_of(workflow, "ACFunSampler")
    sampler = workflow[sampler_id]["inputs"]
    model, clip, vae = base_links(workflow)

    def add(node_id: str, class_type: str, **inputs: Any) -> list:
        workflow[node_id] = {"class_type": class_type, "inputs": inputs}
        return [node_id, 0]

    add(FACE, "PreviewImage", images=train["face_image"])
    add(STYLE, "PreviewImage", images=train["style_image"])
    decoded = add("demo_result_pixels", "VAEDecode", samples=[sampler_id, 0], vae=vae)
    add(RESULT, "PreviewImage", images=decoded)

    prompt = sampler["prompt"].replace(PLACEHOLDER, INITIAL_WORD)
    positive = add("demo_plain_prompt", "CLIPTextEncode", clip=clip, text=prompt)
    negative = add("demo_plain_negative", "CLIPTextEncode", clip=clip, text=sampler["negative"])
    size = {name: sampler[name] for name in ("width", "height", "batch_size")}
    empty = add("demo_plain_latent", "EmptyLatentImage", **size)
    settings = {name: sampler[name] for name in SAMPLING_INPUTS}
    latent = add(PLAIN_SAMPLER, "KSampler", model=model, positive=positive, negative=negative,
                 latent_image=empty, denoise=1.0, **settings)  # fmt: skip
    decoded = add("demo_plain_pixels", "VAEDecode", samples=latent, vae=vae)
    add(PLAIN, "PreviewImage", images=decoded)
    return workflow


class Terminal:
    """Shows which node runs and how far it is: a bar that moves on a terminal, a few lines in a log."""

    WIDTH = 32

    def __init__(self, workflow: Workflow, names: dict[str, str]):
        self.workflow, self.names = workflow, names
        self.live = sys.stdout.isatty()
        self.start = self.last_shown = time.monotonic()
        self.bar_open = False

    def __call__(self, event: Event) -> None:
        if event.kind == "executing" and event.node is not None:
            self._close_bar()
            self.start = self.last_shown = time.monotonic()
            title = self._title(event.node)
            if title:
                print(f"[demo] {title}", flush=True)
        elif event.kind == "progress":
            self._progress(event.data["value"], event.data["max"])

    def _title(self, node_id: str) -> str:
        """What to call a node; empty for the demo's own small nodes."""
        if node_id == PLAIN_SAMPLER:
            return "KSampler: the same noise without the adapter"
        class_type = self.workflow[node_id]["class_type"]
        return "" if node_id.startswith("demo_") else self.names.get(class_type, class_type)

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
    if options.steps is not None:
        workflow[one_of(workflow, "ACFunTrainStyle")]["inputs"]["steps"] = options.steps
    if options.seed is not None:
        workflow[one_of(workflow, "ACFunSampler")]["inputs"]["seed"] = options.seed
    for option, name in ((options.face, "face_image"), (options.style, "style_image")):
        if option is not None:
            source = workflow[one_of(workflow, "ACFunTrainStyle")]["inputs"][name][0]
            if workflow[source]["class_type"] != "ACFunExampleImage":
                raise DemoError(f"{name} does not come from an ACFun Example Image node")
            workflow[source]["inputs"]["picture"] = option
    return workflow


def note(workflow: Workflow) -> str:
    """One line that says how the pictures were made."""
    train = workflow[one_of(workflow, "ACFunTrainStyle")]["inputs"]
    sampler = workflow[one_of(workflow, "ACFunSampler")]["inputs"]
    return (
        f'"{sampler["prompt"]}": {train["steps"]} training steps at {train["resolution"]} px, seed {train["seed"]}; '
        f"{sampler['steps']} sampling steps from pure noise, cfg {sampler['cfg']}, seed {sampler['seed']}; "
        f'without the adapter, "{INITIAL_WORD}" stands for {PLACEHOLDER}.'
    )


def write_results(run: Run, workflow: Workflow, models: Path) -> Path:
    """Write the single pictures, the loss curve, the adapter and the contact sheet; return the sheet's path."""
    captions = {FACE: "face", STYLE: "style", RESULT: "result", PLAIN: "same seed, no adapter"}
    panels = []
    for node_id, caption in captions.items():
        image = run.images(node_id)[0].convert("RGB")
        image.save(OUT / f"{node_id.removeprefix('demo_')}.png")
        panels.append((caption, image))
    for image in run.images(one_of(workflow, "ACFunTrainStyle"))[:1]:
        image.save(OUT / "loss_curve.png")
    for adapter in sorted((models / "acfun").glob("*.safetensors")):
        shutil.copy2(adapter, OUT / adapter.name)
    path = OUT / "contact_sheet.png"
    contact_sheet(panels, note(workflow)).save(path)
    return path


def display_names(client: ComfyClient) -> dict[str, str]:
    return {name: info.get("display_name") or name for name, info in client.object_info().items()}


def demo(options: argparse.Namespace) -> Path:
    """Run everything; return the path of the contact sheet."""
    workflow = changed(json.loads(options.workflow.read_text(encoding="utf-8")), options)
    start = time.monotonic()
    OUT.mkdir(exist_ok=True)
    print("[demo] starting ComfyUI with this pack ...", flush=True)
    with ComfyServer(log_path=OUT / "server.log") as server, server.client() as client:
        print(f"[demo] ComfyUI answers after {time.monotonic() - start:.0f} s", flush=True)
        full = with_comparison(workflow)
        run = client.run(full, timeout=options.timeout, on_event=Terminal(full, display_names(client)))
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
    except (NodeError, WorkflowRejected, ServerError, DemoError, OSError) as error:
        print(f"\n[demo] failed: {error}\n[demo] the server's log: {OUT / 'server.log'}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\n[demo] cancelled", file=sys.stderr)
        return 130
    print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
