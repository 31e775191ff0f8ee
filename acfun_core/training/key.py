"""Which training it is: a name that two trainings share only if they are given the same."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn

from .. import __version__
from ..config import AdapterConfig, TrainConfig

SAMPLED = 64
"""Values of each tensor of a base that are looked at; other weights differ nearly everywhere, and a LoRA in whole rows."""


def training_key(
    adapter_config: AdapterConfig,
    config: TrainConfig,
    resolution: int,
    pictures: Mapping[str, Tensor | None],
    base: str,
) -> str:
    """32 hexadecimal digits that stand for all inputs of a training.

    The number of steps is left out where the steps before do not depend on it, so that a training can be continued with more.

    Args:
        resolution: side in pixels.
        pictures: style, face and their masks by name, as they were given.
        base: from :func:`weights_identity`, and whatever else decides what the base computes.
    """
    settings = config.as_dict()
    if config.learning_rate_end == 1.0:
        del settings["steps"]
    told = {
        "version": __version__,
        "adapter": dataclasses.asdict(adapter_config),
        "train": settings,
        "resolution": resolution,
        "pictures": {name: None if picture is None else _digest([picture]) for name, picture in pictures.items()},
        "base": base,
    }
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:32]


@torch.no_grad()
def weights_identity(*modules: nn.Module) -> str:
    """Hexadecimal digest of the names, shapes and some values of all weights."""
    whole = hashlib.sha256()
    for module in modules:
        for name, tensor in module.state_dict().items():
            whole.update(f"{name} {tuple(tensor.shape)} {tensor.dtype};".encode())
            flat = tensor.detach().flatten()
            whole.update(_digest([flat[:: max(1, flat.numel() // SAMPLED)]]).encode())
    return whole.hexdigest()


def _digest(tensors: Iterable[Tensor]) -> str:
    whole = hashlib.sha256()
    for tensor in tensors:
        whole.update(f"{tuple(tensor.shape)} {tensor.dtype};".encode())
        whole.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return whole.hexdigest()
