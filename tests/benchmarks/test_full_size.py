"""The measurement of a base in its full size, on an SDXL of a few channels; and the sum of memory it is held against."""

from __future__ import annotations

import json

import pytest
import torch

from acfun_core.backends.families import SDXL
from acfun_core.backends.stable_diffusion import StableDiffusion
from acfun_core.backends.text import PromptSide
from acfun_core.config import AdapterConfig
from acfun_core.errors import ACFunError
from acfun_core.method.adapter import StyleAdapter
from acfun_core.method.applied import block_transforms
from acfun_core.strengths import Strengths
from acfun_core.training.memory import saved_bytes
from acfun_core.unet.blocks import channels_to_train
from acfun_core.unet.injection import injected
from benchmarks import full_size, memory, random_bases
from tools.comfy.launcher import define_torchvision_operators

# diffusers imports torchvision, whose compiled operators may not fit a CPU build of torch.
define_torchvision_operators()

from ..backends.tiny_bases import POOLED, SDXL_UNET, TEXT, WIDTHS  # noqa: E402

SIDE = 64
SMALL = ["--side", str(SIDE), "--train-steps", "2", "--draw-steps", "2", "--checkpointing", "on", "off"]


@pytest.fixture(scope="module")
def settings() -> dict[str, dict]:
    """SDXL's, with other widths and depths."""
    found = random_bases.settings_of(SDXL)
    found["unet"] |= SDXL_UNET
    found["vae"] |= {"block_out_channels": [8, 8, 8, 8], "norm_num_groups": 4}
    for name, width in zip(("text_encoder", "text_encoder_2"), WIDTHS):
        found[name] |= {**TEXT, "hidden_size": width, "intermediate_size": 2 * width, "projection_dim": POOLED}
    vision = {"hidden_size": 32, "intermediate_size": 64, "num_attention_heads": 2, "num_hidden_layers": 2}
    found["image_encoder"] = {**found["image_encoder"], **vision, "projection_dim": 32}
    return found


def test_a_line_a_phase(settings, capsys, monkeypatch):
    """Both trainings and the drawing are the base's own, and no picture is encoded twice."""
    encoded, ours = [], StableDiffusion.encode
    monkeypatch.setattr(StableDiffusion, "encode", lambda base, images: encoded.append(1) or ours(base, images))
    assert full_size.main(SMALL, settings) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    names = [row["row"] for row in rows]
    assert names[:5] == ["computed", "build", "style tokens", "encode both pictures", "kept, as the training finds it"]
    assert names[5:] == ["train", "train", "draw", "decode"] and len(encoded) == 1
    on, off = rows[5:7]
    assert [on["checkpointing"], off["checkpointing"]] == ["on", "off"]
    for row in (on, off):
        assert len(row["seconds_of_each"]) == len(row["losses"]) == 2 and row["skipped_steps"] == 0
        assert all(loss > 0 for both in row["losses"] for loss in both)
        assert row["peak_gib"] >= row["before_gib"] > 0.1
    assert on["losses"][0] == pytest.approx(off["losses"][0], rel=1e-4)
    draw, decode = rows[7:]
    assert draw["adapter"] and draw["finite"] and draw["seconds_a_step"] > 0
    assert decode["picture"] == [1, SIDE, SIDE, 3]
    assert all(row["side"] == SIDE and row["dtype"] == "float32" for row in rows)


def test_nothing_is_built_where_it_does_not_fit(settings, capsys, monkeypatch):
    monkeypatch.setattr(full_size, "free_memory", lambda device: memory.GIB)
    monkeypatch.setattr(full_size, "random_parts", None)
    assert full_size.main(SMALL, settings) == 1
    told = capsys.readouterr()
    assert not told.out and "1.0 GB are free" in told.err and "--checkpointing on" in told.err


def test_a_pass_ends_before_the_last_memory_is_taken(settings, monkeypatch):
    full = full_size.FullSize(full_size.options_of(SMALL), settings)
    full.build()
    free = iter([2 * memory.GIB] * 10 + [memory.GIB])
    monkeypatch.setattr(full_size, "free_memory", lambda device: next(free))
    with pytest.raises(ACFunError, match="Only 1.0 GB"), full_size.watched(full.base):
        full.encode()
    full.encode()


def test_the_sum_is_what_a_pass_really_keeps(settings):
    """Counted on tensors without numbers, and on a pass of the same UNet with numbers."""
    device = torch.device("cpu")
    side = 2 * SIDE
    counted = memory.parts(SDXL, side, 2, torch.float32, settings)
    base = StableDiffusion(random_bases.random_parts(SDXL, settings, device, torch.float32))
    assert counted["UNet"] == memory.nbytes(base.unet) and counted["VAE"] == memory.nbytes(base.vae)
    config = AdapterConfig(full_size.PROMPT)
    channels = channels_to_train(base.sites, config.blocks, config.place)
    seen = torch.zeros(memory.tokens_of(settings["image_encoder"]))
    adapter = StyleAdapter(config, base.text.word_row(), seen, channels, SDXL.name)
    text = PromptSide(base.text, full_size.PROMPT)
    context = text.encode(text.initial_row).expand(2, -1, -1).clone().requires_grad_()
    z_t = torch.zeros(2, 4, side // 8, side // 8, requires_grad=True)
    weights = {p.untyped_storage().data_ptr() for one in (base.unet, adapter) for p in one.parameters()}
    with injected(base.sites, block_transforms([(adapter, Strengths())])):
        kept = saved_bytes(lambda: base.predict(z_t, torch.zeros(2), context, text.pooled), weights)
    assert kept == pytest.approx(counted["kept without checkpointing"], rel=0.05)
    assert counted["kept with checkpointing"] < 0.5 * counted["kept without checkpointing"]
