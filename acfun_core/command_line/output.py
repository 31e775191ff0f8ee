"""What all commands share: files that are whole or not there, progress, and results as text."""

from __future__ import annotations

import argparse
import io
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from ..errors import ACFunError
from ..whole_files import clean, write

SECONDS_BETWEEN_LINES = 10.0
"""In a log there is a line at least so often, and while all goes well not much more often."""


def new_parser(commands, name: str, summary: str, description: str, usage: str) -> argparse.ArgumentParser:
    """The parser of one command.

    Args:
        summary: its line in the list of commands.
        usage: what must be given, without the many options.
    """
    return commands.add_parser(
        name, help=summary, description=description, usage=f"acfun {name} {usage} [options]", allow_abbrev=False
    )


def add_common(parser: argparse.ArgumentParser, json: str = "print one JSON object on standard output") -> None:
    """Options of every command.

    Args:
        json: what ``--json`` does.
    """
    group = parser.add_argument_group("output")
    group.add_argument("--json", action="store_true", help=json)
    group.add_argument("--quiet", action="store_true", help="no progress on standard error")


def add_out(parser: argparse.ArgumentParser, what: str, suffix: str) -> None:
    """``--out`` and ``--overwrite`` of commands that write a file."""
    parser.add_argument("--out", required=True, type=Path, metavar=f"FILE{suffix}", help=f"where {what} is written")
    parser.add_argument("--overwrite", action="store_true", help="replace --out if it is there")


def check_out(path: Path, suffix: str, overwrite: bool) -> Path:
    """Raise before any long work if a file cannot be written. -> the path."""
    if path.suffix.lower() != suffix:
        raise ACFunError(f"{path} does not end in {suffix}.", f"a file name that ends in {suffix}", f"add {suffix}")
    if path.exists() and not overwrite:
        raise ACFunError(f"{path} is there already.", "a new file name", "choose another or add --overwrite")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path.parent):
            pass
        clean(path.parent)
    except OSError as error:
        raise ACFunError(
            f"The folder {path.parent} cannot be written to: {error}.", "a writable folder", "choose another folder"
        ) from error
    return path


def save_png(picture: Image.Image, path: Path, texts: dict[str, str] | None = None, overwrite: bool = False) -> Path:
    """Write a PNG with text entries; whole or not there. -> the path it got: another number if the name was taken meanwhile.

    Args:
        overwrite: take the place of a file that is there.
    """
    entries = PngInfo()
    for name, text in (texts or {}).items():
        entries.add_text(name, text)
    return write(lambda written: picture.save(written, "PNG", pnginfo=entries), path, overwrite)


class Progress:
    """Progress on standard error while a ``with`` block lasts: a bar, and in a log at least a line every ten seconds.

    The bar begins with the first step that is done: what came before, such as loading and encoding, would make its estimate of
    the time left many times too long.

    Args:
        title: what is being done.
        total: number of steps.
        quiet: show nothing.
        form: of the bar, as tqdm's ``bar_format``; None is tqdm's own.
    """

    def __init__(self, title: str, total: int, quiet: bool, form: str | None = None):
        self._title, self._total, self._quiet, self._form = title, total, quiet, form
        self._bar: Any = None
        self._over = threading.Event()
        self._lock = threading.Lock()
        self._start = self._shown = time.monotonic()

    def __enter__(self) -> Progress:
        # Said before the work, which may be long, if it cannot be shown.
        self._tqdm = _tqdm()
        if not self._quiet:
            self.say(f"{self._title}: preparing ...")
            threading.Thread(target=self._signs_of_life, daemon=True, name="acfun-progress").start()
        return self

    def __exit__(self, *exception) -> None:
        self._over.set()
        with self._lock:
            if self._bar is not None:
                self._bar.close()

    def step(self, note: str = "", done: int | None = None) -> None:
        """One step is done.

        Args:
            done: how many are, where the first to be seen is not the first of all.
        """
        with self._lock:
            if self._bar is None:
                self._bar = self._begun(1 if done is None else done)
            else:
                self._bar.update(1 if done is None else done - self._bar.n)
            if note:
                self._bar.set_postfix_str(note, refresh=False)

    def say(self, sentence: str) -> None:
        """A line of its own."""
        if not self._quiet:
            self._tqdm.write(sentence, file=sys.stderr)
            self._shown = time.monotonic()

    def _begun(self, done: int) -> Any:
        # In a log, a line every ten seconds is enough.
        interval = 0.1 if sys.stderr.isatty() else SECONDS_BETWEEN_LINES
        settings = {"disable": self._quiet, "file": sys.stderr, "mininterval": interval, "dynamic_ncols": True}
        settings["bar_format"] = self._form
        return self._tqdm(total=self._total, initial=done, desc=self._title, **settings)

    def _signs_of_life(self) -> None:
        while not self._over.wait(1.0):
            with self._lock:
                if self._over.is_set():
                    return
                silent = time.monotonic() - self._shown
                if self._bar is not None:
                    silent = min(silent, time.time() - self._bar.last_print_t)
                if silent < SECONDS_BETWEEN_LINES - 1:
                    continue
                if self._bar is None:
                    self.say(f"{self._title}: still preparing, {time.monotonic() - self._start:.0f} s")
                else:
                    self._bar.refresh()
                    self._shown = time.monotonic()


def _tqdm() -> Any:
    try:
        from tqdm import tqdm
    except ImportError as error:
        raise ACFunError(f"tqdm cannot be imported: {error}.", "tqdm in this Python", "pip install tqdm") from error
    return tqdm


@contextmanager
def printable() -> Iterator[None]:
    """While active, a terminal shows a letter that its code page lacks as an escape, where Python would end with an error."""
    streams = [stream for stream in (sys.stdout, sys.stderr) if isinstance(stream, io.TextIOWrapper)]
    before = [stream.errors for stream in streams]
    for stream in streams:
        stream.reconfigure(errors="backslashreplace")
    try:
        yield
    finally:
        for stream, errors in zip(streams, before):
            stream.reconfigure(errors=errors)


def as_lines(result: Any, indent: str = "") -> Iterator[str]:
    """A JSON object for people: one ``name: value`` a line, nested ones indented."""
    for name, value in result.items():
        if isinstance(value, dict):
            yield f"{indent}{name}:"
            yield from as_lines(value, indent + "  ")
        elif isinstance(value, list) and value and all(isinstance(part, dict) for part in value):
            for part in value:
                yield f"{indent}{name}:"
                yield from as_lines(part, indent + "  ")
        else:
            text = ", ".join(map(str, value)) if isinstance(value, list) else value
            yield f"{indent}{name}: {'-' if value is None else text}"
