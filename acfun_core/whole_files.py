"""Files that are whole or not there, and that never take the place of another one unasked.

A file is written beside its place under a name of its own and moved there when it is whole. A process that is killed while it
writes leaves that piece behind; the next start that works in the folder removes it.
"""

from __future__ import annotations

import os
import re
import tempfile
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from socket import gethostname

from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from .errors import ACFunError

SECONDS_A_DAY = 86_400
_HOST = f"{zlib.crc32(gethostname().encode()):08x}"
_PIECE = re.compile(r"\.acfun-([0-9a-f]{8})-(\d+)-\w+\.partial")
_NUMBERED = re.compile(r"(.*_)(\d{5})")


@contextmanager
def piece(folder: Path) -> Iterator[Path]:
    """An empty file in ``folder`` to write into; gone afterwards unless it was moved away.

    Its name says which process of which machine writes it, for :func:`clean`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".acfun-{_HOST}-{os.getpid()}-", suffix=".partial", dir=folder)
    os.close(handle)
    try:
        yield Path(name)
    finally:
        Path(name).unlink(missing_ok=True)


def put(written: Path, path: Path, overwrite: bool) -> Path:
    """Move a whole file to its place. -> the path it got.

    Args:
        overwrite: take the place of a file that is there; without it, the next free number is added to the name.

    Raises:
        OSError: the folder cannot be written to.
    """
    if overwrite:
        os.replace(written, path)
        return path
    while not _put_new(written, path):
        path = next_name(path)
    return path


def _put_new(written: Path, path: Path) -> bool:
    """Move a file to a name that nothing has, in one step that fails where something has it. -> whether it did not."""
    try:
        os.link(written, path)
        return True
    except FileExistsError:
        return False
    except OSError:
        # A file system without hard links: the name is taken with an empty file first, which is ours to replace.
        try:
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
        except FileExistsError:
            return False
    try:
        os.replace(written, path)
    except OSError:
        path.unlink(missing_ok=True)
        raise
    return True


def next_name(path: Path) -> Path:
    """``style.png`` -> ``style_00001.png`` -> ``style_00002.png``."""
    numbered = _NUMBERED.fullmatch(path.stem)
    stem, number = (numbered[1], int(numbered[2])) if numbered else (f"{path.stem}_", 0)
    return path.with_name(f"{stem}{number + 1:05}{path.suffix}")


def write_whole(
    tensors: dict[str, Tensor], metadata: dict[str, str], path: str | Path, overwrite: bool = False
) -> Path:
    """Write a safetensors file. -> the path it got: another number if the name was taken and must not be overwritten.

    Raises:
        ACFunError: the folder cannot be written to or the disk is full; nothing is left behind.
    """
    return write(lambda written: save_file(tensors, written, metadata), path, overwrite)


def write(fill: Callable[[Path], None], path: str | Path, overwrite: bool = False) -> Path:
    """As :func:`write_whole` for any kind of file.

    Args:
        fill: writes the content to the path it is given.
    """
    path = Path(path)
    try:
        with piece(path.parent) as written:
            fill(written)
            # Afterwards: safetensors puts a new file there.
            os.chmod(written, 0o666 & ~_umask())
            return put(written, path, overwrite)
    # safetensors wraps the operating system's errors in its own type.
    except (OSError, SafetensorError) as error:
        raise ACFunError(
            f"{path.name} could not be written to {path.parent}: {error}.",
            "a writable folder with free space",
            "free disk space or change the folder's permissions, then try again",
        ) from error


def clean(folder: Path, now: float | None = None) -> list[Path]:
    """Remove what killed processes left half-written in a folder. -> what was removed.

    Only pieces that :func:`piece` made: those of processes of this machine that run no more, others after a day.
    """
    now = time.time() if now is None else now
    removed = []
    for path in folder.glob(".acfun-*.partial"):
        try:
            if _abandoned(path, now):
                path.unlink()
                removed.append(path)
        except OSError:
            # Somebody else was faster, or it is not ours to remove.
            continue
    return removed


def _abandoned(path: Path, now: float) -> bool:
    named = _PIECE.fullmatch(path.name)
    if named is None:
        return False
    host, pid = named[1], int(named[2])
    # On Windows asking after a process would end it.
    if os.name == "posix" and host == _HOST and pid != os.getpid():
        return not _runs(pid)
    return now - path.stat().st_mtime > SECONDS_A_DAY


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def _umask() -> int:
    """The permissions that the user's new files lack; temporary files lack more."""
    umask = os.umask(0o077)
    os.umask(umask)
    return umask
