"""Half precision: what is picked, and that a training in it goes the way of float32."""

from __future__ import annotations

import copy

import pytest
import torch

from acfun_core.backends.chosen import ChosenBase, pick_dtype
from acfun_core.batch import keys
from acfun_core.config import AdapterConfig, TrainConfig
from acfun_core.host import Base
from acfun_core.training.loop import train_adapter
from acfun_core.unet.blocks import find_sites


@pytest.mark.parametrize(
    ("device", "generation", "picked"),
    [("cpu", None, torch.float32), ("cuda", (9, 0), torch.float16), ("cuda", (6, 1), torch.float32)],
)
def test_half_precision_is_picked_where_the_card_is_faster_in_it(monkeypatch, device, generation, picked):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: generation)
    assert pick_dtype("auto", torch.device(device)) == picked
    for name in ("float32", "float16", "bfloat16"):
        assert pick_dtype(name, torch.device(device)) == getattr(torch, name)


def test_a_batch_goes_on_whatever_its_devices_pick(tmp_path):
    """What was drawn before there was a choice of precision is not drawn again."""
    (tmp_path / "config.json").write_text("{}")
    said = {name: keys.identity_of(ChosenBase(tmp_path, dtype=name)) for name in ("auto", "float32", "float16")}
    assert said["auto"] == said["float32"] != said["float16"]
    assert keys.identity_of(ChosenBase(tmp_path)) == said["auto"]


@pytest.mark.usefixtures("users_noises")
def test_losses_in_half_precision_are_those_of_float32_within_two_per_cent(base, unet, latents, style_tokens):
    """A hundred steps in bfloat16, the coarser of the two halves: the CPU computes in it, too, if slowly."""
    coarse = copy.deepcopy(unet).to(torch.bfloat16)

    def predict(z, t, context):
        return coarse(z.to(torch.bfloat16), t, context.to(torch.bfloat16)).sample.float()

    half = Base(predict, find_sites(coarse), base.text, base.schedule, base.device, dtype=torch.bfloat16)
    config = TrainConfig(steps=100, learning_rate=3e-4)
    records = [
        train_adapter(on, latents[..., :4, :4], style_tokens, AdapterConfig("a S* painting"), config).record
        for on in (base, half)
    ]
    for exact, rounded in zip(*(record.after for record in records)):
        assert rounded == pytest.approx(exact, rel=0.02)
    last = [sum(record.style_loss[-50:] + record.face_loss[-50:]) for record in records]
    assert last[1] == pytest.approx(last[0], rel=0.02)
    assert records[0].after[0] < 0.92 * records[0].before[0] and records[1].skipped_steps == 0
