"""The calls that are made to a card, where there is none: with the arguments that torch's functions take."""

from __future__ import annotations

import os
import warnings
from unittest.mock import MagicMock, create_autospec

import pytest
import torch

from acfun_core.training.accelerator import Cuda, accelerator_of

CARD = torch.device("cuda:0")


@pytest.fixture
def card(monkeypatch) -> dict[str, MagicMock]:
    """torch.cuda's functions as doubles that refuse wrong arguments."""
    doubles = {}
    for name in ("graph", "Stream", "Event", "stream", "current_stream", "CUDAGraph"):
        doubles[name] = create_autospec(getattr(torch.cuda, name))
        monkeypatch.setattr(torch.cuda, name, doubles[name])
    for name in ("stream", "graph"):
        doubles[name].return_value = MagicMock()
    return doubles


def test_only_cuda_works_behind_its_host(monkeypatch):
    assert isinstance(accelerator_of(CARD), Cuda)
    monkeypatch.delattr(torch.amp, "GradScaler")
    assert accelerator_of(CARD) is None, "an older torch trains as it did"
    assert accelerator_of(torch.device("cpu")) is None and accelerator_of(torch.device("mps")) is None


def test_a_graph_is_written_down_on_a_stream_of_its_own_whatever_other_threads_do(card):
    cuda = Cuda(CARD)
    with cuda.aside():
        pass
    side = card["Stream"].return_value
    side.wait_stream.assert_called_once_with(card["current_stream"].return_value)
    card["current_stream"].return_value.wait_stream.assert_called_once_with(side)
    graph = cuda.graph()
    with cuda.capturing(graph):
        pass
    card["graph"].assert_called_once_with(graph, stream=side, capture_error_mode="thread_local")
    card["Stream"].assert_called_once_with(CARD)


def state() -> tuple:
    cudnn, memory = torch.backends.cudnn, torch.utils.deterministic
    flags = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    return cudnn.deterministic, cudnn.benchmark, memory.fill_uninitialized_memory, *flags, dict(os.environ)


@pytest.mark.parametrize("warn_only", [False, True])
def test_a_step_is_repeatable_and_leaves_the_hosts_settings_as_they_were(monkeypatch, warn_only):
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    torch.use_deterministic_algorithms(warn_only, warn_only=warn_only)
    try:
        before = state()
        with pytest.raises(KeyError), Cuda(CARD).repeatable():
            assert state()[:5] == (True, False, False, True, False)
            assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"
            raise KeyError
        assert state() == before
    finally:
        torch.use_deterministic_algorithms(False)


def test_where_the_host_waits_is_named_by_its_line(monkeypatch):
    modes = []
    monkeypatch.setattr(torch.cuda, "set_sync_debug_mode", modes.append)
    monkeypatch.setattr(torch.cuda, "get_sync_debug_mode", lambda: 0)
    itself = "Synchronization debug mode is a prototype feature and does not yet detect all synchronizing operations"
    with pytest.warns(UserWarning, match="something else") as passed_on, Cuda(CARD).waits() as seen:
        warnings.warn(itself, stacklevel=1)
        warnings.warn("called a synchronizing CUDA operation", stacklevel=1)
        warnings.warn("something else", stacklevel=1)
    assert len(passed_on) == 1
    [place] = seen
    assert place.startswith("the host waits for the card in test_accelerator.py, line ") and modes == ["warn", 0]
