"""``acfun``: what a cancelled, killed or unlucky command leaves behind, and what it says until then."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import tempfile
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from acfun_core import whole_files
from acfun_core.command_line import info, main, output
from acfun_core.storage import adapter_file
from acfun_core.training import keeper

from ..waiting import appears
from .acfun_command import RUNNER, TRAIN, acfun_here
from .conftest import REPO, load_once


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


STEPS = 4


@pytest.fixture(scope="module")
def whole(base, tmp_path_factory) -> Path:
    """What a training of so many steps gives that nothing interrupts."""
    path = tmp_path_factory.mktemp("whole") / "whole.safetensors"
    with pytest.MonkeyPatch.context() as context:
        load_once(base, context)
        assert acfun_here(*TRAIN, "--steps", STEPS, "--out", path).code == 0
    return path


def test_train_goes_on_where_it_was_killed(whole, loaded, tmp_path, monkeypatch, capsys):
    """Without --resume it begins anew and says that it could go on."""
    out = tmp_path / "a.safetensors"
    command = [*map(str, [*TRAIN, "--steps", STEPS, "--state-every", 0, "--json"])]
    monkeypatch.setattr(keeper, "LARGEST_SHARE", float("inf"))
    step = output.Progress.step

    def killed(self, note="", done=None):
        if done == 2:
            raise KeyboardInterrupt
        step(self, note, done)

    with monkeypatch.context() as context:
        context.setattr(output.Progress, "step", killed)
        assert main([*command, "--out", str(out)]) == 130
    assert "--resume goes on after step 2" in capsys.readouterr().err
    assert main([*command, "--out", str(out), "--resume"]) == 0
    shown = capsys.readouterr()
    assert json.loads(shown.out)["resumed_from"] == 2 and "It goes on from there" in shown.err
    assert same_tensors(out, whole) and list(tmp_path.iterdir()) == [out]
    assert main([*command, "--steps", "1", "--out", str(tmp_path / "b.safetensors"), "--resume"]) == 0
    shown = capsys.readouterr()
    assert json.loads(shown.out)["resumed_from"] is None and "nothing to go on from" in shown.err


def test_train_continues_an_adapter_that_kept_its_state(whole, loaded, tmp_path, capsys):
    short, long = tmp_path / "short.safetensors", tmp_path / "long.safetensors"
    command = [*map(str, [*TRAIN, "--json", "--out"])]
    assert main([*command, str(short), "--steps", "3", "--keep-state"]) == 0
    kept = Path(json.loads(capsys.readouterr().out.splitlines()[-1])["state"])
    assert kept.is_file() and kept.parent == tmp_path
    assert main([*command, str(long), "--steps", str(STEPS), "--resume"]) == 0
    assert json.loads(capsys.readouterr().out)["resumed_from"] == 3
    assert same_tensors(whole, long) and not kept.exists()


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


def same_tensors(one: Path, other: Path) -> bool:
    ours, theirs = load_file(one), load_file(other)
    return ours.keys() == theirs.keys() and all(torch.equal(ours[key], theirs[key]) for key in ours)


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
        assert appears("still preparing", lambda: capsys.readouterr().err)
        progress.step()
        capsys.readouterr()
        assert appears("1/3", lambda: capsys.readouterr().err)


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
