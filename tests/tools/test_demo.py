"""The demo's own logic, without a server: what options change and how the sheet looks."""

from __future__ import annotations

import argparse

import pytest
from PIL import Image

from tools.contact_sheet import MARGIN, PANEL, contact_sheet
from tools.demo import PANELS, changed, note
from tools.workflows import api


@pytest.fixture
def workflow() -> dict:
    return api.load("stylization")


def settings(workflow: dict, title: str) -> dict:
    return workflow[api.node_id(workflow, title)]["inputs"]


def test_the_comparison_differs_in_the_adapter_only(workflow):
    ours, plain = settings(workflow, "Sampler"), settings(workflow, "Sampler without adapter")
    for name in ("seed", "steps", "cfg", "sampler_name", "scheduler"):
        assert ours[name] == plain[name]
    assert plain["model"] == [api.node_id(workflow, "Demo base"), 0]
    prompt = settings(workflow, "Prompt without adapter")["text"]
    assert prompt == ours["prompt"].replace("S*", "painting")


def test_options_change_a_copy(workflow):
    before = settings(workflow, "Train")["steps"]
    other = changed(workflow, argparse.Namespace(steps=50, seed=3, face="face_b.png", style=None))
    assert settings(other, "Train")["steps"] == 50
    assert settings(other, "Sampler")["seed"] == settings(other, "Sampler without adapter")["seed"] == 3
    assert settings(other, "Face")["picture"] == "face_b.png"
    assert settings(workflow, "Train")["steps"] == before
    of_style = changed(api.load("any_photo"), argparse.Namespace(steps=20, seed=3, face=None, style="style_pop.png"))
    assert settings(of_style, "Sampler")["seed"] == settings(of_style, "Sampler by chance")["seed"] == 3
    said = note({"stylization": other, "any_photo": of_style})
    assert "20 training steps on the style alone" in said and "50 training steps on both" in said and "192 px" in said


def test_the_sheet_shows_different_nodes_of_both_workflows_on_the_same_pictures(workflow):
    shown = {(name, api.node_id(api.load(name), title)) for name, title in PANELS.values()}
    assert len(shown) == len(PANELS) and {name for name, _ in shown} == {"stylization", "any_photo"}
    for title in ("Face", "Style"):
        assert settings(workflow, title) == settings(api.load("any_photo"), title)


def test_the_sheet_shows_middle_squares_in_order():
    wide = Image.new("RGB", (300, 100), "red")
    wide.paste((0, 0, 255), (100, 0, 200, 100))
    sheet = contact_sheet([("wide", wide), ("green", Image.new("RGB", (50, 50), (0, 128, 0)))], "a note")
    assert sheet.getpixel((MARGIN + 5, MARGIN + 5)) == (0, 0, 255)
    assert sheet.getpixel((2 * MARGIN + PANEL + 5, MARGIN + 5)) == (0, 128, 0)
    assert sheet.width == 2 * PANEL + 3 * MARGIN
