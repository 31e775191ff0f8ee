"""``acfun``: every command in a process of its own, its exit codes, and what it leaves behind."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from acfun_core import __version__, whole_files
from acfun_core.backends.pictures import read_picture
from acfun_core.command_line import build_parser, flags, info, main, output, sample, train
from acfun_core.command_line.train import NOT_CHOSEN, RENAMED
from acfun_core.config import AdapterConfig, TrainConfig
from acfun_core.diffusion.palette import Palette
from acfun_core.errors import ACFunError
from acfun_core.images import square
from acfun_core.method.adapter import StyleAdapter
from acfun_core.options import options_of
from acfun_core.storage import adapter_file
from acfun_core.strengths import Strengths
from acfun_core.training import keeper

from .conftest import BASE, PROMPT, REPO, SIDE

RUNNER = (sys.executable, "-m", "acfun_core")
STYLE, FACE = REPO / "pictures" / "style_woodblock.png", REPO / "pictures" / "face_astronaut.png"
POINTS = "200,219,311,220,253,283,204,325,306,326"
TRAIN = [
    "train",
    "--style",
    STYLE,
    "--face",
    FACE,
    "--description",
    PROMPT,
    "--resolution",
    64,
    "--learning-rate",
    3e-3,
]


@dataclass
class Ended:
    code: int
    out: str
    err: str

    @property
    def result(self) -> dict:
        """The one JSON object on standard output."""
        return json.loads(self.out)


def offline() -> dict[str, str]:
    """The environment without what would let a library reach a network by accident."""
    return {**os.environ, "http_proxy": "http://127.0.0.1:9", "https_proxy": "http://127.0.0.1:9"}


def acfun(*arguments) -> Ended:
    command = [*RUNNER, *map(str, arguments)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=600, env=offline(), cwd=REPO)
    return Ended(ended.returncode, ended.stdout, ended.stderr)


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> tuple[Path, Ended]:
    path = tmp_path_factory.mktemp("trained") / "woodblock.safetensors"
    return path, acfun(*TRAIN, "--steps", 3, "--out", path, "--json")


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
    ended = acfun("sample", path, "--base", BASE, "--out", out, "--decoder", 0.5, *numbers, "--json", "--quiet")
    assert ended.code == 0 and ended.err == ""
    assert ended.result["portraits"] == [str(out)] and ended.result["adapters"][0]["decoder"] == 0.5
    latents = base.sample(PROMPT, members=[(adapter_file.load(path), Strengths(decoder=0.5))], **settings)
    expected = (base.decode(latents)[0] * 255).numpy()
    with Image.open(out) as picture:
        assert picture.size == (SIDE, SIDE)
        # Another number of threads may round differently.
        assert np.abs(np.asarray(picture, dtype=np.float32) - expected).max() <= 2
        told = json.loads(picture.text["acfun"])
    assert told["prompt"] == PROMPT and told["seed"] == 3 and told["software"] == f"ACFun {__version__}"


@pytest.fixture
def loaded(base, monkeypatch) -> None:
    """The base of the session in place of loading it anew, for commands that run in this process."""
    for command in (sample, train):
        monkeypatch.setattr(command, "load_base", lambda arguments: base)


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
    ended = acfun("export", path, "--rank", 4, "--compact", "--out", small, "--json")
    assert ended.code == 0, ended.err
    assert (
        ended.result["bytes"] == small.stat().st_size < path.stat().st_size / 3 and 0 < ended.result["energy_kept"] <= 1
    )
    drawn = base.sample(PROMPT, members=[(adapter_file.load(small), Strengths())], steps=1)
    assert drawn.isfinite().all() and not torch.equal(drawn, base.sample(PROMPT, steps=1))
    assert main(["export", str(path), "--textual-inversion", "--out", str(embedding)]) == 0
    [tensor] = load_file(embedding).values()
    assert torch.equal(tensor[0], adapter_file.load(path).e_a)


def test_an_adapter_of_sdxl_is_read_and_exported_but_not_drawn_with(tmp_path, capsys):
    """Made in ComfyUI; no base is needed for what a file holds."""
    config = AdapterConfig(PROMPT, layers=1, heads=1, head_width=8)
    adapter = StyleAdapter(config, torch.randn(2048), torch.randn(3, 16), {"enc.0.0": 320}, "sdxl")
    path, embedding = adapter_file.save(adapter, tmp_path / "xl.safetensors"), tmp_path / "word.safetensors"
    assert main(["info", str(path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["adapters"][0]["base_family"] == "sdxl"
    assert main(["export", str(path), "--textual-inversion", "--out", str(embedding)]) == 0
    assert {name: part.shape[-1] for name, part in load_file(embedding).items()} == {"clip_l": 768, "clip_g": 1280}
    assert main(["sample", str(path), "--out", str(tmp_path / "p.png")]) == 1
    assert "trained on SDXL" in (shown := capsys.readouterr().err) and "ComfyUI" in shown


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
    assert flags.given(given, AdapterConfig) == {"form": "low_rank", "description": given.description}
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
        (["sample", "--out", "p.png"], "neither a prompt nor an adapter"),
        (["sample", "--prompt", "a", "--out", "p.jpg"], "does not end in .png"),
        (["sample", "--prompt", "a", "--out", STYLE], "is there already"),
        (["sample", "--prompt", "a", "--out", "p.png", "--base", "nowhere"], "no base at nowhere"),
        (["sample", "--prompt", "a", "--out", "p.png", "--palette", STYLE], "a palette but no photo"),
        (["sample", "--prompt", "a", "--out", "p.png", "--photo", FACE, "--batch", "2"], "one square portrait"),
        (["sample", "--prompt", "a", "--out", "p.png", "--photo", FACE, "--palette-hold", "2"], "palette hold is 2"),
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


def test_an_adapter_of_another_base_is_named(trained, loaded, tmp_path, capsys, monkeypatch):
    path, _ = trained
    adapter = adapter_file.load(path)
    adapter.afun.row = torch.nn.Parameter(torch.zeros(768))
    monkeypatch.setattr(adapter_file, "load", lambda path: adapter)
    assert main(["sample", str(path), "--out", str(tmp_path / "p.png")]) == 1
    assert "S* is 768 wide" in capsys.readouterr().err


@pytest.mark.skipif(os.name == "nt", reason="sends a POSIX signal")
def test_control_c_leaves_nothing(tmp_path):
    out = tmp_path / "never.safetensors"
    command = [*RUNNER, *map(str, TRAIN), "--steps", "5000", "--out", str(out)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, bufsize=1, cwd=REPO)
    try:
        shown = ""
        while "training" not in shown:
            letter = process.stderr.read(1)
            assert letter, shown
            shown += letter
        process.send_signal(signal.SIGINT)
        stdout, stderr = process.communicate(timeout=60)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 130, shown + stderr
    assert "Cancelled" in stderr and "Traceback" not in stderr
    assert stdout == "" and list(tmp_path.iterdir()) == []


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
    assert json.loads(ended.stdout)["adapter"] == str(out) and out.is_file()


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


def test_train_goes_on_where_it_was_killed(loaded, tmp_path, monkeypatch, capsys):
    """Without --resume it begins anew and says that it could go on."""
    whole, out = tmp_path / "whole.safetensors", tmp_path / "a.safetensors"
    command = [*map(str, [*TRAIN, "--steps", 6, "--state-every", 0, "--json"])]
    assert main([*command, "--out", str(whole)]) == 0
    monkeypatch.setattr(keeper, "LARGEST_SHARE", float("inf"))
    step = output.Progress.step

    def killed(self, note="", done=None):
        if done == 4:
            raise KeyboardInterrupt
        step(self, note, done)

    with monkeypatch.context() as context:
        context.setattr(output.Progress, "step", killed)
        assert main([*command, "--out", str(out)]) == 130
    assert "--resume goes on after step 4" in capsys.readouterr().err
    assert main([*command, "--out", str(out), "--resume"]) == 0
    shown = capsys.readouterr()
    assert json.loads(shown.out)["resumed_from"] == 4 and "It goes on from there" in shown.err
    assert same_tensors(out, whole) and sorted(tmp_path.iterdir()) == [out, whole]
    assert main([*command, "--out", str(tmp_path / "b.safetensors"), "--resume"]) == 0
    shown = capsys.readouterr()
    assert json.loads(shown.out)["resumed_from"] is None and "nothing to go on from" in shown.err


def test_train_continues_an_adapter_that_kept_its_state(loaded, tmp_path, capsys):
    paths = [tmp_path / name for name in ("whole.safetensors", "short.safetensors", "long.safetensors")]
    command = [*map(str, [*TRAIN, "--json", "--out"])]
    assert main([*command, str(paths[0]), "--steps", "6"]) == 0
    assert main([*command, str(paths[1]), "--steps", "4", "--keep-state"]) == 0
    kept = Path(json.loads(capsys.readouterr().out.splitlines()[-1])["state"])
    assert kept.is_file() and kept.parent == tmp_path
    assert main([*command, str(paths[2]), "--steps", "6", "--resume"]) == 0
    assert json.loads(capsys.readouterr().out)["resumed_from"] == 4
    assert same_tensors(paths[0], paths[2]) and not kept.exists()


def same_tensors(one: Path, other: Path) -> bool:
    ours, theirs = load_file(one), load_file(other)
    return ours.keys() == theirs.keys() and all(torch.equal(ours[key], theirs[key]) for key in ours)


def test_a_file_that_appears_during_the_training_is_not_overwritten(loaded, base, tmp_path, monkeypatch, capsys):
    out, trained = tmp_path / "a.safetensors", base.train

    def somebody_writes(*given, **settings):
        out.write_bytes(b"somebody else's")
        return trained(*given, **settings)

    monkeypatch.setattr(base, "train", somebody_writes)
    assert main([*map(str, [*TRAIN, "--steps", 1, "--out", out, "--json"])]) == 0
    written = Path(json.loads(capsys.readouterr().out)["adapter"])
    assert out.read_bytes() == b"somebody else's"
    assert written == tmp_path / "a_00001.safetensors" and adapter_file.load(written)


def test_a_disk_that_fills_up_does_not_cost_the_training(loaded, base, tmp_path, monkeypatch, capsys):
    """The adapter is kept in the folder for temporary files; the same command then writes it without training."""
    out, temporary = tmp_path / "a.safetensors", tmp_path / "temporary"
    command = [*map(str, [*TRAIN, "--steps", 2, "--out", out, "--json"])]
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    link = whole_files.put

    def full(written, path, overwrite):
        if path.parent == tmp_path:
            raise OSError(28, "No space left on device")
        return link(written, path, overwrite)

    temporary.mkdir()
    with monkeypatch.context() as context:
        context.setattr(whole_files, "put", full)
        assert main(command) == 1
    what = json.loads(capsys.readouterr().out)["error"]["what"]
    [kept] = temporary.glob("acfun-*/a.safetensors")
    assert "No space left on device" in what and str(kept) in what and kept.is_file() and not out.exists()
    monkeypatch.setattr(base, "train", lambda *given, **settings: pytest.fail("it was trained again"))
    assert main(command) == 0
    assert same_tensors(out, kept)


def test_the_time_left_is_counted_from_the_first_step(monkeypatch, capsys):
    """Loading and encoding before it would make the first estimates many times too long."""
    now = [1000.0]
    monkeypatch.setattr("tqdm.std.time", lambda: now[0])
    with output.Progress("training", 100, quiet=False) as progress:
        now[0] += 500
        for done in range(1, 12):
            progress.step(done=done)
            now[0] += 2
        bar = progress._bar.format_dict
    assert (bar["n"] - bar["initial"]) / bar["elapsed"] == pytest.approx(0.5, rel=0.1)
    assert "training: preparing" in capsys.readouterr().err


def test_there_is_a_line_at_least_every_ten_seconds(monkeypatch, capsys):
    """Before the first step and between slow ones."""
    monkeypatch.setattr(output, "SECONDS_BETWEEN_LINES", 1.0)
    with output.Progress("training", 3, quiet=False) as progress:
        time.sleep(2.5)
        assert "still preparing" in capsys.readouterr().err
        progress.step()
        capsys.readouterr()
        time.sleep(2.5)
        assert "1/3" in capsys.readouterr().err


def test_an_interrupt_that_comes_out_as_another_error_is_one(monkeypatch, capsys):
    def run(arguments):
        try:
            signal.raise_signal(signal.SIGINT)
        except KeyboardInterrupt as interrupt:
            raise ValueError("could not determine the shape") from interrupt

    before = signal.getsignal(signal.SIGINT)
    monkeypatch.setattr(info, "run", run)
    assert main(["info", "a"]) == 130 and "Cancelled" in capsys.readouterr().err
    assert signal.getsignal(signal.SIGINT) is before


def test_the_core_imports_without_diffusers_and_transformers():
    code = (
        "import sys; sys.modules['diffusers'] = sys.modules['transformers'] = sys.modules['cv2'] = None;"
        "import acfun_core.command_line, acfun_core.backends.stable_diffusion, acfun_core.training.loop;"
        "sys.exit(acfun_core.command_line.main(['sample', '--prompt', 'a', '--out', 'p.png', '--json']))"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=REPO)
    assert ended.returncode == 1, ended.stderr
    assert "pip install diffusers transformers" in json.loads(ended.stdout)["error"]["fix"]
