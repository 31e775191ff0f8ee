"""Packages that a ComfyUI which the user brings (``COMFYUI=folder make test``) wants and the environment lacks.

They go into a folder of their own in ``.cache``, which only the processes of that ComfyUI have on their path: ``.venv`` stays
as it is. Left out are torch and its companions, whose pinned CPU builds the environment has, and ComfyUI's own templates and
help pages, hundreds of megabytes that no test looks at (:mod:`tools.comfy.launcher` stands in for them).

Usage: ``python -m tools.comfy.brought`` installs what ``COMFYUI`` wants and prints where.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import os
import shutil
import subprocess
import sys
from pathlib import Path

from packaging.requirements import Requirement

from .install import CACHE, LOG, SetupError, brought_comfy, ensure_comfy, host_version, run_step, say

NOT_INSTALLED = ("torch", "torchvision", "torchaudio", "comfyui-workflow-templates", "comfyui-embedded-docs")


def is_there(requirement: Requirement) -> bool:
    """True if the running environment has the package in a version that the requirement allows."""
    try:
        found = importlib.metadata.version(requirement.name)
    except importlib.metadata.PackageNotFoundError:
        return False
    return requirement.specifier.contains(found, prereleases=True)


def wanted_packages(comfy: Path) -> list[str]:
    """Lines of the folder's ``requirements.txt`` that the running environment does not fulfil."""
    lines = (comfy / "requirements.txt").read_text(encoding="utf-8").splitlines()
    named = [Requirement(line) for line in (each.partition("#")[0].strip() for each in lines) if line]
    named = [each for each in named if each.name not in NOT_INSTALLED and (not each.marker or each.marker.evaluate())]
    return sorted(str(each) for each in named if not is_there(each))


@functools.cache
def ensure_packages() -> Path | None:
    """Install what the brought ComfyUI wants, once for its version and list; None if nothing is wanted or none is brought.

    Raises:
        SetupError: pip failed; the message holds the end of its output.
    """
    comfy = brought_comfy()
    packages = wanted_packages(comfy) if comfy else []
    if not packages:
        return None
    key = hashlib.sha256("\n".join([*packages, str(sys.version_info[:2])]).encode()).hexdigest()[:8]
    folder = CACHE / f"comfyui-{'.'.join(map(str, host_version()))}-packages-{key}"
    if folder.is_dir():
        return folder
    CACHE.mkdir(parents=True, exist_ok=True)
    partial = folder.with_name(f"{folder.name}.{os.getpid()}.tmp")
    pip = [sys.executable, "-m", "pip", "install", "--disable-pip-version-check", "--no-input", "--progress-bar", "off"]
    run_step(f"installing {', '.join(packages)}", [*pip, "--no-deps", "--target", str(partial), *packages])
    try:
        partial.rename(folder)
    except OSError:
        # Another process was faster; its folder is as good as ours.
        shutil.rmtree(partial, ignore_errors=True)
    return folder


def host_environment() -> dict[str, str]:
    """Environment variables for a process that imports the ComfyUI of :func:`~tools.comfy.install.ensure_comfy`.

    Empty for the pinned one. A brought folder is only read: what Python compiles goes elsewhere.
    """
    if brought_comfy() is None:
        return {}
    packages = ensure_packages()
    path = {"PYTHONPATH": str(packages)} if packages else {}
    return {**path, "PYTHONPYCACHEPREFIX": str(CACHE / "pycache-of-brought")}


def main() -> int:
    try:
        say(f"ComfyUI {'.'.join(map(str, host_version()))} in {ensure_comfy()}, its packages in {ensure_packages()}")
    except (SetupError, OSError, subprocess.SubprocessError) as error:
        print(f"[setup] {error}", file=sys.stderr)
        print(f"[setup] log: {LOG}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
