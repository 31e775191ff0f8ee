"""Tensors that a host made in inference mode, for autograd, which cannot save them for backward."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import is_traceable_wrapper_subclass
from torch.utils._pytree import tree_map_only


def ordinary_view(tensor: Tensor) -> Tensor:
    """A tensor of the same kind on the same memory that autograd accepts; nothing is copied.

    Quantised weights come in two forms: tensors around others (values, scales) without memory of their own, and bytes in a
    class of their own that notes what they mean. Both stay what they are.
    """
    if is_traceable_wrapper_subclass(tensor):
        names, context = tensor.__tensor_flatten__()
        inner = {name: ordinary_view(getattr(tensor, name)) for name in names}
        return type(tensor).__tensor_unflatten__(inner, context, tensor.size(), tensor.stride())
    view = torch.empty(0, dtype=tensor.dtype, device=tensor.device)
    view.set_(tensor.untyped_storage(), tensor.storage_offset(), tensor.size(), tensor.stride())
    # Not isinstance: it takes every class for a Parameter that one was made of.
    kind = type(tensor)
    return view if kind in (Tensor, torch.nn.Parameter) else noted(view.as_subclass(kind), tensor)


def noted(new: Tensor, old: Tensor) -> Tensor:
    """A tensor with the notes (Python attributes) of another that it has not of its own."""
    for name, value in vars(old).items():
        vars(new).setdefault(name, value)
    return new


class OrdinaryArguments(TorchFunctionMode):
    """While active, torch's functions are given ordinary views in the place of inference tensors, wherever they come from.

    For parts of a base that nobody can list: patches hold weights and tokens in objects and closures of their own. It costs
    some microseconds for each call of a function.
    """

    def __torch_function__(self, func, types, args=(), kwargs=None):
        # What sets an attribute means the tensor itself, and what reads one needs no view.
        if getattr(func, "__name__", "") in ("__get__", "__set__"):
            return func(*args, **(kwargs or {}))
        args, kwargs = tree_map_only(Tensor, _ordinary, (args, kwargs or {}))
        return func(*args, **kwargs)


def _ordinary(tensor: Tensor) -> Tensor:
    return ordinary_view(tensor) if tensor.is_inference() else tensor
