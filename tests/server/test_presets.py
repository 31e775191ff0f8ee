"""The three ways to draw, on the simple nodes: one choice does what the single nodes do, and what is missing is named."""

from __future__ import annotations

from pathlib import Path

import pytest

from acfun_core.presets import PRESETS
from acfun_core.storage import adapter_file
from tools.comfy.graphs import (
    SIDE,
    apply_node,
    base_graph,
    compare_node,
    ksampler_nodes,
    node,
    sampler_node,
    train_node,
)

from .test_bad_input import refused
from .test_live import PressAt
from .test_style_transfer import transfer_node

pytestmark = pytest.mark.server
BESIDE = {"vae": ["base", 2], "photo": ["face", 0], "style_image": ["style", 0]}


def style_only(**changes) -> dict:
    """A training with the preset, without a face picture. It has 80 steps: here, the panel stops it after two and keeps it."""
    train = train_node(**{"preset": "keep_person", "name": "preset", "steps": 500, **changes})
    del train["inputs"]["face_image"]
    return train


def without_adapter(**changes) -> dict:
    sampler = sampler_node(["base", 0], "none", **changes)
    del sampler["inputs"]["adapter"]
    return sampler


def test_keep_person_is_learned_without_a_face_and_drawn_as_the_single_nodes_draw(client):
    chosen = PRESETS["keep_person"]
    strengths = (chosen.strengths.abstract, chosen.strengths.encoder, chosen.strengths.decoder)
    graph = {
        **base_graph(),
        "train": style_only(),
        "apply": apply_node(),
        "simple": sampler_node(["apply", 0], "apply", preset="keep_person", cfg=7.0, **BESIDE),
        "weaker": apply_node(strengths=strengths),
        "patched": transfer_node(model=("weaker", 0), preset="keep_person"),
        "single": sampler_node(["patched", 0], "weaker", cfg=chosen.draw.cfg),
        "same": compare_node(["simple", 0], ["single", 0]),
        "plain": sampler_node(["weaker", 0], "weaker", cfg=chosen.draw.cfg),
        "differs": compare_node(["simple", 0], ["plain", 0]),
    }
    run = client.run(graph, on_event=PressAt(client, "stop", 2))
    # The preset's steps, not the widget's.
    assert run.progress("train")[-1][1] == chosen.train.steps
    assert run.texts("same")[0].endswith("equal=True")
    assert run.texts("differs")[0].endswith("equal=False")


def test_instant_needs_no_adapter_and_is_ksampler_with_the_patched_model(client):
    stock = ksampler_nodes(("patched", 0), latent=("patched", 1))
    stock["stock"]["inputs"]["cfg"] = 1.0
    graph = {
        **base_graph(),
        "patched": transfer_node(),
        **stock,
        "simple": without_adapter(preset="instant", prompt=stock["positive"]["inputs"]["text"], **BESIDE),
        "same": compare_node(["simple", 0], ["stock", 0]),
    }
    assert client.run(graph).texts("same")[0].endswith("equal=True")


def test_without_an_adapter_s_star_was_three_letters(client):
    """And on a CLIP that carries an adapter it was that adapter, which was not on the wire."""
    drawn = {"preset": "instant", **BESIDE}
    graph = {
        **base_graph(),
        "train": train_node(),
        "apply": apply_node(),
        "word": without_adapter(prompt="a painting in painting style", **drawn),
        "star": without_adapter(prompt="a painting in S* style", **drawn),
        "carried": without_adapter(prompt="a painting in S* style", **drawn),
        "same": compare_node(["word", 0], ["star", 0]),
        "also": compare_node(["word", 0], ["carried", 0]),
    }
    graph["carried"]["inputs"]["clip"] = ["apply", 1]
    run = client.run(graph)
    assert run.texts("same")[0].endswith("equal=True") and run.texts("also")[0].endswith("equal=True")


