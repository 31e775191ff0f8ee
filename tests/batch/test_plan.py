"""What a plan says, and every mistake in it, named with its row before anything starts."""

from __future__ import annotations

import pytest

from acfun_core.batch.plan import crossed, read_plan
from acfun_core.batch.results import Results
from acfun_core.batch.run import planned
from acfun_core.errors import ACFunError
from acfun_core.presets import PRESETS

from .made_up import BASE, folders, picture


@pytest.fixture
def here(tmp_path):
    """A folder with a style and a face in it."""
    picture(tmp_path / "style.png", 0)
    picture(tmp_path / "face.png", 1)
    return tmp_path


def plan_file(folder, text, name="plan.yaml"):
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def said(folder, text, name="plan.yaml") -> str:
    """What is said of a plan with mistakes. Pictures are looked for, too."""
    with pytest.raises(ACFunError) as caught:
        rows = read_plan(plan_file(folder, text, name))
        planned(rows, BASE, Results(folder / "out"))
    assert not (folder / "out").exists(), "something was started"
    return caught.value.what


def test_yaml_and_csv_say_the_same(here):
    yaml = """
defaults: {face: face.png, draw.steps: 8}
rows:
  - style: style.png
    overrides: {train.steps: 20, strength.encoder: 1}
    name: first
  - {style: style.png, name: second, adapter.description: "a drawing, in S* style", style: style.png}
"""
    table = """style,face,name,draw.steps,train.steps,strength.encoder,adapter.description
style.png,face.png,first,8,20,1,
style.png,face.png,second,8,,,"a drawing, in S* style"
"""
    rows = read_plan(plan_file(here, yaml))
    assert rows == read_plan(plan_file(here, table, "plan.csv"))
    first, second = rows
    assert (
        first.way.training.steps == 20
        and first.way.drawing.steps == 8
        and first.way.strengths.encoder == KEEP.strengths.encoder
    )
    assert second.way.training.steps == KEEP.train.steps and second.way.kind.description == "a drawing, in S* style"
    assert first.style == str(here / "style.png") and first.number == 1


def test_a_plan_may_be_a_bare_list_and_rows_get_names(here):
    [row] = read_plan(plan_file(here, "- {style: style.png, face: face.png}"))
    assert row.name == "face_style" and row.preset == "keep_person" and row.way.learns == "style"


def test_two_folders_are_crossed(tmp_path):
    styles, faces = folders(tmp_path, 2, 3)
    (tmp_path / "faces" / "notes.txt").write_text("no picture")
    rows = crossed(styles, faces, "keep_person", [0], {"train.steps": 5})
    assert len(rows) == 6 and len({row.name for row in rows}) == 6
    assert all(row.way.training.steps == 5 for row in rows)
    with pytest.raises(ACFunError, match="no face pictures"):
        crossed(styles, str(tmp_path), "keep_person", [0], {})


KEEP = PRESETS["keep_person"]
GOOD = "style: style.png, face: face.png"
MISTAKES = {
    "no style": ("face: face.png", "It has no style"),
    "no face": ("style: style.png", "It has no face"),
    "an empty face": ("style: style.png, face: ''", "It has no face"),
    "a style that is not there": ("style: gone.png, face: face.png", "gone.png is not there"),
    "a face that is not there": ("style: style.png, face: gone.jpg", "gone.jpg is not there"),
    "a picture that is a number": ("style: 7, face: face.png", "The style is 7"),
    "a picture that is none by its name": ("style: plan.yaml, face: face.png", "is no picture file"),
    "an unknown column": (f"{GOOD}, colour: red", "There is no column 'colour'"),
    "an unknown preset": (f"{GOOD}, preset: quick", "There is no preset 'quick'"),
    "an unknown option": (f"{GOOD}, overrides: {{train.step: 3}}", "There is no option 'train.step'"),
    "an option without its group": (f"{GOOD}, overrides: {{learning_rate: 3}}", "train.learning_rate"),
    "a value out of range": (f"{GOOD}, train.steps: 0", "Training steps is 0"),
    "a value of another type": (f"{GOOD}, train.steps: many", "Training steps is 'many'"),
    "a choice that is none": (f"{GOOD}, adapter.blocks: some", "CFun blocks is 'some'"),
    "options that contradict": (f"{GOOD}, train.style_weight: 0, train.face_weight: 0", "Both loss weights are 0"),
    "a value that is a list": (f"{GOOD}, overrides: {{train.steps: [1, 2]}}", "The override train.steps is"),
    "overrides that are no names": (f"{GOOD}, overrides: 7", "The overrides are '7'"),
    "a resolution of no use": (f"{GOOD}, resolution: 100", "The resolution is 100"),
    "seeds that are no numbers": (f"{GOOD}, seeds: [a, b]", "The seeds are ['a', 'b']"),
    "a seed twice": (f"{GOOD}, seeds: [1, 1]", "A seed is there twice"),
    "a seed below 0": (f"{GOOD}, seeds: -1", "is -1"),
    "seeds that have no say": (f"{GOOD}, seeds: [1, 2]", "where no seed has a say"),
    "a name with a folder in it": (f"{GOOD}, name: a/b", "cannot be that of a file"),
    "a description without the style": (f"{GOOD}, adapter.description: a face", "holds S* 0 times"),
    "a prompt without the style": (f"{GOOD}, prompt: a face", "does not hold S*"),
    "a batch in one row": (f"{GOOD}, draw.batch: 2", "There is no column 'draw.batch'"),
    "an option of a training that is none": (f"{GOOD}, preset: instant, train.steps: 9", "train.steps has no say"),
    "a prompt that is no text": (f"{GOOD}, preset: instant, prompt: 7", "The prompt is 7"),
}


