"""The training panel in ComfyUI's real editor: it lives, and the new adapter is offered."""

from __future__ import annotations

import re

import pytest

from tools.comfy.editor import Editor

QUICK_START = "face_parts"  # a training whose steps are its own, not a preset's
TRAIN = "ACFunTrainStyle"
STEPS = 4000  # more than are done before the test ends the training
LOADER_VALUES = """
const node = window.app.graph.nodes.find((each) => each.type === 'ACFunLoadAdapter');
return node.widgets.find((each) => each.name === 'adapter_name').options.values;
"""
# Before the panel's own listener, which came first but does not capture.
HEAR_NOTHING = """
window.acfunUnheard = 0;
const unheard = (event) => { event.stopImmediatePropagation(); window.acfunUnheard += 1; };
EventTarget.prototype.addEventListener.call(window.comfyAPI.api.api, 'acfun.training', unheard, {capture: true});
"""


def step_of(status: str) -> int:
    """3 from "Step 3 of 40", 0 from anything else."""
    found = re.match(r"Step (\d+) of", status)
    return int(found[1]) if found else 0


def start_training(editor: Editor, name: str, steps: int) -> None:
    # Small pictures: what is looked at is the panel.
    for widget, value in (("steps", steps), ("preview_every", 4), ("name", name), ("resolution", 64)):
        editor.set(TRAIN, widget, value)
    for widget, value in (("steps", 4), ("width", 64), ("height", 64)):
        editor.set("ACFunSampler", widget, value)
    editor.show(TRAIN)
    editor.run()


@pytest.mark.parametrize("look", ["classic", "nodes_2"])
def test_a_training_from_the_first_step_to_the_dropdown(editor: Editor, server, look):
    """Queue, see it move, reload in mid-training, see it again, cancel, train again, stop and keep, find the adapter."""
    editor.setting("Comfy.ColorPalette", "dark")
    editor.setting("Comfy.VueNodes.Enabled", look == "nodes_2")
    editor.load_template(QUICK_START)
    editor.show(TRAIN)
    assert editor.panel().startswith("Loss curves and portraits")

    start_training(editor, f"cancelled_{look}", STEPS)
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

    assert editor.unnamed_parts() == [], "everything in the panel has a name for screen readers"
    editor.press("Cancel")
    editor.wait(lambda: editor.panel().startswith("Cancelled at step"), "the panel says that it was cancelled")
    assert not list(server.folder("models/acfun").glob(f"cancelled_{look}_*"))

    if look == "nodes_2":
        assert float(editor.shown_number("learning_rate")) == 0.0001
    editor.add("ACFunLoadAdapter", 100, 900)
    kept = f"kept_{look}_00001.safetensors"
    assert kept not in editor.js(LOADER_VALUES)
    start_training(editor, f"kept_{look}", STEPS)
    editor.wait(lambda: step_of(editor.panel()) >= 8, "the second training runs", 120)
    editor.press("Stop and keep")
    editor.wait(lambda: kept in editor.panel(), "the panel names the adapter", 60)
    editor.wait(lambda: kept in editor.js(LOADER_VALUES), "the loader lists the adapter without a refresh", 30)
    editor.show(TRAIN)
    editor.screenshot(f"panel_{look}_kept")
    editor.setting("Comfy.ColorPalette", "light")
    editor.show(TRAIN)
    editor.screenshot(f"panel_{look}_light")
    editor.setting("Comfy.ColorPalette", "dark")
    assert (server.folder("models/acfun") / kept).is_file()
    assert editor.errors_of_the_pack() == []
    editor.js("fetch('/api/interrupt', {method: 'POST'})")


def test_a_cancel_after_a_reload_stayed_at_cancelling_when_no_word_came(editor: Editor, server):
    """The page hears no more of the training, as on a slow machine after a reload: it asks the server how it ended."""
    editor.setting("Comfy.VueNodes.Enabled", False)
    editor.load_template(QUICK_START)
    start_training(editor, "unheard", STEPS)
    editor.wait(lambda: step_of(editor.panel()) >= 2, "the panel shows a step", 180)
    editor.reload()
    editor.wait(lambda: step_of(editor.panel()) >= 2, "the panel shows the training again after a reload", 60)
    editor.show(TRAIN)
    editor.js(HEAR_NOTHING)
    editor.press("Cancel")
    editor.wait(lambda: editor.panel().startswith("Cancelled at step"), "the panel has asked how it ended", 90)
    assert editor.js("return window.acfunUnheard") >= 1, "the end was told as an event, which the page did not hear"
    assert not list(server.folder("models/acfun").glob("unheard_*"))
    assert editor.errors_of_the_pack() == []
    editor.reload()
