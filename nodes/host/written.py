"""Files that a node wrote and that somebody took away: the node has to run again."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

_WRITTEN: dict[str, set[Path]] = {}
_VANISHED: Counter[str] = Counter()


def wrote(name: str, path: Path) -> Path:
    """Remember that a node wrote a file under a name. -> the path."""
    _WRITTEN.setdefault(name, set()).add(path)
    return path


def vanished(name: str | None) -> int:
    """How many of the files written under a name are gone by now: part of the fingerprint of the nodes that write.

    ComfyUI does not run a node whose inputs and fingerprint are the same as before. So that its ``path`` names a file that is
    there, the fingerprint changes when one of its files is taken away.

    Args:
        name: None if it comes on a wire and is not known yet; files under any name count then.
    """
    for stem in list(_WRITTEN) if name is None else [name]:
        gone = {path for path in _WRITTEN.get(stem, ()) if not path.exists()}
        _VANISHED[stem] += len(gone)
        _WRITTEN.get(stem, set()).difference_update(gone)
    return sum(_VANISHED.values()) if name is None else _VANISHED[name]
