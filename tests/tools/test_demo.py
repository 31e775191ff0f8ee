"""The demo's own logic, without a server: what it adds to a workflow and how the sheet looks."""

from __future__ import annotations

import argparse

import pytest
from PIL import Image

from tools.contact_sheet import MARGIN, PANEL, contact_sheet
from tools.demo import PLAIN, PLAIN_SAMPLER, RESULT, DemoError, changed, note, with_comparison


@pytest.fixture
def workflow() -> dict:
    """The main job as wired in ``workflows/api/stylization.json``, without its output nodes."""
    base = {"model": ["1", 0], "clip": ["1", 1], "vae": ["1", 2], "clip_vision": ["1", 3]}
    sampling = {"seed": 7, "steps": 40, "cfg": 3.0, "sampler_name": "ddim", "scheduler": "normal"}
    patched = {"model": ["5", 0], "clip": ["5", 1], "adapter": ["5", 2]}
    size = {"width": 192, "height": 192, "batch_size": 1}
    prompt = {"prompt": "a painting of a woman in S* style", "negative": "blur"}
    train = {"style_image": ["2", 0], "face_image": ["3", 0], "steps": 200, "seed": 0, "resolution": 192}
    return {
        "1": {"class_type": "ACFunLoadDemoBase", "inputs": {}},
        "2": {"class_type": "ACFunExampleImage", "inputs": {"picture": "style_a.png"}},
        "3": {"class_type": "ACFunExampleImage", "inputs": {"picture": "face_a.png"}},
        "4": {"class_type": "ACFunTrainStyle", "inputs": {**base, **train}},
        "5": {"class_type": "ACFunApplyAdapter", "inputs": {"model": ["1", 0], "clip": ["1", 1], "adapter": ["4", 0]}},
        "6": {"class_type": "ACFunSampler", "inputs": {**patched, **prompt, **sampling, **size}},
    }


def test_the_comparison_differs_in_the_adapter_only(workflow):
    full = with_comparison(workflow)
    ours, plain = full["6"]["inputs"], full[PLAIN_SAMPLER]["inputs"]
    assert plain["model"] == ["1", 0]
    assert {key: plain[key] for key in ("seed", "steps", "cfg", "sampler_name", "scheduler")} == {
        key: ours[key] for key in ("seed", "steps", "cfg", "sampler_name", "scheduler")
    }
    assert full["demo_plain_prompt"]["inputs"]["text"] == "a painting of a woman in painting style"
    assert full["demo_plain_negative"]["inputs"]["text"] == "blur"
    assert full[RESULT]["class_type"] == full[PLAIN]["class_type"] == "PreviewImage"


def test_every_added_link_leads_to_a_node(workflow):
    full = with_comparison(workflow)
    links = [value for node in full.values() for value in node["inputs"].values() if isinstance(value, list)]
    assert all(source in full for source, _ in links)
    assert set(full) > set(workflow)


def test_options_change_a_copy(workflow):
    options = argparse.Namespace(steps=50, seed=3, face="face_b.png", style=None)
    other = changed(workflow, options)
    assert (other["4"]["inputs"]["steps"], other["6"]["inputs"]["seed"]) == (50, 3)
    assert other["3"]["inputs"]["picture"] == "face_b.png"
    assert workflow["4"]["inputs"]["steps"] == 200
    assert "50 training steps at 192 px" in note(other)


def test_a_workflow_without_training_is_refused(workflow):
    del workflow["4"]
    with pytest.raises(DemoError, match="ACFunTrainStyle"):
        with_comparison(workflow)


def test_the_sheet_shows_middle_squares_in_order():
    wide = Image.new("RGB", (300, 100), "red")
    wide.paste((0, 0, 255), (100, 0, 200, 100))
    sheet = contact_sheet([("wide", wide), ("green", Image.new("RGB", (50, 50), (0, 128, 0)))], "a note")
    assert sheet.getpixel((MARGIN + 5, MARGIN + 5)) == (0, 0, 255)
    assert sheet.getpixel((2 * MARGIN + PANEL + 5, MARGIN + 5)) == (0, 128, 0)
    assert sheet.width == 2 * PANEL + 3 * MARGIN
