"""The tool that shows one learning rate on every width, on the smallest UNet it can build."""

import json
import sys

import pytest

from tools import stability


def run(monkeypatch, capsys, *arguments):
    small = ["--levels", "2", "--steps", "3", "--side", "8", "--seeds", "2", "--widths"]
    monkeypatch.setattr(sys, "argv", ["stability", *small, "32", *arguments])
    code = stability.main()
    return code, [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_prints_one_line_a_width(monkeypatch, capsys):
    code, [found] = run(monkeypatch, capsys)
    assert code == 0 and found["model_channels"] == 32 and found["non_finite_steps"] == 0
    assert len(found["runs"]) == 2 and found["ratio_smallest"] <= found["ratio_largest"] < 1.2
    assert found["runs"][0]["ratios"] != found["runs"][1]["ratios"]


def test_a_blow_up_is_counted(monkeypatch, capsys):
    def explodes(base, latents, tokens, adapter_config, config):
        raise stability.ACFunError("Training became non-finite at step 2.")

    monkeypatch.setattr(stability, "train_adapter", explodes)
    code, [found] = run(monkeypatch, capsys)
    assert code == 1 and found["non_finite_steps"] == 2 and "non-finite" in found["runs"][0]["error"]


def test_the_kind_of_adapter_can_be_chosen(monkeypatch, capsys):
    code, [found] = run(monkeypatch, capsys, "--form", "low_rank", "--place", "attention")
    assert code == 0 and found["form"] == "low_rank" and found["blocks"] == 5
    with pytest.raises(SystemExit):
        run(monkeypatch, capsys, "--form", "wide")
