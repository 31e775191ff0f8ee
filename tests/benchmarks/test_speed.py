"""``make bench`` on a tiny base: a line a row, ratios first, and a row that fails costs no other."""

from __future__ import annotations

import json

import pytest
import torch

from benchmarks import random_bases, speed
from benchmarks.speed import ROWS, Bench, forget_peak, peak_mb

from ..backends.test_recorded import IMAGE_WIDTH, PROMPT, SIDE, random, tiny_base


@pytest.fixture
def lines(monkeypatch, capsys):
    base = tiny_base()
    base._image_encoder = torch.nn.Identity()
    base.style_tokens = lambda style: random(17, IMAGE_WIDTH, seed=3)
    monkeypatch.setattr(Bench, "base", base)
    short = ["--device", "cpu", "--side", str(SIDE), "--steps", "2", "--repeats", "2"]

    def run(*arguments: str) -> tuple[int, list[dict]]:
        ended = speed.main([*short, *arguments])
        return ended, [json.loads(line) for line in capsys.readouterr().out.splitlines()]

    return run


def test_a_line_a_row_with_its_ratios_first(lines, monkeypatch):
    both = {"processor_ms_a_pass": 2.0, "ms_a_pass": 2.0, "before_mb": 100.0, "peak_mb": 150.0}
    native = {**both, "processor_ms_a_pass": 5.0, "peak_mb": 300.0}
    from benchmarks import speed_of_nodes

    found = iter([both, native])
    monkeypatch.setattr(speed_of_nodes, "measured", lambda *given: next(found))
    ended, rows = lines()
    assert ended == 0 and [row["row"] for row in rows] == list(ROWS)
    firsts = [list(row)[1] for row in rows]
    assert firsts == ["ms", "times_the_bare_pass", "on_to_off", "times_faster_is_ours", "times_faster_a_pass"]
    bare, step, sampling, _, nodes = rows
    assert step["times_the_bare_pass"] > 0 and step["skipped_steps"] == 0 and sampling["on_to_off"] > 0
    assert bare["peak_mb"] is None or bare["peak_mb"] > 50
    assert nodes["times_faster_a_pass"] == 2.5 and nodes["share_of_what_it_adds"] == 0.25


def test_a_row_that_fails_says_why_and_the_next_is_measured(lines, monkeypatch):
    def broken(bench):
        raise RuntimeError("no card")

    monkeypatch.setitem(ROWS, "sampling", broken)
    ended, rows = lines("--only", "sampling", "DreamBooth-LoRA step")
    told = {row["row"]: row for row in rows}
    assert ended == 1 and told["sampling"]["failed"] == "RuntimeError: no card"
    assert told["DreamBooth-LoRA step"]["times_faster_is_ours"] > 0


def test_no_row_begins_after_its_time(lines):
    _, rows = lines("--only", "TrainLoraNode", "--limit", "-1")
    assert rows[0]["left_out"] == "no time"


def test_the_largest_memory_is_that_of_what_runs():
    if peak_mb("self") is None:
        pytest.skip("only Linux tells")
    forget_peak("self")
    before = peak_mb("self")
    torch.ones(50_000_000).sum()
    assert peak_mb("self") > before + 150
    forget_peak("self")
    assert peak_mb("self") < before + 100


def test_the_prompt_of_the_bench_is_one_that_trains():
    assert speed.PROMPT == PROMPT


def test_the_base_of_a_card_is_stable_diffusion_in_its_full_size():
    """Made on a device without values: only its shapes are looked at."""
    base = random_bases.random_stable_diffusion(torch.device("meta"), torch.float16)
    assert sum(parameter.numel() for parameter in base.unet.parameters()) == 859_520_964
    assert base.native_side == 512 and base.unet.dtype == torch.float16 and base.has_image_encoder
    assert base.text.sections("a painting")[0].ids[0] == 49406
