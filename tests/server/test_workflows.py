"""The pack's workflows: their files, and all of them run in the real server as a user runs them."""

from __future__ import annotations

import copy
import json
import re
from dataclasses import dataclass

import pytest
from host.client import ComfyClient, Run
from host.install import REPO
from PIL import Image, ImageStat

from tools.workflows import SUBGRAPHS, WORKFLOWS, api
from tools.workflows.build import workflow_files
from tools.workflows.node_types import FILE_CHOICES, NodeTypes
from tools.workflows.stand_in import without_own_files

from .files import write_control_net, write_lora
from .graphs import PROMPT, base_graph
from .workflow_runs import PREVIEW_EVERY, SAMPLER_STEPS, TRAIN_STEPS, differ, quick

PACK, PACK_MODULE = "ComfyUI-ACFun", "custom_nodes.ComfyUI-ACFun"
WIDGET_KINDS = {"INT", "FLOAT", "STRING", "BOOLEAN", "COMBO"}
NOTES = {"MarkdownNote", "Note"}  # known to the editor only
SIDE = 192
MAIN, APPS = ("stylization", "spliced_face"), ("portrait_app",)
LESSONS = tuple(name for name in api.NAMES if name not in MAIN + APPS)
BLUEPRINT = "ACFun portrait"

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


def test_the_blueprint_is_one_node_with_a_graph_inside(client, object_info):
    """The server lists it; inside, links agree with both ends; outside, inputs and outputs are those of the inside."""
    entries = {key: each for key, each in client.get_json("/global_subgraphs").items() if each["name"] == BLUEPRINT}
    ((key, entry),) = entries.items()
    assert entry["info"]["node_pack"] == PACK_MODULE
    blueprint = json.loads(client.get_json(f"/global_subgraphs/{key}")["data"])
    assert blueprint == json.loads((SUBGRAPHS / f"{BLUEPRINT}.json").read_text(encoding="utf-8"))
    (outside,), (inside,) = blueprint["nodes"], blueprint["definitions"]["subgraphs"]
    assert outside["type"] == inside["id"] and outside["title"] == inside["name"] == BLUEPRINT
    for side in ("inputs", "outputs"):
        assert [(each["name"], each["type"]) for each in outside[side]] == [
            (each["name"], each["type"]) for each in inside[side]
        ]
    nodes = {node["id"]: node for node in inside["nodes"]}
    assert {node["type"] for node in nodes.values()} <= set(object_info)
    widgets = {
        (str(node["id"]), each["name"]) for node in nodes.values() for each in node["inputs"] if "widget" in each
    }
    assert {tuple(each) for each in outside["properties"]["proxyWidgets"]} <= widgets


def test_the_blueprints_links_agree_with_both_ends():
    blueprint = json.loads((SUBGRAPHS / f"{BLUEPRINT}.json").read_text(encoding="utf-8"))
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


@pytest.fixture(scope="module")
def session(comfy):
    """One client for all runs: nothing is trained twice, as for a user who queues again."""
    with comfy.client() as client:
        yield client


@pytest.fixture(scope="module", params=MAIN)
def finished(request, comfy, session: ComfyClient) -> Finished:
    workflow = quick(request.param, adapter_name=f"workflow_test_{request.param}")
    folder = comfy.folder("models/acfun")
    before = {path.name for path in folder.glob("*.safetensors")}
    run = session.run(workflow, timeout=600)
    after = {path.name for path in folder.glob("*.safetensors")}
    return Finished(request.param, workflow, run, sorted(after - before))


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


@pytest.fixture(scope="module")
def own_files(comfy, session) -> dict[str, str]:
    """The files that only a user has, for :func:`quick`."""
    return {"lora": write_lora(comfy), "control_net": write_control_net(comfy, session)}


@pytest.mark.parametrize("name", LESSONS)
def test_each_lesson_shows_a_difference(name, session, own_files):
    """Every saved picture comes back, and no two are the same: words, mixes, masks, frames and patches all count."""
    workflow = quick(name, **own_files)
    run = session.run(workflow, timeout=600)
    pictures = [image for title in saved_pictures(workflow) for image in run.images(api.node_id(workflow, title))]
    assert len(pictures) >= 2
    for picture in pictures:
        assert picture.size == (SIDE, SIDE)
        assert max(ImageStat.Stat(picture.convert("RGB")).stddev) > 2, "one flat colour"
    for number, picture in enumerate(pictures):
        for other in pictures[:number]:
            assert differ(picture, other) > 0.05


@pytest.mark.parametrize("name", APPS)
def test_what_app_mode_shows_is_there_and_works(name, session):
    """Pictures chosen in the form reach the portrait; all fields are widgets that nothing else feeds."""
    saved, workflow = load_ui(name), quick(name)
    form = saved["extra"]["linearData"]
    for number, widget in form["inputs"]:
        assert not isinstance(workflow[str(number)]["inputs"][widget], list)
    for file, (number, widget) in zip(("face_astronaut.png", "style_woodblock.png"), form["inputs"]):
        assert (workflow[str(number)]["class_type"], widget) == ("LoadImage", "image")
        uploaded = session.upload_image(REPO / "pictures" / file, f"app_{file}")
        workflow[str(number)]["inputs"][widget] = uploaded
    run = session.run(workflow, timeout=600)
    (shown,) = form["outputs"]
    (picture,) = run.images(str(shown))
    assert picture.size == (SIDE, SIDE)
    assert max(ImageStat.Stat(picture.convert("RGB")).stddev) > 2


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


def test_the_blueprint_draws_a_portrait(session, object_info):
    """Its graph runs with what is given from outside: one size and one text for training and drawing."""
    (inside,) = json.loads((SUBGRAPHS / f"{BLUEPRINT}.json").read_text(encoding="utf-8"))["definitions"]["subgraphs"]
    given = {name: ["base", slot] for slot, name in enumerate(("model", "clip", "vae", "clip_vision"))}
    given |= {"style_image": ["style", 0], "face_image": ["face", 0], "description": PROMPT, "size": SIDE}
    assert set(given) == {each["name"] for each in inside["inputs"]}
    graph = {**base_graph(), **flattened(inside, object_info, given)}
    for node in graph.values():
        if node["class_type"] in ("ACFunTrainStyle", "ACFunSampler"):
            assert not [value for value in node["inputs"].values() if value == 512]
            node["inputs"]["steps"] = SAMPLER_STEPS
    (image,) = (link for link in inside["links"] if link["target_id"] == inside["outputNode"]["id"])
    shown = {"class_type": "PreviewImage", "inputs": {"images": [str(image["origin_id"]), image["origin_slot"]]}}
    (picture,) = session.run({**graph, "shown": shown}, timeout=600).images("shown")
    assert picture.size == (SIDE, SIDE)
    assert max(ImageStat.Stat(picture.convert("RGB")).stddev) > 2
