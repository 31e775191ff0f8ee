"""The blueprint: one node in the editor's node library, with training and drawing inside."""

from __future__ import annotations

import json

import pytest
from PIL import ImageStat

from tools.comfy.graphs import PROMPT, SIDE, base_graph
from tools.workflows import SUBGRAPHS

from .editor_format import queued_by_the_editor
from .workflow_runs import SAMPLER_STEPS

BLUEPRINT, PACK_MODULE = "ACFun portrait", "custom_nodes.ComfyUI-ACFun"

pytestmark = pytest.mark.server


def load_blueprint() -> dict:
    return json.loads((SUBGRAPHS / f"{BLUEPRINT}.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def object_info(comfy) -> dict:
    with comfy.client() as client:
        return client.object_info()


def test_the_blueprint_is_one_node_with_a_graph_inside(client, object_info):
    """The server lists it; inside, links agree with both ends; outside, inputs and outputs are those of the inside."""
    entries = {key: each for key, each in client.get_json("/global_subgraphs").items() if each["name"] == BLUEPRINT}
    ((key, entry),) = entries.items()
    assert entry["info"]["node_pack"] == PACK_MODULE
    blueprint = json.loads(client.get_json(f"/global_subgraphs/{key}")["data"])
    assert blueprint == load_blueprint()
    (outside,), (inside,) = blueprint["nodes"], blueprint["definitions"]["subgraphs"]
    assert outside["type"] == inside["id"] and outside["title"] == inside["name"] == BLUEPRINT
    for side in ("inputs", "outputs"):
        assert [(each["name"], each["type"]) for each in outside[side]] == [
            (each["name"], each["type"]) for each in inside[side]
        ]
    nodes = {node["id"]: node for node in inside["nodes"]}
    assert {node["type"] for node in nodes.values()} <= set(object_info)


def test_the_blueprints_links_agree_with_both_ends():
    blueprint = load_blueprint()
    (inside,) = blueprint["definitions"]["subgraphs"]
    nodes = {node["id"]: node for node in inside["nodes"]}
    coming, going = {}, {}
    for link in inside["links"]:
        source = (
            inside["inputs"][link["origin_slot"]]
            if link["origin_id"] == inside["inputNode"]["id"]
            else nodes[link["origin_id"]]["outputs"][link["origin_slot"]]
        )
        target = (
            inside["outputs"][link["target_slot"]]
            if link["target_id"] == inside["outputNode"]["id"]
            else nodes[link["target_id"]]["inputs"][link["target_slot"]]
        )
        assert source["type"] == target["type"] == link["type"]
        assert link["id"] in (source.get("linkIds") or source.get("links"))
        assert link["id"] in (target.get("linkIds") or [target.get("link")])
        coming.setdefault(link["target_id"], set()).add(link["target_slot"])
        going.setdefault(link["origin_id"], set()).add(link["origin_slot"])
    assert going[inside["inputNode"]["id"]] == set(range(len(inside["inputs"]))), "every input leads somewhere"
    assert coming[inside["outputNode"]["id"]] == set(range(len(inside["outputs"])))
    unconnected = [
        (node["type"], each["name"])
        for node in nodes.values()
        for each in node["inputs"]
        if each["link"] is None and "widget" not in each and "shape" not in each
    ]
    assert not unconnected


def flattened(inside: dict, object_info: dict, given: dict) -> dict:
    """The prompt that the editor would queue for a blueprint's graph, with these values or sources for its inputs."""
    ends = ("id", "origin_id", "origin_slot", "target_id", "target_slot", "type")
    links = [[link[end] for end in ends] for link in inside["links"]]
    prompt = queued_by_the_editor({**inside, "links": links}, object_info)
    outside = str(inside["inputNode"]["id"])
    for node in prompt.values():
        for name, value in node["inputs"].items():
            if isinstance(value, list) and value[0] == outside:
                node["inputs"][name] = given[inside["inputs"][value[1]]["name"]]
    return prompt


def test_the_blueprint_draws_a_portrait(client, object_info):
    """Its graph runs with what is given from outside: one size and one text for training and drawing."""
    (inside,) = load_blueprint()["definitions"]["subgraphs"]
    given = {name: ["base", slot] for slot, name in enumerate(("model", "clip", "vae", "clip_vision"))}
    given |= {"style_image": ["style", 0], "face_image": ["face", 0], "description": PROMPT, "size": SIDE}
    given |= {"steps": SAMPLER_STEPS, "name": "blueprint", "seed": 3, "cfg": 3.0}
    assert set(given) == {each["name"] for each in inside["inputs"]}
    graph = {**base_graph(), **flattened(inside, object_info, given)}
    for node in graph.values():
        if node["class_type"] in ("ACFunTrainStyle", "ACFunSampler"):
            assert not [value for value in node["inputs"].values() if value == 512]
            node["inputs"]["steps"] = SAMPLER_STEPS
    (image,) = (link for link in inside["links"] if link["target_id"] == inside["outputNode"]["id"])
    shown = {"class_type": "PreviewImage", "inputs": {"images": [str(image["origin_id"]), image["origin_slot"]]}}
    (picture,) = client.run({**graph, "shown": shown}, timeout=600).images("shown")
    assert picture.size == (SIDE, SIDE)
    assert max(ImageStat.Stat(picture.convert("RGB")).stddev) > 2
