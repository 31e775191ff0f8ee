"""The nodes that put faces together, in the real server."""

from __future__ import annotations

import numpy as np
import pytest

from tools.comfy.client import NodeError
from tools.comfy.graphs import node

pytestmark = pytest.mark.server


def graph() -> dict:
    """Two pictures of 512 x 512 with a face in the same box each."""
    box = {"box_x": 150, "box_y": 120, "box_width": 210, "box_height": 260}
    found = {"detector": "none", "if_none": "stop", **box}
    return {
        "one": node("ACFunExampleImage", picture="face_astronaut.png"),
        "two": node("ImageInvert", image=["one", 0]),
        "find_one": node("ACFunFindFace", image=["one", 0], **found),
        "find_two": node("ACFunFindFace", image=["two", 0], **found),
    }


def parts(**changes) -> dict:
    settings = {
        **{"face_1": ["one", 0], "landmarks_1": ["find_one", 0], "face_2": ["two", 0], "landmarks_2": ["find_two", 0]},
        **{"eyes": 2, "nose": 1, "mouth": 2, "rest": 1, "seam": "hard", "softness": 0.15, "match_tone": False},
    }
    return node("ACFunSpliceFaceParts", **{**settings, **changes})


def pixels(run, name: str) -> np.ndarray:
    return np.asarray(run.images(name)[0].convert("RGB"), dtype=int)


def test_parts_come_from_the_faces_that_were_named(client):
    shown = {
        "splice": parts(),
        "face": node("PreviewImage", images=["splice", 0]),
        "map": node("PreviewImage", images=["splice", 1]),
        "mask": node("MaskToImage", mask=["splice", 2]),
        "masks": node("PreviewImage", images=["mask", 0]),
        "original": node("PreviewImage", images=["one", 0]),
    }
    run = client.run({**graph(), **shown})
    face, who, original = (pixels(run, name) for name in ("face", "map", "original"))
    assert face.shape == original.shape == who.shape
    taken = who[..., 2] > who[..., 0]
    assert 0.01 < taken.mean() < 0.3
    assert np.array_equal(face[~taken], original[~taken])
    assert np.abs(face[taken] - (255 - original[taken])).max() <= 2
    assert len(run.images("masks")) == 2 and np.array_equal(pixels(run, "masks")[..., 0] == 255, ~taken)


def test_bands_are_aligned_where_landmarks_are_connected(client):
    settings = {
        **{"face_1": ["one", 0], "face_2": ["smaller", 0], "cut_1": 0.5, "cut_2": 0.6, "cut_3": 0.8},
        **{"blend": 0.0, "size": 512},
    }
    smaller = {
        "smaller": node("ImageScale", image=["one", 0], upscale_method="area", width=256, height=256, crop="disabled"),
        "find_smaller": node(
            "ACFunFindFace",
            image=["smaller", 0],
            detector="none",
            if_none="stop",
            **{"box_x": 75, "box_y": 60, "box_width": 105, "box_height": 130},
        ),
    }
    points = {"landmarks_1": ["find_one", 0], "landmarks_2": ["find_smaller", 0]}
    shown = {
        "splice": node("ACFunSpliceFaces", **settings, **points),
        "face": node("PreviewImage", images=["splice", 0]),
        "original": node("PreviewImage", images=["one", 0]),
    }
    run = client.run({**graph(), **smaller, **shown})
    assert np.abs(pixels(run, "face") - pixels(run, "original")).mean() < 6


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"eyes": 3}, "eyes shall come from face 3"),
        ({"face_3": ["one", 0]}, "face_3 is connected but landmarks_3 is not"),
        ({"face_4": ["one", 0], "landmarks_4": ["find_one", 0]}, "face_4 is connected but face_3 is not"),
    ],
)
def test_what_does_not_fit_is_named(client, changes, says):
    with pytest.raises(NodeError, match=says):
        client.run({**graph(), "splice": parts(**changes), "face": node("PreviewImage", images=["splice", 0])})
