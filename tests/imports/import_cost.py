"""Import the pack as ComfyUI does at its start, in a fresh process, and tell what that cost.

Usage: ``python -m tests.imports.import_cost`` prints JSON: seconds, modules that came new, files that were opened. By hand it
measures the time; the test beside it checks the rest.
"""

from __future__ import annotations

import asyncio
import importlib
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tools.comfy.brought import host_environment
from tools.comfy.install import ensure_comfy
from tools.comfy.launcher import comfy_on_path, define_torchvision_operators, stand_in_for_torchaudio

REPO = Path(__file__).resolve().parents[2]
WEIGHTS = (".safetensors", ".ckpt", ".pt", ".pth", ".bin", ".onnx", ".gguf")


def measure(pack: Path = REPO) -> dict:
    """In a new process with ComfyUI's own modules loaded: import the pack, ask for its nodes and their schemas."""
    command = [sys.executable, "-m", "tests.imports.import_cost", "inside", str(pack)]
    environment = {**os.environ, **host_environment()}
    done = subprocess.run(command, capture_output=True, text=True, cwd=REPO, timeout=300, env=environment)
    if done.returncode != 0:
        raise RuntimeError(f"the pack could not be imported:\n{done.stdout}\n{done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])


def load_host(user: str) -> None:
    """Import what a ComfyUI server has imported before it loads custom nodes.

    Args:
        user: the folder for input, output and models.
    """
    comfy_on_path(ensure_comfy())
    sys.argv = ["main.py", "--cpu", "--base-directory", user]
    import comfy.options

    comfy.options.enable_args_parsing()
    define_torchvision_operators()
    stand_in_for_torchaudio()
    # In the order of main.py: later "utils" would mean another module.
    for name in ("utils.extra_config", "execution", "server", "nodes"):
        importlib.import_module(name)


def inside(folder: Path, user: str) -> None:
    load_host(user)
    opened: list[str] = []

    def watch(event: str, arguments: tuple) -> None:
        if event == "open" and str(arguments[0]).lower().endswith(WEIGHTS):
            opened.append(str(arguments[0]))

    sys.addaudithook(watch)
    before = set(sys.modules)
    start = time.perf_counter()
    spec = importlib.util.spec_from_file_location(
        "acfun_pack", folder / "__init__.py", submodule_search_locations=[str(folder)]
    )
    pack = importlib.util.module_from_spec(spec)
    sys.modules["acfun_pack"] = pack
    spec.loader.exec_module(pack)
    extension = asyncio.run(pack.comfy_entrypoint())
    nodes = asyncio.run(extension.get_node_list())
    for node in nodes:
        node.GET_SCHEMA()
    seconds = time.perf_counter() - start
    new = sorted(set(sys.modules) - before)
    print(json.dumps({"seconds": round(seconds, 3), "nodes": len(nodes), "modules": new, "weights_opened": opened}))


if __name__ == "__main__":
    if sys.argv[1:2] == ["inside"]:
        with tempfile.TemporaryDirectory() as user:
            inside(Path(sys.argv[2]), user)
    else:
        result = measure()
        others = [name for name in result["modules"] if not name.startswith("acfun_pack")]
        print(f"{result['nodes']} nodes in {result['seconds']} s; {len(others)} modules of others: {', '.join(others)}")
