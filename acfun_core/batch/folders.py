"""A folder on this disk, or at an address such as ``s3://bucket/folder`` that fsspec knows. A file is whole or not there."""

from __future__ import annotations

import os
import re
import uuid
from abc import ABC, abstractmethod
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from ..errors import ACFunError
from ..whole_files import clean, write
from .extras import needed

_PROTOCOL = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]+://")
WHOLE_BY_THEMSELVES = ("s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "adl", "memory")
"""Stores whose objects appear when their last byte has arrived; on others a file is written beside its place and moved."""


def is_remote(address: str) -> bool:
    """Whether an address is not simply a path of this machine."""
    return bool(_PROTOCOL.match(address)) and not address.startswith("file://")


def joined(folder: str, name: str) -> str:
    """The address of ``name`` as seen from a folder; an address or an absolute path stays what it is."""
    if is_remote(name) or os.path.isabs(name):
        return name
    # Whole, since another process has another working folder. By os.path: thousands of rows would wait for pathlib.
    return f"{folder.rstrip('/')}/{name}" if is_remote(folder) else os.path.join(os.path.abspath(folder), name)


def parent(address: str) -> str:
    """The folder that something lies in."""
    return address.rpartition("/")[0] if is_remote(address) else str(Path(address).resolve().parent)


class Folder(ABC):
    """Files under one address. Names have forward slashes.

    Attributes:
        address: as it was given.
    """

    address: str

    @abstractmethod
    def read(self, name: str) -> bytes:
        """The content of a file.

        Raises:
            OSError: there is none, or it cannot be read.
        """

    @abstractmethod
    def write(self, name: str, content: bytes) -> None:
        """Write a file, in the place of one that is there; readers see the old one or the new one, never a part.

        Raises:
            ACFunError: the folder cannot be written to.
        """

    @abstractmethod
    def sizes(self, below: str) -> dict[str, int]:
        """Name -> bytes of the files in one folder below this one; empty if there is no such folder."""

    @abstractmethod
    def move(self, name: str, to: str) -> None:
        """Give a file another name."""

    @abstractmethod
    def remove(self, name: str) -> None:
        """Remove a file, if it is there."""

    def read_all(self, names: Iterable[str]) -> dict[str, bytes]:
        """The contents of many small files."""
        return {name: self.read(name) for name in names}

    def address_of(self, name: str) -> str:
        return joined(self.address, name)


class LocalFolder(Folder):
    """On a disk of this machine, or on one that it shares."""

    def __init__(self, address: str | Path):
        self.address = str(address).removeprefix("file://")
        self._root = Path(self.address)

    def read(self, name: str) -> bytes:
        return (self._root / name).read_bytes()

    def write(self, name: str, content: bytes) -> None:
        write(lambda written: written.write_bytes(content), self._root / name, overwrite=True)

    def sizes(self, below: str) -> dict[str, int]:
        folder = self._root / below
        if not folder.is_dir():
            return {}
        # What killed processes left half-written goes with the next look.
        clean(folder)
        with os.scandir(folder) as entries:
            return {
                f"{below}/{entry.name}" if below else entry.name: entry.stat().st_size
                for entry in entries
                if entry.is_file() and not entry.name.startswith(".")
            }

    def move(self, name: str, to: str) -> None:
        os.replace(self._root / name, self._root / to)

    def remove(self, name: str) -> None:
        (self._root / name).unlink(missing_ok=True)


class RemoteFolder(Folder):
    """At an address that fsspec knows.

    Raises:
        ACFunError: fsspec, or the library for this kind of address, is missing.
    """

    def __init__(self, address: str):
        self.address = address.rstrip("/")
        fsspec = needed("fsspec", f"{address} cannot be reached")
        try:
            self._files, self._root = fsspec.core.url_to_fs(self.address)
        except (ImportError, ValueError) as error:
            raise ACFunError(
                f"{address} cannot be reached: {error}.",
                "an address whose kind fsspec knows, and the library for that kind",
                "install it, such as pip install s3fs or gcsfs, or give a folder of this machine",
            ) from error
        protocol = self._files.protocol
        names = {protocol} if isinstance(protocol, str) else set(protocol)
        self._whole = bool(names & set(WHOLE_BY_THEMSELVES))

    def read(self, name: str) -> bytes:
        return self._files.cat_file(self._path(name))

    def read_all(self, names: Iterable[str]) -> dict[str, bytes]:
        # Object stores answer many requests at once.
        paths = {self._path(name): name for name in names}
        found = self._files.cat(list(paths)) if paths else {}
        # Of one file, fsspec gives the content itself.
        found = found if isinstance(found, dict) else {next(iter(paths)): found}
        return {paths[path]: content for path, content in found.items()}

    def write(self, name: str, content: bytes) -> None:
        path = self._path(name)
        try:
            self._files.makedirs(path.rpartition("/")[0], exist_ok=True)
            if self._whole:
                self._files.pipe_file(path, content)
                return
            written = f"{path.rpartition('/')[0]}/.acfun-{uuid.uuid4().hex}.partial"
            try:
                self._files.pipe_file(written, content)
                self._files.mv(written, path)
            finally:
                if self._files.exists(written):
                    self._files.rm_file(written)
        # The libraries behind fsspec have errors of their own.
        except Exception as error:
            raise ACFunError(
                f"{self.address_of(name)} could not be written: {type(error).__name__}: {error}.",
                "an address that can be written to",
                "check the address, the permissions and the free space, then start the same command again",
            ) from error

    def sizes(self, below: str) -> dict[str, int]:
        # Listings are kept by some libraries, and others write here.
        self._files.invalidate_cache()
        try:
            entries = self._files.ls(self._path(below), detail=True)
        except FileNotFoundError:
            return {}
        files = [entry for entry in entries if entry["type"] == "file"]
        names = {PurePosixPath(entry["name"]).name: entry["size"] or 0 for entry in files}
        return {f"{below}/{name}" if below else name: size for name, size in names.items() if not name.startswith(".")}

    def move(self, name: str, to: str) -> None:
        self._files.mv(self._path(name), self._path(to))

    def remove(self, name: str) -> None:
        if self._files.exists(self._path(name)):
            self._files.rm_file(self._path(name))

    def _path(self, name: str) -> str:
        return f"{self._root.rstrip('/')}/{name}".rstrip("/")


def folder_at(address: str | Path) -> Folder:
    """The folder at a path or address."""
    return RemoteFolder(str(address)) if is_remote(str(address)) else LocalFolder(address)


def read_file(address: str) -> bytes:
    """The content of one file anywhere.

    Raises:
        OSError: there is none, or it cannot be read.
        ACFunError: as :func:`folder_at`.
    """
    if not is_remote(address):
        return Path(address.removeprefix("file://")).read_bytes()
    folder, _, name = address.rpartition("/")
    return folder_at(folder).read(name)
