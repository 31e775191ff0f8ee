"""Servers start with clear errors and never outlive their owner; what a killed one was doing, another goes on with."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from acfun_core.training import state
from tools.comfy.client import ComfyClient, NodeError
from tools.comfy.graphs import node
from tools.comfy.install import REPO
from tools.comfy.server import ComfyServer, ServerError, group_is_gone

from ..noises import FEW, measured_on
from .test_nothing_lost import graph, live_events

OWNER = """
import sys, time
from pathlib import Path
from tools.comfy.install import REPO
from tools.comfy.server import ComfyServer
packs = {"ComfyUI-ACFun": REPO, "acfun-again": REPO, "process_probe": REPO / "tests" / "server" / "process_probe"}
with ComfyServer(packs, base_dir=Path(sys.argv[1])) as server:
    print(server.process.pid, server.url, flush=True)
    time.sleep(600)
"""
SETTINGS = {"seed": 81, "resolution": 64, "name": "killed"}

needs_process_groups = pytest.mark.skipif(os.name == "nt", reason="uses process groups")


@dataclass
class Killed:
    """What a server with two copies of this pack left that was killed, by its owner's end, in the middle of a training."""

    log: str
    adapters: Path
    gone: bool


@pytest.fixture(scope="module")
def killed(tmp_path_factory) -> Killed:
    folder = tmp_path_factory.mktemp("killed")
    adapters, log = folder / "models" / "acfun", folder / "server.log"
    owner = subprocess.Popen([sys.executable, "-c", OWNER, str(folder)], stdout=subprocess.PIPE, text=True, cwd=REPO)
    try:
        pid, url = owner.stdout.readline().split()
        with ComfyClient(url) as client:
            # Not after twenty seconds, as for users.
            client.run({**measured_on(FEW), "often": node("ProbeStateEvery", seconds=0.5)})
            client.queue(graph(steps=100_000, **SETTINGS))
            deadline = time.monotonic() + 400
            while not list(adapters.glob(".acfun-*.state")):
                assert time.monotonic() < deadline, log.read_text()[-3000:]
                time.sleep(0.1)
        owner.send_signal(signal.SIGKILL)
        return Killed(log.read_text(), adapters, group_is_gone(int(pid)))
    finally:
        owner.kill()
        owner.wait()
        owner.stdout.close()


@pytest.mark.server
@pytest.mark.slow
@needs_process_groups
def test_a_killed_owner_takes_its_server_along(killed):
    assert killed.gone


@pytest.mark.server
@needs_process_groups
def test_two_copies_of_the_pack_are_named(killed, comfy):
    assert "two copies of this pack" in killed.log and "acfun-again" in killed.log
    assert "workflow-templates is not" not in killed.log and "two copies" not in comfy.log()


@pytest.mark.server
@needs_process_groups
def test_a_full_disk_took_the_state_of_a_killed_training(killed, client, comfy):
    """It was taken for an error of the training itself, after which a state is of no use."""
    folder = comfy.folder("models/acfun")
    folder.mkdir(parents=True, exist_ok=True)
    [kept] = killed.adapters.glob(".acfun-*.state")
    shutil.copy2(kept, folder)
    client.run({"disk": node("ProbeDiskSpace", free=1_000)})
    try:
        with pytest.raises(NodeError, match="free disk space"):
            client.run(graph(steps=state.read(kept).step + 2, **SETTINGS))
        assert (folder / kept.name).is_file()
    finally:
        client.run({"disk": node("ProbeDiskSpace", free=-1)})
        (folder / kept.name).unlink(missing_ok=True)


@pytest.mark.server
@needs_process_groups
def test_the_node_goes_on_where_a_killed_server_stopped(killed, client, comfy):
    """The state is looked for by the inputs, in another process; more steps were asked for than the first one did."""
    folder = comfy.folder("models/acfun")
    folder.mkdir(parents=True, exist_ok=True)
    before = set(folder.iterdir())
    assert not list(killed.adapters.glob("killed*"))
    for path in killed.adapters.iterdir():
        shutil.copy2(path, folder)
    [kept] = killed.adapters.glob(".acfun-*.state")
    step = state.read(kept).step
    run = client.run(graph(steps=step + 2, **SETTINGS))
    last = live_events(run)[-1]
    assert (last["phase"], last["step"]) == ("finished", step + 2)
    assert f"up to step {step} before" in last["notice"] and len(last["style_loss"]) <= 2
    assert [path.name for path in set(folder.iterdir()) - before] == ["killed_00001.safetensors"]


@pytest.mark.server
def test_a_server_that_cannot_start_says_why(tmp_path):
    server = ComfyServer({}, extra_args=["--no-such-option"], base_dir=tmp_path)
    with pytest.raises(ServerError, match="no-such-option"):
        server.start()
    assert not server.alive
