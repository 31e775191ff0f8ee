"""Tensors that a host makes anew of the same Python numbers at every step, made once.

A text encoder turns its token numbers into a tensor each time it is asked. On a card every such tensor is sent there, for which
the host waits and which no graph of kernels can hold; that the numbers are the same each time is known only here.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode


class Constants(TorchFunctionMode):
    """While active, ``torch.tensor(numbers, device=...)`` and ``tensor[numbers]`` send numbers once and copy them from then on.

    A copy, for who asked may write into it.
    """

    def __init__(self):
        super().__init__()
        self._made: dict[str, Tensor] = {}

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if func is torch.tensor and len(args) == 1 and _is_numbers(args[0]):
            return self._made_once(args[0], **kwargs)
        if func is Tensor.__getitem__ and _holds_lists(args[1]):
            index = tuple(
                self._made_once(part, device=args[0].device) if isinstance(part, list) else part for part in args[1]
            )
            return func(args[0], index)
        return func(*args, **kwargs)

    def _made_once(self, numbers: list, **how: Any) -> Tensor:
        key = f"{numbers} {sorted((name, str(value)) for name, value in how.items())}"
        if key not in self._made:
            self._made[key] = torch.tensor(numbers, **how)
        return self._made[key].clone()


def _is_numbers(value: Any) -> bool:
    """Whether it is a list of nothing but numbers, or of such lists."""
    return isinstance(value, list) and all(isinstance(one, (int, float)) or _is_numbers(one) for one in value)


def _holds_lists(index: Any) -> bool:
    return isinstance(index, tuple) and any(isinstance(part, list) and part and _is_numbers(part) for part in index)
