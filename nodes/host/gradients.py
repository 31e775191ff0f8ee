"""Gradients inside a prompt: ComfyUI runs every prompt, and often loads weights, in inference mode."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import comfy.model_management
import torch
from torch import Tensor, nn

from ...acfun_core.inference_tensors import OrdinaryArguments, noted, ordinary_view

TRAINS = {"in_training": True, "NUM_STREAMS": 0}
"""What ComfyUI's model management is told while gradients pass, by those of its versions that have it.

With streams for loading ahead, layers without a place on the device would share one buffer each stream, and backward would find
the weights of other layers in it.
"""


@contextmanager
def differentiable(*modules: nn.Module) -> Iterator[None]:
    """Leave inference mode and let gradients pass through frozen modules; weights are neither copied nor changed.

    Inference tensors among parameters and buffers are replaced by zero-copy views and put back in ``finally``. Parameters that
    ask for gradients, as ComfyUI's do by default, stop asking for as long.
    """
    swapped: list[tuple[dict, str, Tensor | nn.Parameter]] = []
    management = comfy.model_management
    told = {name: getattr(management, name) for name in TRAINS if hasattr(management, name)}
    hooks, unfrozen = [], []
    with torch.inference_mode(False), torch.enable_grad():
        try:
            hooks.extend(_copy_layer_norm_inputs(modules))
            for name in told:
                setattr(management, name, TRAINS[name])
            for module in modules:
                unfrozen.extend(p for p in module.parameters() if p.requires_grad and not p.is_inference())
                for owner in module.modules():
                    _swap(owner._parameters, swapped, lambda view: nn.Parameter(view, requires_grad=False))
                    _swap(owner._buffers, swapped, lambda view: view)
            for parameter in unfrozen:
                parameter.requires_grad_(False)
            yield
        finally:
            for hook in hooks:
                hook.remove()
            for parameter in unfrozen:
                parameter.requires_grad_(True)
            for slots, name, original in swapped:
                slots[name] = original
            for name, value in told.items():
                setattr(management, name, value)


def patches_let_through(model) -> AbstractContextManager:
    """While active, gradients pass the patches of a MODEL that hold tensors of their own, as hypernetworks and IPAdapter do."""
    options = model.model_options.get("transformer_options", {})
    patched = (
        options.get("patches") or options.get("patches_replace") or "model_function_wrapper" in model.model_options
    )
    return OrdinaryArguments() if patched else nullcontext()


def _copy_layer_norm_inputs(modules) -> list:
    """ComfyUI's CLIP adds to its hidden states in place, which would overwrite what its layer norms saved for backward."""
    norms = (norm for module in modules for norm in module.modules() if isinstance(norm, nn.LayerNorm))
    return [norm.register_forward_pre_hook(lambda module, inputs: (inputs[0].clone(), *inputs[1:])) for norm in norms]


def _swap(slots: dict, swapped: list, wrap) -> None:
    for name, tensor in slots.items():
        if tensor is not None and tensor.is_inference():
            swapped.append((slots, name, tensor))
            # ComfyUI and others keep notes on parameters, such as the dtype a layer wants them in.
            slots[name] = noted(wrap(ordinary_view(tensor)), tensor)