def test_where_the_noise_is_partly_the_seeds_other_seeds_are_other_portraits(client):
    graph = {**base_graph(), "train": train_node(), "apply": apply_node()}
    for preset in PRESETS:
        for seed in (3, 4):
            graph[f"{preset} {seed}"] = sampler_node(["apply", 0], "apply", preset=preset, seed=seed, **BESIDE)
        graph[f"same {preset}"] = compare_node([f"{preset} 3", 0], [f"{preset} 4", 0])
    run = client.run(graph)
    for preset, one in PRESETS.items():
        same = one.transfer.turn == 0
        assert run.texts(f"same {preset}")[0].endswith(f"equal={same}"), preset


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"preset": "keep_person", **BESIDE}, "no adapter, and the preset is keep_person"),
        ({}, "no adapter, and the preset is custom"),
        ({"preset": "instant", "photo": ["face", 0]}, "nothing is connected to vae, style_image"),
        ({"preset": "instant", **BESIDE, "width": 2 * SIDE}, f"The portrait is {2 * SIDE} x {SIDE} pixels"),
        ({"preset": "instant", **BESIDE, "start": ["noise", 0]}, "another one is connected to start"),
    ],
    ids=["no adapter", "custom", "no style", "not square", "two starts"],
)
def test_what_a_preset_lacks_is_named(client, changes, says):
    noise = node("EmptyLatentImage", width=SIDE, height=SIDE, batch_size=1)
    graph = {**base_graph(), "noise": noise, "draw": without_adapter(prompt="a painting", **changes)}
    refused(client, {**graph, "shown": compare_node(["draw", 0], ["draw", 0])}, says)


def test_a_face_is_asked_for_where_it_counts(client):
    train = train_node()
    del train["inputs"]["face_image"]
    refused(client, {**base_graph(), "train": train}, "no face photo, and its weight in the loss is 1")


def test_without_its_weight_the_face_has_no_say_and_need_not_be_there(client):
    alone, beside, both = (
        train_node(face_weight=weight, steps=2, name=f"style_{n}") for n, weight in enumerate((0.0, 0.0, 1.0))
    )
    del alone["inputs"]["face_image"]
    graph = base_graph()
    for name, train in (("alone", alone), ("beside", beside), ("both", both)):
        graph |= {name: train, f"apply {name}": apply_node(adapter=(name, 0))}
        graph[f"draw {name}"] = sampler_node([f"apply {name}", 0], f"apply {name}")
    graph["same"] = compare_node(["draw alone", 0], ["draw beside", 0])
    graph["differs"] = compare_node(["draw alone", 0], ["draw both", 0])
    run = client.run(graph)
    assert run.texts("same")[0].endswith("equal=True")
    assert run.texts("differs")[0].endswith("finite=True equal=False")


def test_a_model_that_draws_beside_a_photo_is_not_trained(client):
    """Its pictures would have gone through the UNet at the wrong noise level, and nobody would have seen it."""
    graph = {**base_graph(), "patched": transfer_node(), "train": train_node(model=["patched", 0])}
    refused(client, graph, "This MODEL draws beside a photo")


def test_changed_train_options_win_over_a_preset(client, comfy):
    """Else they would be asked for and silently left out. What is left as it is stays the preset's."""
    method = {"blocks": "encoder", "abstract_mode": "token", "form": "full", "rank": 16}
    changed = {"style_colour": 0.3, "style_variants": 2}
    left = {
        "learning_rate_end": 1.0,
        "timestep_split": 0.0,
        "min_snr_gamma": 0.0,
        "style_crop": 0.0,
        "style_flip": False,
    }
    options = {**method, **changed, **left, "copy_guard_every": 0, "copy_limit": 0.8}
    graph = {
        **base_graph(),
        "options": node("ACFunTrainOptions", **options),
        "train": style_only(options=["options", 0], name="preset_changed"),
        "path": node("PreviewAny", source=["train", 2]),
    }
    [path] = client.run(graph, on_event=PressAt(client, "stop", 2)).texts("path")
    adapter = adapter_file.load(comfy.folder("models/acfun") / Path(path).name)
    assert {name: getattr(adapter.config, name) for name in method} == method
    preset = PRESETS["keep_person"].train.as_dict()
    assert all(preset[name] != value for name, value in changed.items()) and preset["style_crop"] > 0
    assert adapter.record.settings == {**preset, **changed, "seed": 0}
