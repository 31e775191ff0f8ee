"""What a picture's numbers say of planted copies and blends; the networks are left out, their numbers are given."""

import csv
import json
import re
from argparse import Namespace
from xml.etree import ElementTree

import numpy as np
import pytest
from jinja2 import UndefinedError
from PIL import Image

from acfun_core.demo_base import NATIVE_SIDE
from acfun_core.errors import ACFunError
from benchmarks import aggregate, edits, judge, lists, methods, pages, plots, publish, tables
from benchmarks.measures import Measures, Seen, altered, own_and_others
from tools.measure import style
from tools.measure.faces import Face

SIDE = NATIVE_SIDE


def picture(seed: int) -> np.ndarray:
    """A smooth random picture."""
    small = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(small).resize((SIDE, SIDE), Image.Resampling.BICUBIC))


FACES = {f"face{i}": picture(i) for i in range(3)}
STYLES = {f"style{i}": picture(10 + i) for i in range(3)}


def judges(vectors: dict[str, np.ndarray]) -> Measures:
    """Measures whose encoders know the vectors of the faces and see any other picture as a mixture."""
    measures = Measures.__new__(Measures)
    measures.faces, measures.styles = FACES, STYLES
    measures.sitters = {name: seen_as(vector) for name, vector in vectors.items()}
    measures.style_sitters = {name: Seen(None, {}) for name in STYLES}
    return measures


def seen_as(vector: np.ndarray) -> Seen:
    return Seen(Face(np.zeros(4), np.zeros((5, 2)), 1.0), {"sface": vector, "dlib": vector})


def test_planted_copies_and_blends_are_caught_and_other_pictures_are_not():
    measures = judges({})
    face, other = FACES["face0"], STYLES["style0"]
    for one in (face, other):
        for copy in altered(one):
            assert measures._copies(copy, face, other)["copied"] == 1
    for share in (0.3, 0.5, 0.7):
        blend = (share * face + (1 - share) * other).astype(np.uint8)
        found = measures._copies(blend, face, other)
        assert found["copied"] == 1 and found["ghost"] > 0.99
    assert measures._copies(picture(99), face, other)["copied"] == 0
    accuracy = measures.copy_accuracy()
    assert accuracy["copies_caught"] == 1 and accuracy["others_passed"] == 1


def test_identity_is_against_the_other_faces_and_no_face_is_zero():
    measures = judges(dict(zip(FACES, np.eye(3))))
    found = measures._identity(seen_as(np.array([0.8, 0.6, 0.0])), "face0", "sface")
    assert found == {"own": pytest.approx(0.8), "margin": pytest.approx(0.8 - 0.3), "first": 1.0}
    assert measures._identity(seen_as(np.array([0.6, 0.8, 0.0])), "face0", "sface")["first"] == 0
    assert set(measures._identity(Seen(None, {}), "face0", "sface").values()) == {0.0}


def test_margins():
    assert own_and_others({"a": 0.5, "b": 0.1, "c": 0.3}, "a") == {
        "own": 0.5,
        "margin": pytest.approx(0.3),
        "first": 1.0,
    }


