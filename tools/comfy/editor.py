"""ComfyUI's editor in a real browser, as a user drives it."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

PACK = "ComfyUI-ACFun"
PANEL = ".acfun-panel"

READY = """
const types = window.LiteGraph?.registered_node_types ?? {};
return !!(window.app?.graph && window.app?.canvas && types.ACFunTrainStyle && document.querySelector('#graph-canvas'));
"""

SHOW_NODE = """
const node = window.app.graph.nodes.find((each) => each.type === arguments[0]);
const ds = window.app.canvas.ds;
ds.scale = arguments[1];
const room = [window.innerWidth, window.innerHeight];
ds.offset = [room[0] / 2 / ds.scale - node.pos[0] - node.size[0] / 2, room[1] / 2 / ds.scale - node.pos[1] - node.size[1] / 2];
window.app.canvas.setDirty(true, true);
"""

RED_NODES = """
const types = window.LiteGraph.registered_node_types;
return window.app.graph.nodes.filter((node) => node.has_errors || !types[node.type]).map((node) => node.type);
"""

ADD_NODE = """
const node = window.LiteGraph.createNode(arguments[0]);
node.pos = arguments[1];
window.app.graph.add(node);
for (const [name, value] of Object.entries(arguments[2])) {
  const widget = node.widgets.find((each) => each.name === name);
  widget.value = value;
  widget.callback?.(value);
}
return node.id;
"""

CONNECT = """
const [source, output, target, name] = arguments;
const node = window.app.graph.getNodeById(target);
window.app.graph.getNodeById(source).connect(output, node, node.inputs.findIndex((each) => each.name === name));
"""

SET_WIDGET = """
for (const node of window.app.graph.nodes) {
  if (node.type !== arguments[0]) continue;
  const widget = node.widgets.find((each) => each.name === arguments[1]);
  widget.value = arguments[2];
  widget.callback?.(widget.value);
}
"""


class Editor:
    """One browser tab on one server.

    Args:
        browser: a selenium driver.
        url: the server's address.
        pictures: folder for screenshots.
    """

    def __init__(self, browser, url: str, pictures: Path):
        self.browser, self.url, self.pictures = browser, url, pictures
        pictures.mkdir(parents=True, exist_ok=True)

    def js(self, script: str, *arguments: Any) -> Any:
        return self.browser.execute_script(script, *arguments)

    def wait(self, condition: Callable[[], Any], what: str, seconds: float = 60.0) -> Any:
        """The first true value of ``condition``; fails with a screenshot if there is none in time."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if value := condition():
                return value
            time.sleep(0.2)
        picture = self.screenshot("timeout")
        raise AssertionError(f"{what}: not within {seconds:.0f} s, see {picture}")

    def ready(self) -> bool:
        """Whether the editor can be used, with no dialog over it."""
        return bool(self.js(READY)) and not self.visible('[role="dialog"]')

    def open(self) -> None:
        """Open the editor, or load it anew, and wait until it can be used."""
        self.browser.get(self.url)
        self.wait(lambda: self.js(READY), "the editor starts", 180)
        self.wait(lambda: self.js("return !!window.app.extensionManager?.command"), "the commands are there", 30)

    def reload(self) -> None:
        self.browser.refresh()
        self.wait(lambda: self.js(READY), "the editor starts again", 180)

    def screenshot(self, name: str) -> Path:
        path = self.pictures / f"{name}.png"
        self.browser.save_screenshot(str(path))
        return path

    def click(self, selector: str, what: str, seconds: float = 30.0) -> None:
        """Click the first visible element of a CSS selector."""
        found = self.wait(lambda: self.visible(selector), what, seconds)
        self.js("arguments[0].scrollIntoView({block: 'center'})", found)
        found.click()

    def place(self, entry) -> None:
        """Choose an entry of the node library. Newer editors hang the node on the pointer until the canvas is clicked."""
        entry.click()
        time.sleep(1.0)
        if self.js("return window.app.graph.nodes.length") == 0:
            from selenium.webdriver.common.action_chains import ActionChains

            canvas = self.browser.find_element("css selector", "#graph-canvas")
            ActionChains(self.browser).move_to_element(canvas).click().perform()

    def visible(self, selector: str):
        """The first visible element of a CSS selector, or None."""
        elements = self.browser.find_elements("css selector", selector)
        return next((each for each in elements if each.is_displayed()), None)

    def load_template(self, name: str) -> None:
        """Choose a workflow of this pack in the template browser."""
        self.js("for (const node of window.app.graph.nodes) node.wasThereBefore = true")
        self.command("Comfy.BrowseTemplates")
        self.wait(lambda: self.labelled(PACK), "the template browser lists the pack").click()
        self.click(f'[data-testid="template-workflow-{name}"]', f"the template {name} is listed")
        loaded = "const nodes = window.app.graph.nodes; return nodes.length > 2 && nodes.every((each) => !each.wasThereBefore)"
        self.wait(
            lambda: self.js(loaded) and not self.visible('[data-testid="template-workflows-content"]'),
            f"the template {name} opens",
        )
        time.sleep(1.0)

    def labelled(self, label: str):
        """The innermost visible element with exactly this text."""
        found = self.browser.find_elements("xpath", f"//*[normalize-space(.)='{label}']")
        return next((each for each in reversed(found) if each.is_displayed()), None)

    def has_node(self, node_type: str) -> bool:
        return self.js("return window.app.graph.nodes.some((each) => each.type === arguments[0])", node_type)

    def pause(self, seconds: float) -> None:
        time.sleep(seconds)

    def red_nodes(self) -> list[str]:
        return self.js(RED_NODES)

    def set(self, node_type: str, widget: str, value: Any) -> None:
        self.js(SET_WIDGET, node_type, widget, value)

    def show(self, node_type: str, scale: float = 1.0) -> None:
        """Bring a node to the middle of the screen."""
        self.js(SHOW_NODE, node_type, scale)
        time.sleep(0.5)

    def run(self) -> None:
        """Press Run."""
        self.command("Comfy.QueuePrompt")

    def command(self, name: str) -> None:
        """Run one of the editor's commands."""
        self.js("window.app.extensionManager.command.execute(arguments[0])", name)

    def blank(self) -> None:
        """A workflow of its own, without a node."""
        self.command("Comfy.NewBlankWorkflow")
        self.wait(lambda: self.js("return window.app.graph.nodes.length === 0"), "an empty workflow", 20)
        time.sleep(0.5)

    def add(self, node_type: str, x: int, y: int, **widgets: Any) -> int:
        """Add a node with these widgets; returns its id."""
        return self.js(ADD_NODE, node_type, [x, y], widgets)

    def connect(self, source: int, output: int, target: int, name: str) -> None:
        """A wire from an output, by its number, to an input, by its name."""
        self.js(CONNECT, source, output, target, name)

    def prompt(self) -> dict[str, tuple[str, dict]]:
        """What the editor would queue: node id -> class and inputs."""
        script = "window.app.graphToPrompt().then((made) => arguments[0](made.output))"
        made = self.browser.execute_async_script(script)
        return {key: (node["class_type"], node["inputs"]) for key, node in made.items()}

    def setting(self, name: str, value: Any) -> None:
        settings = "window.app.extensionManager.setting"
        self.browser.execute_async_script(
            f"{settings}.set(arguments[0], arguments[1]).finally(arguments[2])", name, value
        )
        time.sleep(1.0)

    def shown_number(self, widget: str) -> str:
        """What Nodes 2.0 shows in the number field of a widget of the pack's Train node."""
        return self.visible(f'input[aria-label="{widget}"], [aria-label="{widget}"] input').get_attribute("value")

    # -- the training panel -------------------------------------------------------------

    def panel(self) -> str:
        """What the training panel says, "" if it is not on the page."""
        return self.js("return document.querySelector(arguments[0] + ' .acfun-status')?.textContent ?? ''", PANEL)

    def curve_points(self) -> int:
        """How many points the style curve has."""
        script = "return document.querySelector('polyline.acfun-style:not(.acfun-raw)')?.points.numberOfItems ?? 0"
        return self.js(script)

    def portraits(self) -> int:
        """How many portraits of the strip have been loaded."""
        script = (
            "return [...document.querySelectorAll('.acfun-strip img')].filter((each) => each.naturalWidth > 0).length"
        )
        return self.js(script)

    def unnamed_parts(self, panel: str = PANEL) -> list[str]:
        """Parts of a panel that a screen reader could not name."""
        return self.js(
            """
            const labels = (each) => [...(each.labels ?? [])].map((label) => label.textContent.trim()).join('');
            const named = (each) => each.getAttribute('aria-label') || each.alt || labels(each) || each.textContent.trim();
            const parts = '[role=group], [role=img], button, img, ul, a, input';
            const panel = document.querySelector(arguments[0]);
            const missing = [panel, ...panel.querySelectorAll(parts)].filter((each) => !named(each) && !each.title);
            return missing.map((each) => each.outerHTML.slice(0, 80));
            """,
            panel,
        )

    def press(self, label: str) -> None:
        """Press a button of the panel with the keyboard: focus it, then Enter."""
        buttons = self.browser.find_elements("css selector", f"{PANEL} button")
        button = next(each for each in buttons if each.text == label)
        self.wait(button.is_enabled, f"{label} can be pressed")
        self.js("arguments[0].focus()", button)
        assert self.js("return document.activeElement === arguments[0]", button)
        button.send_keys("\ue007")

    def errors_of_the_pack(self) -> list[str]:
        """Errors in the browser's console that come from this pack's scripts."""
        log = self.browser.get_log("browser")
        return [
            each["message"] for each in log if each["level"] == "SEVERE" and f"/extensions/{PACK}/" in each["message"]
        ]
