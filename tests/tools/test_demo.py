"""The demo's own logic, without a server: what options change and how the sheet looks."""

from __future__ import annotations

import argparse

import pytest
from PIL import Image

from tools.contact_sheet import MARGIN, PANEL, contact_sheet
from tools.demo import changed, note, panel_nodes
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
    assert "50 training steps at 192 px" in note(other)


def test_the_sheet_shows_four_different_nodes(workflow):
    assert len(set(panel_nodes(workflow).values())) == 4


def test_a_workflow_of_another_kind_is_refused():
    with pytest.raises(LookupError, match="Face preview"):
        panel_nodes(api.load("spliced_face"))


def test_the_sheet_shows_middle_squares_in_order():
    wide = Image.new("RGB", (300, 100), "red")
    wide.paste((0, 0, 255), (100, 0, 200, 100))
    sheet = contact_sheet([("wide", wide), ("green", Image.new("RGB", (50, 50), (0, 128, 0)))], "a note")
    assert sheet.getpixel((MARGIN + 5, MARGIN + 5)) == (0, 0, 255)
    assert sheet.getpixel((2 * MARGIN + PANEL + 5, MARGIN + 5)) == (0, 128, 0)
    assert sheet.width == 2 * PANEL + 3 * MARGIN
