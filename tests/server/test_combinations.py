"""The adapter together with other people's parts: LoRA, ControlNet, patches on the attention, inpainting."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest

from acfun_core.demo_base import NATIVE_SIDE
from benchmarks import combinations, parts
from tools.comfy.graphs import (
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
from tools.comfy.random_files import write_control_net, write_lora
from tools.workflows import api

from .workflow_runs import differ, quick

pytestmark = pytest.mark.server
SIDES = {"hypertile": 128}
"""Of the rows that need more than 64 pixels: the attention over less is one of HyperTile's tiles."""
WITHOUT_COMPILE = "the MODEL runs without its torch.compile"


@pytest.fixture(scope="module")
def control_net(comfy) -> str:
    with comfy.client() as client:
        return write_control_net(comfy, client)


@pytest.fixture(scope="module")
def adapter(comfy) -> Path:
    """The file that all rows of the table use, with a LoRA and a ControlNet beside it."""
    with comfy.client() as client:
        combinations.prepare(comfy, client, SIDE)
    return comfy.folder("models/acfun") / parts.ADAPTER


def part_named(name: str, side: int) -> parts.Part:
    [found] = (part for part in parts.parts(combinations.LORA, combinations.CONTROL_NET, side) if part.name == name)
    return found


@pytest.mark.parametrize("name", [part.name for part in parts.parts("", "")])
def test_each_part_of_the_table_holds(comfy, client, adapter, name):
    """Off, the adapter leaves the part's picture alone, bit for bit; on, both are in it, whatever comes first."""
    side = SIDES.get(name, SIDE)
    part = part_named(name, side)
    row = {"name": name, **combinations.measure_part(comfy, client, part, steps=2, side=side)}
    assert combinations.part_holds(row), row


@pytest.fixture
def smallest(comfy, client) -> tuple[dict, str]:
    """A UNet of five ResBlocks as the node ``smallest``, and the file of an adapter that was trained on it."""
    model = {"smallest": node("ProbeOtherModel", family="smallest")}
    client.run({**base_graph(), **model, "train": train_node(model=["smallest", 0], name="smallest")})
    [path] = comfy.folder("models/acfun").glob("smallest_*")
    return model, path.name


def test_the_adapter_is_whole_on_a_model_that_was_compiled_without_it(comfy, client, smallest):
    """Code that torch.compile made of the bare UNet knew nothing of the hooks: parts of CFun were missing.

    To trace a UNet takes far longer than to draw with it, so this one is small.
    """
    model, adapter = smallest
    part = parts.compiled("eager")
    graph = {**parts.drawing_graph(part, 1, SIDE), **model}
    for each in graph.values():
        inputs = each["inputs"]
        if inputs.get("model") == ["base", 0]:
            inputs["model"] = ["smallest", 0]
        if "adapter_name" in inputs:
            inputs["adapter_name"] = adapter
    found = {}
    for name in ("alone", "off", "both", "adapter"):
        others = {"alone", "off", "both", "adapter", "behind"} - {name}
        found |= combinations.drawn(comfy, client, {k: v for k, v in graph.items() if k not in others}, [name])
        assert (WITHOUT_COMPILE in comfy.log()) == ("both" in found)
    assert combinations.difference(found["off"], found["alone"])["max"] == 0
    assert combinations.difference(found["both"], found["adapter"])["max"] <= combinations.COMPILED
    assert combinations.difference(found["both"], found["alone"])["relative"] > combinations.VISIBLE


def row_of_a_part(**changes) -> dict:
    zero, some = {"max": 0.0, "relative": 0.0}, {"max": 1.0, "relative": 0.5}
    return {"name": "lora", "finite": True, "off": zero, "adapter": some, "part": some, "order": zero, **changes}


