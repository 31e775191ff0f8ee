"""Region strengths in the editor: by keyboard, by click, saved with the workflow, drawn live, in every look."""

from __future__ import annotations

import json
import time

import pytest
from selenium.webdriver import ActionChains
from selenium.webdriver.common.keys import Keys

from tools.comfy.editor import Editor
from tools.workflows import api
from tools.workflows.lessons import FACE_BOX

PARTS, REGIONS = "ACFunFaceParts", ("eyes", "nose", "mouth", "skin", "hair", "background")
PANEL = ".acfun-regions"
LOOKS = ["dark", "nodes_2"]
SAVED = "return window.app.graph.serialize().nodes.find((each) => each.type === arguments[0]).widgets_values[0]"


def slider(editor: Editor, region: str):
    return editor.wait(
        lambda: editor.visible(f'{PANEL} input[data-region="{region}"]'), f"the slider of the {region} is there", 20
    )


def strengths(editor: Editor) -> dict[str, float]:
    """What would be queued."""
    ((_, inputs),) = (node for node in editor.prompt().values() if node[0] == PARTS)
    return json.loads(inputs["regions"])


def shown(editor: Editor) -> dict[str, float]:
    """What the sliders show."""
    script = (
        "return [...document.querySelectorAll(arguments[0])].map((each) => [each.dataset.region, Number(each.value)])"
    )
    return dict(editor.js(script, f"{PANEL} input[data-region]"))


def press(editor: Editor, *keys: str) -> None:
    """Keys for whatever has the focus, as a person without a mouse would."""
    ActionChains(editor.browser).send_keys(*keys).perform()


def focused(editor: Editor) -> str | None:
    return editor.js("return document.activeElement?.dataset?.region ?? null")


def set_look(editor: Editor, look: str) -> None:
    editor.setting("Comfy.ColorPalette", "light" if look == "light" else "dark")
    editor.setting("Comfy.VueNodes.Enabled", look == "nodes_2")


@pytest.mark.parametrize("look", LOOKS)
def test_sliders_work_by_keyboard_and_the_value_is_saved(editor: Editor, look):
    set_look(editor, look)
    editor.load_template("face_parts")
    editor.show(PARTS)
    saved = json.loads(
        next(node for node in api.load("face_parts").values() if node["class_type"] == PARTS)["inputs"]["regions"]
    )
    slider(editor, "eyes")
    editor.wait(lambda: shown(editor) == saved, "the sliders show what the workflow says", 20)
    assert editor.unnamed_parts(PANEL) == [], "every slider has a name for screen readers"

    editor.js("arguments[0].focus()", slider(editor, "eyes"))
    press(editor, Keys.ARROW_RIGHT, Keys.ARROW_RIGHT)
    wanted = {**saved, "eyes": 0.5}
    assert strengths(editor) == shown(editor) == wanted
    press(editor, Keys.TAB)
    assert focused(editor) == "nose", "Tab goes from slider to slider"
    press(editor, Keys.END)
    press(editor, Keys.TAB, Keys.HOME)
    wanted |= {"nose": 2, "mouth": 0}
    assert strengths(editor) == shown(editor) == wanted
    editor.screenshot(f"regions_{look}")

    # ComfyUI keeps the open workflow in the browser; what it writes there is what it would save.
    assert json.loads(editor.js(SAVED, PARTS)) == wanted
    time.sleep(2)
    editor.reload()
    editor.wait(lambda: editor.has_node(PARTS), "the workflow is back", 30)
    editor.show(PARTS)
    slider(editor, "eyes")
    editor.wait(lambda: shown(editor) == wanted, "the sliders are where they were before the reload", 20)
    assert strengths(editor) == wanted

    button = editor.visible(f"{PANEL} button")
    editor.js("arguments[0].focus()", button)
    press(editor, Keys.ENTER)
    assert strengths(editor) == shown(editor) == dict.fromkeys(REGIONS, 1)
    assert editor.errors_of_the_pack() == []


@pytest.mark.parametrize("look", ["light", "nodes_2"])
def test_a_click_in_the_face_goes_to_its_slider(editor: Editor, look):
    """First over an ordinary face, then, after a run, over the picture that the node saw."""
    set_look(editor, look)
    editor.blank()
    face = editor.add("ACFunExampleImage", 0, 100, picture="face_astronaut.png")
    find = editor.add("ACFunFindFace", 0, 300, **FACE_BOX)
    parts = editor.add(PARTS, 420, 100)
    end = editor.add("MaskPreview", 900, 100)
    for source, output, target, name in (
        (face, 0, find, "image"),
        (face, 0, parts, "image"),
        (find, 0, parts, "landmarks"),
    ):
        editor.connect(source, output, target, name)
    editor.connect(parts, 0, end, "mask")
    editor.show(PARTS)
    canvas = editor.wait(lambda: editor.visible(f"{PANEL} canvas"), "the face is drawn", 20)
    editor.wait(
        lambda: editor.js("return arguments[0].dataset.face", canvas) == "ordinary", "the regions are there", 20
    )

    def click(x: float, y: float) -> None:
        """At shares of the picture's width and height."""
        size = canvas.size
        ActionChains(editor.browser).move_to_element_with_offset(
            canvas, round((x - 0.5) * size["width"]), round((y - 0.5) * size["height"])
        ).click().perform()

    click(0.5, 0.43)
    click(0.03, 0.03)
    editor.wait(lambda: focused(editor) == "background", "a click in the corner goes to the background", 10)
    press(editor, Keys.ARROW_LEFT)
    assert strengths(editor) == {**dict.fromkeys(REGIONS, 1), "background": 0.95}

    editor.run()
    editor.wait(
        lambda: editor.js("return arguments[0].dataset.face", canvas) == "own", "the node shows its own face", 120
    )
    click(0.39, 0.43)
    editor.wait(lambda: focused(editor) == "eyes", "a click on an eye goes to the eyes", 10)
    click(0.5, 0.645)
    editor.wait(lambda: focused(editor) == "mouth", "a click on the mouth goes to the mouth", 10)
    press(editor, *[Keys.ARROW_LEFT] * 10)
    assert strengths(editor)["mouth"] == 0.5
    editor.show(PARTS, 1.4)
    editor.screenshot(f"regions_{look}_own_face")
    assert editor.errors_of_the_pack() == []