def test_every_kind_of_mistake_is_named_with_its_row_before_anything_starts(here):
    """Those that reading finds all at once, and those of missing pictures all at once."""
    missing = {kind: one for kind, one in MISTAKES.items() if "not there" in kind}
    read = {kind: one for kind, one in MISTAKES.items() if kind not in missing}
    assert len(MISTAKES) >= 20
    for kinds in (read, missing):
        # Good rows around them, so that numbers are not by chance right.
        rows = [f"- {{{GOOD}, name: good}}"]
        rows += [
            f"- {{name: n{n}, {row}}}" if "name:" not in row else f"- {{{row}}}"
            for n, (row, _) in enumerate(kinds.values())
        ]
        what = said(here, "\n".join(rows))
        lines = [line for line in what.splitlines() if line.startswith("  row ")]
        for number, (kind, (_, words)) in enumerate(kinds.items(), 2):
            assert any(line.startswith(f"  row {number}: ") and words in line for line in lines), (kind, what)
        assert not any(line.startswith("  row 1:") for line in lines)


def test_names_that_two_rows_share_and_rows_that_are_none(here):
    what = said(here, f"- {{{GOOD}, name: Anna}}\n- {{{GOOD}, name: anna, train.steps: 3}}\n- just words")
    assert "row 2: Its name 'anna' is that of row 1" in what and "row 3: It is 'just words'" in what


@pytest.mark.parametrize(
    ("text", "name", "words"),
    [
        ("rows: [", "plan.yaml", "It is no YAML"),
        ("rows: []", "plan.yaml", "It has no rows"),
        ("words", "plan.yaml", "It holds no rows"),
        ("rows: {a: 1}", "plan.yaml", "Its rows are"),
        ("defaults: [1]\nrows: [{}]", "plan.yaml", "Its defaults are"),
        (f"line: []\nrows: [{{{GOOD}}}]", "plan.yaml", "There is no part 'line'"),
        ("style,face\nstyle.png,face.png,more", "plan.csv", "row 1: It has 1 cells more"),
        ('style,face\n"style.png,face.png', "plan.csv", "row 1: It cannot be read"),
        ("style,face\n", "plan.csv", "It has no rows"),
        ("style,face\n", "plan.txt", "is no plan"),
    ],
)
def test_files_that_are_no_plan(here, text, name, words):
    assert words in said(here, text, name)


def test_a_plan_that_is_not_there_or_no_text(here):
    with pytest.raises(ACFunError, match="cannot be read"):
        read_plan(here / "gone.yaml")
    (here / "plan.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ACFunError, match="is not text"):
        read_plan(here / "plan.yaml")


def test_thousands_of_mistakes_are_counted_and_the_first_shown(here):
    what = said(here, "\n".join(f"- {{face: face.png, name: n{number}}}" for number in range(3000)))
    assert "3000 mistakes" in what and "row 50:" in what and "row 51:" not in what and "2950 more" in what
