"""The method inside the real server: what it changes, and that nothing else changes."""

from __future__ import annotations

import json

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from acfun_core.demo_base import NATIVE_SIDE
from tools.comfy.client import ComfyClient, Interrupted, NodeError
from tools.comfy.graphs import (
    PROMPT,
    SIDE,
    apply_node,
    base_graph,
    compare_node,
    digest_node,
    ksampler_nodes,
    node,
    sampler_node,
    train_node,
)
from tools.comfy.server import ComfyServer

from .workflow_runs import tells_its_steps


def digest(client: ComfyClient) -> str:
    """Weights, hooks, gradients and wrappers of the base the server holds."""
    return client.run({**base_graph(), "digest": digest_node()}).texts("digest")[0]


def compare(client: ComfyClient, graph: dict, **pairs) -> dict[str, tuple[float, bool]]:
    """Run a graph and compare pairs of its latents -> name: (largest difference, bitwise equal). All must be finite."""
    run = client.run({**graph, **{name: compare_node(*pair) for name, pair in pairs.items()}})
    found = {}
    for name in pairs:
        difference, finite, equal = run.texts(name)[0].split()
        assert finite == "finite=True"
        found[name] = float(difference), equal == "equal=True"
    return found


def adapters(comfy: ComfyServer) -> set[str]:
    return {path.name for path in comfy.folder("models/acfun").glob("*")}


def trained() -> dict:
    return {**base_graph(), "train": train_node()}


def test_strength_zero_is_the_base_bit_for_bit(client):
    graph = {
        **trained(),
        "off": apply_node(strengths=(0.0, 0.0, 0.0)),
        "portrait": sampler_node(["off", 0], "off"),
        **ksampler_nodes(),
    }
    assert compare(client, graph, same=(["portrait", 0], ["stock", 0]))["same"] == (0.0, True)


def test_each_strength_does_something(client):
    graph = {**trained(), **ksampler_nodes()}
    for name, strengths in (("abstract", (1.0, 0.0, 0.0)), ("encoder", (0.0, 1.0, 0.0)), ("decoder", (0.0, 0.0, 1.0))):
        graph |= {name: apply_node(strengths=strengths), f"{name}_portrait": sampler_node([name, 0], name)}
    found = compare(
        client,
        graph,
        **{f"{name}_change": ([f"{name}_portrait", 0], ["stock", 0]) for name in ("abstract", "encoder", "decoder")},
    )
    assert all(difference > 1e-4 for difference, _ in found.values()), found


def test_a_saved_adapter_draws_what_the_trained_one_draws(client, comfy):
    before = adapters(comfy)
    graph = {**trained(), "save": node("ACFunSaveAdapter", adapter=["train", 0], name="kept")}
    client.run(graph)
    [name] = sorted(adapters(comfy) - before - {name for name in adapters(comfy) if name.startswith("test")})
    options = client.object_info("ACFunLoadAdapter")["input"]["required"]["adapter_name"]
    assert name in (options[1]["options"] if options[0] == "COMBO" else options[0])
    loaded = node(
        "ACFunLoadAdapter",
        model=["base", 0],
        clip=["base", 1],
        adapter_name=name,
        abstract_strength=1.0,
        encoder_strength=1.0,
        decoder_strength=1.0,
    )
    both = {
        **trained(),
        "apply": apply_node(),
        "one": sampler_node(["apply", 0], "apply"),
        "load": loaded,
        "two": sampler_node(["load", 0], "load"),
    }
    assert compare(client, both, same=(["one", 0], ["two", 0]))["same"] == (0.0, True)


def test_stock_text_encode_and_ksampler_draw_what_acfun_sampler_draws(client):
    graph = {
        **trained(),
        "apply": apply_node(),
        "portrait": sampler_node(["apply", 0], "apply"),
        **ksampler_nodes(model=["apply", 0]),
    }
    graph["positive"] = node("CLIPTextEncode", clip=["apply", 1], text=PROMPT)
    graph["other"] = {**graph["stock"], "inputs": {**graph["stock"]["inputs"], "positive": ["encode", 0]}}
    graph["encode"] = node("ACFunTextEncode", clip=["base", 1], adapter=["apply", 2], text=PROMPT)
    found = compare(
        client, graph, stock_nodes=(["portrait", 0], ["stock", 0]), text_encode=(["portrait", 0], ["other", 0])
    )
    assert set(found.values()) == {(0.0, True)}


def test_training_leaves_the_model_untouched(client):
    before = digest(client)
    assert before.endswith("hooks=0 gradients=0 wrappers=0 patches=0")
    run = client.run({**base_graph(), "train": train_node(seed=11, preview_every=3)})
    assert digest(client) == before
    assert tells_its_steps(run.progress("train"), 6)
    assert len(run.previews("train")) >= 2 and run.previews("train")[-1].picture().width >= SIDE


def test_cancel_ends_within_a_step_and_leaves_nothing(client, comfy):
    before, files = digest(client), adapters(comfy)
    seen = []

    def cancel(event):
        if event.kind == "progress" and event.node == "train":
            seen.append(event.data["value"])
            # Not the third alone: ComfyUI 0.33 does not tell of every step.
            if event.data["value"] >= 3:
                client.interrupt()

    with pytest.raises(Interrupted):
        client.run({**base_graph(), "train": train_node(seed=12, steps=500, resolution=NATIVE_SIDE)}, on_event=cancel)
    assert max(seen) <= 5
    assert digest(client) == before and adapters(comfy) == files
    client.run({**base_graph(), "train": train_node(seed=12, steps=2)})


def test_an_error_in_mid_training_leaves_nothing(client, comfy):
    before, files = digest(client), adapters(comfy)
    graph = {
        **base_graph(),
        "breaks": node("ProbeBreaksAfter", model=["base", 0], calls=4),
        "train": train_node(model=["breaks", 0], seed=13),
    }
    with pytest.raises(NodeError, match="broke on purpose"):
        client.run(graph)
    assert digest(client) == before and adapters(comfy) == files


def test_same_seed_same_adapter_bit_for_bit(client, comfy):
    files = []
    for name, preview_every in (("first", 0), ("second", 2)):
        known = adapters(comfy)
        client.run({**base_graph(), "train": train_node(name=name, seed=14, preview_every=preview_every)})
        files += [load_file(comfy.folder("models/acfun") / file) for file in adapters(comfy) - known]
    first, second = files
    assert first.keys() == second.keys() and all(torch.equal(first[key], second[key]) for key in first)


def test_80_steps_lower_both_terms_by_a_fifth(client, comfy, users_noises_in_server):
    """On fixed timesteps and noises, with default settings, on the demo base."""
    known = adapters(comfy)
    settings = {"name": "learns", "steps": 80, "learning_rate": 1e-4}
    client.run({**base_graph(), "train": train_node(**settings)}, timeout=900)
    [name] = adapters(comfy) - known
    with safe_open(comfy.folder("models/acfun") / name, "pt") as file:
        record = json.loads(file.metadata()["training"])
    for term, before, after in zip(("style", "face"), record["before"], record["after"]):
        assert after <= 0.8 * before, f"{term}: {before:.4f} -> {after:.4f}"


def test_text_around_the_placeholder_is_followed(client):
    graph = {**trained(), "apply": apply_node()}
    graph["one"] = sampler_node(["apply", 0], "apply")
    graph["two"] = sampler_node(
        ["apply", 0], "apply", prompt="a painting of a smiling man with glasses in (S*:1.2) style, red"
    )
    assert compare(client, graph, text=(["one", 0], ["two", 0]))["text"][0] > 1e-4
