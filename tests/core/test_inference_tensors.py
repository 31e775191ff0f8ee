"""What a host made in inference mode passes through autograd, and stays what it was."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.testing._internal.two_tensor import TwoTensor

from acfun_core.inference_tensors import noted, ordinary_view
from acfun_core.training.key import weights_identity


class Bytes(Tensor):
    """As GGUF loaders keep weights: bytes in a class of their own, with a note on what they mean, whose detach gives itself."""

    def detach(self):
        return self

    @property
    def shape(self):
        return self.meant


def bytes_of(values: Tensor, meant: tuple[int, ...]) -> Bytes:
    made = values.as_subclass(Bytes)
    made.meant = torch.Size(meant)
    return made


def test_a_plain_tensor_is_viewed_not_copied():
    with torch.inference_mode():
        kept = torch.arange(12.0).view(3, 4)[1:, ::2]
    view = ordinary_view(kept)
    assert not view.is_inference() and torch.equal(view, kept) and view.data_ptr() == kept.data_ptr()
    weight = torch.ones(2, requires_grad=True)
    (view @ weight).sum().backward()
    assert torch.equal(weight.grad, kept.sum(0))


def test_a_tensor_around_others_had_no_memory_of_its_own():
    """Trainings on weights quantised by comfy-kitchen crashed. torch's own example of such a tensor stands for it here."""
    with torch.inference_mode():
        kept = TwoTensor(torch.ones(3), torch.full((3,), 2.0))
    view = ordinary_view(kept)
    assert isinstance(view, TwoTensor) and not (view.a.is_inference() or view.b.is_inference())
    assert torch.equal(view.b, kept.b) and view.b.data_ptr() == kept.b.data_ptr()


@pytest.mark.parametrize(
    "wrap", [lambda t: t, lambda t: nn.Parameter(t, requires_grad=False)], ids=["tensor", "parameter"]
)
def test_bytes_of_a_gguf_weight_lost_their_meaning(wrap):
    with torch.inference_mode():
        kept = wrap(bytes_of(torch.arange(8, dtype=torch.uint8), (4, 4)))
    view = noted(wrap(ordinary_view(kept)), kept)
    assert isinstance(view, Bytes) and not view.is_inference() and view.shape == (4, 4) and view.size() == (8,)


def test_layers_that_write_sizes_alone_have_an_identity():
    class Layer(nn.Module):
        def __init__(self, value: float):
            super().__init__()
            self.weight = nn.Parameter(torch.full((4,), value))

        def _save_to_state_dict(self, destination, prefix, keep_vars):
            destination[f"{prefix}weight"] = torch.zeros(4, device="meta")
            destination[f"{prefix}temp.weight"] = torch.zeros(9, device="meta")

    assert weights_identity(Layer(1.0)) == weights_identity(Layer(1.0)) != weights_identity(Layer(2.0))
