"""One real ComfyUI server with this pack, shared by all tests of the session."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from host.client import ComfyClient
from host.install import REPO
from host.server import ComfyServer, group_is_gone

PROBE_PACKS = {name: Path(__file__).with_name(name) for name in ("probe_pack", "method_probe")}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything that uses the server carries its mark, so that ``-m 'not server'`` leaves it out."""
    for item in items:
        if "comfy" in getattr(item, "fixturenames", ()):
            item.add_marker("server")


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
