"""What an adapter file says of itself, as text: checked for its version, then field by field for the type it must have."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .. import __version__
from ..config import AdapterConfig
from ..errors import ACFunError
from ..method.adapter import FAMILIES, PREDICTIONS, Slider, StyleAdapter, TrainingRecord
from ..options import options_of

FORMAT = "acfun"
FORMAT_VERSION = 3
CHECKSUM = "checksum"
"""Key of :func:`~acfun_core.storage.tensor_file.checksum`; files of older packs lack it."""
MOST_BLOCKS, WIDEST_BLOCK = 256, 65_536
_BLOCK = re.compile(r"(enc|dec)\.[0-9]{1,3}\.[0-9]{1,3}|mid\.[0-9]{1,3}")


def to_metadata(adapter: StyleAdapter) -> dict[str, str]:
    """Metadata of the file; every value is a string, structured ones are JSON."""
    record, version = dataclasses.asdict(adapter.record), adapter.config.format_version
    if record["looks"] or adapter.base_family != "sd1":
        version = max(version, 2)
    if adapter.slider is not None:
        version = 3
    if not record["looks"]:
        # Version 1 does not know the copy guard.
        del record["looks"], record["kept_step"]
    metadata = {
        "format": FORMAT,
        "format_version": str(version),
        "written_by": f"ACFun {__version__}",
        "base_family": adapter.base_family,
        "blocks": json.dumps(adapter.cfun.channels),
        "options": json.dumps(adapter.config.as_dict()),
        "prompt": adapter.config.description,
        "steps": str(len(adapter.record.style_loss)),
        "training": json.dumps(record),
    }
    if adapter.base_key:
        metadata["base_key"] = adapter.base_key
    if adapter.base_prediction != "epsilon":
        metadata["base_prediction"] = adapter.base_prediction
    if adapter.slider is not None:
        metadata["slider"] = json.dumps(adapter.slider._asdict())
    return metadata


def check_format(path: Path, metadata: dict[str, str]) -> None:
    """Raise unless this is an adapter of a version and a family of base that this pack knows."""
    if metadata.get("format") != FORMAT:
        raise ACFunError(
            f"{path.name} is not an ACFun adapter.",
            "a file written by Train ACFun Style or Save ACFun Adapter",
            "choose another file (LoRAs and checkpoints have loaders of their own)",
        )
    version = metadata.get("format_version", "")
    # Not isdigit(), which takes digits of other scripts too.
    known = re.fullmatch(r"[0-9]{1,9}", version) is not None
    if not known or int(version) > FORMAT_VERSION:
        raise ACFunError(
            f"{path.name} has format version {version[:40] or 'unknown'}{_writer(metadata)}.",
            f"version {FORMAT_VERSION} or older, which this pack (ACFun {__version__}) reads",
            f"update the ACFun node pack to one that reads version {version}" if known else "copy the file again",
        )
    if metadata.get("base_family", "sd1") not in FAMILIES:
        raise ACFunError(
            f"{path.name} is for a base of family {metadata['base_family'][:40]!r}{_writer(metadata)}.",
            f"one of {', '.join(FAMILIES)}, which format version {FORMAT_VERSION} knows",
            "update the ACFun node pack to the version that wrote the file, or a later one",
        )


def read_prediction(path: Path, metadata: dict[str, str]) -> str:
    """What the adapter's base predicts; files that do not say it are of bases that predict noise."""
    prediction = metadata.get("base_prediction", "epsilon")
    if prediction not in PREDICTIONS:
        raise ACFunError(
            f"{path.name} is for a base that predicts {prediction[:40]!r}{_writer(metadata)}.",
            f"one of {', '.join(PREDICTIONS)}, which this pack (ACFun {__version__}) knows",
            "update the ACFun node pack to the version that wrote the file, or a later one",
        )
    return prediction


def read_slider(path: Path, metadata: dict[str, str]) -> Slider | None:
    """Between which descriptions a slider leads; None for a style."""
    if "slider" not in metadata:
        return None
    given = _object(path, metadata, "slider")
    if set(given) != set(Slider._fields) or not all(isinstance(text, str) for text in given.values()):
        raise misfit(path, f"slider is {metadata['slider'][:60]}")
    return Slider(**given)


