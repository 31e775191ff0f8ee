"""CFun in few kernels, as cards have it, against CFun as it is written out: values and gradients."""

from __future__ import annotations

import pytest
import torch

from acfun_core.config import AdapterConfig
from acfun_core.method import fused
from acfun_core.method.applied import block_transforms
from acfun_core.method.cfun import CFunStack
from acfun_core.strengths import Strengths
from acfun_core.unet.windows import Moment

NAME = "enc.0.0"


class Adapter:
    """What block_transforms needs of one."""

    def __init__(self, channels: int = 8, seed: int = 1, **options):
        self.config = AdapterConfig("a S* painting", **options)
        self.cfun = CFunStack({NAME: channels}, self.config)
        draws = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for parameter in self.cfun.parameters():
                parameter.add_(0.05 * torch.randn(parameter.shape, generator=draws))


def features(dtype=torch.float32, batch=2):
    draws = torch.Generator().manual_seed(5)
    h = 2 * torch.randn(batch, 8, 5, 6, generator=draws) + torch.randn(1, 8, 1, 1, generator=draws)
    return h.to(dtype)


def both(members, monkeypatch, moment=None, dtype=torch.float32):
    """(what comes out, the gradient of h, those of the parameters), written out and fused."""
    found = []
    for devices in (set(), {"cpu"}):
        monkeypatch.setattr(fused, "DEVICES", devices)
        h = features(dtype).requires_grad_()
        for adapter, _ in members:
            adapter.cfun.zero_grad()
        out = block_transforms(members, moment)[NAME](h)
        weights = torch.linspace(-1, 1, out.numel()).view_as(out)
        (out.float() * weights).sum().backward()
        gradients = [parameter.grad for adapter, _ in members for parameter in adapter.cfun.parameters()]
        found.append([out.detach(), h.grad, *gradients])
    return found


def near(found, wanted) -> bool:
    """So few channels make CFun's maps, which are scaled for a thousand, large: what counts is the whole tensor."""
    return all((now - was).norm() <= 2e-5 * was.norm() for now, was in zip(found, wanted))


@pytest.mark.parametrize("stats", ["none", "std", "mean", "mean_std"])
@pytest.mark.parametrize("form", ["full", "low_rank", "per_channel"])
def test_few_kernels_are_the_same_function_and_gradient(monkeypatch, form, stats):
    plain, few = both([(Adapter(form=form, stats=stats, rank=2), Strengths())], monkeypatch)
    assert near(few, plain)


def test_several_adapters_with_strengths_and_passes_are_one(monkeypatch):
    members = [
        (Adapter(), Strengths(encoder=0.5, guidance="cond")),
        (Adapter(seed=2), Strengths(encoder=1.5, encoder_end=0.5)),
        (Adapter(seed=3), Strengths()),
    ]
    moment = Moment(torch.tensor([0.2, 0.9]), torch.tensor([True, False]), 1)
    assert near(*both(members, monkeypatch, moment))


def test_a_mask_of_places_is_written_out(monkeypatch):
    mask = torch.rand(1, 1, 5, 6, generator=torch.Generator().manual_seed(1))
    plain, few = both([(Adapter(), Strengths(mask=mask[0]))], monkeypatch)
    assert all(torch.equal(was, now) for was, now in zip(plain, few))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_features_are_as_near_as_half_precision_is(monkeypatch, dtype):
    adapter = Adapter()
    exact = both([(adapter, Strengths())], monkeypatch)[0]
    for rounded in both([(adapter, Strengths())], monkeypatch, dtype=dtype):
        for was, now in zip(exact, rounded):
            assert (now.float() - was).norm() <= 0.02 * was.norm()


def test_drawing_keeps_nothing_for_a_gradient(monkeypatch):
    monkeypatch.setattr(fused, "DEVICES", {"cpu"})
    with torch.no_grad():
        out = block_transforms([(Adapter(), Strengths())])[NAME](features())
    assert out.grad_fn is None and not out.requires_grad


def test_features_that_need_no_gradient_get_none(monkeypatch):
    """Those of the first block: nothing before it learns."""
    monkeypatch.setattr(fused, "DEVICES", {"cpu"})
    adapter, h = Adapter(), features()
    block_transforms([(adapter, Strengths())])[NAME](h).sum().backward()
    assert h.grad is None and all(parameter.grad is not None for parameter in adapter.cfun.parameters())


def test_the_cpu_goes_on_as_it_is_written_out():
    assert fused.DEVICES == {"cuda"}
