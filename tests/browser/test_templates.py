"""The pack's workflows in the template browser of ComfyUI's real editor: all of them open."""

from __future__ import annotations

import pytest

from tools.comfy.editor import Editor
from tools.workflows import api

USERS_FILES = ("CheckpointLoaderSimple", "CLIPVisionLoader", "LoraLoader", "ControlNetLoader")
WITH_USERS_FILES = ("own_checkpoint", "lora_controlnet")


@pytest.fixture(scope="module", autouse=True)
def classic(tab: Editor) -> None:
    """Whatever look the tests before have left."""
    if not tab.ready():
        tab.open()
    tab.setting("Comfy.ColorPalette", "dark")
    tab.setting("Comfy.VueNodes.Enabled", False)


@pytest.mark.parametrize("name", api.NAMES)
def test_a_template_opens_without_a_red_node_but_for_a_users_files(editor: Editor, name):
    editor.load_template(name)
    # Frontends since 1.49 mark a loader whose file is missing; the workflow's note says so.
    assert set(editor.red_nodes()) <= (set(USERS_FILES) if name in WITH_USERS_FILES else set())
    # No widget of the pack may get into what is queued by another value, nor shift those of other widgets.
    assert editor.prompt() == {key: (node["class_type"], node["inputs"]) for key, node in api.load(name).items()}
    editor.command("Comfy.Canvas.FitView")
    editor.wait(lambda: editor.js("return !window.app.canvas.dirty_canvas"), "the canvas is drawn")
    editor.screenshot(f"template_{name}")
