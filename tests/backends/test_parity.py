"""One adapter on the same weights: the same portrait in ComfyUI and in diffusers, as ``make parity`` shows, in more cases."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
from safetensors.torch import load_file

from acfun_core.config import AdapterConfig, TrainConfig
from acfun_core.demo_base import NATIVE_SIDE
from acfun_core.diffusion.schedule import NoiseSchedule
from acfun_core.storage import adapter_file
from acfun_core.strengths import Strengths
from tools import parity
from tools.comfy.graphs import SIDE, base_graph, node, train_node

MIDDLE = 128
"""Pixels where several steps or kinds are compared; one test draws at the size of the base, as ``make parity`` does."""


@pytest.mark.server
def test_forty_steps_end_within_a_thousandth(comfy, client, base):
    found = parity.compare(comfy, client, base, [(parity.random_adapter(base), Strengths())], MIDDLE)
    assert found["steps"] == 40
    assert found["max_abs_difference"] <= 1e-3
    # Neither side may agree by leaving the adapter out.
    assert found["change_by_the_adapter"] > 0.1


@pytest.mark.server
@pytest.mark.parametrize(
    ("strengths", "settings"),
    [
        (Strengths(0.5, 1.5, 0.7), {"prompt": "a ((smiling)) man \\(x\\) in (S*:1.2) style", "negative": "(red:0.7)"}),
        (Strengths(0.0, 1.0, 0.0), {"prompt": "a painting in S* style, " + "blue sky, " * 40, "cfg": 7.0}),
        (Strengths(2.0, 0.0, 2.0), {"cfg": 1.0, "batch": 2}),
    ],
    ids=["weights", "long prompt", "no guidance"],
)
def test_prompts_and_strengths_mean_the_same(comfy, client, base, strengths, settings):
    found = parity.compare(comfy, client, base, [(parity.random_adapter(base), strengths)], SIDE, steps=7, **settings)
    assert found["max_abs_difference"] <= 1e-3 and found["change_by_the_adapter"] > 0.01


@pytest.mark.server
@pytest.mark.parametrize(
    ("strengths", "options", "side"),
    [
        (
            Strengths(abstract_start=0.3, encoder_end=0.5, decoder_start=0.2, guidance="cond", blocks="both"),
            {},
            NATIVE_SIDE,
        ),
        (Strengths(0.8, abstract_end=0.5), {"abstract_mode": "sequence", "place": "output"}, MIDDLE),
        (Strengths(), {"form": "low_rank", "stats": "mean_std", "blocks": "all", "place": "attention"}, MIDDLE),
        (Strengths(), {"abstract_mode": "sequence_literal", "form": "per_channel", "place": "norm"}, MIDDLE),
    ],
    ids=["windows", "sequence", "attention", "literal"],
)
def test_every_kind_of_adapter_means_the_same(comfy, client, base, strengths, options, side):
    """No window ends exactly on a step: there ComfyUI takes the mean of both meanings of S*, diffusers the one inside."""
    members = [(parity.random_adapter(base, **options), strengths)]
    found = parity.compare(comfy, client, base, members, side, steps=6)
    assert found["max_abs_difference"] <= 1e-3 and found["change_by_the_adapter"] > 0.01


@pytest.mark.server
def test_a_mix_means_the_same(comfy, client, base):
    members = [(parity.random_adapter(base, seed), Strengths(weight=weight)) for seed, weight in ((1, 0.7), (2, 0.4))]
    found = parity.compare(comfy, client, base, members, SIDE, steps=6)
    assert found["max_abs_difference"] <= 1e-3 and found["change_by_the_adapter"] > 0.01


@pytest.fixture(params=[False, True], ids=["v", "zero snr"])
def velocity_base(request, base):
    """The demo base's weights as those of a base that predicts v: what it draws means nothing, and must be the same."""
    other = copy.copy(base)
    other.prediction, other._trailing = "v", request.param
    other.schedule = NoiseSchedule.stable_diffusion(zero_snr=request.param)
    return other


@pytest.mark.server
def test_a_base_that_predicts_v_draws_the_same(comfy, client, velocity_base):
    adapter = parity.random_adapter(velocity_base)
    adapter.base_prediction = "v"
    found = parity.compare(comfy, client, velocity_base, [(adapter, Strengths())], SIDE, steps=7)
    assert found["max_abs_difference"] <= 1e-3 and found["change_by_the_adapter"] > 0.01
    assert found["scheduler"] == ("sgm_uniform" if velocity_base._trailing else "normal")


@pytest.mark.server
@pytest.mark.parametrize("velocity_base", [True], ids=["zero snr"], indirect=True)
def test_a_base_that_predicts_v_learns_the_same(comfy, client, velocity_base, style, face):
    graph = {
        **base_graph(),
        "told": node("ModelSamplingDiscrete", model=["base", 0], sampling="v_prediction", zsnr=True),
        "train": train_node(model=["told", 0], steps=3, resolution=SIDE, name="v_zero_snr"),
        "path": node("PreviewAny", source=["train", 2]),
    }
    [path] = client.run(graph).texts("path")
    learned = adapter_file.load(comfy.folder("models/acfun") / Path(path).name)
    config = TrainConfig(**learned.record.settings)
    ours = velocity_base.train(style, face, AdapterConfig(learned.config.description), config, SIDE)
    assert learned.base_prediction == ours.base_prediction == "v"
    for name in ("before", "after", "style_loss", "face_loss"):
        assert getattr(learned.record, name) == pytest.approx(getattr(ours.record, name), rel=1e-3), name


@pytest.mark.server
@pytest.mark.parametrize("velocity_base", [True], ids=["zero snr"], indirect=True)
def test_a_base_that_predicts_v_finds_the_same_noise(comfy, client, velocity_base, face):
    """Up to zero SNR: asked at the level gone to, both would find next to none."""
    photo = {"clip": ["base", 1], "vae": ["base", 2], "photo": ["face", 0], "palette_hold": 0.0}
    graph = {
        **base_graph(),
        "told": node("ModelSamplingDiscrete", model=["base", 0], sampling="v_prediction", zsnr=True),
        "start": node("ACFunPhotoNoise", model=["told", 0], **photo, steps=4, resolution=SIDE),
        "save": node("SaveLatent", samples=["start", 0], filename_prefix="v_noise"),
    }
    client.run(graph)
    [path] = comfy.folder("output").glob("v_noise*.latent")
    found, largest = load_file(path)["latent_tensor"], float(velocity_base.schedule.log_sigmas[-1].exp())
    # ComfyUI's scheduler normal, which the node takes, has the levels of a base without trailing.
    velocity_base._trailing = False
    wanted = velocity_base.photo_noise(face, steps=4, resolution=SIDE)
    scale = (1 + largest**2) ** 0.5 / velocity_base.vae.config.scaling_factor
    assert (found / scale - wanted).abs().max() <= 1e-3 and wanted.std() > 0.3
