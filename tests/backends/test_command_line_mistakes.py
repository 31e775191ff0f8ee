"""``acfun``: help, wrong usage, mistakes and missing libraries, each with its exit code and its words."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys

import pytest
import torch

from acfun_core.command_line import build_parser, flags, main
from acfun_core.command_line.train import NOT_CHOSEN, RENAMED
from acfun_core.config import AdapterConfig, TrainConfig
from acfun_core.errors import ACFunError
from acfun_core.options import options_of
from acfun_core.storage import adapter_file

from .acfun_command import FACE, POINTS, RUNNER, STYLE, TRAIN, offline
from .conftest import REPO

INSTANT = ["--preset", "instant", "--photo", FACE, "--style", STYLE]


@pytest.mark.parametrize("command", [[], ["train"], ["sample"], ["info"], ["export"], ["splice"]], ids=" ".join)
def test_help_explains_every_command(command, capsys):
    with pytest.raises(SystemExit) as ended:
        main([*command, "--help"])
    text = capsys.readouterr().out
    assert ended.value.code == 0 and "acfun" in text and len(text) > 300


def test_every_option_of_the_configs_has_a_flag(capsys):
    with pytest.raises(SystemExit):
        main(["train", "--help"])
    text = capsys.readouterr().out
    fields = [*options_of(TrainConfig), *(field for field in options_of(AdapterConfig) if field not in NOT_CHOSEN)]
    assert all(flags.flag_name(field, RENAMED) in text for field in fields)
    given = build_parser().parse_args(
        ["train", "--style", "s", "--face", "f", "--out", "o", "--form", "low_rank", "--style-flip", "--steps", "7"]
    )
    assert flags.given(given, AdapterConfig) == {"form": "low_rank"}
    assert flags.given(given, TrainConfig) == {"steps": 7, "style_flip": True}


@pytest.mark.parametrize(
    "arguments",
    [[], ["paint"], ["train"], ["sample", "--out"], ["info"], ["train", "--steps", "many"], ["info", "a", "--x"]],
)
def test_wrong_usage_ends_with_2(arguments, capsys):
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2 and "usage: acfun" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["info", "nowhere.safetensors"], "nowhere.safetensors cannot be read"),
        (["info", STYLE], "cannot be read"),
        (["export", "a.safetensors", "--out", "b.safetensors"], "Nothing says what to export"),
        (
            ["export", "a.safetensors", "--out", "b.safetensors", "--rank", "4", "--textual-inversion"],
            "An embedding cannot",
        ),
        (["sample", "--out", "p.png"], "neither a prompt nor the adapter of a style"),
        (["sample", "--prompt", "a", "--out", "p.jpg"], "does not end in .png"),
        (["sample", "--prompt", "a", "--out", STYLE], "is there already"),
        (["sample", "--prompt", "a", "--out", "p.png", "--base", "nowhere"], "no base at nowhere"),
        (["sample", "--prompt", "a", "--out", "p.png", "--palette", STYLE], "a palette but no photo"),
        (["sample", "--prompt", "a", "--out", "p.png", "--photo", FACE, "--batch", "2"], "one square portrait"),
        (["sample", "--prompt", "a", "--out", "p.png", "--photo", FACE, "--palette-hold", "2"], "palette hold is 2"),
        (
            ["sample", "--prompt", "a", "--out", "p.png", "--photo", FACE, "--palette-hold", "0.5"],
            "say without a palette",
        ),
        (["sample", *INSTANT, "--out", "p.png", "--palette-hold", "0.5"], "--palette-hold has no say with a preset"),
        (["sample", *INSTANT, "--out", "p.png", "--encoder", "0.5", "--mask", FACE], "for --encoder, --mask to act on"),
        (["sample", "--prompt", "a", "--out", "p.png", "--weight", "1"], "for --weight to act on"),
        (["sample", *INSTANT, "--out", "p.png", "--batch", "2"], "one portrait, not 2 different ones"),
        (
            ["export", "a.safetensors", "--out", "b.safetensors", "--compact", "--abstract", "1"],
            "--abstract has no say",
        ),
        (["sample", "--prompt", "a", "--out", "p.png", "--device", "toaster"], "'toaster' cannot be used"),
        ([*TRAIN, "--out", "a.safetensors", "--style", "gone.png"], "style picture gone.png cannot be read"),
        ([*TRAIN, "--out", "a.safetensors", "--description", "a man"], "holds S\\* 0 times"),
        ([*TRAIN, "--out", "a.safetensors", "--steps", "0"], "Training steps is 0"),
        (["splice", FACE, STYLE, "--out", "f.png"], "Nothing says where eyes"),
        (["splice", FACE, STYLE, "--out", "f.png", "--landmarks", POINTS], "2 faces and landmarks of 1"),
        (["splice", FACE, STYLE, "--out", "f.png", "--landmarks", "1,2", "--landmarks", "x"], "shape \\(2,\\)"),
        (["splice", FACE, STYLE, "--out", "f.png", "--cuts", "half"], "'half'"),
        (["splice", FACE, STYLE, "--out", "f.png", "--detector", "gone.onnx"], "gone.onnx|OpenCV"),
    ],
)
def test_mistakes_end_with_1_and_say_how_to_mend_them(arguments, says, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code = main([*map(str, arguments), "--json"])
    shown = capsys.readouterr()
    error = json.loads(shown.out)["error"]
    assert code == 1 and re.search(says, error["what"])
    assert error["what"] in shown.err and "Expected: " in shown.err and "To fix it: " in shown.err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("mistake", "says"),
    [(["--cfg", "-1"], "cfg. is -1"), (["--steps", "0"], "steps is 0"), (["--prompt", "a man"], "S\\*")],
)
def test_mistakes_are_said_before_the_way_back_to_the_noise(
    trained, loaded, base, mistake, says, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(base, "photo_noise", lambda *given: pytest.fail("the long way was begun"))
    assert main(list(map(str, ["sample", trained[0], "--photo", FACE, "--out", tmp_path / "p.png", *mistake]))) == 1
    assert re.search(says, capsys.readouterr().err)


def test_an_adapter_of_another_base_is_named(trained, loaded, tmp_path, capsys, monkeypatch):
    path, _ = trained
    adapter = adapter_file.load(path)
    adapter.afun.row = torch.nn.Parameter(torch.zeros(768))
    monkeypatch.setattr(adapter_file, "load", lambda path: adapter)
    assert main(["sample", str(path), "--out", str(tmp_path / "p.png")]) == 1
    assert "S* is 768 wide" in capsys.readouterr().err


BROKEN_TORCHVISION = 'raise RuntimeError("operator torchvision::nms does not exist")'


def test_train_starts_where_torchvision_does_not_fit_the_torch(tmp_path):
    """In a process of its own: here the operators that are missing were defined first."""
    (tmp_path / "broken" / "torchvision").mkdir(parents=True)
    (tmp_path / "broken" / "torchvision" / "__init__.py").write_text(BROKEN_TORCHVISION)
    out = tmp_path / "a.safetensors"
    command = [*RUNNER, *map(str, [*TRAIN, "--steps", 1, "--out", out, "--json"])]
    paths = os.pathsep.join([str(tmp_path / "broken"), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)
    environment = {**offline(), "PYTHONPATH": paths}
    ended = subprocess.run(command, capture_output=True, text=True, timeout=600, env=environment, cwd=REPO)
    assert ended.returncode == 0, ended.stderr
    assert json.loads(ended.stdout)["adapter"] == str(out) and sorted(tmp_path.iterdir()) == [out, tmp_path / "broken"]
    assert "training" in ended.stderr and "1/1" in ended.stderr


def test_a_library_that_does_not_import_is_named_with_its_first_cause(monkeypatch):
    """The libraries' own errors say on their first line only that a traceback is above."""
    from acfun_core.backends import libraries

    def broken(name):
        try:
            raise OSError("libcudart.so.12: cannot open shared object file")
        except OSError as error:
            raise RuntimeError(
                "Failed to import x because of the following error (look up to see its traceback):"
            ) from error

    monkeypatch.setattr(libraries, "_set_aside_broken_torchvision", lambda: None)
    monkeypatch.setattr(libraries.importlib, "import_module", broken)
    with pytest.raises(ACFunError, match="diffusers.Model cannot be imported: OSError: libcudart.so.12: cannot open"):
        libraries.imported("diffusers", "Model")


def test_the_core_imports_without_diffusers_and_transformers():
    code = (
        "import sys; sys.modules['diffusers'] = sys.modules['transformers'] = sys.modules['cv2'] = None;"
        "import acfun_core.command_line, acfun_core.backends.stable_diffusion, acfun_core.training.loop;"
        "sys.exit(acfun_core.command_line.main(['sample', '--prompt', 'a', '--out', 'p.png', '--json']))"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=REPO)
    assert ended.returncode == 1, ended.stderr
    assert "pip install diffusers transformers" in json.loads(ended.stdout)["error"]["fix"]
