"""Safetensors files, looked at before they are believed: names, shapes and types first, then numbers.

A file may be damaged, cut short, or made by somebody who means harm. So nothing is built, and no tensor is read, before the
header is known to be what the reader expects.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from ..errors import ACFunError

LARGEST_HEADER = 16_000_000
"""Bytes. The losses of the longest training, 100,000 steps with a look of the copy guard at each, take 10 million."""
LONGEST_SIDE = 2**31
"""A tensor without elements may claim any length at no cost in the file; no tensor of a model is this long."""
FLOATING, EIGHTHS = ("F16", "BF16", "F32", "F64"), ("F8_E4M3", "F8_E5M2")
"""Types of weights; those of 8 bits are what large models are stored in to save space."""


class Stored(NamedTuple):
    """What a file's header says of one tensor: its shape, and safetensors' name of its type, such as F16."""

    shape: tuple[int, ...]
    dtype: str


@contextmanager
def opened(
    path: str | Path, expected: str = "a whole safetensors file", fix: str = "copy the file again"
) -> Iterator[Any]:
    """A file as ``safetensors.safe_open`` gives it.

    Args:
        expected, fix: the end of the message if it cannot be read.

    Raises:
        ACFunError: there is no such file, it is cut short, or it is no safetensors file.
    """
    path = Path(path)
    try:
        if not path.is_file():
            raise FileNotFoundError("there is no such file")
        with path.open("rb") as raw:
            header = int.from_bytes(raw.read(8), "little")
        if header > LARGEST_HEADER:
            raise OSError(f"it claims a header of {header} bytes")
        with safe_open(str(path), framework="pt", device="cpu") as file:
            yield file
    except (OSError, SafetensorError) as error:
        raise ACFunError(f"{path.name} cannot be read: {error}.", expected, fix) from error


def stored(file: Any) -> dict[str, Stored]:
    """Name -> shape and type of all tensors of an opened file; none of them is read."""
    slices = ((name, file.get_slice(name)) for name in file.keys())
    return {name: Stored(tuple(part.get_shape()), str(part.get_dtype())) for name, part in slices}


def read_floats(path: Path, role: str) -> dict[str, Tensor]:
    """All tensors of a file of weights; see :func:`checked_floats`."""
    with opened(path) as file:
        return dict(checked_floats(file, path, role))


def checked_floats(file: Any, path: Path, role: str, prefix: str = "") -> Iterator[tuple[str, Tensor]]:
    """Names and tensors of an opened file of weights, one after the other; whole numbers, such as positions, may be among them.

    Args:
        prefix: of the names that are asked for.

    Raises:
        ACFunError: a tensor holds numbers of a kind that no weights are, or that are not finite.
    """
    asked = {name: part for name, part in stored(file).items() if name.startswith(prefix)}
    for name, part in asked.items():
        if part.dtype not in (*FLOATING, *EIGHTHS, "I64", "I32"):
            raise ACFunError(
                f"{name} in {path.name} is of type {part.dtype}.",
                f"a {role} in float16, bfloat16 or float32",
                "get it in one of these precisions",
            )
    for name in asked:
        tensor = file.get_tensor(name)
        check_finite(path, {name: tensor})
        yield name, tensor


def check_finite(
    path: str | Path, tensors: Mapping[str, Tensor], fix: str = "the file is damaged: copy it again, or make it again"
) -> None:
    """Raise if a tensor holds NaN or infinity, which would come out as black or noise."""
    for name, tensor in tensors.items():
        # torch asks this of no numbers of 8 bits.
        wide = tensor.float() if tensor.element_size() == 1 else tensor
        if tensor.is_floating_point() and not bool(torch.isfinite(wide).all()):
            raise ACFunError(
                f"{name} in {Path(path).name} holds values that are not numbers (NaN or infinity).",
                "finite weights",
                fix,
            )


def checksum(tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 over names, types, shapes and numbers of all tensors, whatever their order; begins with ``sha256:``."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy())
    return f"sha256:{digest.hexdigest()}"
