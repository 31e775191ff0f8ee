"""What ComfyUI sends to and fro between a card and its host at every call, kept on the card while an adapter learns."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import comfy.model_management
import torch
from torch import nn

from ...acfun_core.training.graphable import obstacle


@contextmanager
def text_at_home(device: torch.device) -> Iterator[None]:
    """While active, the text encoder's answers stay on this device; ComfyUI brings them to the CPU, where prompts wait."""
    management = comfy.model_management
    usual = management.intermediate_device
    management.intermediate_device = lambda: device
    try:
        yield
    finally:
        management.intermediate_device = usual


@contextmanager
def tables_at_home(model) -> Iterator[None]:
    """While active, the noise levels of a MODEL lie on its device: of a model without weights of its own, they stay behind."""
    sampling, device = model.get_model_object("model_sampling"), model.load_device
    moved: list[tuple[dict, str, torch.Tensor]] = []
    try:
        # Not every kind of noise levels is a module, and some have none that lie in memory.
        for owner in sampling.modules() if isinstance(sampling, nn.Module) else ():
            for name, table in owner._buffers.items():
                if table is not None and table.device != device:
                    moved.append((owner._buffers, name, table))
                    owner._buffers[name] = table.to(device)
        yield
    finally:
        for tables, name, table in moved:
            tables[name] = table


def not_as_a_graph(model, clip) -> str:
    """Why a training step on these, which are loaded, cannot be written down as one CUDA graph, as a sentence; "" if it may."""
    if model.load_device.type != "cuda":
        return ""
    return obstacle({"MODEL": model.model.diffusion_model, "CLIP": clip.cond_stage_model}, model.load_device)
