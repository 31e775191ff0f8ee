"""Take the pictures of nodes on the help pages in the real editor, in a Chromium, after real runs.

Usage: ``python -m tools.registry.node_pictures [NODE ...]`` writes web/docs/pictures/NODE.jpg; it needs what make
test-browser needs.
"""

from __future__ import annotations

import argparse
import io
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import Image

from tools.comfy.chromium import BrowserMissing, start_browser
from tools.comfy.editor import Editor
from tools.comfy.server import ComfyServer, ServerError
from tools.workflows.lessons import FACE_BOX

REPO = Path(__file__).resolve().parents[2]
TARGET = REPO / "web" / "docs" / "pictures"

ALONE = (
    "ACFunAdapterOptions",
    "ACFunApplyAdapter",
    "ACFunEachFace",
    "ACFunExportAdapter",
    "ACFunLoadAdapter",
    "ACFunLoadDemoBase",
    "ACFunMixAdapters",
    "ACFunPhotoNoise",
    "ACFunSampler",
    "ACFunSaveAdapter",
    "ACFunStyleTransfer",
    "ACFunTextEncode",
    "ACFunTrainOptions",
    "ACFunTrainSlider",
    "ACFunTransferOptions",
)
AFTER_A_RUN = ("ACFunTrainStyle", "ACFunScoreResult", "ACFunPickBest")  # of the workflow best_of_n
TEMPLATE = "best_of_n"
WITH_A_FACE = "ACFunFaceParts"
EDGE, TITLE_BAR = 8, 30  # pixels
QUALITY = 82

PLACE = """
const node = window.app.graph.nodes.find((each) => each.type === arguments[0]);
const ds = window.app.canvas.ds;
ds.scale = 1;
ds.offset = [200 - node.pos[0], 160 - node.pos[1]];
window.app.canvas.deselectAll?.();
window.app.canvas.setDirty(true, true);
return [...node.size];
"""
ENDED = """
return fetch('/api/queue').then((answer) => answer.json())
  .then((queue) => !queue.queue_running.length && !queue.queue_pending.length);
"""


def picture_of(editor: Editor, node_type: str) -> bytes:
    """The node as it stands on the canvas, as JPEG."""
    width, height = editor.js(PLACE, node_type)
    editor.pause(1.5)
    screen = Image.open(io.BytesIO(editor.browser.get_screenshot_as_png())).convert("RGB")
    box = (200 - EDGE, 160 - TITLE_BAR - EDGE, 200 + round(width) + EDGE, 160 + round(height) + EDGE)
    buffer = io.BytesIO()
    screen.crop(box).save(buffer, "JPEG", quality=QUALITY, optimize=True)
    return buffer.getvalue()


def write(editor: Editor, node_type: str) -> None:
    content = picture_of(editor, node_type)
    (TARGET / f"{node_type}.jpg").write_bytes(content)
    print(f"{node_type}.jpg: {len(content) / 1000:.0f} kB")


def finish(editor: Editor) -> None:
    """Press Run and wait for the end."""
    editor.run()
    editor.pause(2)
    editor.wait(lambda: editor.js(ENDED), "the run ends", 1200)
    editor.pause(2)


@contextmanager
def opened() -> Iterator[Editor]:
    with ComfyServer() as server, server.client() as client:
        client.request("/settings", {"Comfy.TutorialCompleted": True, "Comfy.Locale": "en"})
        browser = start_browser(1400, 1500)
        try:
            editor = Editor(browser, server.url, Path(tempfile.mkdtemp(prefix="acfun-pictures-")))
            editor.open()
            editor.setting("Comfy.Minimap.Visible", False)
            yield editor
        finally:
            browser.quit()


def take(editor: Editor, wanted: set[str], steps: int, sampler_steps: int) -> None:
    for node_type in sorted(wanted.intersection(ALONE)):
        editor.blank()
        editor.add(node_type, 0, 0)
        write(editor, node_type)
    if WITH_A_FACE in wanted:
        editor.blank()
        face = editor.add("ACFunExampleImage", -900, 0, picture="face_astronaut.png")
        find = editor.add("ACFunFindFace", -500, 0, **FACE_BOX)
        parts = editor.add(WITH_A_FACE, 0, 0)
        strengths = '{"eyes": 0.4, "nose": 0.7, "mouth": 0.4, "skin": 1, "hair": 1.4, "background": 1.6}'
        editor.set(WITH_A_FACE, "regions", strengths)
        end = editor.add("MaskPreview", 900, 0)
        editor.connect(face, 0, find, "image")
        editor.connect(face, 0, parts, "image")
        editor.connect(find, 0, parts, "landmarks")
        editor.connect(parts, 0, end, "mask")
        finish(editor)
        write(editor, WITH_A_FACE)
    if wanted.intersection(AFTER_A_RUN):
        editor.load_template(TEMPLATE)
        editor.set("ACFunTrainStyle", "steps", steps)
        editor.set("ACFunSampler", "steps", sampler_steps)
        finish(editor)
        for node_type in sorted(wanted.intersection(AFTER_A_RUN)):
            write(editor, node_type)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    everything = (*ALONE, WITH_A_FACE, *AFTER_A_RUN)
    parser.add_argument("nodes", nargs="*", default=[], metavar="NODE", help=f"default all: {', '.join(everything)}")
    parser.add_argument("--steps", type=int, default=500, help="training steps before the pictures of the run (500)")
    parser.add_argument("--sampler-steps", type=int, default=40, help="sampling steps of that run (40)")
    options = parser.parse_args()
    if unknown := set(options.nodes) - set(everything):
        parser.error(f"no picture is taken of {', '.join(sorted(unknown))}")
    TARGET.mkdir(parents=True, exist_ok=True)
    try:
        with opened() as editor:
            take(editor, set(options.nodes or everything), options.steps, options.sampler_steps)
    except (BrowserMissing, ServerError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
