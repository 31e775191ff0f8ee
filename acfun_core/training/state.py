"""The state of a training in a file: all that a training needs to go on as if it had never been killed.

One safetensors file. Tensors: the adapter in full precision, AdamW's moments, the states of the random generators and the best
adapter of the copy guard. Metadata: the version of the format, the step, the losses, the guard's looks as JSON, and a checksum
over all of it. On the CPU the training that goes on ends bit for bit as the one that was not killed.
"""

from __future__ import annotations

import dataclasses
import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from ..errors import ACFunError
from ..method.adapter import StyleAdapter, TrainingRecord
from ..whole_files import write_whole
from .copy_guard import CopyGuard, Look
from .optimiser import Optimiser

FORMAT, FORMAT_VERSION = "acfun-training-state", 1

BEFORE_TOLERANCE = 1e-2
"""How far the losses before the training may differ, as a share, on the same base: another card or library rounds otherwise."""


class StateMisfit(ACFunError):
    """A state of another training, or of another base."""


@dataclass
class Running:
    """A training between two steps.

    Attributes:
        guard: None where no copy can be learned, as by a slider.
        generator: draws timesteps and noise. Dropout draws from torch's own generators, whose states are kept too.
    """

    adapter: StyleAdapter
    optimiser: Optimiser
    guard: CopyGuard | None
    record: TrainingRecord
    generator: torch.Generator
    device: torch.device

    @property
    def best(self) -> tuple[Look, dict[str, Tensor]] | None:
        """The best adapter so far and the look that found it, of the copy guard."""
        return None if self.guard is None else self.guard.best

    def chance(self) -> dict[str, Tensor]:
        """The states of torch's own generators, on the CPU."""
        states = {"torch": torch.random.get_rng_state()}
        if self.device.type == "cuda":
            states["cuda"] = torch.cuda.get_rng_state(self.device)
        return states

    def restore_chance(self, states: Mapping[str, Tensor]) -> None:
        """The other way round; that of a card is left as it is on a device of another kind."""
        torch.random.set_rng_state(states["torch"])
        if "cuda" in states and self.device.type == "cuda":
            torch.cuda.set_rng_state(states["cuda"], self.device)


@dataclass(frozen=True)
class State:
    """What a file holds: tensors by name, and plain numbers."""

    tensors: dict[str, Tensor]
    numbers: dict

    @property
    def step(self) -> int:
        """Steps that are done."""
        return self.numbers["step"]


def captured(running: Running, step: int) -> State:
    """The state after ``step`` steps. On the CPU it shares memory with the training: write it before the next step."""
    best = running.best
    looks = [] if running.guard is None else running.guard.looks
    numbers = {
        "step": step,
        **running.optimiser.scaling(),
        "record": dataclasses.asdict(running.record),
        "looks": [dataclasses.astuple(look) for look in looks],
        "best": None if best is None else dataclasses.astuple(best[0]),
    }
    tensors = _tensors(running)
    return State({name: value.detach().cpu().contiguous() for name, value in tensors.items()}, numbers)


def size(running: Running) -> int:
    """Bytes of the state's tensors; nothing is copied for that."""
    return sum(value.nbytes for value in _tensors(running).values())


def _tensors(running: Running) -> dict[str, Tensor]:
    """All tensors of the state, where they lie."""
    tensors = {f"adapter.{key}": value for key, value in running.adapter.state_dict().items()}
    tensors |= {f"adamw.{name}": value for name, value in running.optimiser.moments().items()}
    tensors |= {"random.draws": running.generator.get_state()}
    tensors |= {f"random.{name}": value for name, value in running.chance().items()}
    best = running.best
    if best is not None:
        tensors |= {f"best.{key}": value for key, value in best[1].items()}
    return tensors


def restore(running: Running, state: State) -> None:
    """Put a training, just begun, where the state was taken.

    Raises:
        StateMisfit: the state does not fit the training, which is no longer what it was and must be begun anew.
    """
    before = running.record.before
    try:
        was = TrainingRecord(**{**state.numbers["record"], "resolution": running.record.resolution})
        if any(abs(a - b) > BEFORE_TOLERANCE * max(abs(a), abs(b)) for a, b in zip(was.before, before)):
            raise ValueError(f"the base gives the losses {before}, it gave {was.before}")
        running.adapter.load_state_dict(_under("adapter.", state.tensors))
        running.optimiser.restore_moments(_under("adamw.", state.tensors))
        running.optimiser.restore_scaling(state.numbers)
        if running.guard is not None:
            running.guard.looks = [Look(*look) for look in state.numbers["looks"]]
            best = state.numbers["best"]
            running.guard.best = None if best is None else (Look(*best), _under("best.", state.tensors))
        running.generator.set_state(state.tensors["random.draws"])
        running.restore_chance(_under("random.", state.tensors))
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise StateMisfit(f"The state does not fit this training: {str(error)[:200]}.") from error
    for field in dataclasses.fields(TrainingRecord):
        if field.name not in ("settings", "before"):
            setattr(running.record, field.name, getattr(was, field.name))


def _under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}


def write(state: State, path: Path, kept: bool = False) -> Path:
    """Write a state over the one before it; the file is whole or the old one.

    Args:
        kept: it was asked for, and is no leftover that may be cleared away.

    Raises:
        ACFunError: the folder cannot be written to or the disk is full.
    """
    numbers = json.dumps(state.numbers)
    metadata = {
        "format": FORMAT,
        "format_version": str(FORMAT_VERSION),
        "kept": str(kept),
        "numbers": numbers,
        "checksum": _checksum(state.tensors, numbers),
    }
    return write_whole(state.tensors, metadata, path, overwrite=True)


def read(path: Path) -> State:
    """Read a state.

    Raises:
        ACFunError: the file cannot be read, is of another version of the format, or damaged.
    """
    try:
        with safe_open(str(path), framework="pt", device="cpu") as file:
            metadata = file.metadata() or {}
            if (metadata.get("format"), metadata.get("format_version")) != (FORMAT, str(FORMAT_VERSION)):
                raise ValueError(f"its format is version {metadata.get('format_version', 'unknown')[:20]}")
            tensors = {key: file.get_tensor(key) for key in file.keys()}
        if metadata["checksum"] != _checksum(tensors, metadata["numbers"]):
            raise ValueError("it is damaged")
        numbers = json.loads(metadata["numbers"])
        if not isinstance(numbers["step"], int) or numbers["step"] < 1:
            raise ValueError("it names no step")
    except (OSError, SafetensorError, KeyError, TypeError, ValueError, RecursionError) as error:
        raise ACFunError(
            f"The training's state {path.name} cannot be used: {str(error)[:200]}.",
            f"a whole file of format version {FORMAT_VERSION}",
            "nothing: the training starts anew",
        ) from error
    return State(tensors, numbers)


def _checksum(tensors: dict[str, Tensor], numbers: str) -> str:
    """CRC-32 of everything: it is for damage, and must cost little beside the writing."""
    crc = zlib.crc32(numbers.encode())
    for name in sorted(tensors):
        value = tensors[name]
        crc = zlib.crc32(f"{name} {tuple(value.shape)} {value.dtype}".encode(), crc)
        crc = zlib.crc32(value.contiguous().flatten().view(torch.uint8).numpy(), crc)
    return f"{crc:08x}"
