"""Settings shared by all tests, and one real ComfyUI server with this pack for those that need it."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tools.comfy.client import ComfyClient
from tools.comfy.install import REPO
from tools.comfy.server import ComfyServer, group_is_gone

from .noises import FEW, USERS, measured_on, measuring_on

PROBES = ("probe_pack", "method_probe", "process_probe", "weights_probe")
PROBE_PACKS = {
    **{name: Path(__file__).parent / "server" / name for name in PROBES},
    "combination_probe": REPO / "tools" / "comfy" / "probes" / "combination_probe",
}

LONG_FIRST = ("server", "backends", "batch", "tools", "benchmarks")
"""Folders with files that take long, the longest first."""


class RootIsNotAPackage:
    """The repository root has an ``__init__.py`` for ComfyUI; pytest must not import it as a test package."""

    @pytest.hookimpl(tryfirst=True)
    def pytest_collect_directory(self, path, parent):
        if path == parent.config.rootpath:
            return pytest.Dir.from_parent(parent, path=path)
        return None


def share_the_cores() -> None:
    """Torch reads it when it is imported, here and in the servers: more threads than cores make all of them wait."""
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", 1))
    if workers > 1:
        if "torch" in sys.modules:
            raise pytest.UsageError("torch was imported before it could be told how many threads to use")
        os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // workers)))


# Now: the files beside this one in the folders import torch, and so before anything is configured, where they are named.
share_the_cores()


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(RootIsNotAPackage(), "acfun-root-is-not-a-package")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything that uses the server carries its mark, so that ``-m 'not server'`` leaves it out; long files come first."""
    for item in items:
        if "comfy" in getattr(item, "fixturenames", ()):
            item.add_marker("server")
    # Two processes that share the files end at the same time if the short ones are left for the end.
    folders = {name: place for place, name in enumerate(LONG_FIRST)}
    items.sort(key=lambda item: folders.get(item.path.parent.name, len(folders)))


@pytest.fixture(scope="session", autouse=True)
def few_noises() -> Iterator[None]:
    with measuring_on(FEW):
        yield


@pytest.fixture
def users_noises() -> Iterator[None]:
    """For tests of what the measured loss says of a training."""
    with measuring_on(USERS):
        yield


@pytest.fixture(scope="module")
def users_noises_for_all() -> Iterator[None]:
    """The same, for all that follows in a file: what it shares is trained with it."""
    with measuring_on(USERS):
        yield


@pytest.fixture(scope="session")
def comfy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ComfyServer]:
    """The running server, with this repository linked as ``custom_nodes/ComfyUI-ACFun``."""
    log_path = tmp_path_factory.mktemp("comfy") / "server.log"
    packs = {"ComfyUI-ACFun": REPO, **PROBE_PACKS}
    with ComfyServer(packs, log_path=log_path) as server:
        process_group = server.process.pid
        with server.client() as client:
            client.run(measured_on(FEW))
        yield server
    assert group_is_gone(process_group), "the server left a process behind"


@pytest.fixture
def client(comfy: ComfyServer) -> Iterator[ComfyClient]:
    """A client of its own for each test."""
    with comfy.client() as client:
        yield client


@pytest.fixture
def users_noises_in_server(client: ComfyClient) -> Iterator[None]:
    """As :func:`users_noises`, for trainings in the server."""
    client.run(measured_on(USERS))
    yield
    client.run(measured_on(FEW))
