"""Gradient checkpointing (Chen et al. 2016): blocks forget what they computed and compute it again in the backward pass.

It costs about a third more time and leaves of the memory that grows with the picture a small part: each block's input alone.
The gradients are the same, but for the order in which their parts are added up.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from .blocks import ResBlockSite


def blocks_of(sites: Mapping[str, ResBlockSite]) -> list[nn.Module]:
    """The blocks of a UNet that forget: each ResBlock, and each transformer block after one."""
    found = [site.at("output") for site in sites.values()]
    attentions = [site.at("attention") for site in sites.values() if site.has("attention")]
    return found + [block for attention in attentions for block in attention.transformer_blocks]


@contextmanager
def recomputed(sites: Mapping[str, ResBlockSite]) -> Iterator[None]:
    """While active, the blocks of a UNet compute twice where gradients are asked for, and once where they are not.

    It must be active during the backward pass, too, as must hooks inside of the blocks: both passes have to compute the same.
    """
    blocks = blocks_of(sites)
    # Where a host or another pack has put a forward of its own on a block, it comes back.
    before = [vars(block).get("forward") for block in blocks]
    try:
        for block in blocks:
            block.forward = _twice(block.forward)
        yield
    finally:
        for block, own in zip(blocks, before):
            if own is None:
                vars(block).pop("forward", None)
            else:
                block.forward = own


def _twice(forward: Callable) -> Callable:
    def run(positional: tuple, named: Mapping[str, Any]) -> Any:
        return forward(*map(_fresh, positional), **{name: _fresh(value) for name, value in named.items()})

    def again(*positional, **named):
        if not torch.is_grad_enabled():
            return forward(*positional, **named)
        # As they are now: ComfyUI notes in one dict, for all blocks, which of them computes.
        told = tuple(map(_noted, positional)), {name: _noted(value) for name, value in named.items()}
        # While kernels are written down as a graph, nobody may ask for the state of chance.
        keeps_chance = not (torch.cuda.is_available() and torch.cuda.is_current_stream_capturing())
        return checkpoint(run, *told, use_reentrant=False, preserve_rng_state=keeps_chance)

    return again


def _noted(value: Any) -> Any:
    return dict(value) if type(value) is dict else value


def _fresh(value: Any) -> Any:
    """What a block may write into: a block that adds to its input in place would compute from another one the second time."""
    return value.clone() if isinstance(value, Tensor) and value.requires_grad else _noted(value)
