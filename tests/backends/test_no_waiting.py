"""A step on diffusers' and transformers' classes asks its device for no number and sends it nothing that the host waits for.

The device is torch's ``meta``, whose tensors have shapes and no values: every look at a number is an error there by itself, and
what is brought there is seen here. So this stands for a card that is not at hand.
"""

from __future__ import annotations

import dataclasses
import sys
from contextlib import contextmanager

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from acfun_core.config import AdapterConfig, TrainConfig
from acfun_core.method import fused
from acfun_core.method.adapter import StyleAdapter
from acfun_core.training.material import Material
from acfun_core.training.optimiser import DeviceOptimiser
from acfun_core.training.state import Running
from acfun_core.training.steps import Steps
from acfun_core.unet.blocks import channels_to_train

from .conftest import PROMPT
from .test_recorded import IMAGE_WIDTH, random, tiny_base

META = torch.device("meta")


class Crossings(TorchDispatchMode):
    """Counts tensors that go from one device to another."""

    def __init__(self):
        super().__init__()
        self.seen: list[str] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        if str(func).startswith(("aten._to_copy", "aten.copy_")):
            source = args[1] if "copy_." in str(func) else args[0]
            if source.device != result.device:
                self.seen.append(f"{func} {tuple(source.shape)}")
        return result


class Elsewhere:
    """The accelerator of a device without values; what it brings there is none of the crossings."""

    device = META

    def __init__(self):
        self.brought = 0

    def to_device(self, tensor):
        self.brought += 1
        return torch.empty_like(tensor, device=META)

    @contextmanager
    def repeatable(self):
        yield


@pytest.fixture
def steps(monkeypatch):
    """Steps of a training whose UNet, text side and adapter lie on the device."""
    monkeypatch.setattr(sys.modules["torch.optim.optimizer"], "_get_fused_kernels_supported_devices", lambda: ["meta"])
    # CFun as cards have it.
    monkeypatch.setattr(fused, "DEVICES", {"meta"})
    # torch has no form of this one kernel for a device without values; everything around it runs.
    monkeypatch.setattr(torch, "_fused_adamw_", lambda *given, **further: None)

    def make(prompt=PROMPT, **settings) -> Steps:
        base = tiny_base()
        core = base.core_base(prompt)
        base.unet.to(META), base.text.model.to(META)
        numbers = vars(core.text._numbers).items()
        brought = {name: one.to(META) for name, one in numbers if isinstance(one, torch.Tensor)}
        core.text._numbers = dataclasses.replace(core.text._numbers, **brought)
        config = TrainConfig(steps=4, **settings)
        channels = channels_to_train(core.sites, "both")
        tokens = random(17, IMAGE_WIDTH, seed=3)
        adapter = StyleAdapter(AdapterConfig(prompt), core.text.initial_row, tokens, channels).to(META).train()
        draws = torch.Generator().manual_seed(1)
        running = Running(adapter, DeviceOptimiser(adapter, config), None, None, draws, META)
        latents = torch.empty(2, 4, 8, 8, device=META)
        return Steps(dataclasses.replace(core, device=META), running, config, latents, Material(), Elsewhere())

    return make


def test_a_step_brings_its_draws_to_the_device_and_nothing_else_crosses(steps):
    asked = steps(noisy_source="random", min_snr_gamma=5.0)
    asked(1)
    with Crossings() as crossings:
        assert asked(2).shape == (5,)
    assert crossings.seen == []
    # Timesteps and noise, in either step.
    assert asked.accelerator.brought == 4


def test_weights_in_the_prompt_bring_nothing_either(steps):
    asked = steps("a (painting:1.3) of a woman in S* style")
    asked(1)
    with Crossings() as crossings:
        asked(2)
    assert crossings.seen == []


def test_what_crosses_would_be_seen(steps, monkeypatch):
    asked = steps()
    asked(1)
    tables = asked.base.schedule
    monkeypatch.setattr(tables, "_on_device", {})
    with Crossings() as crossings:
        asked(2)
    assert len(crossings.seen) == 1
    monkeypatch.setattr(asked, "_kernels", lambda drawn: drawn.noise.sum().item())
    with pytest.raises(RuntimeError, match="item.* cannot be called on meta"):
        asked(3)
