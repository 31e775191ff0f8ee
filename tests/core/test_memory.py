"""Gradient checkpointing: the same gradients from less memory, on by itself where memory is short."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from acfun_core.config import AdapterConfig, TrainConfig
from acfun_core.errors import ACFunError
from acfun_core.method import fused
from acfun_core.method.adapter import StyleAdapter
from acfun_core.method.applied import block_transforms
from acfun_core.strengths import Strengths
from acfun_core.training.memory import MOST_A_PLACE, fitting, free_memory, kept_bytes, saved_bytes
from acfun_core.unet.blocks import channels_to_train
from acfun_core.unet.injection import injected
from acfun_core.unet.recomputing import blocks_of, recomputed

from .conftest import base_on, tiny_unet

DESCRIPTION = "a painting of a woman in S* style"


@pytest.fixture
def base():
    """Of its own: hooks of these tests stay on it."""
    return base_on(tiny_unet())


def gradients(base, latents, style_tokens, checkpointing: str, **options) -> dict[str, torch.Tensor]:
    """Of every weight of an adapter, after one pass of both pictures."""
    torch.manual_seed(0)
    config = AdapterConfig(DESCRIPTION, dropout=0.0, **options)
    channels = channels_to_train(base.sites, config.blocks, config.place)
    adapter = StyleAdapter(config, base.text.initial_row, style_tokens, channels)
    with torch.no_grad():
        for parameter in adapter.parameters():
            # What begins at zero would let nothing pass.
            parameter.add_(0.01 * torch.randn(parameter.shape))
    transforms = block_transforms([(adapter, Strengths())])
    with fitting(base, latents, TrainConfig(), checkpointing), injected(base.sites, transforms):
        context = adapter.condition(base.text).expand(2, -1, -1)
        base.predict(latents, torch.tensor([3, 500]), context).square().mean().backward()
    return {name: parameter.grad for name, parameter in adapter.named_parameters()}


@pytest.mark.parametrize("place", ["residual", "output", "norm", "attention"])
def test_the_gradient_is_the_same(base, latents, style_tokens, place):
    """But for the order in which its parts are added up, the last bits."""
    whole, again = (gradients(base, latents, style_tokens, mode, place=place) for mode in ("off", "on"))
    for name, gradient in whole.items():
        assert gradient.any(), name
        assert (again[name] - gradient).abs().max() <= 1e-4 * gradient.abs().max(), name


@pytest.mark.parametrize("place", ["residual", "norm"])
def test_blocks_computed_three_times_where_cfun_is_in_few_kernels(base, latents, style_tokens, monkeypatch, place):
    """A gradient inside its own gradient asked for what was not kept, and got it by computing the block once more."""
    monkeypatch.setattr(fused, "DEVICES", {"cpu"})
    calls = []
    for site in base.sites.values():
        first = next(module for module in site.module.modules() if isinstance(module, torch.nn.Conv2d))
        first.register_forward_hook(lambda module, inputs, output: calls.append(1))
    whole = gradients(base, latents, style_tokens, "off", place=place)
    once = len(calls)
    again = gradients(base, latents, style_tokens, "on", place=place)
    assert len(calls) - once <= 2 * once
    for name, gradient in whole.items():
        assert (again[name] - gradient).abs().max() <= 1e-4 * gradient.abs().max(), name


def counting_calls(base) -> list[int]:
    calls = []
    [first, *_] = base.sites.values()
    first.module.register_forward_pre_hook(lambda module, inputs: calls.append(torch.is_grad_enabled()))
    return calls


def test_blocks_compute_twice_only_where_gradients_pass(base, latents):
    calls, t = counting_calls(base), torch.tensor([3, 5])
    context = base.text.encode(base.text.initial_row).expand(2, -1, -1)
    with recomputed(base.sites):
        with torch.no_grad():
            base.predict(latents, t, context)
        assert calls == [False]
        base.predict(latents.requires_grad_(), t, context).sum().backward()
    assert calls == [False, True, True]
    assert not any("forward" in vars(block) for block in blocks_of(base.sites))


def test_it_keeps_less(base, latents):
    z_t, t = latents.clone().requires_grad_(), torch.tensor([3, 5])
    context = base.text.encode(base.text.initial_row).expand(2, -1, -1)
    weights = {p.data_ptr() for block in blocks_of(base.sites) for p in block.parameters()}

    def passed():
        return base.predict(z_t, t, context)

    whole, inputs = saved_bytes(passed, weights), {}
    for block in blocks_of(base.sites):
        # torch holds these outside of what autograd saves.
        block.register_forward_pre_hook(lambda module, given: inputs.update({given[0].data_ptr(): given[0].nbytes}))
    with recomputed(base.sites):
        assert saved_bytes(passed, weights) + sum(inputs.values()) < whole / 2


def test_what_is_kept_is_told_before(base):
    """From two small pictures to a larger one: within a tenth of what is found there."""
    z_t = torch.zeros(2, 4, 48, 32, requires_grad=True)
    context = base.text.encode(base.text.initial_row).expand(2, -1, -1)
    weights = {p.data_ptr() for block in blocks_of(base.sites) for p in block.parameters()}
    found = saved_bytes(lambda: base.predict(z_t, torch.tensor([500, 500]), context), weights)
    assert kept_bytes(base, 2, (48, 32)) == pytest.approx(found, rel=0.1)
    assert found < 2 * 48 * 32 * MOST_A_PLACE


@pytest.mark.parametrize(("free", "on"), [(10, True), (10**12, False)])
def test_auto_is_on_where_memory_is_short_and_says_so(base, latents, free, on):
    said, calls = [], counting_calls(base)
    with fitting(base, latents, TrainConfig(), "auto", free, said.append):
        assert any("forward" in vars(block) for block in blocks_of(base.sites)) == on
    assert len(said) == on and len(calls) == (2 if on else 0)


def test_a_style_that_is_learned_alone_needs_one_pass(base, latents):
    """Half of the memory is enough for it."""
    kept = kept_bytes(base, 1, latents.shape[-2:])
    alone, both = TrainConfig(face_weight=0.0), TrainConfig()
    for config, on in ((alone, False), (both, True)):
        said = []
        with fitting(base, latents, config, "auto", int(1.5 * kept / 0.7), said.append):
            assert len(said) == on


def test_other_words_are_named(base, latents):
    with pytest.raises(ACFunError, match="Checkpointing is 'yes'"), fitting(base, latents, TrainConfig(), "yes"):
        pass


def test_a_block_that_writes_into_its_input_learns_the_same(base, latents):
    """It would compute from another input the second time, and nothing would say so."""
    t, context = torch.tensor([3, 5]), base.text.encode(base.text.initial_row).expand(2, -1, -1)
    name = next(iter(channels_to_train(base.sites, "decoder")))
    block = base.sites[name].at("output")
    plain = block.forward

    def in_place(hidden, *rest, **named):
        hidden += 1
        return plain(hidden, *rest, **named)

    def gradient():
        z_t = latents.clone().requires_grad_()
        base.predict(z_t, t, context).square().sum().backward()
        return z_t.grad

    block.forward = in_place
    try:
        whole = gradient()
        with recomputed(base.sites):
            again = gradient()
        assert vars(block)["forward"] is in_place
    finally:
        del block.forward
    torch.testing.assert_close(again, whole)


def test_the_free_memory_of_this_machine_is_known():
    free = free_memory(torch.device("cpu"))
    assert free is None or 2**20 < free < 2**50


def test_a_velocity_is_measured_too(base):
    velocity = dataclasses.replace(base, predict_velocity=base.predict_noise)
    assert kept_bytes(velocity, 1, (8, 8)) == kept_bytes(base, 1, (8, 8))
