"""Which training it is: a name that two trainings share only if they are given the same."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from types import CellType, FunctionType, MethodType
from typing import Any

import torch
from torch import Tensor, nn

from .. import __version__
from ..config import AdapterConfig, TrainConfig
from ..method.adapter import Slider
from .slider import SliderConfig

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
    return _hashed(told)


def slider_key(
    slider: Slider, config: SliderConfig, resolution: int, photos: Sequence[Tensor], mask: Tensor | None, base: str
) -> str:
    """As :func:`training_key`, of a slider.

    Args:
        photos, mask: as they were given. base: from :func:`weights_identity` and the like.
    """
    told = {
        "version": __version__,
        "slider": slider,
        "train": dataclasses.asdict(config),
        "resolution": resolution,
        "photos": _digest(photos),
        "mask": None if mask is None else _digest([mask]),
        "base": base,
    }
    return _hashed(told)


def given_pictures(
    style: Tensor | Sequence[Tensor],
    face: Tensor,
    style_mask: Tensor | None,
    face_mask: Tensor | None,
    start_row: Tensor | None,
) -> dict[str, Tensor | None]:
    """What a training is given, by name: of several style pictures each, and what S* starts from if it is not the word."""
    first, *further = style.split(1) if isinstance(style, Tensor) else style
    given = {"style": first, "face": face, "style_mask": style_mask, "face_mask": face_mask}
    given |= {f"style_{number}": one for number, one in enumerate(further, 2)}
    return given if start_row is None else {**given, "start_row": start_row}


@torch.no_grad()
def weights_identity(*modules: nn.Module) -> str:
    """Hexadecimal digest of the names, shapes and some values of all weights."""
    whole = hashlib.sha256()
    for module in modules:
        parameters = dict(module.named_parameters())
        for name, tensor in module.state_dict().items():
            if tensor.is_meta:
                # Where a layer (of GGUF files) writes sizes alone into its state, its parameter has the values.
                tensor = parameters.get(name, torch.empty(0))
            whole.update(f"{name} {tuple(tensor.shape)} {tensor.dtype};".encode())
            flat = tensor.detach().flatten()
            whole.update(_digest([flat[:: max(1, flat.numel() // SAMPLED)]]).encode())
    return whole.hexdigest()


def described(value: Any, deep: int = 8) -> str:
    """Text that stands for what a host or another pack has put on a model: patches, wrappers, options.

    Two descriptions differ where the names of classes and functions differ, or what these hold: numbers, texts, weights, and
    what a function was made with. Private attributes, which count and cache, are left out, so that the text stays the same
    in another process.

    Args:
        deep: so many levels of what is held are looked at.
    """
    if isinstance(value, (str, bytes, bool, int, float, complex, type(None), torch.dtype, torch.device)):
        return repr(value)
    if isinstance(value, Tensor):
        flat = value.detach().flatten()
        return f"{tuple(value.shape)} {_digest([flat[:: max(1, flat.numel() // SAMPLED)]])}"
    if isinstance(value, nn.Module):
        return f"{_name(type(value))} {weights_identity(value)}"
    if isinstance(value, type):
        return _name(value)
    if deep == 0:
        return _name(type(value))

    def further(held: Iterable[Any]) -> str:
        return ", ".join(described(one, deep - 1) for one in held)

    if isinstance(value, Mapping):
        return "{" + ", ".join(sorted(f"{key!s}: {further([one])}" for key, one in value.items())) + "}"
    if isinstance(value, (list, tuple)):
        return f"[{further(value)}]"
    if isinstance(value, (set, frozenset)):
        return "{" + ", ".join(sorted(described(one, deep - 1) for one in value)) + "}"
    if isinstance(value, FunctionType):
        cells = [cell.cell_contents for cell in value.__closure__ or () if _is_filled(cell)]
        return f"{_name(value)}({further([*cells, *(value.__defaults__ or ())])})"
    if isinstance(value, MethodType):
        return f"{_name(value.__func__)}({further([value.__self__])})"
    if isinstance(value, partial):
        return f"partial({further([value.func, value.args, value.keywords])})"
    public = {name: one for name, one in getattr(value, "__dict__", {}).items() if not name.startswith("_")}
    return f"{_name(type(value))}({further([public])})"


def _hashed(told: dict) -> str:
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:32]


def _name(what: Any) -> str:
    return f"{getattr(what, '__module__', '')}.{getattr(what, '__qualname__', '')}"


def _is_filled(cell: CellType) -> bool:
    """Whether a name that a function takes from around it has a value yet."""
    try:
        return cell.cell_contents is not cell
    except ValueError:
        return False


def _digest(tensors: Iterable[Tensor]) -> str:
    whole = hashlib.sha256()
    for tensor in tensors:
        whole.update(f"{tuple(tensor.shape)} {tensor.dtype};".encode())
        whole.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return whole.hexdigest()
