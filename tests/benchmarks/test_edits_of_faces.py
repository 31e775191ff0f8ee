"""Sliders measured: who is edited, what the page says of made-up numbers."""

from __future__ import annotations

import json

import pytest

from benchmarks import edits_of_faces as edits
from benchmarks.pages import render


def made_up(seen: list[bool], like: float) -> dict:
    rows = [
        {"person": at, "before": at == 0, "like": 0.5, "edited": {"1": {"seen": one, "like": like}}}
        for at, one in enumerate(seen)
    ]
    return {"judge": {"True": [True, True, False], "False": [False, False]}, "rows": rows, "heard": 0.02}


def test_who_shows_it_already_does_not_count_as_seen():
    [row] = edits.table({"smile": made_up([True, True, True, False], 0.45)}).rows
    assert row[:2] == ["smile", "1"] and row[2].startswith("67% (") and row[2].endswith("of 3")
    assert row[3] == "90% (90% to 90%)"


def test_judges_are_told_by_both_answers():
    assert edits.judges({"smile": made_up([True], 0.5)}).rows == [["smile", "2 of 3", "2 of 2"]]


def test_nobody_is_edited_and_learnt_on_or_asked(tmp_path):
    common = {"kind": "photo", "colour": True, "mesh": True}
    records = [
        {**common, "file": f"london_{mood}_front/{at:03}_{kind}.jpg", "gender": sex, "id": 2 * at + two, "mood": told}
        for at, sex in enumerate(("male", "female") * 14)
        for two, (mood, kind, told) in enumerate((("neutral", "03", "serious"), ("smiling", "08", "smiling")))
    ]
    (tmp_path / "records.jsonl").write_text("\n".join(map(json.dumps, records)), encoding="utf-8")
    album = edits.Album(tmp_path)
    edited, learnt = ({r["file"] for r in chosen} for chosen in (album.edited(), album.learnt_on()))
    assert (len(edited), len(learnt)) == (edits.PEOPLE, edits.LEARNT_ON) and not edited & learnt
    people = {file.split("/")[1][:3] for file in edited}
    known = album.known(edits.FEATURES["smile"])
    assert known[True] and known[False]
    assert not people & {r["file"].split("/")[1][:3] for some in known.values() for r in some}


def test_the_page_names_every_slider_with_its_words():
    found = {name: made_up([True, False], 0.4) for name in edits.FEATURES}
    page = render(
        "edits.md",
        command="python -m benchmarks.edits_of_faces --data DATA",
        weights="",
        people=12,
        learnt_on=4,
        steps=20,
        edits=str(edits.table(found)),
        judges=str(edits.judges(found)),
        heard=[[name, "0.02"] for name in found],
        sliders=edits.FEATURES,
    )
    for feature in edits.FEATURES.values():
        assert feature.slider.more in page and feature.slider.less in page


@pytest.mark.parametrize(
    ("record", "answers"),
    [
        ({"mood": "smiling", "file": "portraits/a.jpg", "birth_year": 1950, "glasses": False}, (True, True, False)),
        ({"mood": "serious", "file": "london_neutral_front/a.jpg", "glasses": True}, (False, None, True)),
        ({"file": "portraits/a.jpg", "birth_year": 1985}, (None, False, None)),
    ],
)
def test_what_is_known_of_a_record(record, answers):
    assert tuple(feature.has(record) for feature in edits.FEATURES.values()) == answers
