"""How much memory a training's passes keep for the backward pass, and what to do where there is not enough."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..config import TrainConfig
from ..errors import ACFunError
from ..host import Base
from ..unet.recomputing import blocks_of, recomputed
from .alignment_loss import counting

CHECKPOINTING = ("auto", "on", "off")
"""When a training checkpoints its gradients (:mod:`~acfun_core.unet.recomputing`)."""

SHARE = 0.7
"""Of the free memory that kept activations may fill: the rest is for what a pass computes with."""
MOST_A_PLACE = 6_000_000
"""Bytes that no pass keeps more of for each place of a latent. Where so much would fit, nothing is measured."""
SIDES = 8, 16
"""Of the latents at which it is measured. What is kept grows with the number of places, so two sizes tell all others."""


@contextmanager
def fitting(
    base: Base,
    latents: Tensor,
    config: TrainConfig,
    checkpointing: str = "auto",
    free: int | None = None,
    say: Callable[[str], Any] = lambda text: None,
) -> Iterator[None]:
    """While active, a training fits into memory, as far as gradient checkpointing can bring that about.

    Args:
        latents: (2, 4, h, w) of both pictures.
        checkpointing: one of :data:`CHECKPOINTING`; ``auto`` is on where what the passes keep would fill most of what is free.
        free: bytes that are free on the base's device; None asks it.
        say: is told why it is on.

    Raises:
        ACFunError: ``checkpointing`` is none of these.
    """
    if checkpointing not in CHECKPOINTING:
        raise ACFunError(f"Checkpointing is {checkpointing!r}.", " or ".join(CHECKPOINTING), "use auto")
    needed = checkpointing == "on"
    if checkpointing == "auto":
        free = free_memory(base.device) if free is None else free
        passes = len(range(*counting(config).indices(2)))
        if free is not None and passes * latents.shape[-2:].numel() * MOST_A_PLACE > SHARE * free:
            kept = kept_bytes(base, passes, latents.shape[-2:])
            needed = kept > SHARE * free
            if needed:
                say(
                    f"Gradient checkpointing is on, which takes a third more time: a step would keep {kept / 2**30:.1f} GB, "
                    f"{free / 2**30:.1f} GB are free."
                )
    with recomputed(base.sites) if needed else nullcontext():
        yield


def free_memory(device: torch.device) -> int | None:
    """Bytes that are free on a device for this process, or None where nobody says."""
    if device.type == "cuda":
        unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return torch.cuda.mem_get_info(device)[0] + unused
    if device.type == "mps":
        return torch.mps.recommended_max_memory() - torch.mps.current_allocated_memory()
    meminfo = Path("/proc/meminfo")
    if device.type == "cpu" and meminfo.is_file():
        lines = dict(line.split(":") for line in meminfo.read_text().splitlines())
        return 1024 * int(lines["MemAvailable"].split()[0]) if "MemAvailable" in lines else None
    names = getattr(os, "sysconf_names", {})
    if device.type == "cpu" and "SC_AVPHYS_PAGES" in names:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return None


def kept_bytes(base: Base, passes: int, size: tuple[int, int]) -> int:
    """Bytes that passes of the UNet over latents of a size (h, w) keep for the backward pass, weights not counted.

    CFun, which is not on it yet, keeps a little more at its blocks: part of what :data:`SHARE` leaves free.

    Args:
        passes: pictures at once.
    """
    with torch.no_grad():
        context = base.text.encode(base.text.initial_row.to(base.device))

    def measured(side: int) -> int:
        z_t = torch.zeros(1, 4, side, side, device=base.device, requires_grad=True)
        t = torch.full((1,), len(base.schedule) // 2, device=base.device)
        return saved_bytes(lambda: base.predict(z_t, t, context), _weights(base))

    few, more = map(measured, SIDES)
    each = (more - few) / (SIDES[1] ** 2 - SIDES[0] ** 2)
    fixed = few - each * SIDES[0] ** 2
    return round(max(0.0, fixed) + passes * each * size[0] * size[1])


def _weights(base: Base) -> set[int]:
    return {p.untyped_storage().data_ptr() for block in blocks_of(base.sites) for p in block.parameters()}


def saved_bytes(run: Callable[[], Any], beside: set[int] = frozenset()) -> int:
    """Bytes that autograd keeps of what ``run`` computes, each memory counted once.

    Args:
        beside: addresses of memory that is there anyway, such as weights.
    """
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in beside:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.enable_grad(), torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        answer = run()
    del answer
    return sum(kept.values())
