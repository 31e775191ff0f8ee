"""The pack's workflows: their files, and both of them run in the real server as a user runs them."""

from __future__ import annotations

import copy
import json
import re
from dataclasses import dataclass

import pytest
from host.client import ComfyClient, Run
from host.install import REPO
from PIL import Image, ImageChops, ImageStat

from tools.workflows import WORKFLOWS, api
from tools.workflows.build import workflow_files

PACK, PACK_MODULE = "ComfyUI-ACFun", "custom_nodes.ComfyUI-ACFun"
WIDGET_KINDS = {"INT", "FLOAT", "STRING", "BOOLEAN", "COMBO"}
NOTES = {"MarkdownNote", "Note"}  # known to the editor only
TRAIN_STEPS, PREVIEW_EVERY, SAMPLER_STEPS, SIDE = 30, 10, 8, 192

pytestmark = pytest.mark.server
each_workflow = pytest.mark.parametrize("name", api.NAMES)


def load_ui(name: str) -> dict:
    return json.loads((WORKFLOWS / f"{name}.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def object_info(comfy) -> dict:
    with comfy.client() as client:
        return client.object_info()


# -- the files --------------------------------------------------------------------------


def test_the_files_are_what_the_tool_writes(comfy):
    with comfy.client() as client:
        expected = workflow_files(client)
    stale = [path.name for path, text in expected.items() if path.read_text(encoding="utf-8") != text]
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


def widgets_of(info: dict) -> list[tuple[str, bool]]:
    """(name, whether a seed control follows) of a node's widgets, in the editor's order."""
    widgets = []
    for group in ("required", "optional"):
        for name, (kind, *rest) in info["input"].get(group, {}).items():
            if isinstance(kind, list) or kind in WIDGET_KINDS:
                by_name = kind == "INT" and name in ("seed", "noise_seed")
                widgets.append((name, bool(rest and rest[0].get("control_after_generate", by_name))))
    return widgets


def queued_by_the_editor(ui: dict, object_info: dict) -> dict:
    """The API workflow that the editor would queue for a saved one."""
    links = {link[0]: [str(link[1]), link[2]] for link in ui["links"]}
    prompt = {}
    for node in ui["nodes"]:
        if node["type"] in NOTES:
            continue
        values, inputs = iter(node.get("widgets_values", [])), {}
        for name, has_control in widgets_of(object_info[node["type"]]):
            inputs[name] = next(values)
            if has_control:
                assert next(values) in ("fixed", "randomize", "increment", "decrement")
        assert next(values, None) is None, f"{node['type']} has more values than widgets"
        inputs.update({each["name"]: links[each["link"]] for each in node["inputs"] if each["link"]})
        prompt[str(node["id"])] = {"inputs": inputs, "class_type": node["type"], "_meta": {"title": node["title"]}}
    return prompt


@each_workflow
def test_both_formats_describe_the_same_graph(name, object_info):
    assert queued_by_the_editor(load_ui(name), object_info) == api.load(name)


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


# -- runs -------------------------------------------------------------------------------


@dataclass
class Finished:
    """One workflow, made quick, and what the server did with it."""

    name: str
    workflow: dict
    run: Run
    new_adapters: list[str]

    def id(self, title: str) -> str:
        return api.node_id(self.workflow, title)

    def picture(self, title: str) -> Image.Image:
        (image,) = self.run.images(self.id(title))
        return image.convert("RGB")


def quick(name: str) -> dict:
    """The workflow with few steps, everywhere the same number, and an adapter name of its own."""
    workflow = api.load(name)
    for node in workflow.values():
        if node["class_type"] in ("ACFunSampler", "KSampler"):
            node["inputs"]["steps"] = SAMPLER_STEPS
    train = workflow[api.node_id(workflow, "Train")]["inputs"]
    train.update(steps=TRAIN_STEPS, preview_every=PREVIEW_EVERY, name=f"workflow_test_{name}")
    return workflow


@pytest.fixture(scope="module")
def session(comfy):
    """One client for all runs: nothing is trained twice, as for a user who queues again."""
    with comfy.client() as client:
        yield client


@pytest.fixture(scope="module", params=api.NAMES)
def finished(request, comfy, session: ComfyClient) -> Finished:
    workflow = quick(request.param)
    folder = comfy.folder("models/acfun")
    before = {path.name for path in folder.glob("*.safetensors")}
    run = session.run(workflow, timeout=600)
    after = {path.name for path in folder.glob("*.safetensors")}
    return Finished(request.param, workflow, run, sorted(after - before))


def differ(one: Image.Image, other: Image.Image) -> float:
    """Mean absolute difference of two pictures, 0-255."""
    return sum(ImageStat.Stat(ImageChops.difference(one, other)).mean) / 3


def saved_pictures(workflow: dict) -> list[str]:
    return [node["_meta"]["title"] for node in workflow.values() if node["class_type"] == "SaveImage"]


def test_pictures_come_back(finished):
    titles = saved_pictures(finished.workflow)
    assert "Result" in titles
    for title in titles:
        picture = finished.picture(title)
        assert picture.size == (SIDE, SIDE), title
        assert max(ImageStat.Stat(picture).stddev) > 2, f"{title} is one flat colour"


def test_training_reports_every_step_and_shows_previews(finished):
    train = finished.id("Train")
    assert finished.run.progress(train) == [(step, TRAIN_STEPS) for step in range(1, TRAIN_STEPS + 1)]
    previews = finished.run.previews(train)
    assert len(previews) == TRAIN_STEPS // PREVIEW_EVERY
    # The server scales previews to the size that the node asks for.
    last = previews[-1].picture()
    assert last.width == last.height >= SIDE
    assert max(ImageStat.Stat(last).stddev) > 2
    assert finished.picture("Train").width > SIDE, "the loss curve"


def test_the_adapter_is_saved_and_listed_at_once(finished, session):
    assert len(finished.new_adapters) == 1
    assert re.match(rf"workflow_test_{finished.name}", finished.new_adapters[0])
    (kind, settings) = session.object_info("ACFunLoadAdapter")["input"]["required"]["adapter_name"]
    assert finished.new_adapters[0] in settings["options"]


def test_without_strength_the_style_is_gone(finished, session):
    """Strength 0 changes the picture; for the same words it is the picture that the plain sampler draws."""
    off = copy.deepcopy(finished.workflow)
    off[finished.id("Apply")]["inputs"].update(abstract_strength=0.0, encoder_strength=0.0, decoder_strength=0.0)
    run = session.run(off)
    assert finished.id("Train") in run.cached, "queueing again must not train again"
    (plain,) = run.images(finished.id("Result"))
    assert differ(plain.convert("RGB"), finished.picture("Result")) > 0.5
    if finished.name == "stylization":
        assert differ(plain.convert("RGB"), finished.picture("Without adapter")) == 0


def test_the_saved_adapter_draws_the_same_picture(finished, session):
    """Load ACFun Adapter in place of Train and Apply, without the two pictures."""
    base, sampler, decode = (finished.id(title) for title in ("Demo base", "Sampler", "Decode"))
    keep = {key: copy.deepcopy(finished.workflow[key]) for key in (base, sampler, decode, finished.id("Result"))}
    loader = {"model": [base, 0], "clip": [base, 1], "adapter_name": finished.new_adapters[0]}
    strengths = {"abstract_strength": 1.0, "encoder_strength": 1.0, "decoder_strength": 1.0}
    keep["load"] = {"class_type": "ACFunLoadAdapter", "inputs": {**loader, **strengths}}
    keep[sampler]["inputs"].update(model=["load", 0], clip=["load", 1], adapter=["load", 2])
    (picture,) = session.run(keep).images(finished.id("Result"))
    assert differ(picture.convert("RGB"), finished.picture("Result")) == 0
