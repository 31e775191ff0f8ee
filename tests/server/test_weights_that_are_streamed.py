"""Trainings where the host streams weights: dynamic VRAM (by a double, see ``weights_probe``) and loading ahead."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from acfun_core.storage import adapter_file
from tools.comfy.client import NodeError
from tools.comfy.graphs import base_graph, ksampler_nodes, node, train_node

from .test_slider import slider_node

MODELS = {"model": ["base", 0], "clip": ["base", 1]}


def training(name: str, seed: int = 0, **streamed) -> dict:
    """A training on streamed weights, or if there is nothing about these, on the base."""
    graph = base_graph()
    if streamed:
        graph["streamed"] = node(
            "ProbeStreamed", **{**MODELS, "share": 0.3, "reload": "plain", "dynamic": True, **streamed}
        )
    where = "streamed" if streamed else "base"
    graph["train"] = train_node(model=[where, 0], clip=[where, 1], steps=4, seed=seed, name=name)
    return {**graph, "path": node("PreviewAny", source=["train", 2])}


def slider_training(name: str, where: str) -> dict:
    """The same of a slider; ``where`` is ``base`` or ``streamed``."""
    graph = training(name, share=0.3)
    graph["train"] = slider_node(model=[where, 0], clip=[where, 1], steps=2, name=name)
    return {**graph, "path": node("PreviewAny", source=["train", 1])}


def drawing(**streamed) -> dict:
    """A picture by stock nodes on streamed weights, which keeps those with a place on the device."""
    graph = {**training("never", **streamed), **ksampler_nodes(model=("streamed", 0)), **{"end": node("ProbeLatents")}}
    graph["end"]["inputs"] = {"one": ["stock", 0], "two": ["stock", 0]}
    for text in ("positive", "negative"):
        graph[text]["inputs"]["clip"] = ["streamed", 1]
    return {name: part for name, part in graph.items() if name not in ("train", "path")}


def trained(client, comfy, graph: dict):
    [name] = client.run(graph).texts("path")
    return adapter_file.load(comfy.folder("models/acfun") / Path(name).name)


def same(one, two) -> bool:
    two = dict(two.named_parameters())
    return all(torch.equal(value, two[name]) for name, value in one.named_parameters())


@pytest.fixture(scope="module")
def expected(comfy):
    """Adapters of two seeds, learned where weights stay in their place."""
    with comfy.client() as client:
        return [trained(client, comfy, training(f"stay_{seed}", seed)) for seed in (0, 1)]


def test_dynamic_vram_gave_backward_the_weights_of_other_layers(client, comfy, expected):
    """Silently: the losses of such a training fell a tenth as far."""
    assert same(trained(client, comfy, training("streamed", share=0.3)), expected[0])


def test_drawing_before_a_training_left_it_inference_tensors(client, comfy, expected):
    """Draw, train, draw, train: weights that stay on the device under dynamic VRAM were made while drawing."""
    for seed in (0, 1):
        client.run(drawing(share=1.0))
        assert same(trained(client, comfy, training(f"drawn_{seed}", seed, share=1.0)), expected[seed])


def test_the_double_does_to_a_training_what_dynamic_vram_does(client, comfy, expected):
    """Where the weights stay streamed all the same: another result (notes on parameters are kept, or it would fail before)."""
    wrong = trained(client, comfy, training("wrong", share=0.3, reload="streamed"))
    assert wrong.record.style_loss[-1] != pytest.approx(expected[0].record.style_loss[-1], rel=1e-3)
    client.run(drawing(share=1.0, reload="streamed"))
    with pytest.raises(NodeError, match="[Ii]nference tensor"):
        client.run(training("inference", share=1.0, reload="streamed"))


def test_a_loader_that_cannot_load_without_streaming_is_named(client):
    with pytest.raises(NodeError, match="This MODEL streams its weights.*--disable-dynamic-vram"):
        client.run(training("unknown", reload="unknown"))


def test_loading_ahead_is_off_while_a_training_lasts(client, comfy, expected):
    """Each stream has one buffer for the layers that are not on the device."""
    client.run({"streams": node("ProbeStreams", count=2, turn=0)})
    try:
        ahead = trained(client, comfy, training("ahead", share=0.0, dynamic=False))
    finally:
        [during] = client.run({"streams": node("ProbeStreams", count=0, turn=1)}).texts("streams")
    assert during == "2" and same(ahead, expected[0])


def test_the_text_encoder_was_not_told_where_to_compute(client):
    """Where its embedding table stays off the device, a training's text was encoded there, on the CPU."""
    graph = {**training("told"), "listening": node("ProbeListening", clip=["base", 1])}
    graph["train"]["inputs"]["clip"] = ["listening", 0]
    # Stock nodes tell it as well: here nothing but the training encodes, and its preview is off.
    graph["told"] = node("ProbeTold", clip=["listening", 0], after=["train", 2])
    assert client.run(graph).texts("told") == ["True True"]


def test_the_demo_base_could_not_be_trained_under_dynamic_vram(client):
    """Its text encoder streamed its weights, and its loader did not say how to load it without."""
    graph = {**base_graph(), "again": node("ProbeLoadedAgain", **MODELS)}
    assert client.run(graph).texts("again") == [str([True] * 4)]


def test_a_slider_is_learned_on_streamed_weights_too(client, comfy):
    learned = [
        trained(client, comfy, slider_training(name, where))
        for name, where in (("stay_slider", "base"), ("streamed_slider", "streamed"))
    ]
    assert learned[0].record == learned[1].record and same(*learned)