def _writer(metadata: dict[str, str]) -> str:
    """Who wrote a file, if it says so; a foreign text is cut short."""
    return f" (written by {metadata['written_by'][:40]})" if metadata.get("written_by") else ""


def misfit(path: Path, why: object) -> ACFunError:
    """The error for a file whose parts do not belong together."""
    return ACFunError(
        f"{path.name} says it is an ACFun adapter but its content does not fit: {str(why)[:300]}.",
        "options, blocks and tensors that belong together",
        "train it again or copy the file again",
    )


def read_config(path: Path, metadata: dict[str, str]) -> AdapterConfig:
    """The options of the adapter; options or choices that this pack does not know are named."""
    options = _object(path, metadata, "options")
    known = options_of(AdapterConfig)
    unknown = [
        f"{name} = {value!r}"
        for name, value in options.items()
        if name not in known or (known[name].kind == "choice" and value not in known[name].choices)
    ]
    if unknown:
        raise ACFunError(
            f"{path.name} uses what this pack does not know: {', '.join(unknown)[:300]}{_writer(metadata)}.",
            f"options of format version {FORMAT_VERSION} or older, which this pack (ACFun {__version__}) reads",
            "update the ACFun node pack to the version that wrote the file, or a later one",
        )
    try:
        return AdapterConfig(**{"description": "", **options})
    except ACFunError as error:
        raise misfit(path, error.what) from error


def read_channels(path: Path, metadata: dict[str, str]) -> dict[str, int]:
    """Canonical block name -> channels."""
    blocks = _object(path, metadata, "blocks")
    if len(blocks) > MOST_BLOCKS:
        raise misfit(path, f"it claims {len(blocks)} blocks")
    for name, width in blocks.items():
        if _BLOCK.fullmatch(name) is None:
            raise misfit(path, f"{name[:40]!r} is no block of a UNet")
        if not _is_whole(width) or not 1 <= width <= WIDEST_BLOCK:
            raise misfit(path, f"block {name} has {str(width)[:40]} channels")
    return blocks


def read_record(path: Path, metadata: dict[str, str]) -> TrainingRecord:
    """How the training went."""
    given = _object(path, metadata, "training")
    for name, value in given.items():
        if name not in RECORD_FIELDS or not RECORD_FIELDS[name](value):
            raise misfit(path, f"the training's {name[:40]} is {str(value)[:60]}")
    record = TrainingRecord(**given)
    record.resolution = tuple(record.resolution)
    return record


def _object(path: Path, metadata: dict[str, str], key: str) -> dict[str, Any]:
    """A JSON object of the metadata."""
    if key not in metadata:
        raise misfit(path, f"there is no {key}")
    try:
        value = json.loads(metadata[key], parse_constant=_no_number)
    # Brackets in brackets without end exhaust Python's stack.
    except (ValueError, RecursionError) as error:
        raise misfit(path, f"{key} cannot be read ({error})") from error
    if not isinstance(value, dict):
        raise misfit(path, f"{key} is {metadata[key][:60]}")
    return value


def _no_number(text: str) -> float:
    raise ValueError(f"{text} is no number")


def _is_number(value: Any) -> bool:
    """Finite; comparisons take whole numbers of any size, and neither NaN nor infinity."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and -1e300 <= value <= 1e300


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**63


def _list_of(fits: Callable[[Any], bool], length: int | None = None) -> Callable[[Any], bool]:
    def check(value: Any) -> bool:
        return isinstance(value, list) and length in (None, len(value)) and all(map(fits, value))

    return check


def _is_setting(value: Any) -> bool:
    # The seed is larger than other whole numbers.
    return value is None or isinstance(value, (str, bool)) or _is_number(value)


RECORD_FIELDS: dict[str, Callable[[Any], bool]] = {
    "settings": lambda value: isinstance(value, dict) and all(map(_is_setting, value.values())),
    "style_loss": _list_of(_is_number),
    "face_loss": _list_of(_is_number),
    "before": _list_of(_is_number),
    "after": _list_of(_is_number),
    "skipped_steps": _is_whole,
    "resolution": _list_of(_is_whole, 2),
    "looks": _list_of(_list_of(_is_number, 3)),
    "kept_step": lambda value: value is None or _is_whole(value),
}
"""What each field of :class:`~acfun_core.method.adapter.TrainingRecord` may hold in a file."""
