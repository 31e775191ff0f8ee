"""What all commands share: files that are whole or not there, progress, and results as text."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from ..errors import ACFunError


def new_parser(commands, name: str, summary: str, description: str, usage: str) -> argparse.ArgumentParser:
    """The parser of one command.

    Args:
        summary: its line in the list of commands.
        usage: what must be given, without the many options.
    """
    return commands.add_parser(
        name, help=summary, description=description, usage=f"acfun {name} {usage} [options]", allow_abbrev=False
    )


def add_common(parser: argparse.ArgumentParser) -> None:
    """Options of every command."""
    group = parser.add_argument_group("output")
    group.add_argument("--json", action="store_true", help="print one JSON object on standard output")
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
    except OSError as error:
        raise ACFunError(
            f"The folder {path.parent} cannot be written to: {error}.", "a writable folder", "choose another folder"
        ) from error
    return path


def save_png(picture: Image.Image, path: Path, texts: dict[str, str] | None = None) -> Path:
    """Write a PNG with text entries under a temporary name and rename it."""
    entries = PngInfo()
    for name, text in (texts or {}).items():
        entries.add_text(name, text)
    handle, temporary = tempfile.mkstemp(prefix=".", suffix=".partial", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            picture.save(file, "PNG", pnginfo=entries)
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except OSError as error:
        raise ACFunError(
            f"{path} could not be written: {error}.", "free disk space", "free some and try again"
        ) from error
    finally:
        Path(temporary).unlink(missing_ok=True)
    return path


class Progress:
    """A bar on standard error while a ``with`` block lasts.

    Args:
        title: what is being done.
        total: number of steps.
        quiet: show nothing.
    """

    def __init__(self, title: str, total: int, quiet: bool):
        self._make: Callable[[], Any] = lambda: _bar(title, total, quiet)
        self._bar: Any = None

    def __enter__(self) -> Progress:
        self._bar = self._make()
        return self

    def __exit__(self, *exception) -> None:
        self._bar.close()

    def step(self, note: str = "") -> None:
        """One step is done."""
        if note:
            self._bar.set_postfix_str(note, refresh=False)
        self._bar.update()


def _bar(title: str, total: int, quiet: bool) -> Any:
    try:
        from tqdm import tqdm
    except ImportError as error:
        raise ACFunError(f"tqdm cannot be imported: {error}.", "tqdm in this Python", "pip install tqdm") from error
    # In a log, a line every ten seconds is enough.
    interval = 0.1 if sys.stderr.isatty() else 10.0
    return tqdm(total=total, desc=title, disable=quiet, file=sys.stderr, mininterval=interval, dynamic_ncols=True)


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
