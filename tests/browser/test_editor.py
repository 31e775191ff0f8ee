"""The pack in ComfyUI's real editor: templates open, the training panel lives, the new adapter is offered."""

from __future__ import annotations

import re

import pytest

from tools.workflows import api

from .editor import Editor

QUICK_START = "stylization"
TRAIN = "ACFunTrainStyle"
LOADER_VALUES = """
const node = window.app.graph.nodes.find((each) => each.type === 'ACFunLoadAdapter');
return node.widgets.find((each) => each.name === 'adapter_name').options.values;
"""
ADD_LOADER = """
const node = window.LiteGraph.createNode('ACFunLoadAdapter');
node.pos = [100, 900];
window.app.graph.add(node);
"""


def step_of(status: str) -> int:
    """3 from "Step 3 of 40", 0 from anything else."""
    found = re.match(r"Step (\d+) of", status)
    return int(found[1]) if found else 0


def start_training(editor: Editor, name: str, steps: int) -> None:
    for widget, value in (("steps", steps), ("preview_every", 4), ("name", name)):
        editor.set(TRAIN, widget, value)
    editor.set("ACFunSampler", "steps", 4)
    editor.show(TRAIN)
    editor.run()


@pytest.mark.parametrize("name", api.NAMES)
def test_a_template_opens_without_a_red_node(editor: Editor, name):
    editor.load_template(name)
    assert editor.red_nodes() == []
    editor.js("window.app.extensionManager.command.execute('Comfy.Canvas.FitView')")
    editor.wait(lambda: editor.js("return !window.app.canvas.dirty_canvas"), "the canvas is drawn")
    editor.screenshot(f"template_{name}")


@pytest.mark.parametrize("look", ["dark", "light", "nodes_2"])
def test_a_training_from_the_first_step_to_the_dropdown(editor: Editor, server, look):
    """Queue, see it move, reload in mid-training, see it again, cancel, train again, stop and keep, find the adapter."""
    editor.setting("Comfy.ColorPalette", "light" if look == "light" else "dark")
    editor.setting("Comfy.VueNodes.Enabled", look == "nodes_2")
    editor.load_template(QUICK_START)
    editor.show(TRAIN)
    assert editor.panel().startswith("Loss curves and portraits")

    start_training(editor, f"cancelled_{look}", 400)
    editor.wait(lambda: step_of(editor.panel()) >= 4, "the panel shows a step", 180)
    editor.wait(lambda: editor.portraits() >= 1 and editor.curve_points() >= 4, "curve and portrait are drawn", 60)
    editor.screenshot(f"panel_{look}")
    before = step_of(editor.panel())

    editor.reload()
    editor.wait(lambda: step_of(editor.panel()) >= before, "the panel shows the training again after a reload", 60)
    editor.wait(lambda: editor.portraits() >= 1, "the portraits are back", 30)
    editor.wait(lambda: step_of(editor.panel()) > before + 1, "it goes on moving", 60)
    editor.show(TRAIN)
    editor.screenshot(f"panel_{look}_after_reload")

    editor.press("Cancel")
    editor.wait(lambda: editor.panel().startswith("Cancelled at step"), "the panel says that it was cancelled")
    assert not list(server.folder("models/acfun").glob(f"cancelled_{look}_*"))

    if look == "nodes_2":
        assert editor.shown_number("learning_rate") == "0.0001"
    editor.js(ADD_LOADER)
    kept = f"kept_{look}_00001.safetensors"
    assert kept not in editor.js(LOADER_VALUES)
    start_training(editor, f"kept_{look}", 400)
    editor.wait(lambda: step_of(editor.panel()) >= 8, "the second training runs", 120)
    editor.press("Stop and keep")
    editor.wait(lambda: kept in editor.panel(), "the panel names the adapter", 60)
    editor.wait(lambda: kept in editor.js(LOADER_VALUES), "the loader lists the adapter without a refresh", 30)
    editor.show(TRAIN)
    editor.screenshot(f"panel_{look}_kept")
    assert (server.folder("models/acfun") / kept).is_file()
    assert editor.errors_of_the_pack() == []
    editor.js("fetch('/api/interrupt', {method: 'POST'})")
