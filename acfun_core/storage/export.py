"""Smaller and more portable forms of an adapter.

* :func:`low_rank`   CFun's full maps as the nearest maps of a rank (truncated SVD)
* :func:`compact`    without AFun's layers and the style picture's tokens: enough to draw
* :func:`save_embedding`   S* alone, as a textual-inversion file for any program of the base's family

All adapter files hold half-precision weights already.
"""

from __future__ import annotations

import copy
import dataclasses
from pathlib import Path

import torch
from torch import Tensor, nn

from ..config import AdapterConfig
from ..errors import ACFunError
from ..method.adapter import StyleAdapter
from ..method.steering import LowRank
from ..whole_files import write_whole

EMBEDDING_KEY = "emb_params"
"""The name that textual-inversion files have for their one tensor."""

SDXL_EMBEDDINGS = {"clip_l": 768, "clip_g": 1280}
"""Names and widths of the two tensors in textual-inversion files for SDXL."""


def low_rank(adapter: StyleAdapter, rank: int) -> tuple[StyleAdapter, float]:
    """The adapter with every map of CFun at a rank, and the share of the maps' energy (squared weights) that is kept, 0 to 1.

    Raises:
        ACFunError: the maps are per channel, or have this rank or a lower one already.
    """
    form, has = adapter.config.form, adapter.config.rank
    if form == "per_channel" or (form == "low_rank" and has <= rank):
        raise ACFunError(
            f"CFun's maps are {'per channel' if form == 'per_channel' else f'of rank {has}'} already.",
            "maps that are larger than what is asked for",
            "export without low rank, or with a lower rank",
        )
    narrow = _rebuilt(adapter, dataclasses.replace(adapter.config, form="low_rank", rank=rank), adapter.style_tokens)
    kept = total = 0.0
    # New maps draw initial values, which nobody's chance should pay for.
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        for name in adapter.cfun.names():
            for part in ("gamma", "beta"):
                full = full_map(getattr(adapter.cfun[name], part))
                near = LowRank.nearest(full, rank)
                setattr(narrow.cfun[name], part, near)
                total += full.weight.double().square().sum().item()
                kept += full_map(near).weight.double().square().sum().item()
    return _finished(narrow, adapter), kept / total if total > 0 else 1.0


def full_map(steering: nn.Module) -> nn.Linear:
    """A map as an ordinary linear one."""
    if isinstance(steering, nn.Linear):
        return steering
    full = nn.Linear(steering.down.in_features, steering.up.out_features)
    with torch.no_grad():
        full.weight.copy_(steering.scale * steering.up.weight @ steering.down.weight)
        full.bias.copy_(steering.up.bias)
    return full


def compact(adapter: StyleAdapter) -> StyleAdapter:
    """The adapter without AFun's layers and the style picture's tokens; draws the same, bit for bit.

    Raises:
        ACFunError: the adapter is of a sequence mode, which needs AFun for every prompt.
    """
    config = dataclasses.replace(adapter.config, compact=True)
    return _finished(_rebuilt(adapter, config, adapter.style_tokens[:0]), adapter)


def _rebuilt(adapter: StyleAdapter, config: AdapterConfig, style_tokens: Tensor) -> StyleAdapter:
    """An adapter of another config with all the tensors that both have alike."""
    with torch.random.fork_rng(devices=[]):
        base = adapter.base_family, adapter.base_key, adapter.base_prediction, adapter.slider
        other = StyleAdapter(config, adapter.afun.initial_row, style_tokens, adapter.cfun.channels, *base)
    state, wanted = adapter.state_dict(), other.state_dict()
    alike = {key: value for key, value in state.items() if key in wanted and value.shape == wanted[key].shape}
    other.load_state_dict(alike, strict=False)
    return other


def _finished(exported: StyleAdapter, adapter: StyleAdapter) -> StyleAdapter:
    exported.record = copy.deepcopy(adapter.record)
    with torch.no_grad():
        for parameter in exported.cfun.parameters():
            # What the file will hold.
            parameter.copy_(parameter.half().float())
    return exported.to(adapter.e_a.device).eval().requires_grad_(False)


def embedding(adapter: StyleAdapter, strength: float = 1.0) -> Tensor:
    """S* as a textual-inversion embedding, (1, text_width), float32.

    Raises:
        ACFunError: the adapter is of a sequence mode, whose e_a is not one embedding, or a slider, which has none.
    """
    if adapter.slider is not None:
        raise ACFunError(
            "This adapter is a slider: it gives S* no meaning.", "the adapter of a style", "choose another adapter"
        )
    if not adapter.is_token:
        raise ACFunError(
            f"This adapter's abstract_mode is {adapter.config.abstract_mode}: its meaning is not one embedding.",
            "an adapter of abstract_mode token",
            "train with abstract_mode token",
        )
    return adapter.row(strength).detach().cpu().float()[None]


def save_embedding(adapter: StyleAdapter, path: str | Path, strength: float = 1.0, overwrite: bool = False) -> Path:
    """Write :func:`embedding` as a textual-inversion file (.safetensors). -> the path it got, as for an adapter.

    Raises:
        ACFunError: as for :func:`embedding`, or the file cannot be written.
    """
    row = embedding(adapter, strength)
    if adapter.base_family == "sdxl":
        parts = dict(zip(SDXL_EMBEDDINGS, row.split(list(SDXL_EMBEDDINGS.values()), dim=1)))
    else:
        parts = {EMBEDDING_KEY: row}
    metadata = {"format": "pt", "description": adapter.config.description}
    return write_whole({name: part.contiguous() for name, part in parts.items()}, metadata, path, overwrite)
