"""Textual-inversion embeddings of others, as the start of S*."""

from __future__ import annotations

import logging
from pathlib import Path

import torch
from torch import Tensor

from ..errors import ACFunError
from .export import SDXL_EMBEDDINGS
from .tensor_file import FLOATING, check_finite, opened, stored

MOST_VECTORS = 77


def read_row(path: str | Path) -> Tensor:
    """What a textual-inversion file stands for, as one row (width,) float32.

    Read are safetensors files with one tensor (width,) or (vectors, width) of any name, and those of SDXL with ``clip_l`` and
    ``clip_g``, which become one row of both. S* is one token, so several vectors become their mean, and the log says so.

    Raises:
        ACFunError: the file is pickled (.pt, .bin), damaged, or holds something else.
    """
    path = Path(path)
    fix = "choose a textual-inversion embedding as safetensors"
    if path.suffix.lower() != ".safetensors":
        raise ACFunError(
            f"The embedding {path.name} is not a .safetensors file.",
            "an embedding as safetensors (.pt and .bin files are pickled, and are not read: they could run code)",
            fix,
        )
    with opened(path, "a whole embedding file") as file:
        parts = stored(file)
        names = list(SDXL_EMBEDDINGS) if parts.keys() == SDXL_EMBEDDINGS.keys() else list(parts)
        fits = len(names) == 1 or parts.keys() == SDXL_EMBEDDINGS.keys()
        shapes = [parts[name].shape for name in names] if fits else []
        # None is read before all are known to be rows of numbers.
        fits = fits and all(1 <= len(s) <= 2 and 0 not in s and (len(s) == 1 or s[0] <= MOST_VECTORS) for s in shapes)
        if not fits or any(parts[name].dtype not in FLOATING for name in names):
            told = ", ".join(f"{name[:40]} {list(part.shape)}" for name, part in list(parts.items())[:3]) or "nothing"
            raise ACFunError(
                f"{path.name} is no textual-inversion embedding: it holds {told}.",
                "one tensor of one row or a few, or clip_l and clip_g",
                fix,
            )
        rows = {name: file.get_tensor(name).float().reshape(-1, parts[name].shape[-1]) for name in names}
    check_finite(path, rows)
    vectors = max(len(row) for row in rows.values())
    if vectors > 1:
        logging.warning("ACFun: the embedding %s has %d vectors; S* starts from their mean.", path.name, vectors)
    return torch.cat([row.mean(dim=0) for row in rows.values()])
