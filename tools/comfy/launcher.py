"""Runs inside the server process: prepares the interpreter, then runs ComfyUI's ``main.py``.

Usage: ``python launcher.py COMFY_DIR [arguments of main.py ...]``, with a pipe as standard
input. The process ends when that pipe closes, so that a server never outlives its owner.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import importlib.util
import os
import runpy
import signal
import sys
import threading
import types
from pathlib import Path


def end_with_owner() -> None:
    """End this process (and its group, if it leads one) as soon as standard input reaches its end."""

    def watch() -> None:
        while os.read(0, 4096):
            pass
        if hasattr(os, "killpg") and os.getpgrp() == os.getpid():
            os.killpg(0, signal.SIGKILL)
        os._exit(1)

    threading.Thread(target=watch, daemon=True, name="end-with-owner").start()


class BeforeTorchvision(importlib.abc.MetaPathFinder):
    """Defines torchvision's operators at the moment somebody looks for torchvision, not earlier.

    ComfyUI wants to set up its memory allocator before torch is imported.
    """

    def find_spec(self, fullname, path=None, target=None):
        if fullname == "torchvision":
            sys.meta_path.remove(self)
            define_torchvision_operators()
        return None


def define_torchvision_operators() -> None:
    """Let torchvision import beside a torch build that its compiled operators do not fit.

    torchvision registers shape functions for ``nms`` and ``qnms`` at import and fails if the
    operators are unknown. Where the compiled library loads, it defines them and we must not.
    """
    import torch

    if hasattr(torch, "_acfun_torchvision_schemas"):
        return
    spec = importlib.util.find_spec("torchvision")
    if spec is None or not spec.submodule_search_locations:
        return
    folder = Path(spec.submodule_search_locations[0])
    libraries = sorted(folder.glob("_C*.so")) + sorted(folder.glob("_C*.pyd"))
    try:
        for library in libraries:
            torch.ops.load_library(str(library))
        if libraries:
            return
    except (OSError, RuntimeError):
        pass
    fragment = torch.library.Library("torchvision", "FRAGMENT")
    fragment.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    fragment.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    # The definitions live as long as the object does.
    torch._acfun_torchvision_schemas = fragment


def stand_in_for_torchaudio() -> None:
    """Newer ComfyUI versions import torchaudio unconditionally; an empty module is enough for pictures."""
    if importlib.util.find_spec("torchaudio") is not None:
        return
    for name in ("torchaudio", "torchaudio.functional", "torchaudio.transforms"):
        module = types.ModuleType(name)
        module.__spec__ = importlib.machinery.ModuleSpec(name, loader=None, is_package=name == "torchaudio")
        module.__path__ = []
        sys.modules[name] = module
        parent, _, child = name.rpartition(".")
        if parent:
            setattr(sys.modules[parent], child, module)


def stand_in_for_templates() -> None:
    """ComfyUI logs a boxed error where its own workflow templates are not installed; an empty folder of them is enough."""
    if importlib.util.find_spec("comfyui_workflow_templates") is None:
        sys.path.append(str(Path(__file__).resolve().parent / "stand_in"))


def comfy_on_path(comfy_dir: Path) -> None:
    """Let this process import ComfyUI's modules, before any of the same name (nodes, server)."""
    sys.path.insert(0, str(comfy_dir))


def main() -> None:
    comfy_dir = Path(sys.argv[1]).resolve()
    end_with_owner()
    os.chdir(comfy_dir)
    # The folder of this script must not stay on the path: it holds a server.py, as ComfyUI does.
    del sys.path[0]
    comfy_on_path(comfy_dir)
    sys.argv = [str(comfy_dir / "main.py"), *sys.argv[2:]]
    sys.meta_path.insert(0, BeforeTorchvision())
    stand_in_for_torchaudio()
    stand_in_for_templates()
    runpy.run_path(sys.argv[0], run_name="__main__")


if __name__ == "__main__":
    main()
