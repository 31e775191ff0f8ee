"""Servers start with clear errors and never outlive their owner."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys

import pytest

from tools.comfy.install import REPO
from tools.comfy.server import ComfyServer, ServerError, group_is_gone

OWNER = """
import time
from tools.comfy.install import REPO
from tools.comfy.server import ComfyServer
with ComfyServer({}) as server:
    print(server.process.pid, server.base_dir, flush=True)
    time.sleep(600)
"""


@pytest.mark.server
@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="uses process groups")
def test_a_killed_owner_takes_its_server_along():
    owner = subprocess.Popen([sys.executable, "-c", OWNER], stdout=subprocess.PIPE, text=True, cwd=REPO)
    try:
        pid, base_dir = owner.stdout.readline().split(maxsplit=1)
        owner.send_signal(signal.SIGKILL)
        assert group_is_gone(int(pid))
        shutil.rmtree(base_dir.strip())
    finally:
        owner.kill()
        owner.wait()
        owner.stdout.close()


@pytest.mark.server
def test_a_server_that_cannot_start_says_why(tmp_path):
    server = ComfyServer({}, extra_args=["--no-such-option"], base_dir=tmp_path)
    with pytest.raises(ServerError, match="no-such-option"):
        server.start()
    assert not server.alive
