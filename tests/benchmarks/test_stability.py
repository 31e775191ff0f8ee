"""One learning rate on every width, on the smallest UNet that can be built, and what the page says of it."""

import json

import pytest
import torch

from benchmarks import random_bases, stability

pytestmark = pytest.mark.usefixtures("users_noises")
SMALL = ["--bases", "--literal", "--levels", "2", "--steps", "4", "--side", "8", "--seeds", "2"]


@pytest.fixture
def run(tmp_path, capsys):
    def run(*arguments):
        code = stability.main([*SMALL, "--out", str(tmp_path), "--docs", str(tmp_path), *arguments])
        return code, [json.loads(line) for line in capsys.readouterr().out.splitlines()]

    return run


def test_prints_one_line_a_width_and_writes_the_page(run, tmp_path):
    code, [found] = run("--widths", "32")
    assert code == 0 and found["row"] == "32" and found["non_finite_steps"] == 0
    assert (found["seeds"], found["widest"], found["blocks"]) == (2, 64, 6)
    assert list(found["curve"]) == ["1", "2", "3", "4"]
    mean, low, high = found["curve"]["4"]
    assert low < mean < high, "seeds differ"
    assert found["curve"]["4"][0] < found["curve"]["1"][0] <= 1
    assert "| random, 32 | 32 to 64, 6 blocks | 2 | 0 |" in (tmp_path / "stability.md").read_text()


def test_what_is_finished_is_not_trained_again(run, monkeypatch):
    _, before = run("--widths", "32")
    monkeypatch.setattr(stability, "train_adapter", None)
    assert run("--widths", "32") == (0, before)
    with pytest.raises(TypeError):
        run("--widths", "32", "--seeds", "3")


def test_a_blow_up_is_counted(run, monkeypatch):
    def explodes(base, latents, tokens, adapter_config, config, on_step):
        raise stability.ACFunError("Training became non-finite at step 2.")

    monkeypatch.setattr(stability, "train_adapter", explodes)
    code, [found] = run("--widths", "32")
    assert code == 1 and found["non_finite_steps"] == 2 and "non-finite" in found["errors"][0]
    assert not stability.alike([found])


def test_the_kind_of_adapter_can_be_chosen(run):
    code, [found] = run("--widths", "32", "--form", "low_rank", "--place", "attention")
    assert code == 0 and found["form"] == "low_rank" and found["blocks"] == 3
    with pytest.raises(SystemExit):
        run("--form", "wide")


def test_to_the_letter_wide_maps_step_further_than_narrow_ones_and_ours_do_not():
    """One step of every weight in the same direction, as AdamW takes it: eq. 3 to the letter grows with the width."""

    def change(channels: int) -> float:
        block = random_bases.CFun(channels)
        with torch.no_grad():
            block.gamma.weight.fill_(1e-4)
        h = torch.randn(1, channels, 16, 16, generator=torch.Generator().manual_seed(0))
        return block.delta(h).abs().mean().item()

    ours = [change(64), change(1280)]
    with random_bases.to_the_letter():
        literal = [change(64), change(1280)]
    assert literal[1] > 15 * literal[0]
    assert max(ours) < literal[0], "what all weights of a row do alike, the normalised statistics cancel"
    assert [change(64), change(1280)] == ours, "and the core is as it was"


def rows(**falls) -> list[dict]:
    return [
        {"row": row.removeprefix("w"), "curve": {"100": [1 - fall, 0.5, 1.0], "200": [1 - 1.5 * fall, 0.5, 1.0]}}
        for row, fall in falls.items()
    ]


@pytest.mark.parametrize(
    "falls, alike",
    [
        ({"w64": 0.10, "w320": 0.15}, True),
        ({"w64": 0.10, "w320": 0.25}, False),
        ({"w64": 0.10, "w320": -0.01}, False),
        ({"w64": 0.10, "base": 0.9}, True),
    ],
)
def test_alike_is_a_matter_of_the_random_widths(falls, alike):
    assert stability.alike(rows(**falls)) is alike


def test_the_page_says_when_curves_do_not_fall_alike():
    options = stability.parse(["--bases"])
    known = {
        "narrowest": 64,
        "widest": 256,
        "blocks": 9,
        "seeds": 5,
        "non_finite_steps": 0,
        "errors": [],
        "largest_loss": 1,
    }
    good, bad = ([{**known, **row} for row in rows(w64=0.1, w320=fall)] for fall in (0.12, 0.3))
    assert "the curves\n**fall alike**" in stability.page(good, options)
    assert "the curves\n**do not fall alike**" in stability.page(bad, options)
