"""The page of ablations: what its verdicts say of the numbers, and which methods of the judge its rows are."""

import argparse

import numpy as np
import pytest
from PIL import Image

from benchmarks import ablations, drawing, methods
from benchmarks.store import Store
from benchmarks.workbench import ROOT, Settings
from tools.base_key import said_of
from tools.contact_sheet import SHEET_CELL


def numbers(**means) -> ablations.Numbers:
    """Rows that are all alike but for the named numbers."""
    noise = np.random.default_rng(0).normal(0, 0.01, 8)
    found = {row: {name: 0.5 + noise for name in ablations.COLUMNS} for row in ablations.ROWS}
    for name, value in means.items():
        row, number = name.split("__")
        found[row][number] = value + noise[::-1]
    return found


def test_verdicts():
    [blurrier] = [one for one in ablations.CLAIMS if "blurrier" in one.text]
    assert ablations.judged(blurrier, numbers(abstract__texture=0.3))[2] == "agrees"
    assert ablations.judged(blurrier, numbers(abstract__texture=0.7))[2] == "**disagrees**"
    assert ablations.judged(blurrier, numbers(abstract__texture=0.5))[2] == "not decided"


def test_claims_and_rows_fit_together():
    assert ablations.PLAIN in ablations.ROWS
    for one in ablations.CLAIMS:
        assert {one.more, one.less} <= set(ablations.ROWS) and one.number in ablations.COLUMNS


@pytest.mark.parametrize("training", ["", ablations.SHORT])
def test_every_row_is_a_method_of_the_judge(training):
    """Rows that differ in the drawing alone share a training; options that no node shows are reached all the same."""
    rows = {row: ablations.method_of(row, training) for row in ablations.ROWS}
    assert len({method.name for method in rows.values()}) == len(rows)
    shared = {rows[row].state_name for row in ("text", "full", "half", "strong")}
    assert shared == {rows["full"].state_name} and len({m.state_name for m in rows.values()}) == len(rows) - 3
    assert rows["pseudo"].adapter == {"prompt": "pseudo_word"} and rows["attention"].adapter == {"place": "attention"}
    assert rows["blend"].config.items() >= {("noisy_source", "blend")}
    if not training:
        assert rows["low_rank"].name == methods.method("acfun_plain:form=low_rank").name


class Given:
    """Measures that know the example pictures and nothing else."""

    def __init__(self, pictures):
        self.faces = {image.id: np.zeros((96, 96, 3), np.uint8) for image in pictures.faces}
        self.styles = {image.id: np.full((96, 96, 3), 200, np.uint8) for image in pictures.styles}


def drawn(options: argparse.Namespace, pictures) -> list[dict]:
    """Measured pictures of all rows, the plain one's black and the others' random."""
    store, run, rng = Store(options.out), Settings(passes=options.passes).run, np.random.default_rng(0)
    for row in ablations.ROWS:
        for pair in pictures.pairs():
            for seed in range(options.seeds):
                path = options.out / f"{row}-{pair.id}-{seed}.png"
                pixels = rng.integers(0, 256, (96, 96, 3), np.uint8) * (row != ablations.PLAIN)
                Image.fromarray(pixels.astype(np.uint8)).save(path)
                name = ablations.method_of(row, options.training).name
                named = {"method": name, "face": pair.face.id, "style": pair.style.id, "seed": seed}
                known = {
                    "numbers": dict.fromkeys(ablations.COLUMNS, 0.5),
                    "state": None,
                    "state_face": None,
                    "peak_mb": 0.0,
                }
                store.keep(run, drawing.PICTURE, named, {"file": path, **known})
    return drawing.images(store, run)


def test_the_page_has_all_rows_and_claims(tmp_path):
    options = ablations.parse(["--out", str(tmp_path / "out"), "--docs", str(tmp_path)])
    pictures = drawing.pictures_of(options)
    images, measures = drawn(options, pictures), Given(pictures)
    found = ablations.numbers_of(options, images, measures)
    assert not found["text"]["change"].any() and found["full"]["change"].min() > 0.3
    ablations.write(options, images, measures, found)
    text = (tmp_path / "ablations.md").read_text()
    assert all(f"| {title} |" in text for title, _ in ablations.ROWS.values())
    assert all(f"| {one.text} |" in text for one in ablations.CLAIMS)
    assert said_of(ROOT / "base") in text and "`python -m benchmarks.ablations --out OUT --docs DOCS`" in text
    with Image.open(tmp_path / "ablations.jpg") as page:
        assert page.height > (len(ablations.ROWS) + 1) * SHEET_CELL


def test_rows_that_there_are_not(capsys):
    with pytest.raises(SystemExit):
        ablations.parse(["--rows", "full,nothing"])
    assert "nothing" in capsys.readouterr().err
