"""One server and one browser for all tests; they run only when asked for (make test-browser)."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from host.install import REPO
from host.server import ComfyServer

from .chromium import BrowserMissing, start_browser
from .editor import Editor

HERE = Path(__file__).parent
PICTURES = REPO / "out" / "browser"
QUIET = {"Comfy.TutorialCompleted": True, "Comfy.Workflow.Persist": True, "Comfy.Locale": "en"}


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave these tests out unless their folder was named: they need a browser, which not every machine has."""
    named = any(str(argument).replace("\\", "/").rstrip("/").find("tests/browser") >= 0 for argument in config.args)
    ours = [item for item in items if HERE in Path(item.path).parents]
    if ours and not named:
        items[:] = [item for item in items if item not in ours]
        config.hook.pytest_deselected(items=ours)


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory):
    """The server; FRONTEND=folder tries another frontend, the ``static`` folder of a comfyui-frontend-package."""
    other = os.environ.get("FRONTEND")
    arguments = ["--front-end-root", other] if other else []
    log_path = tmp_path_factory.mktemp("browser") / "server.log"
    with ComfyServer(extra_args=arguments, log_path=log_path) as server, server.client() as client:
        client.request("/settings", QUIET)
        yield server


@pytest.fixture(scope="session")
def browser():
    try:
        browser = start_browser()
    except BrowserMissing as missing:
        pytest.fail(str(missing), pytrace=False)
    yield browser
    browser.quit()


@pytest.fixture(scope="session")
def tab(server, browser) -> Editor:
    editor = Editor(browser, server.url, PICTURES)
    editor.open()
    return editor


@pytest.fixture
def editor(tab) -> Editor:
    """The one tab, opened anew only where a test left it unusable: opening takes longer than most tests."""
    if not tab.ready():
        tab.open()
    return tab
