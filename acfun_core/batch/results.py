"""What is done and what failed, as files in one folder that one look tells. No other list exists that could disagree with it.

* ``adapters/KEY.safetensors`` what was trained
* ``pictures/NAME_KEY8.png``   what was drawn; KEY8 are the first digits of its key
* ``records/KEY.json``         of a picture: its file and size, seconds, scores, machine. It is written after the picture: a
  drawing is done when its record is there and its file has the size that the record says
* ``failures/KEY.json``        why a training or a drawing failed
* ``inputs/DIGEST.png``        pictures that lay on one machine, for the others
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from ..errors import ACFunError
from .folders import Folder, folder_at, is_remote, read_file
from .jobs import Drawing, Source, Work

ADAPTERS, PICTURES, RECORDS, FAILURES, INPUTS = "adapters", "pictures", "records", "failures", "inputs"
TOKEN = "batch.json"


@dataclass(frozen=True)
class Done:
    """What one look at the folder told.

    Attributes:
        records: key of a drawing -> its record; the picture is there and whole.
        adapters: keys of trainings whose adapter is there.
        failures: key -> why it failed.
    """

    records: dict[str, dict[str, Any]]
    adapters: set[str]
    failures: dict[str, str]


class Results:
    """The results of batches in one folder; several plans may share it, and so share what they have in common.

    Args:
        folder: a path, or an address that fsspec knows.
    """

    def __init__(self, folder: Folder | str):
        self.folder = folder if isinstance(folder, Folder) else folder_at(folder)

    def look(self, work: Work) -> Done:
        """What of a plan is done, and what failed."""
        pictures = self.folder.sizes(PICTURES)
        # Two names may share a record; what the plan does not ask for stays unread.
        there = {_stem(name): name for name in self.folder.sizes(RECORDS)}
        records = self._read({key: there[key] for key in work.drawings if key in there})
        whole = {key: one for key, one in records.items() if pictures.get(str(one.get("file"))) == one.get("bytes")}
        adapters = {_stem(name) for name, size in self.folder.sizes(ADAPTERS).items() if size}
        failed = {_stem(name): name for name in self.folder.sizes(FAILURES)}
        wanted = {key: name for key, name in failed.items() if key in work.drawings or key in work.trainings}
        failures = {key: str(one.get("reason", "")) for key, one in self._read(wanted).items()}
        return Done(whole, adapters & set(work.trainings), failures)

    def _read(self, names: Mapping[str, str]) -> dict[str, dict[str, Any]]:
        """Key -> the JSON object of its file; what is none is left out, as if it were not there."""
        contents, found = self.folder.read_all(names.values()), {}
        for key, name in names.items():
            try:
                read = json.loads(contents[name])
            except ValueError:
                continue
            if isinstance(read, dict):
                found[key] = read
        return found

    def keep_adapter(self, key: str, content: bytes) -> None:
        self.folder.write(f"{ADAPTERS}/{key}.safetensors", content)

    def keep_picture(self, job: Drawing, content: bytes, record: Mapping[str, Any]) -> dict[str, Any]:
        """Write a picture, then its record. -> the record as it was written."""
        self.folder.write(job.file, content)
        whole = {"file": job.file, "bytes": len(content), **record}
        self._write_record(job.key, whole)
        return whole

    def keep_failure(self, key: str, reason: str) -> None:
        self.folder.write(f"{FAILURES}/{key}.json", json.dumps({"reason": reason}).encode())

    def forget_failure(self, key: str) -> None:
        self.folder.remove(f"{FAILURES}/{key}.json")

    def rename(self, job: Drawing, record: Mapping[str, Any]) -> dict[str, Any]:
        """Give a picture that is done the name that the plan has for it now. -> its record."""
        self.folder.move(str(record["file"]), job.file)
        moved = {**record, "file": job.file}
        self._write_record(job.key, moved)
        return moved

    def _write_record(self, key: str, record: Mapping[str, Any]) -> None:
        self.folder.write(f"{RECORDS}/{key}.json", json.dumps(record).encode())

    # -- for other machines -------------------------------------------------------------

    def bring(self, sources: Iterable[Source]) -> dict[str, Source]:
        """Pictures where every machine that reaches the results can read them: those of this disk are copied there, each once.

        -> address -> picture.
        """
        sources = list(sources)
        if not is_remote(self.folder.address):
            return {source.address: source for source in sources}
        there, brought = set(self.folder.sizes(INPUTS)), {}
        for source in sources:
            brought[source.address] = source
            if is_remote(source.address):
                continue
            name = f"{INPUTS}/{source.digest}{PurePosixPath(source.address).suffix.lower()}"
            if name not in there:
                self.folder.write(name, read_file(source.address))
                there.add(name)
            brought[source.address] = Source(self.folder.address_of(name), source.digest)
        return brought

    def token(self) -> str:
        """What :meth:`check_token` looks for: a number that the folder got from its first batch."""
        try:
            return str(json.loads(self.folder.read(TOKEN))["token"])
        except (OSError, ValueError, KeyError, TypeError):
            token = uuid.uuid4().hex
            self.folder.write(TOKEN, json.dumps({"token": token}).encode())
            return token

    def check_token(self, token: str, machine: str) -> None:
        """Raise unless this process sees the folder that the token is of.

        Raises:
            ACFunError: it does not; on another machine the same path is another disk.
        """
        try:
            found = json.loads(self.folder.read(TOKEN))["token"]
        # Of a store that cannot be reached, too, whatever its library raises.
        except Exception as error:
            found = f"{type(error).__name__}: {error}"
        if found != token:
            raise ACFunError(
                f"The machine {machine} does not see the results folder {self.folder.address} ({str(found)[:200]}).",
                "a folder that all machines share, or an address such as s3://bucket/folder",
                "give another --out",
            )


def needed_jobs(work: Work, done: Done, retry_failed: bool) -> tuple[list[str], list[str], dict[str, str]]:
    """What is left to do: keys of trainings, keys of drawings, and key -> reason of those that stay failed.

    Args:
        retry_failed: do again what failed.
    """
    failures = {} if retry_failed else done.failures
    drawings: list[str] = []
    trainings: dict[str, None] = {}
    failed: dict[str, str] = {}
    for key, job in work.drawings.items():
        if key in done.records:
            continue
        if key in failures:
            failed[key] = failures[key]
        elif job.training and job.training not in done.adapters and job.training in failures:
            failed[key] = of_training(failures[job.training])
        else:
            drawings.append(key)
            if job.training and job.training not in done.adapters:
                trainings[job.training] = None
    return list(trainings), drawings, failed


def of_training(reason: str) -> str:
    """Why a drawing failed whose training did."""
    return f"its training failed: {reason}"


def _stem(name: str) -> str:
    return PurePosixPath(name).stem
