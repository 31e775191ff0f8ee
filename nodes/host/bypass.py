"""LoRAs in bypass mode (ComfyUI 0.33): a hook in the place of a layer's ``forward`` adds what the LoRA computes.

No weight is patched, so neither the model's list of patches nor its parameters tell of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from ...acfun_core.inference_tensors import ordinary_view


def bypass_hooks(*modules: nn.Module) -> Iterator[tuple[str, Any]]:
    """(name of the layer, hook) of each LoRA in bypass mode that acts in modules which are loaded."""
    for module in modules:
        for name, layer in module.named_modules():
            hook = getattr(vars(layer).get("forward"), "__self__", None)
            # Where two act on one layer, the second's original forward is the first.
            while hasattr(hook, "adapter") and hasattr(hook, "original_forward"):
                yield name, hook
                hook = getattr(hook.original_forward, "__self__", None)


def bypass_loras(*modules: nn.Module) -> list[tuple]:
    """What decides their effect: the layer, the kind, the strength and the weights of each."""
    return [
        (name, type(hook.adapter), hook.multiplier, getattr(hook.adapter, "weights", None))
        for name, hook in bypass_hooks(*modules)
    ]


@contextmanager
def ordinary_bypass_loras(*modules: nn.Module) -> Iterator[None]:
    """While active, autograd accepts their weights, which a prompt loads as inference tensors; nothing is copied."""
    kept = []
    try:
        for _, hook in bypass_hooks(*modules):
            weights = getattr(hook.adapter, "weights", None)
            if isinstance(weights, (list, tuple)):
                kept.append((hook.adapter, weights))
                with torch.inference_mode(False):
                    hook.adapter.weights = type(weights)(map(_ordinary, weights))
        yield
    finally:
        # Backwards, for an adapter that acts in two places.
        for adapter, weights in reversed(kept):
            adapter.weights = weights


def _ordinary(part: Any) -> Any:
    return ordinary_view(part) if isinstance(part, Tensor) and part.is_inference() else part
