"""A device that works behind its host, played on the CPU: graphs of kernels, copies that arrive later, and no look at a number.

:class:`Kernels` has the interface of ``torch.cuda.CUDAGraph``. What torch does while it is written down is noted, kernel by
kernel with the very tensors, and afterwards undone; a replay does it again, without any of the Python in between, into the same
places. So whatever a real graph would freeze is frozen here.
"""

from __future__ import annotations

from contextlib import contextmanager

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map_only

READS = ("aten._local_scalar_dense", "aten.is_nonzero", "aten.equal", "aten.nonzero", "aten.item")
"""What makes a host wait until the device has computed a number."""


class HostLooked(AssertionError):
    """The host asked the device for a number."""


class NoLooks(TorchDispatchMode):
    """While active, nothing on the device may be read."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if str(func).startswith(READS):
            raise HostLooked(str(func))
        return func(*args, **(kwargs or {}))


class Kernels:
    """A graph, see the module."""

    def __init__(self, fails: str = "", forgets: int = 0, forgets_from: int = 1):
        self._calls, self._fails, self._forgets, self._forgets_from = [], fails, forgets, forgets_from
        self.replays = 0

    def capture_begin(self, *given, **further):
        self._noting = _Noting(self)
        self._noting.__enter__()

    def capture_end(self):
        self._noting.__exit__(None, None, None)
        self._noting.undo()
        if self._fails:
            raise RuntimeError(self._fails)

    @torch.no_grad()
    def replay(self):
        self.replays += 1
        # A fault to be found: the last kernels are lost.
        lost = self._forgets if self.replays >= self._forgets_from else 0
        for func, args, kwargs, outputs in self._calls[: len(self._calls) - lost]:
            for was, now in zip(outputs, _tensors(func(*args, **kwargs))):
                if was.data_ptr() != now.data_ptr():
                    was.copy_(now)


class _Noting(NoLooks):
    def __init__(self, graph: Kernels):
        super().__init__()
        self.graph, self.saved, self.made = graph, {}, set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        # Gradients are taken while the graph is written down; what is kept must not hold on to their history.
        kept_args, kept_kwargs = tree_map_only(torch.Tensor, lambda one: one.detach(), (args, kwargs))
        for tensor in _written(func, args, kwargs):
            place = tensor.untyped_storage().data_ptr()
            if place not in self.made and place not in self.saved:
                self.saved[place] = tensor.detach(), tensor.detach().clone()
        result = super().__torch_dispatch__(func, types, args, kwargs)
        outputs = [one.detach() for one in _tensors(result)]
        self.made.update(one.untyped_storage().data_ptr() for one in outputs if not func.is_view)
        self.graph._calls.append((func, kept_args, kept_kwargs, outputs))
        return result

    @torch.no_grad()
    def undo(self):
        """A graph that is written down has not run."""
        for tensor, was in self.saved.values():
            tensor.copy_(was)


def _tensors(values) -> list[torch.Tensor]:
    return [one for one in tree_flatten(values)[0] if isinstance(one, torch.Tensor)]


def _written(func, args, kwargs) -> list[torch.Tensor]:
    """Arguments that a kernel writes to."""
    named = list(zip(func._schema.arguments, args)) + [
        (one, kwargs[one.name]) for one in func._schema.arguments if one.name in kwargs
    ]
    return [
        tensor
        for argument, value in named
        if argument.alias_info is not None and argument.alias_info.is_write
        for tensor in _tensors([value])
    ]


class Late:
    """A tensor on its way: it shows what it was when it was sent."""

    def __init__(self, tensor: torch.Tensor, device: Device):
        self._copy, self._device = tensor.detach().clone(), device
        device.coming += 1
        device.most_coming = max(device.most_coming, device.coming)

    def wait(self) -> torch.Tensor:
        self._device.coming -= 1
        return self._copy


class Device:
    """The accelerator's double.

    Args:
        fails: what torch says when a graph cannot be written down.
        forgets: kernels that its replays lose, from replay number ``forgets_from`` on.
        refuses: what torch says where it knows no way to add up in the same order. waits: where the host waits in a step.

    Attributes:
        recovered: how often it was put right after a graph that failed.
    """

    def __init__(
        self,
        fails: str = "",
        forgets: int = 0,
        refuses: str = "",
        waits: tuple[str, ...] = (),
        forgets_from: int = 1,
    ):
        self.device = torch.device("cpu")
        self.coming = self.most_coming = 0
        self.graphs: list[Kernels] = []
        self._refuses, self._waits = refuses, waits
        self._faults = fails, forgets, forgets_from
        self.recovered = 0

    def to_device(self, tensor):
        return tensor.clone()

    def to_host(self, tensor):
        return Late(tensor, self)

    def graph(self):
        self.graphs.append(Kernels(*self._faults))
        return self.graphs[-1]

    @contextmanager
    def capturing(self, graph):
        graph.capture_begin()
        try:
            yield
        finally:
            graph.capture_end()

    @contextmanager
    def aside(self):
        yield

    @contextmanager
    def repeatable(self):
        if self._refuses:
            raise RuntimeError(self._refuses)
        yield

    @contextmanager
    def waits(self):
        yield list(self._waits)

    def recover(self):
        self.recovered += 1

    def release(self):
        pass
