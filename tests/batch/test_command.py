"""``acfun batch``: what it draws on the embedded base, what it says, and what it refuses."""

from __future__ import annotations

import io
import json

import numpy as np
import pytest
import torch
from PIL import Image

from acfun_core.backends import chosen
from acfun_core.backends.pictures import read_picture, to_pil
from acfun_core.backends.stable_diffusion import StableDiffusion
from acfun_core.backends.transferring import Transfer
from acfun_core.batch import work
from acfun_core.batch.results import Results
from acfun_core.command_line import main
from acfun_core.demo_base import DEMO_BASE
from acfun_core.presets import PRESETS
from acfun_core.storage import adapter_file
from tools.comfy.install import REPO

PICTURES = REPO / "pictures"
FEW = ["--set", "train.steps=2", "--set", "draw.steps=2", "--set", "resolution=64"]


@pytest.fixture(scope="module")
def base():
    return StableDiffusion.load(DEMO_BASE)


@pytest.fixture
def loaded(base, monkeypatch):
    """The base of this file in place of loading it anew."""
    monkeypatch.setattr(chosen.ChosenBase, "load", lambda self: base)


@pytest.fixture
def folders(tmp_path):
    """One style and three faces, of which one is no picture."""
    for folder, name in (
        ("styles", "style_woodblock.png"),
        ("faces", "face_astronaut.png"),
        ("faces", "style_pop.png"),
    ):
        (tmp_path / folder).mkdir(exist_ok=True)
        (tmp_path / folder / name).symlink_to(PICTURES / name)
    (tmp_path / "faces" / "bad.png").write_text("no picture")
    return ["--styles", str(tmp_path / "styles"), "--faces", str(tmp_path / "faces")]


def run(*arguments) -> int:
    return main(["batch", *map(str, arguments)])


def events(capsys) -> list[dict]:
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_styles_and_faces_are_drawn_and_one_bad_photo_stops_nothing(loaded, base, folders, tmp_path, capsys):
    out = tmp_path / "out"
    assert run(*folders, "--out", out, *FEW, "--json", "--quiet") == 0
    told = events(capsys)
    kinds = [event.get("event") for event in told]
    assert kinds[0] == "planned" and kinds.count("drawn") == 2 and kinds.count("failed") == 1
    assert {"done", "running", "failed", "seconds_left", "pictures_a_minute"} <= set(told[1])
    [failed] = [event for event in told if event.get("event") == "failed"]
    assert failed["name"] == "bad_style_woodblock" and "cannot be read" in failed["reason"]
    assert told[-1]["done"] == 2 and told[-1]["failed"] == 1
    [astronaut] = (out / "pictures").glob("face_astronaut_style_woodblock_*.png")
    with Image.open(astronaut) as picture:
        assert picture.size == (64, 64) and json.loads(picture.text["acfun"])["prompt"].count("S*") == 1
    # Again: nothing is loaded, learned or drawn.
    with pytest.MonkeyPatch.context() as context:
        context.setattr(work.Workshop, "do", lambda *given: pytest.fail("something was done twice"))
        assert run(*folders, "--out", out, *FEW, "--json", "--quiet") == 0
    assert events(capsys)[-1]["drawn"] == 0
    # A mended photo is another photo; the two others are as they were.
    (tmp_path / "faces" / "bad.png").write_bytes((PICTURES / "style_cartoon.png").read_bytes())
    assert run(*folders, "--out", out, *FEW, "--json", "--quiet") == 0
    told = events(capsys)[-1]
    assert (told["done"], told["drawn"], told["failed"], told["trained"]) == (3, 1, 0, 0)


def test_the_picture_is_that_of_the_library(loaded, base, tmp_path):
    """The picture is what the base draws beside these pictures with this adapter, and drawing it again changes no bit."""
    plan = tmp_path / "plan.yaml"
    plan.write_text(
        f"- {{style: {PICTURES / 'style_woodblock.png'}, face: {PICTURES / 'face_astronaut.png'}, name: one,"
        " preset: keep_person, train.steps: 2, draw.steps: 2, resolution: 64}"
    )
    out, written = tmp_path / "out", []
    for _ in range(2):
        assert run(plan, "--out", out, "--quiet") == 0
        [path] = (out / "pictures").glob("one_*.png")
        written.append(path.read_bytes())
        path.unlink()
    assert written[0] == written[1]
    [trained] = (out / "adapters").iterdir()
    style, face = (read_picture(PICTURES / name, "it") for name in ("style_woodblock.png", "face_astronaut.png"))
    with work.threads_of(1):
        references = base.references(face, style, 2, 64)
        text = PRESETS["keep_person"]
        members = [(adapter_file.load(trained), text.strengths)]
        drawn = base.sample(text.prompt, "", members, 3, 2, text.draw.cfg, transfer=Transfer(references, text.transfer))
        expected = np.asarray(to_pil(base.decode(drawn)[0]), dtype=int)
    # Both pictures go to noise in one batch here and alone there, which differs in the last bits.
    assert np.abs(np.asarray(Image.open(io.BytesIO(written[0])), dtype=int) - expected).max() <= 2


def test_threads_are_what_was_asked_for_and_put_back(loaded, folders, tmp_path, monkeypatch):
    seen, before = [], torch.get_num_threads()
    monkeypatch.setattr(work.Workshop, "_train", lambda self, job: seen.append(torch.get_num_threads()) or 1 / 0)
    assert run(*folders, "--out", tmp_path / "out", *FEW, "--quiet", "--threads", 3) == 0
    assert seen == [3] and torch.get_num_threads() == before


def test_a_disk_that_is_full_ends_the_batch_and_is_no_failure_of_a_row(loaded, folders, tmp_path, monkeypatch, capsys):
    from acfun_core import whole_files

    monkeypatch.setattr(work.Workshop, "_train", lambda self, job: (b"adapter", {}))

    def full(written, path, overwrite):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(whole_files, "put", full)
    assert run(*folders, "--out", tmp_path / "out", *FEW, "--quiet") == 1
    assert "No space left on device" in capsys.readouterr().err
    assert Results(str(tmp_path / "out")).folder.sizes("failures") == {}


def test_a_dry_run_says_what_is_left_and_does_nothing(folders, tmp_path, capsys):
    assert run(*folders, "--out", tmp_path / "out", "--dry-run", "--json") == 0
    told = events(capsys)[-1]
    assert told["rows"] == 3 and told["drawings_left"] == 3 and told["trainings_left"] == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "not clear what to draw"),
        (["--styles", "a"], "not clear what to draw"),
        (["plan.yaml", "--styles", "a", "--faces", "b"], "not clear what to draw"),
        (["plan.yaml", "--set", "train.steps"], "has no value"),
        (["plan.yaml", "--threads", "0"], "--threads is 0"),
        (["--styles", "a", "--faces", "b", "--seeds", "x"], "--seeds is 'x'"),
        (["gone.yaml"], "cannot be read"),
        (["--styles", "gone", "--faces", "gone"], "no style pictures"),
    ],
)
def test_mistakes_of_the_command_line(arguments, words, tmp_path, capsys):
    assert run(*arguments, "--out", tmp_path / "out", "--json") == 1
    assert words in events(capsys)[-1]["error"]["what"]


def test_an_interrupt_says_how_to_go_on(loaded, folders, tmp_path, monkeypatch, capsys):
    def interrupted(self, job):
        raise KeyboardInterrupt

    monkeypatch.setattr(work.Workshop, "_train", interrupted)
    assert run(*folders, "--out", tmp_path / "out", *FEW, "--quiet") == 130
    assert "goes on where it stopped" in capsys.readouterr().err
