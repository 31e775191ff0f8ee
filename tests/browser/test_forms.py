"""The blueprint in the node library, and the workflow that is ready for App Mode."""

from __future__ import annotations

from tools.comfy.editor import Editor
from tools.workflows import api

BLUEPRINT = "ACFun portrait"
FIRST_NODE = """
const node = window.app.graph.nodes.find((each) => each.title === arguments[0]);
if (!node) return null;
return [node.inputs.map((each) => each.name), node.outputs.map((each) => each.type), node.widgets.map((each) => each.name)];
"""
FORM = """
const data = window.app.graph.extra?.linearData ?? window.app.rootGraph?.extra?.linearData;
const widgets = (id) => window.app.graph.getNodeById(id)?.widgets?.map((each) => each.name) ?? [];
return data && {
  missing: data.inputs.filter(([id, name]) => !widgets(id).includes(name)).map((each) => each.slice(0, 2)),
  inputs: data.inputs.map((each) => each.slice(0, 2)),
  outputs: data.outputs,
};
"""
CALLED = ["photo of the face", "style picture", "description"]
HAS_APP_MODE = (
    "return !!window.app.extensionManager.command.commands?.some?.((each) => each.id === 'Comfy.ToggleLinear')"
)


def test_the_blueprint_is_in_the_node_library_and_can_be_queued(editor: Editor):
    """Dropped from the sidebar, wired as a user would, it becomes a training and a drawing."""
    editor.setting("Comfy.VueNodes.Enabled", False)
    editor.blank()
    editor.command("Workspace.ToggleSidebarTab.node-library")
    try:
        box = editor.wait(
            lambda: editor.visible(".side-bar-panel input, .node-lib-search-box input, .p-splitterpanel input"),
            "the library's search box",
            20,
        )
        box.clear()
        box.send_keys(BLUEPRINT)
        editor.place(editor.wait(lambda: editor.labelled(BLUEPRINT), "the blueprint is listed", 20))
        editor.wait(lambda: editor.js(FIRST_NODE, BLUEPRINT), "it is on the canvas", 20)
    finally:
        editor.command("Workspace.ToggleSidebarTab.node-library")
    assert editor.red_nodes() == []
    inputs, outputs, widgets = editor.js(FIRST_NODE, BLUEPRINT)
    assert outputs == ["IMAGE"] and {"model", "clip", "vae", "clip_vision", "style_image", "face_image"} <= set(inputs)
    # Some frontends put the number of the inner node before the widget's name: "1: steps".
    assert {"steps", "name", "seed", "cfg"} <= {each.rpartition(": ")[2] for each in widgets}
    portrait = editor.js("return window.app.graph.nodes[0].id")
    base = editor.add("ACFunLoadDemoBase", -500, 0)
    pictures = {
        "face_image": editor.add("ACFunExampleImage", -500, 200, picture="face_astronaut.png"),
        "style_image": editor.add("ACFunExampleImage", -500, 400, picture="style_woodblock.png"),
    }
    end = editor.add("PreviewImage", 600, 0)
    for output, name in enumerate(("model", "clip", "vae", "clip_vision")):
        editor.connect(base, output, portrait, name)
    for name, node in pictures.items():
        editor.connect(node, 0, portrait, name)
    editor.connect(portrait, 0, end, "images")
    queued = sorted(kind for kind, _ in editor.prompt().values())
    inside = ["ACFunApplyAdapter", "ACFunSampler", "ACFunTrainStyle", "VAEDecode"]
    assert queued == sorted([*inside, "ACFunExampleImage", "ACFunExampleImage", "ACFunLoadDemoBase", "PreviewImage"])
    editor.command("Comfy.Canvas.FitView")
    editor.screenshot("blueprint")


def test_the_form_of_app_mode(editor: Editor):
    """The form names widgets that are there; a frontend with App Mode shows them, older ones keep the form as it is."""
    editor.load_template("portrait_app")
    assert editor.red_nodes() == []
    form = editor.js(FORM)
    assert form and form["missing"] == [] and len(form["inputs"]) == 6
    queued = api.load("portrait_app")
    assert all(name in queued[str(node)]["inputs"] for node, name in form["inputs"])
    assert [queued[str(node)]["class_type"] for node in form["outputs"]] == ["SaveImage"]
    if not editor.js(
        "return !!window.app.extensionManager.command.commands?.some?.((each) => each.id === 'Comfy.ToggleLinear')"
    ):
        return
    editor.command("Comfy.ToggleLinear")
    try:
        editor.pause(3)
        editor.screenshot("app_mode")
        panel = editor.visible('[data-testid="linear-widgets"]')
        if panel is not None:
            for name in (*CALLED, "how to draw", "strokes of the style", "seed"):
                assert name in panel.text, panel.text
        assert editor.errors_of_the_pack() == []
    finally:
        editor.command("Comfy.ToggleLinear")
