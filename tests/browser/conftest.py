"""One server and one browser for all tests of a process; they run only when asked for (make test-browser)."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tools.comfy.chromium import BrowserMissing, start_browser
from tools.comfy.editor import Editor
from tools.comfy.install import REPO
from tools.comfy.server import ComfyServer

PICTURES = REPO / "out" / "browser"
QUIET = {"Comfy.TutorialCompleted": True, "Comfy.Workflow.Persist": True, "Comfy.Locale": "en"}


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave this folder out unless it was named: it needs selenium and a browser, which not every machine has."""
    named = any("tests/browser" in str(argument).replace("\\", "/") for argument in config.args)
    return None if named else True


@pytest.fixture(scope="session", autouse=True)
def few_noises() -> None:
    """Nothing is trained in this process."""


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
