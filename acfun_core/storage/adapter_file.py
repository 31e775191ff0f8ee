"""One safetensors file per adapter: half-precision tensors under canonical names, and metadata that says what it is.

Keys: ``afun.*``, ``cfun.<block>.gamma.weight`` and so on with ``<block>`` as in :mod:`acfun_core.unet.blocks`,
``style_tokens``, ``e_a``. The embedding rows stay in float32: a token embedding is small, and half precision would round it
away.

Version 1 of the format knows the options of the default method on Stable Diffusion 1.x. Version 2 adds all others of
:class:`~acfun_core.config.AdapterConfig`, the copy guard's looks and SDXL. A file states the oldest version that can say all of
it, so a pack that knows version 1 only still reads adapters with default options.

Adapters that are for one set of weights alone (see :mod:`acfun_core.embedded`) name it in their metadata as ``base_key``.
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from .. import __version__
from ..config import AdapterConfig
from ..errors import ACFunError
from ..method.adapter import FAMILIES, StyleAdapter, TrainingRecord
from ..method.cfun import block_key
from ..options import options_of
from ..whole_files import write_whole

FORMAT = "acfun"
FORMAT_VERSION = 2
_FLOAT32_KEYS = ("afun.row", "afun.initial_row", "e_a")


def to_tensors(adapter: StyleAdapter) -> dict[str, Tensor]:
    """Tensors of the file, contiguous, on the CPU."""
    names = {f"cfun.blocks.{block_key(name)}.": f"cfun.{name}." for name in adapter.cfun.names()}
    tensors = {}
    for key, value in adapter.state_dict().items():
        for internal, canonical in names.items():
            if key.startswith(internal):
                key = canonical + key.removeprefix(internal)
        dtype = torch.float32 if key in _FLOAT32_KEYS else torch.float16
        tensors[key] = value.detach().to("cpu", dtype).contiguous().clone()
    return tensors


def to_metadata(adapter: StyleAdapter) -> dict[str, str]:
    """Metadata of the file; every value is a string, structured ones are JSON."""
    record, version = dataclasses.asdict(adapter.record), adapter.config.format_version
    if record["looks"] or adapter.base_family != "sd1":
        version = max(version, 2)
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
    return {**metadata, "base_key": adapter.base_key} if adapter.base_key else metadata


def save(adapter: StyleAdapter, path: str | Path, overwrite: bool = False) -> Path:
    """Write the adapter; the file is whole or not there. -> the path it got.

    Args:
        overwrite: take the place of a file that is there; without it, the adapter gets the next free number.

    Raises:
        ACFunError: the folder cannot be written to or the disk is full; nothing is left behind.
    """
    return write_whole(to_tensors(adapter), to_metadata(adapter), path, overwrite)


def load(path: str | Path, device: torch.device | str = "cpu") -> StyleAdapter:
    """Read an adapter, in float32, ready for inference.

    Raises:
        ACFunError: the file is missing, truncated, not an ACFun adapter, of a newer format, or its keys do not fit.
    """
    path = Path(path)
    try:
        with safe_open(str(path), framework="pt", device="cpu") as file:
            metadata = file.metadata() or {}
            _check_format(path, metadata)
            tensors = {key: file.get_tensor(key).float() for key in file.keys()}
    except (OSError, SafetensorError) as error:
        raise ACFunError(
            f"{path.name} cannot be read: {error}.",
            "a whole ACFun adapter (.safetensors)",
            "train it again or copy the file again",
        ) from error
    adapter = _rebuild(path, metadata, tensors)
    return adapter.to(device).eval().requires_grad_(False)


def _check_format(path: Path, metadata: dict[str, str]) -> None:
    if metadata.get("format") != FORMAT:
        raise ACFunError(
            f"{path.name} is not an ACFun adapter.",
            "a file written by Train ACFun Style or Save ACFun Adapter",
            "choose another file (LoRAs and checkpoints have loaders of their own)",
        )
    version = metadata.get("format_version", "")
    if not version.isdigit() or int(version) > FORMAT_VERSION:
        raise ACFunError(
            f"{path.name} has format version {version or 'unknown'}{_writer(metadata)}.",
            f"version {FORMAT_VERSION} or older, which this pack (ACFun {__version__}) reads",
            f"update the ACFun node pack to one that reads version {version}" if version else "copy the file again",
        )
    if metadata.get("base_family", "sd1") not in FAMILIES:
        raise ACFunError(
            f"{path.name} is for a base of family {metadata['base_family'][:40]!r}{_writer(metadata)}.",
            f"one of {', '.join(FAMILIES)}, which format version {FORMAT_VERSION} knows",
            "update the ACFun node pack to the version that wrote the file, or a later one",
        )


def _writer(metadata: dict[str, str]) -> str:
    """Who wrote a file, if it says so; a foreign text is cut short."""
    return f" (written by {metadata['written_by'][:40]})" if metadata.get("written_by") else ""


def _read_options(path: Path, metadata: dict[str, str]) -> dict:
    """The fields of the AdapterConfig; options or choices that this pack does not know are named."""
    try:
        options = dict(json.loads(metadata["options"]))
    except (KeyError, TypeError, ValueError) as error:
        raise _does_not_fit(path, error) from error
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
    return options


def _rebuild(path: Path, metadata: dict[str, str], tensors: dict[str, Tensor]) -> StyleAdapter:
    options = _read_options(path, metadata)
    try:
        channels = {str(name): int(width) for name, width in json.loads(metadata["blocks"]).items()}
        record = TrainingRecord(**json.loads(metadata["training"]))
        record.resolution = tuple(record.resolution)
        rows = tensors["afun.initial_row"], tensors["style_tokens"]
        base = metadata.get("base_family", "sd1"), metadata.get("base_key", "")
        adapter = StyleAdapter(AdapterConfig(**options), *rows, channels, *base)
        state = {_internal_key(key, channels): value for key, value in tensors.items()}
        adapter.load_state_dict(state, strict=True)
    # The text of a foreign file is not ours to trust: whatever does not fit ends here, as one clear message.
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise _does_not_fit(path, error) from error
    adapter.record = record
    return adapter


def _does_not_fit(path: Path, error: Exception) -> ACFunError:
    return ACFunError(
        f"{path.name} says it is an ACFun adapter but its content does not fit: {str(error)[:300]}.",
        "options, blocks and tensors that belong together",
        "train it again or copy the file again",
    )


def _internal_key(key: str, channels: dict[str, int]) -> str:
    for name in channels:
        if key.startswith(f"cfun.{name}."):
            return f"cfun.blocks.{block_key(name)}." + key.removeprefix(f"cfun.{name}.")
    return key
