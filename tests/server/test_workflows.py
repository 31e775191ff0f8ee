"""The pack's workflows, all of them run in the real server as a user runs them."""

from __future__ import annotations

import copy
import re
from dataclasses import dataclass

import pytest
from PIL import Image, ImageStat

from acfun_core.demo_base import NATIVE_SIDE
from tools.comfy.client import ComfyClient, Run
from tools.comfy.graphs import SIDE
from tools.comfy.install import REPO
from tools.comfy.random_files import write_control_net, write_lora
from tools.workflows import api
from tools.workflows.node_types import NodeTypes

from .workflow_runs import PREVIEW_EVERY, TRAIN_STEPS, differ, load_ui, quick, tells_its_steps

MAIN = {"stylization": NATIVE_SIDE // 2, "spliced_face": SIDE}
"""The workflows that are looked at in detail, and the side of their pictures; training and drawing agree on it in the files."""
APPS, CHOICES, UNTRAINED = ("portrait_app",), ("best_of_n",), ("instant",)
PASTED = {"group_photo": (1, "corner"), "video_frames": (4, "")}
"""Workflows that put faces back, how many pictures they save, and what of them is not part of a face."""
LESSONS = tuple(name for name in api.NAMES if name not in (*MAIN, *APPS, *CHOICES, *UNTRAINED, *PASTED))

pytestmark = pytest.mark.server


@pytest.fixture(scope="module")
def object_info(comfy) -> dict:
    with comfy.client() as client:
        return client.object_info()


@dataclass
class Finished:
    """One workflow, made quick, and what the server did with it."""

    name: str
    side: int
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


@pytest.fixture(scope="module", params=MAIN.items(), ids=MAIN)
def finished(request, comfy, session: ComfyClient) -> Finished:
    name, side = request.param
    workflow = quick(name, adapter_name=f"workflow_test_{name}", side=side)
    folder = comfy.folder("models/acfun")
    before = {path.name for path in folder.glob("*.safetensors")}
    run = session.run(workflow, timeout=600)
    after = {path.name for path in folder.glob("*.safetensors")}
    return Finished(name, side, workflow, run, sorted(after - before))


def saved_pictures(workflow: dict) -> list[str]:
    return [node["_meta"]["title"] for node in workflow.values() if node["class_type"] == "SaveImage"]


def test_pictures_come_back(finished):
    titles = saved_pictures(finished.workflow)
    assert "Result" in titles
    for title in titles:
        picture = finished.picture(title)
        assert picture.size == (finished.side, finished.side), title
        assert max(ImageStat.Stat(picture).stddev) > 2, f"{title} is one flat colour"


def test_training_reports_every_step_and_shows_previews(finished):
    train = finished.id("Train")
    assert tells_its_steps(finished.run.progress(train), TRAIN_STEPS)
    previews = finished.run.previews(train)
    assert len(previews) == TRAIN_STEPS // PREVIEW_EVERY
    # The server scales previews to the size that the node asks for.
    last = previews[-1].picture()
    assert last.width == last.height >= NATIVE_SIDE
    assert max(ImageStat.Stat(last).stddev) > 2
    assert finished.picture("Train").width > NATIVE_SIDE, "the loss curve"


def test_the_adapter_is_saved_and_listed_at_once(finished, session):
    assert len(finished.new_adapters) == 1
    assert re.match(rf"workflow_test_{finished.name}", finished.new_adapters[0])
    (kind, settings) = session.object_info("ACFunLoadAdapter")["input"]["required"]["adapter_name"]
    assert finished.new_adapters[0] in settings["options"]


def test_without_strength_the_style_is_gone(finished, session):
    """Strength 0 changes the picture: what was learned is in it, beside what is taken from the style picture as it is drawn."""
    off = copy.deepcopy(finished.workflow)
    off[finished.id("Apply")]["inputs"].update(abstract_strength=0.0, encoder_strength=0.0, decoder_strength=0.0)
    run = session.run(off)
    assert finished.id("Train") in run.cached, "queueing again must not train again"
    (plain,) = run.images(finished.id("Result"))
    assert differ(plain.convert("RGB"), finished.picture("Result")) > 0.5


def test_the_saved_adapter_draws_the_same_picture(finished, session):
    """Load ACFun Adapter in place of Train and Apply."""
    base, sampler = finished.id("Demo base"), finished.id("Sampler")
    keep = copy.deepcopy(finished.workflow)
    for key in [key for key, node in keep.items() if node["class_type"] in ("ACFunTrainStyle", "ACFunApplyAdapter")]:
        del keep[key]
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
    workflow = quick(name, side=SIDE, **own_files)
    run = session.run(workflow, timeout=600)
    pictures = [image for title in saved_pictures(workflow) for image in run.images(api.node_id(workflow, title))]
    assert len(pictures) >= 2
    for picture in pictures:
        assert picture.size == (SIDE, SIDE)
        assert max(ImageStat.Stat(picture.convert("RGB")).stddev) > 2, "one flat colour"
    for number, picture in enumerate(pictures):
        for other in pictures[:number]:
            assert differ(picture, other) > 0.05


@pytest.mark.parametrize("name", UNTRAINED)
def test_without_a_training_the_photo_is_drawn_in_the_style(name, session):
    workflow = quick(name, side=SIDE)
    node = api.node_id(workflow, "Result")
    (picture,) = session.run(workflow, timeout=600).images(node)
    assert max(ImageStat.Stat(picture.convert("RGB")).stddev) > 2
    other = copy.deepcopy(workflow)
    other[api.node_id(workflow, "Style")]["inputs"]["picture"] = "style_pop.png"
    (another,) = session.run(other, timeout=600).images(node)
    assert differ(picture, another) > 0.5


@pytest.mark.parametrize(("name", "count", "left"), [(name, *told) for name, told in PASTED.items()])
def test_faces_go_back_into_their_pictures(name, count, left, session):
    """Without a detector it is the middle of each picture; beyond that nothing changes, bit for bit."""
    workflow = quick(name, side=SIDE)
    paste = workflow[api.node_id(workflow, "Paste")]["inputs"]
    preview = {"class_type": "PreviewImage", "inputs": {"images": paste["image"]}, "_meta": {"title": "Before"}}
    workflow["before"] = preview
    run = session.run(workflow, timeout=600)
    before, after = run.images("before"), run.images(api.node_id(workflow, "Result"))
    assert len(before) == len(after) == count
    for photo, picture in zip(before, after):
        assert picture.size == photo.size and differ(photo, picture) > 0.5
        corner = (0, 0, 16, 16)
        assert (differ(photo.crop(corner), picture.crop(corner)) == 0) == (left == "corner")
    for number, picture in enumerate(after):
        assert all(differ(picture, other) > 0.5 for other in after[:number])


@pytest.mark.parametrize("name", APPS)
def test_a_form_runs_before_any_picture_is_chosen(name, session, object_info):
    """It named a picture that not every server has."""
    (shown,) = load_ui(name)["extra"]["linearData"]["outputs"]
    (picture,) = session.run(quick(name, side=SIDE), timeout=600).images(str(shown))
    assert max(ImageStat.Stat(picture.convert("RGB")).stddev) > 2
    offered = NodeTypes(object_info)["LoadImage"].input("image").options
    assert {"acfun_face_astronaut.png", "acfun_style_woodblock.png"} <= set(offered)


def test_two_fields_of_a_form_had_the_same_name():
    """The editor calls a widget by the label of its input; both pictures were *image*, and the words *value*."""
    saved = load_ui("portrait_app")
    inputs = {node["id"]: {each["name"]: each for each in node["inputs"]} for node in saved["nodes"]}
    names = [inputs[node][widget].get("label", widget) for node, widget in saved["extra"]["linearData"]["inputs"]]
    assert names == [
        "photo of the face",
        "style picture",
        "description",
        "how to draw",
        "strokes of the style",
        "seed",
    ]


@pytest.mark.parametrize("name", APPS)
def test_what_app_mode_shows_is_there_and_works(name, session):
    """Pictures chosen in the form reach the portrait; all fields are widgets that nothing else feeds."""
    saved, workflow = load_ui(name), quick(name, side=SIDE)
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


@pytest.mark.parametrize("name", CHOICES)
def test_the_best_is_one_of_those_drawn(name, session):
    """The chart has a row for each portrait; with all of them kept, none is left out but copies."""
    workflow = quick(name, side=SIDE)
    for node in workflow.values():
        if node["class_type"] == "ACFunSampler":
            node["inputs"]["batch_size"] = 3
    run = session.run(workflow, timeout=600)
    drawn = [image.convert("RGB") for image in run.images(api.node_id(workflow, "All"))]
    (best,) = run.images(api.node_id(workflow, "Result"))
    assert len(drawn) == 3 and [differ(best, each) for each in drawn].count(0) == 1
    (chart,) = run.images(api.node_id(workflow, "Chart"))
    assert chart.width > 300 and max(ImageStat.Stat(chart.convert("RGB")).stddev) > 2
    (name_of_score,) = (key for key, node in workflow.items() if node["class_type"] == "ACFunScoreResult")
    text = next(event.data["text"] for event in run.events if event.kind == "text" and event.node == name_of_score)
    assert [line for line in text.splitlines() if line.startswith("Picture ")] == text.splitlines()[:3]


def test_a_live_preview_of_region_strengths_runs_alone(session):
    """Other strengths draw the preview anew; what does not depend on them comes from the cache, and nothing is saved."""
    workflow = quick("face_parts", side=SIDE)
    preview, parts = api.node_id(workflow, "Live preview"), api.node_id(workflow, "Parts")
    before = session.run(workflow, timeout=600, targets=[preview])
    workflow[parts]["inputs"]["regions"] = '{"hair": 0, "background": 2}'
    after = session.run(workflow, timeout=600, targets=[preview])
    print(f"from changed strengths to the preview: {after.seconds:.2f} s")
    assert differ(*(run.images(preview)[0] for run in (before, after))) > 0.5
    ran = {event.node for event in after.events if event.kind == "executing" and event.node}
    titles = {workflow[node]["_meta"]["title"] for node in ran}
    assert titles == {"Parts", "Options", "Apply", "Live sampler", "Decode live preview", "Live preview"}
    assert set(after.outputs) == {preview, parts}
