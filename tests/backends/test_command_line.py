"""``acfun``: what its commands write and draw, and that the library draws the same."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file

from acfun_core import __version__
from acfun_core.backends.pictures import read_picture
from acfun_core.command_line import main
from acfun_core.config import AdapterConfig
from acfun_core.demo_base import NATIVE_SIDE
from acfun_core.diffusion.palette import Palette
from acfun_core.images import square
from acfun_core.method.adapter import StyleAdapter
from acfun_core.storage import adapter_file
from acfun_core.strengths import Strengths

from .acfun_command import FACE, POINTS, STYLE, TRAIN, acfun_here
from .conftest import BASE, PROMPT


def test_train_writes_an_adapter_and_says_how_it_went(trained):
    path, ended = trained
    assert ended.code == 0, ended.err
    assert ended.result["steps"] == 3 and ended.result["resolution"] == [64, 64]
    assert ended.result["bytes"] == path.stat().st_size
    assert "training" in ended.err and "3/3" in ended.err
    assert adapter_file.load(path).config.description == PROMPT
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_sample_draws_what_the_library_draws(trained, base, tmp_path):
    path, _ = trained
    out = tmp_path / "portrait.png"
    settings = {"seed": 3, "steps": 2, "cfg": 3.0}
    numbers = [argument for name, value in settings.items() for argument in (f"--{name}", value)]
    ended = acfun_here("sample", path, "--base", BASE, "--out", out, "--decoder", 0.5, *numbers, "--json", "--quiet")
    assert ended.code == 0 and ended.err == ""
    assert ended.result["portraits"] == [str(out)] and ended.result["adapters"][0]["decoder"] == 0.5
    latents = base.sample(PROMPT, members=[(adapter_file.load(path), Strengths(decoder=0.5))], **settings)
    expected = (base.decode(latents)[0] * 255).numpy()
    with Image.open(out) as picture:
        assert picture.size == (NATIVE_SIDE, NATIVE_SIDE)
        assert np.abs(np.asarray(picture, dtype=np.float32) - expected).max() <= 1
        told = json.loads(picture.text["acfun"])
    assert told["prompt"] == PROMPT and told["seed"] == 3 and told["software"] == f"ACFun {__version__}"


def test_a_batch_of_a_mix_is_numbered(trained, loaded, tmp_path):
    path, _ = trained
    mix = [
        path,
        path,
        "--weight",
        "0.5,0.5",
        "--decoder-end",
        0.5,
        "--guidance",
        "cond",
        "--mask",
        FACE,
        "--mask",
        FACE,
    ]
    size = ["--batch", 2, "--steps", 1, "--width", 64, "--height", 96]
    assert main(list(map(str, ["sample", *mix, *size, "--out", tmp_path / "p.png"]))) == 0
    assert sorted(file.name for file in tmp_path.iterdir()) == ["p_1.png", "p_2.png"]
    with Image.open(tmp_path / "p_2.png") as picture:
        told = json.loads(picture.text["acfun"])
        assert picture.size == (64, 96) and told["index"] == 1
    assert [one["weight"] for one in told["adapters"]] == [0.5, 0.5] and told["adapters"][0]["masked"]


def test_masks_are_one_for_all_portraits_or_one_a_portrait(trained, loaded, tmp_path, capsys):
    path, _ = trained
    Image.open(FACE).resize((64, 96)).save(tmp_path / "small.png")
    three = ["--mask", FACE, "--mask", FACE, "--mask", FACE]
    for masks, says in (
        (three, "mask of the adapter is a batch of 3 for 2 pictures"),
        ([*three[:2], "--mask", tmp_path / "small.png"], "masks have different sizes: .*64 x 96"),
    ):
        drawn = ["sample", path, *masks, "--batch", 2, "--steps", 1, "--out", tmp_path / "p.png"]
        assert main(list(map(str, drawn))) == 1
        assert re.search(says, capsys.readouterr().err)


def test_a_portrait_starts_from_a_photo(trained, loaded, base, tmp_path, capsys):
    path, _ = trained
    out = tmp_path / "p.png"
    photo = [
        "--photo",
        FACE,
        "--palette",
        STYLE,
        "--palette-hold",
        0.3,
        "--steps",
        2,
        "--cfg",
        1,
        "--width",
        64,
        "--height",
        64,
    ]
    assert main(list(map(str, ["sample", path, *photo, "--out", out, "--json"]))) == 0
    assert "finding the photo's noise" in capsys.readouterr().err
    face, style = read_picture(FACE, "face"), read_picture(STYLE, "style")
    latents = base.sample(
        PROMPT,
        members=[(adapter_file.load(path), Strengths())],
        steps=2,
        cfg=1.0,
        noise=base.photo_noise(face, style, 2, 64, hold=0.3),
        palette=Palette(base.encode(square(style, 64)), 0.3),
    )
    with Image.open(out) as picture:
        told = json.loads(picture.text["acfun"])
        assert np.abs(np.asarray(picture, dtype=np.float32) - (base.decode(latents)[0] * 255).numpy()).max() <= 2
    assert (told["photo"], told["palette"], told["palette_hold"]) == (Path(FACE).name, Path(STYLE).name, 0.3)


def test_portraits_of_one_photo_that_differ_are_drawn_by_a_preset(trained, loaded, tmp_path):
    """Those that would not are refused: a mask each, or the seed's noise, tells them apart."""
    preset = [trained[0], "--preset", "keep_person", "--photo", FACE, "--style", STYLE, "--width", 64, "--steps", 2]
    for name, more in (("masks", ["--mask", FACE, "--mask", STYLE]), ("turn", ["--transfer-turn", 0.3])):
        out = ["--batch", 2, "--out", tmp_path / f"{name}.png"]
        assert main(list(map(str, ["sample", *preset, *more, *out]))) == 0
        one, two = ((tmp_path / f"{name}_{number}.png") for number in (1, 2))
        assert np.any(np.asarray(Image.open(one)) != np.asarray(Image.open(two)))