def planted(measures: Measures) -> dict[str, list[dict]]:
    """Three anchors with the margins that real copies have, and a method that is half as good in both and copies nothing."""
    sure = {
        "copy_face": (0.9, -0.1),
        "copy_style": (-0.1, 0.9),
        "blend": (0.5, 0.5),
        "acfun": (0.3, 0.3),
        "text": (0.0, 0.1),
    }
    found = {name: [] for name in sure}
    for face in FACES:
        for other in STYLES:
            drawn = {
                "copy_face": FACES[face],
                "copy_style": STYLES[other],
                "blend": ((FACES[face].astype(int) + STYLES[other]) // 2).astype(np.uint8),
                "acfun": picture(int(face[-1]) * 7 + int(other[-1]) + 100),
                "text": picture(200),
            }
            for name, (identity, style_margin) in sure.items():
                numbers = {f"{e}_{k}": identity for e in ("sface", "dlib") for k in ("margin", "own")}
                numbers |= {f"{e}_first": float(identity > 0) for e in ("sface", "dlib")}
                numbers |= {"style_margin": style_margin, "style_first": float(style_margin > 0.2), "found": 1.0}
                numbers |= measures._copies(drawn[name], FACES[face], STYLES[other])
                costs = dict.fromkeys(aggregate.COSTS, 1.0)
                row = {"method": name, "face": face, "style": other, "seed": 0, "numbers": numbers}
                found[name].append(row | costs)
    return found


def test_neither_j_nor_any_earned_number_puts_an_anchor_first():
    images = [row for rows in planted(judges({})).values() for row in rows]
    names = ["acfun", "text", "copy_face", "copy_style", "blend"]
    rows = aggregate.rows_of(images, names)
    assert aggregate.judgement(rows, names[2:], draws=20).first() == "acfun"
    for number in ("identity_earned", "style_earned", "face_first_earned", "style_first_earned"):
        best = max(names, key=lambda name: rows[name].mean(number))
        assert best == "acfun", number


def test_rows_go_to_a_file_and_back(tmp_path):
    images = [row for rows in planted(judges({})).values() for row in rows]
    publish.write_rows(images, tmp_path / "rows.csv")
    again = publish.read_rows(tmp_path / "rows.csv")
    assert len(again) == len(images) == sum(1 for _ in csv.reader((tmp_path / "rows.csv").open())) - 1
    assert publish.disagreements(publish.differences(again, images), ["acfun", "blend"]) == []


def test_the_published_table_follows_from_its_rows_and_puts_no_anchor_first():
    published = json.loads((publish.PUBLISHED / "summary.json").read_text(encoding="utf-8"))
    names = list(published["methods"])
    rows = aggregate.rows_of(publish.read_rows(publish.PUBLISHED / "rows.csv"), names)
    anchors = tables.anchors(names)
    judged = aggregate.judgement(rows, anchors)
    for name, told in published["methods"].items():
        # The rows have four digits.
        assert told["j"] == pytest.approx(judged.j[names.index(name)], abs=2e-3)
        assert told["copy_rate"] == pytest.approx(rows[name].mean("copied"), abs=1e-3)
    assert anchors == [one.name for one in methods.METHODS if one.anchor]
    for number in ("identity_earned", "face_first_earned", "style_earned", "style_first_earned"):
        assert max(names, key=lambda name: rows[name].mean(number)) not in anchors
    assert judged.first() not in anchors


def test_the_table_says_by_how_much_its_first_method_is_ahead_of_each_that_is_no_anchor():
    images = [image for rows in planted(judges({})).values() for image in rows]
    names = sorted({image["method"] for image in images})
    table = judge.table_of(images, names).ahead("acfun")
    assert [row[0] for row in table.rows] == [
        methods.method(name).title for name in names if name != "acfun" and not methods.method(name).anchor
    ]
    for row in table.rows:
        low, high = map(float, row[2].split(" to "))
        assert low <= float(row[1]) <= high


def test_a_part_that_differs_does_not_agree():
    images = planted(judges({}))["acfun"]
    other = [{**image, "numbers": {**image["numbers"], "style_margin": 0.1}} for image in images[:4]]
    found = publish.differences(images, other)
    assert publish.disagreements(found, ["acfun"]) == ["acfun: style is off by -0.200"]
    assert publish.disagreements(found, ["acfun", "text"])[0] == "text: not repeated"
    one_copy = [{**images[0], "numbers": {**images[0]["numbers"], "copied": 1.0}}, *images[1:4]]
    assert publish.disagreements(publish.differences(images, one_copy), ["acfun"]) == []


def test_measuring_takes_the_bases_own_side_where_none_is_named(monkeypatch, tmp_path):
    """It took 0, of which no picture is, and ended in torch before anything was drawn."""
    sides = []
    monkeypatch.setattr(tables, "real_art", lambda data, pictures, side, *where, **how: sides.append(side))
    monkeypatch.setattr(tables, "Measures", lambda pictures, side, *statistics: sides.append(side))
    tables.measures_of(judge.parse(["full", "--out", str(tmp_path)]), None)
    assert sides == [NATIVE_SIDE] * 3


def test_the_part_fits_its_time():
    images = [{"method": name, "train_seconds": 100.0, "seconds": 20.0} for name in "abcde"]
    assert publish.part_pairs(images, minutes=36, workers=2) == 4
    assert publish.part_pairs(images, minutes=20, workers=1) == 2
    assert publish.part_pairs(images, minutes=1, workers=1) == 1


def test_a_table_may_keep_the_published_rows_of_methods_that_are_not_drawn_again(tmp_path):
    images = [row for rows in planted(judges({})).values() for row in rows]
    publish.write_rows(images, tmp_path / "rows.csv")
    settings = {"grid": "3x3", "seeds": 1}
    with pytest.raises(ACFunError, match="no table"):
        publish.kept([], "run-1", settings, tmp_path)
    publish.write_summary({"run": "run-1", "settings": settings}, tmp_path / "summary.json")
    kept = publish.kept(["acfun"], "run-1", {"list": lists.JUDGED, **settings}, tmp_path)
    assert {image["method"] for image in kept} == {image["method"] for image in images} - {"acfun"}
    for run, changed in (("run-2", {}), ("run-1", {"grid": "4x4"}), ("run-1", {"list": "tuning"})):
        with pytest.raises(ACFunError, match="of another run"):
            publish.kept([], run, {**settings, **changed}, tmp_path)
    now = [{**kept[0], "seconds": 0.5}]
    assert judge.beside(now, kept) == [*now, *kept[1:]]


def test_a_row_without_times_has_no_say_in_the_seconds():
    images = [{**image, "train_seconds": None} for image in planted(judges({}))["acfun"]]
    images[0] |= {"seconds": None, "memory_mb": None}
    rows = aggregate.rows_of(images, ["acfun"])["acfun"]
    assert rows.mean("total_seconds") == np.mean([image["seconds"] for image in images[1:]])
    assert np.isnan(rows.values["train_seconds"]).sum() == 1
    assert publish.part_pairs(images, minutes=0.1, workers=1) == publish.part_pairs(images[1:], minutes=0.1, workers=1)


def test_the_front_of_the_plot():
    points = {"a": (0.1, 0.5), "b": (0.3, 0.4), "c": (0.2, 0.3), "d": (0.5, 0.0)}
    assert plots.pareto_front(points) == ["a", "b", "d"]
    front, *dots = plots.pareto(points, own="b").axes[0].lines
    assert list(front.get_xdata()) == [0.1, 0.3, 0.5] and len({dot.get_color() for dot in dots}) == 3


def test_a_style_space_tells_styles_apart_and_its_accuracy_is_measured():
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(10, 24))
    views = np.repeat(centres, 4, axis=0) + 0.1 * rng.normal(size=(40, 24))
    groups = np.repeat(np.arange(10), 4)
    space = style.StyleSpace(centres)
    assert style.accuracy(space, views, groups) == 1 and style.accuracy(space, views, groups, of=6) == 1
    by_chance = style.accuracy(space, rng.normal(size=(40, 24)), groups, of=4)
    assert 0.1 < by_chance < 0.4


