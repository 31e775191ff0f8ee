"""Region strengths in the real server: all at 1 changes nothing, one changes its own region, bad texts are named."""

from __future__ import annotations

import json

import numpy as np
import pytest

from tools.comfy.client import NodeError
from tools.comfy.graphs import apply_node, base_graph, compare_node, node, sampler_node, train_node
from tools.workflows.lessons import FACE_BOX

from .test_options import adapter_options

LARGE = 128
"""Side in pixels: the lowest ResBlocks see a quarter of the latent's side, and over less a region is everywhere there."""
REGIONS = ("eyes", "nose", "mouth", "skin", "hair", "background")


def parts(regions: dict | str = "{}", **changes) -> dict:
    text = regions if isinstance(regions, str) else json.dumps(regions)
    settings = {"image": ["face", 0], "landmarks": ["find", 0], "regions": text, "softness": 0.0}
    return node("ACFunFaceParts", **{**settings, **changes})


def graph(**regions: dict) -> dict:
    """One steep training and its portrait as trained; for each name an applied adapter with these regions and its portrait."""
    by_hand = {"image": ["face", 0], "detector": "none", "if_none": "stop", **FACE_BOX}
    made = {
        **base_graph(),
        "find": node("ACFunFindFace", **by_hand),
        "train": train_node(steps=20, learning_rate=5e-4, name="regions", resolution=LARGE),
        "apply": apply_node(),
        "full": sampler_node(["apply", 0], "apply", width=LARGE, height=LARGE),
    }
    for name, strengths in regions.items():
        made |= {
            f"{name}_parts": parts(strengths),
            f"{name}_options": adapter_options(mask=[f"{name}_parts", 0]),
            f"{name}_apply": apply_node(),
            name: sampler_node([f"{name}_apply", 0], f"{name}_apply", width=LARGE, height=LARGE),
        }
        made[f"{name}_apply"]["inputs"]["options"] = [f"{name}_options", 0]
    return made


def pictures(client, made: dict, *names: str) -> dict[str, np.ndarray]:
    """Name of a latent -> its picture, float [h, w, 3]; "parts" the six masks as float [6, h, w]."""
    made = dict(made)
    for name in names:
        made[f"{name} decoded"] = node("VAEDecode", samples=[name, 0], vae=["base", 2])
        made[f"{name} shown"] = node("PreviewImage", images=[f"{name} decoded", 0])
    made["all parts"] = parts()
    made["as images"] = node("MaskToImage", mask=["all parts", 1])
    made["parts shown"] = node("PreviewImage", images=["as images", 0])
    run = client.run(made)
    found = {name: np.asarray(run.images(f"{name} shown")[0].convert("RGB"), float) for name in names}
    side = found[names[0]].shape[0]
    masks = [np.asarray(each.convert("L").resize((side, side)), float) / 255 for each in run.images("parts shown")]
    return {**found, "parts": np.stack(masks)}


def test_all_at_1_is_the_portrait_without_regions_bit_for_bit(client):
    made = graph(ones=dict.fromkeys(REGIONS, 1.0), none="{}", less={"background": 0.0})
    for name in ("ones", "none", "less"):
        made[f"compare {name}"] = compare_node([name, 0], ["full", 0])
    run = client.run(made)
    found = {name: float(run.texts(f"compare {name}")[0].split()[0]) for name in ("ones", "none", "less")}
    assert found["ones"] == found["none"] == 0.0 < found["less"]


@pytest.mark.parametrize("name", ["hair", "skin"])
def test_a_strength_changes_its_region_most(client, name):
    """The UNet carries some of a change to the neighbours, so that a region is not the only one to change in the portrait.

    In each ResBlock it is (tests/core/test_regions.py). Without its background the face turns out another: not tested here.
    """
    found = pictures(client, graph(off={name: 0.0}), "full", "off")
    change = np.abs(found["full"] - found["off"]).mean(axis=2)
    inside = found["parts"][REGIONS.index(name)]
    own, others = (change * inside).sum() / inside.sum(), (change * (1 - inside)).sum() / (1 - inside).sum()
    assert own > 1.5 * others > 0, (own, others)


def test_the_editor_gets_the_face_and_its_map(client):
    made = {"face": base_graph()["face"], "find": graph()["find"], "parts": parts({"eyes": 0.5})}
    made["shown"] = node("MaskPreview", mask=["parts", 0])
    run = client.run(made)
    (face,) = run.outputs["parts"]["acfun_regions"]
    picture, map_ = client.image(face["picture"]), client.image(face["map"]).convert("L")
    assert max(picture.size) == 256 and max(map_.size) == 128
    assert set(np.unique(np.asarray(map_))) == {40 * number for number in range(6)}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "region strengths cannot be read"),
        ("eyes=1", "region strengths cannot be read"),
        ('{"ears": 1.0}', "'ears' is no region of a face"),
        ('{"eyes": 5}', "strength of the eyes is 5"),
    ],
)
def test_bad_texts_are_named(client, text, says):
    made = {"face": base_graph()["face"], "find": graph()["find"], "parts": parts(text)}
    made["shown"] = node("MaskPreview", mask=["parts", 0])
    with pytest.raises(NodeError, match=says) as error:
        client.run(made)
    assert error.value.exception_type.endswith("ACFunError")