LIVE = "return document.querySelector('.acfun-regions')?.dataset.live ?? null"
PORTRAIT = "const shown = document.querySelector('.acfun-regions img'); return shown.hidden ? null : shown.src"
PREVIEW = """
const [node] = window.app.graph.nodes.filter((each) => each.title === 'Live preview');
return (window.app.nodeOutputs[node.id]?.images ?? []).map((each) => each.filename)[0] ?? null;
"""


def drawn(editor: Editor, before: tuple, seconds: float) -> tuple[str, str]:
    """Waits until widget and Preview Image show another portrait than before; returns its addresses."""

    def newer() -> tuple[str, str] | None:
        both = editor.js(PORTRAIT), editor.js(PREVIEW)
        return both if editor.js(LIVE) == "drawn" and all(both) and not set(both) & set(before) else None

    return editor.wait(newer, "a new portrait is on the face and in Preview Image", seconds)


@pytest.mark.parametrize("look", ["light", "nodes_2"])
def test_a_slider_that_was_let_go_draws_the_preview_and_saves_nothing(editor: Editor, server, look):
    """Ten key presses in a row are one preview. Undo keeps it on; the saved workflow knows nothing of it."""
    set_look(editor, look)
    editor.load_template("face_parts")
    # Small pictures: what is looked at is when they are drawn.
    for widget, value in (("steps", 4), ("resolution", 64), ("preview_every", 0), ("name", f"live_{look}")):
        editor.set("ACFunTrainStyle", widget, value)
    for widget, value in (("steps", 4), ("width", 64), ("height", 64)):
        editor.set("ACFunSampler", widget, value)
    editor.show(PARTS)
    slider(editor, "eyes")
    as_saved = json.loads(editor.js(SAVED, PARTS))
    with server.client() as client:
        prompts = len(client.get_json("/history"))
        portraits = set(server.folder("output").rglob("face_parts_*"))  # other tests of this server save some
        toggle = editor.visible(f"{PANEL} input[type=checkbox]")
        assert not toggle.is_selected()
        editor.js("arguments[0].focus()", toggle)
        press(editor, Keys.SPACE)
        portrait = drawn(editor, (), 240)
        seconds = []
        for key in (Keys.ARROW_RIGHT, Keys.ARROW_LEFT):
            editor.js("arguments[0].focus()", slider(editor, "hair"))
            press(editor, *[key] * 10)
            portrait = drawn(editor, portrait, 60)
            seconds.append(editor.visible(f"{PANEL} [role=status]").text)
        print(f"{look}: {', '.join(seconds)}")
        editor.screenshot(f"regions_{look}_live")
        assert len(client.get_json("/history")) == prompts + 3
        assert set(server.folder("output").rglob("face_parts_*")) == portraits
    assert editor.unnamed_parts(PANEL) == []
    assert json.loads(editor.js(SAVED, PARTS)) == as_saved, "strengths alone, back where they were"

    editor.js("document.activeElement.blur()")
    editor.command("Comfy.Undo")
    editor.wait(lambda: shown(editor)["hair"] > as_saved["hair"], "the last move is undone", 20)
    toggle = editor.visible(f"{PANEL} input[type=checkbox]")
    editor.wait(toggle.is_selected, "it is still on", 10)
    editor.js("arguments[0].focus()", toggle)
    press(editor, Keys.SPACE)
    editor.wait(lambda: editor.js(LIVE) == "off" and editor.js(PORTRAIT) is None, "off shows the regions again", 10)
    assert editor.errors_of_the_pack() == []


def test_after_an_undo_nodes_2_showed_the_panels_of_removed_nodes(editor: Editor):
    """What was moved there changed nothing that was queued."""
    set_look(editor, "nodes_2")
    editor.load_template("face_parts")
    editor.show(PARTS)
    before = shown(editor)["hair"]
    for region, keys in (("hair", [Keys.ARROW_LEFT] * 4), ("eyes", [Keys.ARROW_RIGHT])):
        editor.js("arguments[0].focus()", slider(editor, region))
        press(editor, *keys)
    editor.js("document.activeElement.blur()")
    editor.command("Comfy.Undo")
    editor.wait(lambda: shown(editor) == strengths(editor), "the sliders show what would be queued", 20)
    editor.js("arguments[0].focus()", slider(editor, "nose"))
    press(editor, Keys.END)
    assert strengths(editor) == shown(editor) and shown(editor)["nose"] == 2 and shown(editor)["hair"] < before
    editor.show("ACFunTrainStyle")
    own = "return window.app.graph.nodes.find((each) => each.type === arguments[0]).widgets.at(-1).element?.isConnected"
    editor.wait(lambda: editor.js(own, "ACFunTrainStyle"), "the training panel on the page is that of the node", 20)
