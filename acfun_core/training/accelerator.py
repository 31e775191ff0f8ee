"""A device that works behind its host: what must be asked of it so that neither waits for the other."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, Protocol

import torch
import torch.utils.deterministic
from torch import Tensor

_WORKSPACE = "CUBLAS_WORKSPACE_CONFIG"
_WAITED, _ABOUT_ITSELF = "called a synchronizing", "debug mode is a prototype"
"""What torch says where a host waits for its card, and of its looking for that."""


class Arrival(Protocol):
    """A tensor on its way to the host."""

    def wait(self) -> Tensor:
        """The tensor, on the CPU; waits for it alone and for nothing that was asked for later."""


class Accelerator(Protocol):
    """What a training asks of its device beside arithmetic. CUDA is the one there is; tests have a double on the CPU."""

    device: torch.device

    def to_device(self, tensor: Tensor) -> Tensor:
        """A copy of a tensor of the CPU; the host goes on at once."""

    def to_host(self, tensor: Tensor) -> Arrival:
        """A copy of a tensor of the device; both go on at once."""

    def graph(self) -> Any:
        """An empty graph of kernels, with the interface of ``torch.cuda.CUDAGraph``."""

    def capturing(self, graph: Any) -> AbstractContextManager[None]:
        """While active, kernels are written into the graph and not run."""

    def aside(self) -> AbstractContextManager[None]:
        """While active, kernels run beside the usual stream, as they must before the first capture."""

    def repeatable(self) -> AbstractContextManager[None]:
        """While active, the device adds up in the same order each time.

        Inside, torch raises a RuntimeError that says "deterministic" where it knows no way to.
        """

    def waits(self) -> AbstractContextManager[list[str]]:
        """While active, notes where the host waits for the device, as sentences: a graph cannot hold that."""

    def recover(self) -> None:
        """Put right what a graph that could not be written down leaves behind."""

    def release(self) -> None:
        """Give back memory that is kept for tensors to come."""


def accelerator_of(device: torch.device) -> Accelerator | None:
    """That of a device, or None where the host computes itself or waits for every number, as with torch before 2.3."""
    return Cuda(device) if device.type == "cuda" and hasattr(torch.amp, "GradScaler") else None


class Cuda:
    """An NVIDIA card, or one of AMD under torch's name for both."""

    def __init__(self, device: torch.device):
        self.device = device
        self._side: torch.cuda.Stream | None = None

    def to_device(self, tensor: Tensor) -> Tensor:
        # Only memory that is pinned is copied while the host goes on; torch keeps it until the copy is done.
        return tensor.pin_memory().to(self.device, non_blocking=True)

    def to_host(self, tensor: Tensor) -> Arrival:
        return _OnItsWay(tensor)

    def graph(self) -> torch.cuda.CUDAGraph:
        return torch.cuda.CUDAGraph()

    @contextmanager
    def capturing(self, graph: torch.cuda.CUDAGraph) -> Iterator[None]:
        # What other threads do, such as a host's server, is none of the capture's business.
        with torch.cuda.graph(graph, stream=self._beside(), capture_error_mode="thread_local"):
            yield

    @contextmanager
    def aside(self) -> Iterator[None]:
        usual, side = torch.cuda.current_stream(self.device), self._beside()
        side.wait_stream(usual)
        with torch.cuda.stream(side):
            yield
        usual.wait_stream(side)

    def _beside(self) -> torch.cuda.Stream:
        if self._side is None:
            self._side = torch.cuda.Stream(self.device)
        return self._side

    @contextmanager
    def repeatable(self) -> Iterator[None]:
        cudnn, memory = torch.backends.cudnn, torch.utils.deterministic
        before = cudnn.deterministic, cudnn.benchmark, memory.fill_uninitialized_memory
        strict, only_warns = (
            torch.are_deterministic_algorithms_enabled(),
            torch.is_deterministic_algorithms_warn_only_enabled(),
        )
        workspace = os.environ.get(_WORKSPACE)
        try:
            cudnn.deterministic, cudnn.benchmark, memory.fill_uninitialized_memory = True, False, False
            # torch asks for it before it calls a product of matrices repeatable.
            os.environ.setdefault(_WORKSPACE, ":4096:8")
            torch.use_deterministic_algorithms(True)
            yield
        finally:
            torch.use_deterministic_algorithms(strict, warn_only=only_warns)
            cudnn.deterministic, cudnn.benchmark, memory.fill_uninitialized_memory = before
            if workspace is None:
                del os.environ[_WORKSPACE]

    @contextmanager
    def waits(self) -> Iterator[list[str]]:
        seen: list[str] = []
        before = torch.cuda.get_sync_debug_mode()
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            try:
                torch.cuda.set_sync_debug_mode("warn")
                yield seen
            finally:
                torch.cuda.set_sync_debug_mode(before)
        places = set()
        for one in said:
            if _WAITED in str(one.message):
                places.add(f"{Path(one.filename).name}, line {one.lineno}")
            elif _ABOUT_ITSELF not in str(one.message):
                warnings.warn_explicit(one.message, one.category, one.filename, one.lineno)
        seen.extend(f"the host waits for the card in {place}." for place in sorted(places))

    def recover(self) -> None:
        # The card's generator goes on thinking that it is being written down, until something was written down to the end.
        nothing = torch.zeros((), device=self.device)
        with self.capturing(self.graph()):
            nothing.add_(1)

    def release(self) -> None:
        torch.cuda.empty_cache()


class _OnItsWay:
    """A copy into pinned memory, and the place in the stream after it."""

    def __init__(self, tensor: Tensor):
        self._copy = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True)
        self._copy.copy_(tensor, non_blocking=True)
        # A waiting host sleeps: it has the server of ComfyUI to serve.
        self._done = torch.cuda.Event(blocking=True)
        self._done.record(torch.cuda.current_stream(tensor.device))

    def wait(self) -> Tensor:
        self._done.synchronize()
        return self._copy