@pytest.mark.parametrize(
    "changes",
    [
        {"off": {"max": 1e-7, "relative": 1e-8}},
        {"adapter": {"max": 0.0, "relative": 0.0}},
        {"part": {"max": 0.0, "relative": 0.0}},
        {"order": {"max": 0.1, "relative": 0.01}},
        {"finite": False},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_the_table_says_what_does_not_hold(changes):
    part = parts.parts("lora", "net")[0]
    assert combinations.part_holds(row_of_a_part())
    assert not combinations.part_holds(row_of_a_part(**changes))
    text = combinations.page([(part, row_of_a_part(**changes))], [], 8, "the command")
    assert text.count("**does not hold**") == 1


def compare(client, graph: dict, **pairs) -> dict[str, float]:
    """Largest difference of pairs of a graph's latents, name -> difference; all must be finite."""
    assert not graph.keys() & pairs.keys(), "a pair would take the place of a node"
    run = client.run({**graph, **{name: compare_node(*pair) for name, pair in pairs.items()}})
    found = {}
    for name in pairs:
        difference, finite, _ = run.texts(name)[0].split()
        assert finite == "finite=True"
        found[name] = float(difference)
    return found


def variant(stock: dict, **inputs) -> dict:
    """The stock sampler of :func:`ksampler_nodes` with other inputs."""
    return {**stock, "inputs": {**stock["inputs"], **inputs}}


def test_the_workflow_shows_lora_control_net_and_style(client, comfy, control_net):
    """Each of the three changes the picture of the workflow "lora_controlnet" when it is taken out."""
    workflow = quick("lora_controlnet", side=SIDE, lora=write_lora(comfy), control_net=control_net)
    result = api.node_id(workflow, "Result")
    (picture,) = client.run(workflow, timeout=600).images(result)
    without = {
        "LoRA": {"strength_model": 0.0, "strength_clip": 0.0},
        "Apply ControlNet": {"strength": 0.0},
        "Apply": {"abstract_strength": 0.0, "encoder_strength": 0.0, "decoder_strength": 0.0},
    }
    for title, settings in without.items():
        changed = copy.deepcopy(workflow)
        changed[api.node_id(changed, title)]["inputs"].update(settings)
        run = client.run(changed)
        assert api.node_id(changed, "Train") in run.cached, "nothing is trained again"
        (other,) = run.images(result)
        assert differ(picture, other) > 0.05, title


def test_a_patch_on_the_attention_works_before_and_after(client):
    """As IPAdapter sets it: the same picture in both orders, and both the patch and the adapter are in it."""
    graph = {**base_graph(), "train": train_node(), "apply": apply_node()}
    graph |= {
        "patch_first": node("ProbeAttentionPatch", model=["base", 0], scale=1.5),
        "then_apply": apply_node(model=["patch_first", 0]),
        "then_patch": node("ProbeAttentionPatch", model=["apply", 0], scale=1.5),
        "one": sampler_node(["then_apply", 0], "then_apply"),
        "two": sampler_node(["then_patch", 0], "apply"),
        "adapter_only": sampler_node(["apply", 0], "apply"),
        **ksampler_nodes(model=["patch_first", 0]),
    }
    found = compare(
        client,
        graph,
        order=(["one", 0], ["two", 0]),
        patch=(["one", 0], ["adapter_only", 0]),
        adapter=(["one", 0], ["stock", 0]),
    )
    assert found["order"] <= 1e-5, found
    assert found["patch"] > 1e-4 and found["adapter"] > 1e-4, found


def test_inpainting_changes_the_masked_half_only(client):
    """The left half is drawn anew in the style, the right third stays what it was."""
    graph = {**base_graph(), "train": train_node(), "apply": apply_node()}
    graph |= {
        "small": node(
            "ImageScale", image=["face", 0], upscale_method="area", width=NATIVE_SIDE, height=NATIVE_SIDE, crop="center"
        ),
        "encode": node("VAEEncode", pixels=["small", 0], vae=["base", 2]),
        "nothing": node("SolidMask", value=0.0, width=NATIVE_SIDE, height=NATIVE_SIDE),
        "left": node("SolidMask", value=1.0, width=NATIVE_SIDE // 2, height=NATIVE_SIDE),
        "mask": node("MaskComposite", destination=["nothing", 0], source=["left", 0], x=0, y=0, operation="add"),
        "masked": node("SetLatentNoiseMask", samples=["encode", 0], mask=["mask", 0]),
        **ksampler_nodes(model=["apply", 0], positive=["styled", 0], latent=["masked", 0]),
        "styled": node("ACFunTextEncode", clip=["base", 1], adapter=["apply", 2], text=PROMPT),
    }
    graph["plain"] = variant(graph["stock"], model=["base", 0], positive=["positive", 0])
    for name in ("encode", "stock", "plain"):
        for side, x in (("left", 0), ("right", NATIVE_SIDE * 2 // 3)):
            crop = node("LatentCrop", samples=[name, 0], width=NATIVE_SIDE // 3, height=NATIVE_SIDE, x=x, y=0)
            graph[f"{name}_{side}"] = crop
    found = compare(
        client,
        graph,
        kept=(["stock_right", 0], ["encode_right", 0]),
        drawn=(["stock_left", 0], ["encode_left", 0]),
        style_change=(["stock_left", 0], ["plain_left", 0]),
    )
    assert found["kept"] <= 1e-4, found
    assert found["drawn"] > 0.1 and found["style_change"] > 1e-4, found
