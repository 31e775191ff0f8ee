"""Who is kept how well: how people are put into groups, and what the page says of made-up numbers."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest

from benchmarks import groups
from tools.measure.faces import Face


def rows(margins: dict[str, list[float]], kind: str = "sex") -> list[dict]:
    """One person for each margin, two portraits each."""
    return [
        {
            kind: group,
            "person": f"{group}{at}",
            "margin": margin,
            "found": 1.0,
            "first": 1.0,
            "style": 1.0,
            "pose": 0.1,
            "ground": 0.1,
            "lightened": 20.0,
        }
        for group, values in margins.items()
        for at, margin in enumerate(values)
        for _ in range(2)
    ]


@pytest.mark.parametrize(("colour", "darker"), [((236, 200, 180), False), ((92, 60, 44), True)])
def test_skin_is_read_from_the_cheeks(colour, darker):
    photo = np.full((256, 256, 3), 255, np.uint8)
    photo[120:170, 60:200] = colour
    assert (groups.typology_angle(photo) < groups.DARKER) == darker


@pytest.mark.parametrize(
    ("file", "born", "age"),
    [
        ("portraits/house-a.jpg", 1990, "young"),
        ("portraits/house-b.jpg", 1955, "old"),
        ("portraits/house-c.jpg", 1970, None),
        ("london_smiling_front/001.jpg", 1990, None),
    ],
)
def test_age_is_known_of_congress_alone(file, born, age):
    assert groups.age_of({"file": file, "birth_year": born}) == age


def test_every_group_is_filled_and_the_unseen_come_first(tmp_path, monkeypatch):
    monkeypatch.setattr(groups, "close_up", lambda path: np.zeros((8, 8, 3), np.uint8))
    shades = iter(np.tile([60.0, 0.0], 100))
    monkeypatch.setattr(groups, "typology_angle", lambda photo: next(shades))
    common = {"kind": "photo", "colour": True, "mesh": True}
    records = [
        {**common, "file": f"london_smiling_front/{at}.jpg", "gender": sex, "id": at, "heldout": False}
        for at, sex in enumerate(("male", "male", "female", "female") * 8)
    ] + [
        {
            **common,
            "file": f"portraits/{at}.jpg",
            "gender": sex,
            "id": 100 + at,
            "birth_year": born,
            "heldout": at == 30,
        }
        for at, (sex, born) in enumerate(
            (sex, born) for _ in range(8) for sex in ("male", "female") for born in (1950, 1990)
        )
    ]
    (tmp_path / "records.jsonl").write_text("\n".join(map(json.dumps, records)))
    found = groups.people(tmp_path, each=2)
    counts: dict[tuple, int] = {}
    for person in found:
        key = person.groups["sex"], person.groups.get("age", person.groups["skin"])
        counts[key] = counts.get(key, 0) + 1
    assert len(counts) == 8 and set(counts.values()) == {2}
    assert found[0].name == "person00130"


def test_the_lowest_group_is_told_with_its_distance():
    found = groups.worst(rows({"female": [0.1, 0.12, 0.11, 0.1], "male": [0.5, 0.48, 0.52, 0.5]}))["sex"]
    assert found["group"] == "female" and found["difference"] == pytest.approx(-0.393, abs=0.01)
    assert found["interval"][1] < 0
    alike = groups.worst(rows({"female": [0.1, 0.9, 0.5], "male": [0.2, 0.8, 0.55]}))["sex"]
    assert alike["interval"][0] < 0 < alike["interval"][1]


def test_what_lies_around_the_head_is_compared_alone():
    drawn, style = (np.random.default_rng(seed).integers(0, 256, (256, 256, 3), dtype=np.uint8) for seed in (0, 1))
    around = np.ones((256, 256), bool)
    around[40:220, 60:200] = False
    drawn[around] = style[around]
    assert groups.likeness_around(drawn, style, around) == pytest.approx(1.0, abs=1e-3)
    assert abs(groups.likeness_around(drawn[::-1, ::-1].copy(), style, around)) < 0.2


def test_the_page_names_the_worst_group(monkeypatch):
    made = rows({"female": [0.1, 0.1, 0.1], "male": [0.5, 0.5, 0.5]})
    for row in made:
        row["skin"] = "lighter" if row["person"].endswith(("0", "1")) else "darker"
        row["age"], row["leak"] = ("old", 0.05) if row["person"].endswith("0") else ("young", 0.01)
    text = groups.page({"instant": made}, ["--data", "somewhere"])
    assert "python -m benchmarks.groups --data DATA" in text
    assert "| `instant` | sex | female | -0.40 (-0.40 to -0.40) | settled |" in text
    alike = "100% (100% to 100%)"
    assert f"| sex | male | 3 | {alike} | {alike} | 0.50 (0.50 to 0.50) | {alike} | +20 (+20 to +20) |" in text


def test_a_pose_is_told_as_a_share_of_the_way_to_the_sitters():
    photo, sitter = (Face(np.zeros(4), np.array(points, float), 1.0) for points in ([[0, 0]] * 5, [[10, 0]] * 5))
    half = Face(np.zeros(4), np.array([[5, 0]] * 5, float), 1.0)
    assert groups.pose_share(half, photo, sitter) == pytest.approx(0.5)
    assert groups.pose_share(photo, photo, sitter) == 0 and groups.pose_share(None, photo, sitter) is None


def test_an_example_style_is_nearest_to_itself(monkeypatch):
    # The network whose features are meant is not there where tests run.
    monkeypatch.setattr(groups.styles, "statistics", lambda picture: cv2.resize(picture, (8, 8)).ravel() / 255.0)
    nearest = groups.nearest_style()
    for name in groups.STYLES:
        assert nearest(groups.style_picture(name)) == name
