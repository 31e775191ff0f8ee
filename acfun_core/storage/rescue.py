"""What happens to a trained adapter whose place cannot be written to: it is kept elsewhere, and not trained again.

A disk fills while a training runs, a network drive goes away. The adapter is then written to another folder, with a small note
beside it that says of which training it is, so that the same training asked for again takes it from there.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from ..errors import ACFunError
from ..method.adapter import StyleAdapter
from ..whole_files import write
from . import adapter_file


def save_or_rescue(
    adapter: StyleAdapter, path: Path, key: str, elsewhere: Sequence[Path], overwrite: bool = False
) -> Path:
    """Write a trained adapter. -> the path it got.

    Args:
        key: which training it is, from :func:`~acfun_core.training.key.training_key`.
        elsewhere: folders that are tried in order if ``path`` cannot be written.
        overwrite: see :func:`~acfun_core.storage.adapter_file.save`.

    Raises:
        ACFunError: it could not be written to ``path``; the message says where it is instead.
    """
    try:
        saved = adapter_file.save(adapter, path, overwrite)
    except ACFunError as error:
        for folder in elsewhere:
            try:
                kept = adapter_file.save(adapter, folder / path.name)
                _write_note(folder, key, kept)
            except ACFunError:
                continue
            raise ACFunError(
                f"{error.what} The trained adapter is not lost: it is {kept}.",
                error.expected,
                "make room there and start the same training again, which then only writes the file, or move the file",
            ) from error
        raise ACFunError(
            f"{error.what} No other folder took it either.",
            error.expected,
            "make room and start the same training again: it goes on from its last state (on the command line, with --resume)",
        ) from error
    for folder in elsewhere:
        _note(folder, key).unlink(missing_ok=True)
    return saved


def rescued(key: str, elsewhere: Sequence[Path]) -> StyleAdapter | None:
    """The adapter of a training that could not be written to its place, or None."""
    for folder in elsewhere:
        try:
            name = json.loads(_note(folder, key).read_text(encoding="utf-8"))["adapter"]
            return adapter_file.load(folder / Path(name).name)
        # Without a note, or with one whose file was moved away, there is nothing to take.
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            continue
    return None


def _write_note(folder: Path, key: str, adapter: Path) -> None:
    text = json.dumps({"adapter": adapter.name})
    write(lambda written: written.write_text(text, encoding="utf-8"), _note(folder, key), overwrite=True)


def _note(folder: Path, key: str) -> Path:
    return folder / f".acfun-{key}.trained"
