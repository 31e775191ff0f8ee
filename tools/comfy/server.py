"""One ComfyUI server process on the loopback interface, with its own folders."""

from __future__ import annotations

import atexit
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path

from .brought import host_environment
from .client import ComfyClient
from .install import REPO, ensure_comfy

# Folders that a copy of the pack does not need (used only where symbolic links fail).
NOT_LINKED = (".git", ".venv", ".cache", "out", "__pycache__", ".pytest_cache")
HOST = "127.0.0.1"


class ServerError(RuntimeError):
    """The server did not start or has ended; the message holds the end of its log."""


def free_port() -> int:
    """A loopback TCP port that nobody listens on right now."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return probe.getsockname()[1]


def link_pack(source: Path, target: Path) -> None:
    """Put a node pack under ``custom_nodes`` the way a user would: a link, or a copy where links fail."""
    try:
        target.symlink_to(source.resolve(), target_is_directory=True)
    except OSError:
        shutil.copytree(source, target, ignore=shutil.ignore_patterns(*NOT_LINKED))


def group_is_gone(process_group: int, within: float = 15.0) -> bool:
    """True as soon as no process of the group is left (POSIX only; True elsewhere)."""
    if not hasattr(os, "killpg"):
        return True
    deadline = time.monotonic() + within
    while time.monotonic() < deadline:
        try:
            os.killpg(process_group, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.1)
    return False


class ComfyServer:
    """Context manager: start a server, wait until it answers, stop it and everything it started.

    Args:
        packs: node packs to load, folder name under ``custom_nodes`` -> source folder.
            The default is this repository.
        extra_args: further arguments of ComfyUI's ``main.py``.
        env: environment variables set on top of the current ones.
        base_dir: holds models, input, output, user and custom_nodes. The default is a
            temporary folder that is removed at the end; a given folder is kept.
        log_path: where the server's output goes; the default is ``base_dir/server.log``.
        start_timeout: seconds until the server must answer.
        python: the interpreter to run ComfyUI with; the default is the running one.
        cpu: compute on the CPU whatever there is.
    """

    def __init__(
        self,
        packs: Mapping[str, Path] | None = None,
        *,
        extra_args: Sequence[str] = (),
        env: Mapping[str, str] | None = None,
        base_dir: Path | None = None,
        log_path: Path | None = None,
        start_timeout: float = 300.0,
        python: str | Path = sys.executable,
        cpu: bool = True,
    ):
        self.packs = {"ComfyUI-ACFun": REPO} if packs is None else dict(packs)
        self.extra_args = list(extra_args)
        self.env = dict(env or {})
        self.start_timeout = start_timeout
        self.python = str(python)
        self.cpu = cpu
        self.port: int | None = None
        self.process: subprocess.Popen | None = None
        self._given_base_dir = base_dir
        self._given_log_path = log_path
        self._log_file = None

    # -- life cycle ---------------------------------------------------------------------

    def start(self) -> ComfyServer:
        """Start the process and return once it answers; on failure stop it and raise :class:`ServerError`."""
        comfy_dir = ensure_comfy()
        self._make_folders()
        self.port = free_port()
        atexit.register(self.stop)
        self._log_file = self.log_path.open("wb")
        command = [self.python, str(Path(__file__).with_name("launcher.py")), str(comfy_dir), *self._arguments()]
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=self._log_file,
            stderr=subprocess.STDOUT,
            env=self._environment(),
            start_new_session=os.name != "nt",
        )
        try:
            self._wait_until_ready()
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self, grace: float = 10.0) -> None:
        """Stop the server: SIGTERM, after ``grace`` seconds SIGKILL, to the whole process group."""
        atexit.unregister(self.stop)
        process, self.process = self.process, None
        if process is not None:
            self._signal_group(process, signal.SIGTERM)
            try:
                process.wait(grace)
            except subprocess.TimeoutExpired:
                pass
            # Also reaches children that ignored the first signal, and a server that did.
            self._signal_group(process, getattr(signal, "SIGKILL", signal.SIGTERM))
            process.wait(30)
            process.stdin.close()
        if self._log_file is not None:
            self._log_file.close()
            self._log_file = None
        if self._given_base_dir is None and getattr(self, "base_dir", None) is not None:
            shutil.rmtree(self.base_dir, ignore_errors=True)

    def __enter__(self) -> ComfyServer:
        return self.start()

    def __exit__(self, *exc_info) -> None:
        self.stop()

    # -- what callers use ---------------------------------------------------------------

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.port}"

    @property
    def alive(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def client(self) -> ComfyClient:
        """A new client with a websocket of its own; close it or use it as a context manager."""
        return ComfyClient(self.url)

    def log(self) -> str:
        """Everything the server has printed so far."""
        return self.log_path.read_text(encoding="utf-8", errors="replace")

    def folder(self, name: str) -> Path:
        """One of the server's folders: ``models/loras``, ``input``, ``output``, ``custom_nodes`` ..."""
        return self.base_dir / name

    # -- details ------------------------------------------------------------------------

    def _make_folders(self) -> None:
        given = self._given_base_dir
        self.base_dir = Path(given) if given else Path(tempfile.mkdtemp(prefix="acfun-comfy-"))
        for name in ("custom_nodes", "input", "output", "temp", "user", "models"):
            self.folder(name).mkdir(parents=True, exist_ok=True)
        self.log_path = Path(self._given_log_path or self.base_dir / "server.log")
        self.log_path.parent.mkdir(parents=True, exist_ok=True)
        for name, source in self.packs.items():
            target = self.folder("custom_nodes") / name
            if not target.exists():
                link_pack(Path(source), target)

    def _arguments(self) -> list[str]:
        database = (self.base_dir / "user" / "comfyui.db").as_posix()
        fixed = ["--cpu"] if self.cpu else []
        fixed += ["--listen", HOST, "--port", str(self.port), "--base-directory", str(self.base_dir)]
        # API nodes talk to a paid service; a test host has no business with them.
        fixed += ["--database-url", f"sqlite:///{database}", "--disable-auto-launch", "--disable-api-nodes"]
        return fixed + self.extra_args

    def _environment(self) -> dict[str, str]:
        """The caller's environment, thread settings included, with every model hub switched off."""
        offline = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "PYTHONUNBUFFERED": "1"}
        env = {**os.environ, **offline, **self.env}
        env.pop("PYTHONPATH", None)
        return {**env, **host_environment()}

    def _wait_until_ready(self) -> None:
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        deadline = time.monotonic() + self.start_timeout
        while time.monotonic() < deadline:
            if not self.alive:
                raise ServerError(f"ComfyUI ended while starting (exit {self.process.returncode}):\n{self._log_tail()}")
            try:
                with opener.open(f"{self.url}/system_stats", timeout=10):
                    return
            except OSError:
                time.sleep(0.25)
        raise ServerError(f"ComfyUI did not answer within {self.start_timeout:.0f} s:\n{self._log_tail()}")

    def _log_tail(self, lines: int = 40) -> str:
        return "\n".join(self.log().splitlines()[-lines:])

    @staticmethod
    def _signal_group(process: subprocess.Popen, number: int) -> None:
        try:
            if hasattr(os, "killpg"):
                os.killpg(process.pid, number)
            else:
                process.terminate()
        except (ProcessLookupError, PermissionError):
            pass
