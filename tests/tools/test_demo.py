"""The demo's own logic, without a server: what options change and how the sheet looks."""

from __future__ import annotations

import argparse
import subprocess
import sys

import pytest
from PIL import Image

from acfun_core.demo_base import NATIVE_SIDE
from acfun_core.presets import PRESETS
from tools.comfy.client import Event
from tools.comfy.install import REPO
from tools.contact_sheet import MARGIN, PANEL, contact_sheet
from tools.demo import PANELS, WORKFLOWS, Terminal, changed, note, shown, time_left
from tools.workflows import api

from ..waiting import appears


@pytest.fixture
def workflow() -> dict:
    return api.load("stylization")


def settings(workflow: dict, title: str) -> dict:
    return workflow[api.node_id(workflow, title)]["inputs"]


def test_the_comparison_differs_in_the_adapter_and_the_preset_only(workflow):
    ours, plain = settings(workflow, "Sampler"), settings(workflow, "Sampler without training")
    for name in ("seed", "steps", "cfg", "sampler_name", "scheduler", "photo", "style_image", "vae"):
        assert ours[name] == plain[name]
    assert plain["model"] == [api.node_id(workflow, "Demo base"), 0] and "adapter" not in plain
    assert (ours["preset"], plain["preset"]) == ("keep_person", "instant")


def test_options_change_a_copy(workflow):
    before = settings(workflow, "Sampler")["seed"]
    other = changed(workflow, argparse.Namespace(seed=3, face="face_b.png", style=None))
    assert settings(other, "Sampler")["seed"] == settings(other, "Sampler without training")["seed"] == 3
    assert settings(other, "Face")["picture"] == "face_b.png"
    assert settings(workflow, "Sampler")["seed"] == before
    edited = changed(api.load("text_edits"), argparse.Namespace(seed=5, face=None, style="style_pop.png"))
    said = note({"stylization": other, "text_edits": edited})
    assert f"{PRESETS['keep_person'].train.steps} training steps on the style" in said and "seed 5" in said
    assert f"at {NATIVE_SIDE} px" in said


def test_the_sheet_shows_different_nodes_of_both_workflows_on_the_same_pictures(workflow):
    shown = {(name, api.node_id(api.load(name), title)) for name, title in PANELS.values()}
    assert len(shown) == len(PANELS) and {name for name, _ in shown} == set(WORKFLOWS)
    for title in ("Face", "Style"):
        assert settings(workflow, title) == settings(api.load("text_edits"), title)


@pytest.mark.parametrize("name", WORKFLOWS)
def test_nothing_is_drawn_that_is_not_shown(name):
    """ "Sampler by chance" was: half of the second workflow's drawing, for nobody."""
    kept = shown(api.load(name))
    titles = [node["_meta"]["title"] for node in kept.values()]
    assert "Sampler Glasses" not in titles and "Sampler Glasses" in str(api.load("text_edits"))
    used = {str(value[0]) for node in kept.values() for value in node["inputs"].values() if isinstance(value, list)}
    wanted = {title for _, title in PANELS.values()} | {"Train"}
    assert all(one in used or node["_meta"]["title"] in wanted for one, node in kept.items())
    assert used <= set(kept) and {title for where, title in PANELS.values() if where == name} <= set(titles)


def test_the_demo_counts_the_time_left_from_the_first_step():
    """Of 100 steps of 2 s, the first after 300 s of encoding: 180 s are left after the tenth, not an hour."""
    assert time_left(1, 100, 1, 300.0, 300.0) is None
    assert time_left(10, 100, 1, 300.0, 318.0) == pytest.approx(180)


def test_the_demo_prints_a_line_at_least_every_ten_seconds(monkeypatch, capsys):
    monkeypatch.setattr(Terminal, "SECONDS_BETWEEN_LINES", 1.0)
    with Terminal({"1": {"_meta": {"title": "Train"}}}) as terminal:
        terminal(Event("executing", {"node": "1"}, 0.0))
        assert appears("preparing, ", lambda: capsys.readouterr().out)
        terminal(Event("progress", {"node": "1", "value": 1, "max": 9}, 1.0))
        capsys.readouterr()
        assert appears("step 1/9", lambda: capsys.readouterr().out)


def test_the_server_has_no_boxed_error_about_workflow_templates():
    """The pack needs none of ComfyUI's own templates, which are hundreds of megabytes: an empty folder stands for them."""
    code = (
        "from tools.comfy import launcher; launcher.stand_in_for_templates(); import importlib.resources as r, os;"
        "import comfyui_workflow_templates as t; print(os.path.isdir(str(r.files(t) / 'templates')))"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300, cwd=REPO)
    assert ended.stdout.strip() == "True", ended.stderr


def test_the_sheet_shows_middle_squares_in_order():
    wide = Image.new("RGB", (300, 100), "red")
    wide.paste((0, 0, 255), (100, 0, 200, 100))
    sheet = contact_sheet([("wide", wide), ("green", Image.new("RGB", (50, 50), (0, 128, 0)))], "a note")
    assert sheet.getpixel((MARGIN + 5, MARGIN + 5)) == (0, 0, 255)
    assert sheet.getpixel((2 * MARGIN + PANEL + 5, MARGIN + 5)) == (0, 128, 0)
    assert sheet.width == 2 * PANEL + 3 * MARGIN