def test_text_edits_are_compared_with_the_same_picture():
    def row(method: str, seed: int, smile: float, identity: float) -> dict:
        numbers = {f"{e}_{k}": identity for e in ("sface", "dlib") for k in ("margin", "first")}
        numbers |= {"style_margin": 0.2, "style_first": 1.0, "copied": 0.0, "smile": smile}
        return {"method": method, "face": "f", "style": "s", "seed": seed, "numbers": numbers}

    images = [row("acfun", seed, 0.8 + 0.1 * seed, 0.4) for seed in range(3)]
    images += [row("acfun+smiling", seed, 0.9 + 0.1 * seed, 0.3) for seed in range(3)]
    [row] = edits.table(images).rows
    assert row == ["ACFun, from pure noise", "smiling", "3 of 3", "+0.100", "+0.100 to +0.100", "-0.100", "+0.000"]


def test_a_table_is_the_same_in_markdown_and_in_html():
    table = pages.Table(["a", "b"], [["<1>", "2"]], kinds=["own"])
    assert str(table) == "| a | b |\n|---|---|\n| <1> | 2 |"
    section = pages.Section("One <more>", [table])
    [numbers] = ElementTree.fromstring(report_of(sections=[section])).findall(".//tr[@class='own']/..")
    assert [cell.text for cell in numbers.iter("td")] == ["<1>", "2"], "and nothing of it is markup"


