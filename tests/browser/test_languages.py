"""Nodes and training panel in ComfyUI's real editor, in the user's language."""

from __future__ import annotations

import json

import pytest

from tools.comfy.editor import Editor
from tools.comfy.install import REPO
from tools.registry.locales import load_phrases

TRAIN = "ACFunTrainStyle"
LABELS = """
const node = window.app.graph.nodes.find((each) => each.type === arguments[0]);
const labels = {};
for (const input of node.inputs) labels[input.name] = input.localized_name ?? input.label;
for (const widget of node.widgets) labels[widget.name] = widget.label ?? labels[widget.name];
const tooltip = node.constructor.nodeData.inputs.steps.tooltip;
return [node.title, labels, node.outputs.map((each) => each.localized_name), tooltip];
"""


@pytest.mark.parametrize("language", ["zh", "ja", "ko", "fr", "es"])
def test_node_and_panel_speak_the_users_language(editor: Editor, language):
    phrases = load_phrases(language)
    panel = json.loads((REPO / "locales" / language / "main.json").read_text(encoding="utf-8"))["acfun"]["panel"]
    editor.setting("Comfy.ColorPalette", "dark")
    editor.setting("Comfy.VueNodes.Enabled", False)
    editor.setting("Comfy.Locale", language)
    try:
        editor.reload()
        # A workflow of its own: the last one is being restored meanwhile.
        editor.blank()
        editor.add(TRAIN, 100, 100)
        editor.show(TRAIN)
        editor.wait(lambda: editor.panel() == panel["idle"], "the panel speaks the language", 20)
        title, labels, outputs, tooltip = editor.js(LABELS, TRAIN)
        assert title == phrases["Train ACFun Style"]
        assert labels["steps"] == phrases["steps"] and labels["face_image"] == phrases["face_image"]
        assert outputs == [phrases[name] for name in ("adapter", "loss_curve", "path")]
        assert tooltip in phrases.values()
        editor.screenshot(f"language_{language}")
    finally:
        editor.setting("Comfy.Locale", "en")
