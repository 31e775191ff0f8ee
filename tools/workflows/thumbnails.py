"""Write the workflows' thumbnails from real runs: ``python -m tools.workflows.thumbnails`` from the repository's root.

Runs each API workflow in a server of its own, as it is, and puts the face, the style and the result into one small JPEG
beside the workflow, where ComfyUI's template browser looks for it.
"""

from __future__ import annotations

import argparse
import io
import sys
import time

from PIL import Image

from tools.contact_sheet import middle_square

from . import WORKFLOWS, api

from host.client import ComfyClient, NodeError, PromptTimeout, WorkflowRejected  # isort: skip
from host.server import ComfyServer, ServerError  # isort: skip

LARGE, SMALL, GAP = 340, 168, 4
PAPER = (250, 249, 246)
MAX_BYTES = 100_000
FACES = {"stylization": "Face preview", "spliced_face": "Spliced face"}


def compose(face: Image.Image, style: Image.Image, result: Image.Image) -> Image.Image:
    """Face above style, and the result large beside them, 512 x 340."""
    sheet = Image.new("RGB", (SMALL + GAP + LARGE, LARGE), PAPER)
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


def thumbnail(client: ComfyClient, name: str, steps: int | None, timeout: float) -> Image.Image:
    """Run one workflow and compose its picture."""
    workflow = api.load(name)
    if steps is not None:
        workflow[api.node_id(workflow, "Train")]["inputs"]["steps"] = steps
    run = client.run(workflow, timeout=timeout)
    pictures = [run.images(api.node_id(workflow, title))[0] for title in (FACES[name], "Style preview", "Result")]
    return compose(*pictures)


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
            for name in options.names or api.NAMES:
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