def report_of(**changes) -> str:
    """The report's HTML with one empty table of each kind."""
    empty = pages.Table(["method"], [["text"]])
    values = {
        "summary": {"pairs": 1, "images": 1, "run": "run"},
        "weights": "key",
        "styles": 6,
        "pareto": "",
        "cell": 8,
    }
    values |= dict.fromkeys(("numbers", "advantages", "groups"), empty)
    values["trust"] = dict.fromkeys(("style_parts", "copies_caught", "others_passed"), 0.5)
    values |= {"titles": ["text"], "sheets": [{"title": "ink", "rows": [["data:,", "data:,", None]]}], "sections": []}
    text = pages.render("report.html", **{**values, **changes}).strip().removeprefix("<!doctype html>")
    # XML wants what HTML leaves out.
    return re.sub(r"<(meta|img)([^>]*)>", r"<\1\2/>", text)


def test_the_report_shows_what_is_drawn_and_leaves_out_what_is_not():
    page = ElementTree.fromstring(report_of())
    [row] = page.findall(".//div[@class='sheet']/table/tr")[1:]
    assert [len(cell.findall("img")) for cell in row] == [1, 1, 0]
    with pytest.raises(UndefinedError):
        report_of(trust={})


def test_the_curve_of_the_report():
    figure = plots.curve([(100, 0.2, 0.1, 0.3), (1000, 0.5, 0.4, 0.6), (50, 0.0, 0.0, 0.1)], (1000, 0.3, 0.2, 0.4))
    own, goal, dashed = figure.axes[0].lines
    assert list(own.get_xdata()) == [50, 100, 1000] and list(own.get_ydata()) == [0.0, 0.2, 0.5]
    assert list(goal.get_ydata()) == [0.3] and list(dashed.get_ydata()) == [0.3, 0.3]
    assert goal.get_color() != own.get_color(), "the goal is told from the curve"
    drawn = plots.svg(figure)
    assert drawn.startswith("data:image/svg+xml;base64,") and drawn == plots.svg(figure)


def test_the_curve_stands_beside_the_papers_budget_and_trains_nothing_twice(monkeypatch):
    asked = []
    monkeypatch.setattr(judge.drawing, "draw", lambda options, names: asked.extend(names))

    def images(names):
        rows = planted(judges({}))
        known = {name: rows.get(name, rows["text"]) for name in names}
        known |= {name: rows["acfun"] for name in names if name.startswith(aggregate.ACFUN)}
        return [
            {**row, "method": name, "train_passes": float(methods.method(name).config.get("steps", 80))}
            if name.startswith(aggregate.ACFUN)
            else {**row, "method": name}
            for name, found in known.items()
            for row in found
        ]

    monkeypatch.setattr(judge.tables, "measured", lambda options, pictures, measures: images(asked))
    section = judge.stage_curve(
        Namespace(passes=400, seeds=1, methods=""), None, None, Namespace(images=images(judge.ALL))
    )
    assert asked == [*(f"keep_person:steps={n}" for n in judge.CURVE), f"keep_person:{judge.PAPER_TRAINING}"]
    differences = section.tables[1].rows
    assert [int(row[0]) for row in differences] == [*judge.CURVE, 80]
    assert len(section.plot.axes[0].lines[0].get_xdata()) == len(differences)


def test_later_stages_may_have_fewer_pairs_than_the_table(monkeypatch):
    asked = []
    monkeypatch.setattr(judge.drawing, "draw", lambda options, names: asked.append((options.pairs, options.seeds)))
    monkeypatch.setattr(judge.tables, "measured", lambda options, pictures, measures: [])
    monkeypatch.setattr(judge.edits, "table", lambda images: None)
    for more in ([], ["--later-pairs", "12"]):
        judge.stage_edits(judge.parse(["full", "--pairs", "20", *more]), None, None)
    assert asked == [(20, 1), (12, 1)]
