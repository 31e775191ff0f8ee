"""Settings shared by all tests, and one real ComfyUI server with this pack for those that need it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tools.comfy.client import ComfyClient
from tools.comfy.install import REPO
from tools.comfy.server import ComfyServer, group_is_gone

PROBE_PACKS = {
    **{name: Path(__file__).parent / "server" / name for name in ("probe_pack", "method_probe", "weights_probe")},
    "combination_probe": REPO / "tools" / "comfy" / "probes" / "combination_probe",
}

LONG_FIRST = {"server", "backends"}
"""Folders of tests whose files take longest."""


class RootIsNotAPackage:
    """The repository root has an ``__init__.py`` for ComfyUI; pytest must not import it as a test package."""

    @pytest.hookimpl(tryfirst=True)
    def pytest_collect_directory(self, path, parent):
        if path == parent.config.rootpath:
            return pytest.Dir.from_parent(parent, path=path)
        return None


def pytest_configure(config: pytest.Config) -> None:
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", 1))
    if workers > 1:
        # Read by torch when it is imported, here and in the servers: more threads than cores make all of them wait.
        os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // workers)))
    config.pluginmanager.register(RootIsNotAPackage(), "acfun-root-is-not-a-package")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything that uses the server carries its mark, so that ``-m 'not server'`` leaves it out; long files come first."""
    for item in items:
        if "comfy" in getattr(item, "fixturenames", ()):
            item.add_marker("server")
    # Two processes that share the files end at the same time if the short ones are left for the end.
    items.sort(key=lambda item: item.path.parent.name not in LONG_FIRST)


@pytest.fixture(scope="session")
def comfy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ComfyServer]:
    """The running server, with this repository linked as ``custom_nodes/ComfyUI-ACFun``."""
    log_path = tmp_path_factory.mktemp("comfy") / "server.log"
    packs = {"ComfyUI-ACFun": REPO, **PROBE_PACKS}
    with ComfyServer(packs, log_path=log_path) as server:
        process_group = server.process.pid
        yield server
    assert group_is_gone(process_group), "the server left a process behind"


@pytest.fixture
def client(comfy: ComfyServer) -> Iterator[ComfyClient]:
    """A client of its own for each test."""
    with comfy.client() as client:
        yield client
