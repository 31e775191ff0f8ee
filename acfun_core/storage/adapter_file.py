"""One safetensors file per adapter: half-precision tensors under canonical names, and metadata that says what it is.

Keys: ``afun.*``, ``cfun.<block>.gamma.weight`` and so on with ``<block>`` as in :mod:`acfun_core.block_names`,
``style_tokens``, ``e_a``. The embedding rows stay in float32: a token embedding is small, and half precision would round it
away.

Version 1 of the format knows the options of the default method on Stable Diffusion 1.x. Version 2 adds all others of
:class:`~acfun_core.config.AdapterConfig`, the copy guard's looks and SDXL. A file states the oldest version that can say all of
it, so a pack that knows version 1 only still reads adapters with default options. Files since then also hold a checksum over
their tensors, which older packs pass by. Adapters that are for one set of weights alone (see :mod:`acfun_core.demo_base`)
name it in their metadata as ``base_key``. Those of bases that predict v name that as ``base_prediction``. Version 3 knows
sliders, whose two descriptions are in ``slider``.
"""

from __future__ import annotations

import re
from pathlib import Path

import torch
from torch import Tensor

from ..errors import ACFunError
from ..method.adapter import StyleAdapter
from ..method.cfun import block_key
from ..whole_files import write_whole
from .metadata import (
    CHECKSUM,
    check_format,
    misfit,
    read_channels,
    read_config,
    read_prediction,
    read_record,
    read_slider,
    to_metadata,
)
from .tensor_file import LONGEST_SIDE, Stored, check_finite, checksum, opened, stored

_FLOAT32_KEYS = ("afun.row", "afun.initial_row", "e_a")
_CFUN = re.compile(r"cfun\.((?:enc|dec)\.[0-9]+\.[0-9]+|mid\.[0-9]+)\.")


def to_tensors(adapter: StyleAdapter) -> dict[str, Tensor]:
    """Tensors of the file, contiguous, on the CPU."""
    state, tensors = adapter.state_dict(), {}
    for key, name in _file_names(adapter).items():
        dtype = torch.float32 if name in _FLOAT32_KEYS else torch.float16
        tensors[name] = state[key].detach().to("cpu", dtype).contiguous().clone()
    return tensors


def save(adapter: StyleAdapter, path: str | Path, overwrite: bool = False) -> Path:
    """Write the adapter; the file is whole or not there. -> the path it got.

    Args:
        overwrite: take the place of a file that is there; without it, the adapter gets the next free number.

    Raises:
        ACFunError: the folder cannot be written to or the disk is full; nothing is left behind. Or a weight is not finite.
    """
    tensors = to_tensors(adapter)
    # Half precision ends at 65,504.
    check_finite(path, tensors, "train it again with a lower learning rate")
    return write_whole(tensors, {**to_metadata(adapter), CHECKSUM: checksum(tensors)}, path, overwrite)


def load(path: str | Path, device: torch.device | str = "cpu") -> StyleAdapter:
    """Read an adapter, in float32, ready for inference.

    What the file says of itself and the shapes and types of its tensors are compared before any of them is read or built.

    Raises:
        ACFunError: the file is missing, truncated, damaged, not an ACFun adapter, of a newer format, its parts do not belong
            together, or a number in it is not finite.
    """
    path = Path(path)
    with opened(path, "a whole ACFun adapter (.safetensors)", "train it again or copy the file again") as file:
        metadata = file.metadata() or {}
        check_format(path, metadata)
        adapter = _outline(path, metadata, stored(file))
        tensors = {key: file.get_tensor(key) for key in file.keys()}
    if CHECKSUM in metadata and metadata[CHECKSUM] != checksum(tensors):
        raise ACFunError(
            f"{path.name} was damaged after it was written: its checksum does not fit its content.",
            "the file as it was saved",
            "copy the file again, or train it again",
        )
    check_finite(path, tensors)
    names = _file_names(adapter)
    adapter.load_state_dict({key: tensors[name].float() for key, name in names.items()}, strict=True, assign=True)
    return adapter.to(device).eval().requires_grad_(False)


def _outline(path: Path, metadata: dict[str, str], parts: dict[str, Stored]) -> StyleAdapter:
    """The adapter that a file describes, without a single number in it, once all parts of the file are known to fit it."""
    config, channels, record = (read(path, metadata) for read in (read_config, read_channels, read_record))
    row, tokens = parts.get("afun.initial_row"), parts.get("style_tokens")
    if row is None or tokens is None or len(row.shape) != 1 or len(tokens.shape) != 2:
        raise misfit(path, "afun.initial_row or style_tokens is missing or of another rank")
    long = [name for name, part in parts.items() if max(part.shape, default=0) > LONGEST_SIDE]
    if long or 0 in row.shape or tokens.shape[1] == 0 or (tokens.shape[0] == 0 and not config.compact):
        raise misfit(path, f"{long[0] if long else 'afun.initial_row or style_tokens'} is empty or too long")
    # Before anything is built, so that blocks that are claimed and not there cost nothing.
    have = {match[1] for match in map(_CFUN.match, parts) if match}
    if have != set(channels):
        raise misfit(path, f"it claims {len(channels)} blocks and holds tensors of {len(have)}")
    prediction = read_prediction(path, metadata)
    base = metadata.get("base_family", "sd1"), metadata.get("base_key", ""), prediction, read_slider(path, metadata)
    with torch.device("meta"):
        adapter = StyleAdapter(config, torch.empty(row.shape), torch.empty(tokens.shape), channels, *base)
    _check_parts(path, adapter, parts)
    adapter.record = record
    return adapter


def _check_parts(path: Path, adapter: StyleAdapter, parts: dict[str, Stored]) -> None:
    """Raise unless a file holds exactly the tensors of an adapter, in the shapes and types that it would be written in."""
    outline, names = adapter.state_dict(), _file_names(adapter)
    missing, unknown = set(names.values()) - set(parts), set(parts) - set(names.values())
    if missing or unknown:
        first = min(missing or unknown)[:60]
        raise misfit(path, f"{len(missing)} tensors are missing and {len(unknown)} unknown, such as {first}")
    for key, name in names.items():
        wanted = Stored(tuple(outline[key].shape), "F32" if name in _FLOAT32_KEYS else "F16")
        if parts[name] != wanted:
            have = f"{parts[name].dtype} {list(parts[name].shape)}"
            raise misfit(path, f"{name} is {have}, not {wanted.dtype} {list(wanted.shape)}")


def _file_names(adapter: StyleAdapter) -> dict[str, str]:
    """Key of the module's state -> name in the file."""
    blocks = {f"cfun.blocks.{block_key(name)}.": f"cfun.{name}." for name in adapter.cfun.names()}

    def name_of(key: str) -> str:
        head = next((internal for internal in blocks if key.startswith(internal)), None)
        return key if head is None else blocks[head] + key.removeprefix(head)

    return {key: name_of(key) for key in adapter.state_dict()}
