"""What a graph of kernels cannot hold is seen before one is made, and what it could not take along is made once."""

from __future__ import annotations

import torch
from torch import nn

from acfun_core.training.constants import Constants
from acfun_core.training.graphable import obstacle

CPU = torch.device("cpu")


class Quantised(nn.Parameter):
    """As loaders of quantised files mark their weights: a class of its own."""


def test_a_base_whose_weights_stay_where_they_are_can_be_a_graph():
    assert (
        obstacle({"MODEL": nn.Sequential(nn.Linear(2, 2), nn.GroupNorm(1, 2)), "CLIP": nn.Embedding(2, 2)}, CPU) == ""
    )


def test_weights_elsewhere_quantised_or_made_anew_are_obstacles():
    elsewhere, quantised, wrapped = nn.Sequential(nn.Linear(2, 2).to("meta")), nn.Linear(2, 2), nn.Linear(2, 2)
    quantised.weight = Quantised(torch.ones(2, 2))
    # ComfyUI's name for what computes a weight when it is used.
    wrapped.weight_function = [lambda weight: 2 * weight]
    said = [obstacle({"CLIP": nn.Linear(2, 2), "MODEL": part}, CPU) for part in (elsewhere, quantised, wrapped)]
    for sentence, why in zip(said, ("another device", "quantised", "by a patch or while they stream")):
        assert "MODEL" in sentence and why in sentence


def test_the_same_numbers_become_a_tensor_once_and_a_copy_each_time():
    constants, hidden = Constants(), torch.arange(6.0).view(2, 3)
    for _ in range(3):
        with constants:
            ids = torch.tensor([[1, 2, 3]], dtype=torch.long, device="cpu")
            picked = hidden[[0, 1], [2, 0]]
        assert ids.tolist() == [[1, 2, 3]] and ids.dtype == torch.long and picked.tolist() == [2.0, 3.0]
        # Who asked may write into it.
        ids.zero_()
    assert len(constants._made) == 3
    with constants:
        assert torch.tensor([1.5, 2.5]).tolist() == [1.5, 2.5] and torch.tensor(2).item() == 2
        assert torch.tensor([[1, 2, 3]], dtype=torch.float).dtype == torch.float
        assert hidden[0].tolist() == [0.0, 1.0, 2.0] and hidden[:, 1:].shape == (2, 2)
    row = torch.ones(2, 3, requires_grad=True)
    with constants:
        row[[0, 1], [1, 1]].sum().backward()
    assert row.grad.tolist() == [[0, 1, 0], [0, 1, 0]]
