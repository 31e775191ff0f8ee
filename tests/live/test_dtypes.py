"""Weights that a host left in the dtype of their file."""

from __future__ import annotations

import importlib.util

import torch

from tools.comfy.install import REPO


class Wrapped(torch.Tensor):
    """A tensor of a class of its own, as quantised weights are."""


def test_float32_weights_of_a_float16_model_met_float16_activations():
    """A clone without dynamic VRAM has them where the file is float32: the first step failed. Quantised weights stay."""
    spec = importlib.util.spec_from_file_location("dtypes_alone", REPO / "nodes" / "host" / "dtypes.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    layers = torch.nn.ModuleList(torch.nn.Linear(4, 4) for _ in range(3))
    told, quantised, untold = layers
    told.weight_comfy_model_dtype = told.bias_comfy_model_dtype = torch.float16
    quantised.weight = torch.nn.Parameter(torch.rand(4, 4).as_subclass(Wrapped), requires_grad=False)
    quantised.weight_comfy_model_dtype = torch.float16
    before = told.weight.detach().clone()
    module.in_declared_dtypes(layers)
    assert told(torch.rand(1, 4, dtype=torch.float16)).dtype == torch.float16
    assert torch.equal(told.weight, before.half())
    assert untold.weight.dtype == quantised.weight.dtype == quantised.bias.dtype == torch.float32
