"""Stable Diffusion 2.x's layout with random weights: OpenCLIP's text, 1024 wide, and a UNet that predicts the noise or v."""

from __future__ import annotations

import pytest

from acfun_core.storage import adapter_file
from tools.comfy.client import NodeError
from tools.comfy.graphs import PROMPT, apply_node, base_graph, node

from .test_options import differences, portrait, small_training, stock_small


def sd2_graph(predicts_v: bool, **training) -> dict:
    """The demo base's VAE and CLIP vision, MODEL and CLIP of the random SD 2.x, and one short training."""
    graph = {**base_graph(), "sd2": node("ProbeSD2", predicts_v=predicts_v)}
    graph["train"] = small_training(**{"model": ["sd2", 0], "clip": ["sd2", 1], "steps": 3, **training})
    return graph


def applied(**changes) -> dict:
    one = apply_node(model=["sd2", 0], **changes)
    one["inputs"]["clip"] = ["sd2", 1]
    return one


def stock(positive: str, clip: list, model: list) -> dict:
    nodes = stock_small()
    nodes["positive"] = node("CLIPTextEncode", clip=clip, text=positive)
    nodes["negative"]["inputs"]["clip"] = ["sd2", 1]
    nodes["stock"]["inputs"]["model"] = model
    return nodes


def test_trains_and_draws(client, comfy):
    before = set(comfy.folder("models/acfun").glob("*"))
    graph = sd2_graph(predicts_v=True, name="sd2") | {
        "apply": applied(),
        "drawn": portrait("apply", clip=["sd2", 1]),
        "off": applied(strengths=(0.0, 0.0, 0.0)),
        "undrawn": portrait("off", clip=["sd2", 1]),
        **stock(PROMPT.replace("S*", "painting"), ["sd2", 1], ["sd2", 0]),
    }
    pairs = {"change": (["drawn", 0], ["stock", 0]), "base": (["undrawn", 0], ["stock", 0])}
    found = differences(client, graph, **pairs)
    assert found["base"] == 0.0 and found["change"] > 1e-3
    by_stock = {**graph, **stock(PROMPT, ["apply", 1], ["apply", 0])}
    assert differences(client, by_stock, same=pairs["change"]) == {"same": 0.0}
    [path] = set(comfy.folder("models/acfun").glob("*")) - before
    adapter = adapter_file.load(path)
    assert (adapter.base_family, adapter.base_prediction) == ("sd2", "v")
    assert adapter.text_width == 1024
    assert all(after < before for before, after in zip(adapter.record.before, adapter.record.after)), adapter.record


def test_an_adapter_of_stable_diffusion_1_is_refused(client):
    """On the one that predicts noise: by its weights alone the host knows it."""
    graph = {**sd2_graph(predicts_v=False), "train": small_training(), "apply": applied()}
    with pytest.raises(NodeError, match="trained on Stable Diffusion 1.x, this MODEL is Stable Diffusion 2.x"):
        client.run({**graph, "end": node("PreviewAny", source=["apply", 0])})
