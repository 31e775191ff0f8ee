"""Whether a step on a base can be written down as one graph of kernels, which reads its weights where they lie then."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn
from torch.utils._python_dispatch import is_traceable_wrapper_subclass


def obstacle(parts: Mapping[str, nn.Module], device: torch.device) -> str:
    """What speaks against a graph, as a sentence; "" if nothing does.

    Args:
        parts: the frozen modules by the name that a user knows them by.
        device: where the step is computed.
    """
    for name, module in parts.items():
        for weight in (*module.parameters(), *module.buffers()):
            if weight.device != device:
                return f"part of the {name} lies on another device and is brought along at each step."
            if is_traceable_wrapper_subclass(weight) or type(weight) not in (torch.Tensor, nn.Parameter):
                return f"the weights of the {name} are quantised and made anew at each step."
        if any(map(_makes_weights, module.modules())):
            return f"the weights of the {name} are made anew at each step, by a patch or while they stream."
    return ""


def _makes_weights(layer: nn.Module) -> bool:
    """Whether ComfyUI computes a layer's weight when it is used: a LoRA on weights that stream, or a weight wrapper."""
    return bool(getattr(layer, "weight_function", None) or getattr(layer, "bias_function", None))