def test_train_takes_every_option(loaded, tmp_path, capsys):
    chosen = ["--form", "low_rank", "--rank", 4, "--style-flip", "--no-learned-row", "--style-mask", STYLE, "--quiet"]
    guard = ["--copy-guard-every", 1, "--copy-limit", 1.0]
    out = tmp_path / "a.safetensors"
    assert main(list(map(str, [*TRAIN, *chosen, *guard, "--steps", 2, "--out", out, "--json"]))) == 0
    shown = capsys.readouterr()
    assert json.loads(shown.out)["kept_step"] in (1, 2) and shown.err == ""
    config, record = adapter_file.load(out).config, adapter_file.load(out).record
    assert (config.form, config.rank, config.learned_row) == ("low_rank", 4, False)
    assert record.settings["style_flip"] and len(record.looks) == 2


def test_an_adapter_that_only_copies_was_written_without_a_word(loaded, tmp_path, caplog):
    guard = ["--copy-guard-every", 1, "--copy-limit", 0, "--steps", 4, "--quiet"]
    assert main(list(map(str, [*TRAIN, *guard, "--out", tmp_path / "a.safetensors"]))) == 0
    assert "The copy guard found nothing but copies: this adapter draws one." in caplog.text


def test_info_says_what_a_file_holds(trained, capsys):
    path, _ = trained
    assert main(["info", str(path), "--json"]) == 0
    [told] = json.loads(capsys.readouterr().out)["adapters"]
    assert told["description"] == PROMPT and told["base_family"] == "sd1"
    assert told["training"]["steps"] == 3 and told["options"]["blocks"] == "both" and told["not_default"] == []
    assert main(["info", str(path)]) == 0 and "description: " + PROMPT in capsys.readouterr().out


def test_export_makes_smaller_files_that_draw_and_an_embedding(trained, base, tmp_path, capsys):
    path, _ = trained
    small, embedding = tmp_path / "small.safetensors", tmp_path / "style.safetensors"
    ended = acfun_here("export", path, "--rank", 4, "--compact", "--out", small, "--json")
    assert ended.code == 0, ended.err
    assert (
        ended.result["bytes"] == small.stat().st_size < path.stat().st_size / 3 and 0 < ended.result["energy_kept"] <= 1
    )
    drawn = base.sample(PROMPT, members=[(adapter_file.load(small), Strengths())], steps=1)
    assert drawn.isfinite().all() and not torch.equal(drawn, base.sample(PROMPT, steps=1))
    assert main(["export", str(path), "--textual-inversion", "--out", str(embedding)]) == 0
    [tensor] = load_file(embedding).values()
    assert torch.equal(tensor[0], adapter_file.load(path).e_a)


def test_an_adapter_of_sdxl_is_read_and_exported_but_not_drawn_with_on_another_base(tmp_path, capsys):
    """Made in ComfyUI; no base is needed for what a file holds."""
    config = AdapterConfig(PROMPT, layers=1, heads=1, head_width=8)
    adapter = StyleAdapter(config, torch.randn(2048), torch.randn(3, 16), {"enc.0.0": 320}, "sdxl")
    path, embedding = adapter_file.save(adapter, tmp_path / "xl.safetensors"), tmp_path / "word.safetensors"
    assert main(["info", str(path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["adapters"][0]["base_family"] == "sdxl"
    assert main(["export", str(path), "--textual-inversion", "--out", str(embedding)]) == 0
    assert {name: part.shape[-1] for name, part in load_file(embedding).items()} == {"clip_l": 768, "clip_g": 1280}
    assert main(["sample", str(path), "--out", str(tmp_path / "p.png")]) == 1
    assert "trained on SDXL, this base is Stable Diffusion 1.x" in capsys.readouterr().err


def test_splice_takes_parts_and_writes_who_gave_what(tmp_path, capsys):
    out, who = tmp_path / "face.png", tmp_path / "who.png"
    landmarks = ["--landmarks", POINTS, "--landmarks", POINTS]
    assert main(list(map(str, ["splice", FACE, STYLE, *landmarks, "--out", out, "--map", who, "--json"]))) == 0
    told = json.loads(capsys.readouterr().out)
    with Image.open(who) as picture:
        numbers = np.asarray(picture)
        assert picture.mode == "P" and set(np.unique(numbers)) == {1, 2}
    assert numbers[219, 200] == 2 and numbers[5, 5] == 1
    assert told["shares"][0] > told["shares"][1] > 0


def test_splice_of_bands(tmp_path, capsys):
    out = tmp_path / "face.png"
    assert main(["splice", str(FACE), str(STYLE), "--cuts", "0.5", "--size", "64", "--out", str(out)]) == 0
    assert Image.open(out).size == (64, 64) and "cuts: 0.5" in capsys.readouterr().out
