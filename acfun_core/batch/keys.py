"""Names made of content: two pieces of work share a name only if they are given the same, whatever their files are called."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path
from typing import Any

from .. import __version__
from ..backends.chosen import AUTO, ChosenBase
from .folders import read_file

DIGITS = 32
READERS = 8
"""Pictures that are read at once: at a far address most of the time is waiting."""
WORK = 1
"""Raised when the same inputs are to give another picture than before."""
_BASE_FILES = (".safetensors", ".json", ".txt")


def key_of(**told: Any) -> str:
    """:data:`DIGITS` hexadecimal digits that stand for these values and for the version of the software."""
    whole = json.dumps({"version": __version__, "work": WORK, **told}, sort_keys=True)
    return hashlib.sha256(whole.encode()).hexdigest()[:DIGITS]


def digest_of(content: bytes) -> str:
    """The same for the bytes of a file."""
    return hashlib.sha256(content).hexdigest()[:DIGITS]


def digests_of(addresses: Iterable[str], on_failure: Callable[[str, Exception], None]) -> dict[str, str]:
    """Address -> digest of the files there, each read once.

    Args:
        on_failure: told of each that cannot be read; it is left out.
    """

    def digest(address: str) -> str | Exception:
        try:
            return digest_of(read_file(address))
        # The libraries behind fsspec have errors of their own; the row is told.
        except Exception as error:
            return error

    addresses, found = list(dict.fromkeys(addresses)), {}
    with ThreadPoolExecutor(READERS) as readers:
        for address, told in zip(addresses, readers.map(digest, addresses)):
            if isinstance(told, Exception):
                on_failure(address, told)
            else:
                found[address] = told
    return found


def identity_of(chosen: ChosenBase) -> str:
    """What stands for a base: its weights and settings to the last byte, and the precision that was asked for.

    The device is left out: the same work on another kind of device is the same work, if not to the last bit.
    """
    files = {
        role: _digest_below(path)
        for role, path in (("base", chosen.path), ("vision", chosen.clip_vision), ("tokenizer", chosen.tokenizer))
        if path is not None
    }
    # What a device picks by itself is as much its own as its last bits.
    dtype = "float32" if chosen.dtype == AUTO else chosen.dtype
    return key_of(files=files, prediction=chosen.prediction, zero_snr=chosen.zero_snr, dtype=dtype)


@lru_cache(maxsize=8)
def _digest_below(path: Path) -> str:
    whole = hashlib.sha256()
    files = sorted(path.rglob("*")) if path.is_dir() else [path]
    for file in files:
        if not file.is_file() or file.suffix not in _BASE_FILES:
            continue
        whole.update(f"{file.relative_to(path).as_posix()};{file.stat().st_size};".encode())
        with open(file, "rb") as opened:
            while part := opened.read(2**22):
                whole.update(part)
    return whole.hexdigest()
