"""The pack's workflows as files: what the tool writes, what the editor reads, what the template browser serves."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest
from PIL import Image

from tools.comfy.install import REPO, brought_comfy
from tools.workflows import WORKFLOWS, api
from tools.workflows.build import workflow_files
from tools.workflows.node_types import FILE_CHOICES, NodeTypes
from tools.workflows.stand_in import without_own_files

from .editor_format import NOTES, queued_by_the_editor
from .workflow_runs import load_ui

PACK, PACK_MODULE = "ComfyUI-ACFun", "custom_nodes.ComfyUI-ACFun"

pytestmark = pytest.mark.server
each_workflow = pytest.mark.parametrize("name", api.NAMES)


@pytest.fixture(scope="module")
def object_info(comfy) -> dict:
    with comfy.client() as client:
        return client.object_info()


def of_any_version(text: str) -> Any:
    """A written file without what tells of the server's version: its number, and outputs that nothing is connected to.

    Save Image and Preview Image give their pictures on since 0.33.
    """

    def read(pairs: list[tuple[str, Any]]) -> dict:
        found = {key: value for key, value in pairs if key not in ("ver", "frontendVersion")}
        if "widgets_values" in found:  # a node
            found["outputs"] = [each for each in found["outputs"] if each["links"]]
        return found

    return json.loads(text, object_pairs_hook=read)


def test_the_files_are_what_the_tool_writes(comfy):
    with comfy.client() as client:
        expected = workflow_files(client)
    like = str if brought_comfy() is None else of_any_version
    stale = [path.name for path, text in expected.items() if like(path.read_text(encoding="utf-8")) != like(text)]
    assert not stale, "run python -m tools.workflows.build"


@each_workflow
def test_every_node_type_exists(name, object_info):
    types = {node["type"] for node in load_ui(name)["nodes"]} | {node["class_type"] for node in api.load(name).values()}
    assert types - NOTES <= set(object_info)


@each_workflow
def test_links_agree_with_inputs_and_outputs(name):
    ui = load_ui(name)
    nodes = {node["id"]: node for node in ui["nodes"]}
    from_inputs = {
        (each["link"], node["id"], slot)
        for node in ui["nodes"]
        for slot, each in enumerate(node["inputs"])
        if each["link"]
    }
    from_outputs = {
        (link, node["id"], slot)
        for node in ui["nodes"]
        for slot, each in enumerate(node["outputs"])
        for link in each["links"] or ()
    }
    assert from_inputs == {(link, target, slot) for link, _, _, target, slot, _ in ui["links"]}
    assert from_outputs == {(link, source, slot) for link, source, slot, *_ in ui["links"]}
    for _, source, from_slot, target, to_slot, kind in ui["links"]:
        assert nodes[source]["outputs"][from_slot]["type"] == nodes[target]["inputs"][to_slot]["type"] == kind
        assert nodes[source]["order"] < nodes[target]["order"]
    assert (ui["version"], ui["last_node_id"], ui["last_link_id"]) == (
        0.4,
        max(nodes),
        max(link[0] for link in ui["links"]),
    )


@each_workflow
def test_nothing_on_the_canvas_overlaps(name):
    """Nodes with their title bars, and groups; a node is in a group or beside it, never half."""
    ui, title_bar = load_ui(name), 30
    nodes = {}
    for node in ui["nodes"]:
        (left, top), (width, height) = node["pos"], node["size"]
        nodes[node["title"]] = (left, top - title_bar, left + width, top + height)
    groups = {}
    for group in ui["groups"]:
        left, top, width, height = group["bounding"]
        groups[group["title"]] = (left, top, left + width, top + height)

    def touch(one: tuple, other: tuple) -> bool:
        return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]

    def holds(outer: tuple, inner: tuple) -> bool:
        return all(a <= b for a, b in zip(outer[:2], inner[:2])) and all(a >= b for a, b in zip(outer[2:], inner[2:]))

    for boxes in (nodes, groups):
        assert not [pair for pair in itertools.combinations(boxes, 2) if touch(*(boxes[title] for title in pair))]
    cut = [
        (group, node)
        for group, node in itertools.product(groups, nodes)
        if touch(groups[group], nodes[node]) and not holds(groups[group], nodes[node])
    ]
    assert not cut


@each_workflow
def test_both_formats_describe_the_same_graph(name, object_info):
    assert queued_by_the_editor(load_ui(name), object_info) == api.load(name)


def test_only_choices_of_files_may_name_what_the_server_lacks(object_info):
    types = NodeTypes(object_info)
    files = {(node, each.name) for node in object_info for each in types[node].inputs if each.file_ending}
    assert files == set(FILE_CHOICES)
    sampler_name = types["KSampler"].input("sampler_name")
    assert not sampler_name.may_name("mine.safetensors") and not sampler_name.may_name("no such sampler")
    lora = types["LoraLoader"].input("lora_name")
    assert lora.may_name("mine.safetensors") and not lora.may_name("mine.txt") and not lora.may_name(None)


@each_workflow
def test_without_a_users_files_every_choice_is_one_of_the_servers(name, object_info):
    """What thumbnails and tests run: no checkpoint, LoRA or ControlNet is left, all links lead to nodes that are there."""
    workflow, types = without_own_files(api.load(name)), NodeTypes(object_info)
    for node in workflow.values():
        assert node["class_type"] not in {kind for kind, _ in FILE_CHOICES}
        for key, value in node["inputs"].items():
            if isinstance(value, list):
                source = types[workflow[value[0]]["class_type"]].outputs[value[1]]
                assert source.kind == types[node["class_type"]].input(key).kind


@each_workflow
def test_each_workflow_has_a_thumbnail(name):
    path = WORKFLOWS / f"{name}.jpg"
    with Image.open(path) as image:
        assert image.format == "JPEG"
        assert 256 <= image.width <= 768 and 0.5 <= image.width / image.height <= 2
    assert path.stat().st_size < 100_000


def test_the_template_browser_can_open_the_workflows(client):
    """Lists them, and serves file and thumbnail: a second folder with a name it knows would hide both."""
    assert set(client.get_json("/workflow_templates")[PACK]) == set(api.NAMES)
    for name in api.NAMES:
        assert client.get_json(f"/api/workflow_templates/{PACK}/{name}.json") == load_ui(name)
        assert client.request(f"/api/workflow_templates/{PACK}/{name}.jpg")[:2] == b"\xff\xd8"


def test_each_node_has_a_help_page(client, object_info):
    ours = {name: info for name, info in object_info.items() if info["python_module"] == PACK_MODULE}
    pages = {path.stem: path.read_text(encoding="utf-8") for path in (REPO / "web" / "docs").glob("*.md")}
    assert set(pages) == set(ours)
    for name, text in pages.items():
        assert text.startswith(f"# {ours[name]['display_name']}\n"), name
        missing = [
            key
            for group in ("required", "optional")
            for key in ours[name]["input"].get(group, {})
            if f"`{key}`" not in text
        ]
        missing += [key for key in ours[name]["output_name"] if f"`{key}`" not in text]
        assert not missing, f"{name} does not explain {missing}"
        assert client.request(f"/extensions/{PACK}/docs/{name}.md").decode() == text
