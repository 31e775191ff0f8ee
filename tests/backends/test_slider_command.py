"""``acfun slider``, and what ``sample`` and ``info`` make of its file."""

from __future__ import annotations

import json

import pytest
import torch
from PIL import Image

from acfun_core.backends.pictures import read_picture
from acfun_core.backends.stable_diffusion import StableDiffusion
from acfun_core.command_line import main, output, slider
from acfun_core.errors import ACFunError
from acfun_core.presets import PRESETS
from acfun_core.storage import adapter_file
from acfun_core.training import keeper as keeping
from acfun_core.training.slider import SliderConfig, check_slider

from .acfun_command import FACE, STYLE

MORE, LESS = "a photo of an old person", "a photo of a young person"
LEARN = ["slider", "--photo", FACE, "--more", MORE, "--less", LESS, "--steps", 3, "--learning-rate", 1e-3]
LEARN += ["--resolution", 64, "--quiet", "--json"]


@pytest.fixture
def loaded(monkeypatch, base, loaded):
    monkeypatch.setattr(slider, "load_base", lambda arguments: base)


@pytest.fixture(scope="module")
def learnt(base, tmp_path_factory):
    """The file of what :data:`LEARN` learns, learned by the library."""
    config = SliderConfig(steps=3, learning_rate=1e-3)
    learned = base.train_slider([read_picture(FACE, "photo")], check_slider(MORE, LESS), config, 64)
    return adapter_file.save(learned, tmp_path_factory.mktemp("slider") / "age.safetensors")


def run(arguments) -> int:
    return main(list(map(str, arguments)))


def same(one, other) -> bool:
    """Whether two files hold the same slider."""
    one, other = adapter_file.load(one), adapter_file.load(other)
    values = zip(one.state_dict().values(), other.state_dict().values())
    return one.record == other.record and all(torch.equal(*both) for both in values)


def test_it_learns_draws_and_tells(loaded, learnt, tmp_path, capsys):
    path, out = tmp_path / "age.safetensors", tmp_path / "portrait.png"
    assert run([*LEARN, "--out", path]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["more"], told["less"], told["steps"]) == (MORE, LESS, 3)
    assert same(path, learnt)

    preset = ["--preset", "instant", "--photo", FACE, "--style", STYLE, "--width", 64, "--steps", 2]
    assert run(["sample", path, *preset, "--encoder", 1.5, "--decoder", 1.5, "--out", out, "--json", "--quiet"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert "S*" not in told["prompt"] and told["adapters"][0]["encoder"] == 1.5, "no preset scales a slider"
    with Image.open(out) as picture:
        assert picture.size == (64, 64)

    assert run(["info", path, "--json"]) == 0
    [described] = json.loads(capsys.readouterr().out)["adapters"]
    assert described["slider"] == {"more": MORE, "less": LESS} and described["format_version"] == 3


def test_alone_it_needs_a_prompt_and_keep_person_a_style(loaded, learnt, tmp_path, capsys):
    assert run(["sample", learnt, "--out", tmp_path / "p.png"]) == 1
    assert "neither a prompt nor the adapter of a style" in capsys.readouterr().err
    both = ["--photo", FACE, "--style", STYLE]
    assert run(["sample", learnt, "--preset", "keep_person", *both, "--out", tmp_path / "p.png"]) == 1
    assert "draws with the adapter of a style" in capsys.readouterr().err


def test_beside_a_style_a_preset_scales_the_style_alone(loaded, learnt, trained, tmp_path, capsys):
    preset = ["--preset", "keep_person", "--photo", FACE, "--style", STYLE, "--width", 64, "--steps", 1]
    prompt = ["--prompt", "a painting in S* style", "--out", tmp_path / "p.png", "--json", "--quiet"]
    assert run(["sample", trained[0], learnt, *preset, *prompt]) == 0
    style, slider_of = json.loads(capsys.readouterr().out)["adapters"]
    by = PRESETS["keep_person"].strengths
    assert (style["encoder"], style["decoder"]) == (by.encoder, by.decoder)
    assert "encoder" not in slider_of and "decoder" not in slider_of, "as the user has it: 1"


def test_one_that_could_not_be_written_was_lost(loaded, tmp_path, capsys, monkeypatch):
    """It is kept elsewhere, and the same command takes it from there without learning again."""
    path, elsewhere = tmp_path / "age.safetensors", tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.setattr(slider, "rescue_folders", lambda: [elsewhere])
    save = adapter_file.save
    full = ACFunError("The disk is full.", "room", "make room")

    def to_a_full_disk(adapter, target, overwrite=False):
        if target == path:
            raise full
        return save(adapter, target, overwrite)

    with monkeypatch.context() as patched:
        patched.setattr(adapter_file, "save", to_a_full_disk)
        assert run([*LEARN, "--out", path]) == 1
    assert "is not lost" in capsys.readouterr().err and not path.exists()
    monkeypatch.setattr(StableDiffusion, "train_slider", None)
    assert run([*LEARN, "--out", path]) == 0 and adapter_file.load(path).slider == (MORE, LESS)


def test_a_slider_whose_training_was_killed_was_begun_anew(loaded, learnt, tmp_path, capsys, monkeypatch):
    """Ctrl-C says how to go on; with --resume the file is that of a training in one go."""
    monkeypatch.setattr(keeping, "LARGEST_SHARE", float("inf"))
    path, step = tmp_path / "age.safetensors", output.Progress.step

    def interrupted(progress, note="", done=None):
        step(progress, note, done)
        if done == 2:
            raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(output.Progress, "step", interrupted)
        assert run([*LEARN, "--state-every", 0, "--out", path]) != 0
    told = capsys.readouterr()
    assert "--resume goes on after step 2" in told.err and not path.exists()
    assert run([*LEARN, "--resume", "--out", path]) == 0
    assert json.loads(capsys.readouterr().out)["resumed_from"] == 2
    assert same(path, learnt) and list(tmp_path.iterdir()) == [path]


def test_a_slider_went_on_from_the_state_of_another_prediction_or_tokenizer(base, monkeypatch):
    inputs = ([read_picture(FACE, "photo")], check_slider(MORE, LESS), SliderConfig(), 64, None)
    key = base.slider_key(*inputs)
    assert base.slider_key(*inputs) == key
    with monkeypatch.context() as patched:
        patched.setattr(base, "prediction", "v_prediction")
        assert base.slider_key(*inputs) != key
    monkeypatch.setattr(type(base.text), "words_to_ids", lambda text, words: [1, 2, 3])
    assert base.slider_key(*inputs) != key


def test_mistakes_come_before_any_work(loaded, tmp_path, capsys):
    assert run([*LEARN, "--less", MORE, "--out", tmp_path / "a.safetensors"]) == 1
    assert "Both descriptions are" in capsys.readouterr().err
    Image.open(FACE).resize((64, 96)).save(tmp_path / "other.png")
    two = ["--photo", tmp_path / "other.png", "--mask", FACE, "--out", tmp_path / "a.safetensors"]
    assert run([*LEARN, *two]) == 1
    assert "different sizes, and there is a mask" in capsys.readouterr().err
    assert not (tmp_path / "a.safetensors").exists()
