"""Train ACFun Slider in the real server: it learns what the core learns, and acts beside the stock nodes and the presets."""

from __future__ import annotations

import pytest

from acfun_core.storage import adapter_file
from acfun_core.training.slider import SliderConfig, check_slider
from tools.comfy.graphs import (
    PLAIN_PROMPT,
    PROMPT,
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
from .test_method import digest
from .test_photo_noise import pictures

pytestmark = pytest.mark.server
MORE, LESS = "a photo of a smiling person", "a photo of a serious person"
STEPS = 4


def slider_node(**changes) -> dict:
    settings = {
        "model": ["base", 0],
        "clip": ["base", 1],
        "vae": ["base", 2],
        "photos": ["face", 0],
        "more": MORE,
        "less": LESS,
    }
    settings |= {"steps": STEPS, "learning_rate": 1e-3, "push": 4.0, "seed": 1, "resolution": SIDE, "name": "slider"}
    return node("ACFunTrainSlider", **{**settings, **changes})


def drawn(graph: dict, applied: str, name: str) -> dict:
    """The graph with a portrait by the preset instant, without S* in its prompt."""
    beside = {"preset": "instant", "vae": ["base", 2], "photo": ["face", 0], "style_image": ["style", 0]}
    return {**graph, name: sampler_node([applied, 0], applied, prompt=PLAIN_PROMPT, **beside)}


def test_it_learns_what_the_core_learns(comfy, client, base):
    run = client.run(
        {**base_graph(), "train": slider_node(name="slider_core"), "path": node("PreviewAny", source=["train", 1])}
    )
    [path] = run.texts("path")
    learned = adapter_file.load(path)
    face, _ = pictures()
    config = SliderConfig(steps=STEPS, learning_rate=1e-3, push=4.0, seed=1)
    wanted = base.train_slider(face, check_slider(MORE, LESS), config, SIDE)
    assert learned.slider == wanted.slider == (MORE, LESS)
    assert learned.record.style_loss == pytest.approx(wanted.record.style_loss, rel=1e-3)
    assert learned.base_key == wanted.base_key and learned.config == wanted.config


def test_strength_0_is_the_base_and_the_model_stays_as_it_was(client):
    before = digest(client)
    graph = {
        **base_graph(),
        "train": slider_node(),
        "off": apply_node(strengths=(1.0, 0.0, 0.0)),
        "on": apply_node(),
        **ksampler_nodes(),
    }
    for name in ("off", "on"):
        graph[f"{name} portrait"] = {**graph["stock"], "inputs": {**graph["stock"]["inputs"], "model": [name, 0]}}
        graph[f"{name} same"] = compare_node(["stock", 0], [f"{name} portrait", 0])
    run = client.run(graph)
    assert run.texts("off same")[0].endswith("equal=True")
    assert run.texts("on same")[0].endswith("equal=False")
    assert digest(client) == before


def test_a_preset_without_a_training_draws_with_it_and_does_not_scale_it(client):
    graph = {**base_graph(), "train": slider_node(), "on": apply_node(), "off": apply_node(strengths=(0.0, 0.0, 0.0))}
    graph = drawn(drawn(graph, "on", "smiling"), "off", "plain")
    graph["same"] = compare_node(["smiling", 0], ["plain", 0])
    assert client.run(graph).texts("same")[0].endswith("equal=False")


def test_a_slider_applied_after_a_style_took_its_meaning_from_s_star(client):
    """The CLIP of a style that goes through a slider's Apply still means the style, in the stock text encoder."""
    graph = {**base_graph(), "train": slider_node(), "learn": train_node(name="slider_after_style")}
    graph |= {"style only": apply_node(adapter=("learn", 0)), "both": apply_node(model=("style only", 0))}
    graph["both"]["inputs"]["clip"] = ["style only", 1]
    graph |= ksampler_nodes()
    for name, clip in (("style", "style only"), ("after", "both"), ("base", "base")):
        graph[f"text {name}"] = node("CLIPTextEncode", clip=[clip, 1], text=PROMPT)
        portrait = {**graph["stock"]["inputs"], "positive": [f"text {name}", 0]}
        graph[f"portrait {name}"] = node("KSampler", **portrait)
    graph["same"] = compare_node(["portrait style", 0], ["portrait after", 0])
    graph["other"] = compare_node(["portrait style", 0], ["portrait base", 0])
    run = client.run(graph)
    assert run.texts("same")[0].endswith("equal=True") and run.texts("other")[0].endswith("equal=False")


def test_a_preset_says_which_adapters_of_the_model_it_leaves_out(client):
    graph = {**base_graph(), "train": slider_node(), "learn": train_node(name="slider_after_style")}
    graph |= {"style only": apply_node(adapter=("learn", 0)), "both": apply_node(model=("style only", 0))}
    graph = drawn(graph, "both", "portrait")
    graph["end"] = node("PreviewAny", source=["portrait", 0])
    told = [event.data["text"] for event in client.run(graph).events if event.kind == "text"]
    assert any("carries 1 besides" in text for text in told)


def test_keep_person_wants_a_style_beside_it(client):
    graph = drawn({**base_graph(), "train": slider_node(), "on": apply_node()}, "on", "portrait")
    graph["portrait"]["inputs"]["preset"] = "keep_person"
    graph["end"] = node("PreviewAny", source=["portrait", 0])
    refused_after_a_slider(client, graph, "There is no style among the adapters")


def refused_after_a_slider(client, graph: dict, says: str) -> None:
    client.run({name: graph[name] for name in ("base", "face", "train")})
    refused(client, graph, says)


@pytest.mark.parametrize(
    "changes, says",
    [
        ({"more": LESS}, "Both descriptions are"),
        ({"less": "a person in S* style"}, "holds S\\*"),
        ({"less": " "}, "is empty"),
    ],
)
def test_descriptions_that_cannot_be(client, changes, says):
    refused(client, {**base_graph(), "train": slider_node(**changes)}, says)
