"""``make judge-full`` writes the published table; ``make judge`` repeats a fixed part of it and says whether it agrees.

    python -m benchmarks.judge full --data FOLDER --workers 2                everything, hours; killed, it goes on
    python -m benchmarks.judge full --data FOLDER --workers 2 --minutes 50   a piece of it
    python -m benchmarks.judge full --data FOLDER --workers 2 --later-pairs 12   time, edits and limits on fewer pairs
    python -m benchmarks.judge full --data FOLDER --workers 2 --only keep_person   the published rows of all others stay
    python -m benchmarks.judge part --data FOLDER --workers 2                at most 45 minutes

``full`` has five stages: ``table`` (all methods, equal passes), ``time`` (trained methods, equal wall-clock time),
``curve`` (ACFun with fewer passes), ``edits`` (changed texts) and ``limits`` (what could be reached). Both commands end with
one line of JSON. With other pictures (--faces, --styles) the table is written beside the results and nothing is published.
"""

from __future__ import annotations

import argparse
import json
import operator
import shutil
import sys
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from acfun_core.errors import ACFunError
from acfun_core.presets import PRESETS
from tools.base_key import said_of

from . import aggregate, drawing, edits, lists, methods, pages, plots, publish, report, tables
from .measures import Measures
from .pages import Section, Table
from .store import Store
from .workbench import base_folder

STAGES = ("table", "time", "curve", "edits", "limits")
CURVE = (10, 20, 40, 160)
"""Training steps of the curve beside the preset's own, which the table has."""
PAPER_TRAINING = "steps=1000,learning_rate=0.0001,learning_rate_end=1"
"""The paper's budget of passes and its constant rate: what the curve has to reach with fewer."""
PART_MINUTES = 45
PART_OUT = drawing.OUT.with_name("benchmarks_part")


@dataclass
class Judged:
    """All methods of a table: their images, its rows by method, and their judgement."""

    names: list[str]
    images: list[dict]
    rows: dict[str, aggregate.Rows]
    judged: aggregate.Judgement

    @property
    def pairs(self) -> int:
        return pairs_in(self.rows)

    def summary(self) -> dict:
        return aggregate.summary(self.rows, self.judged, tables.anchors(self.names))

    def numbers(self) -> Table:
        return tables.numbers(self.rows, self.judged)

    def ahead(self, own: str = aggregate.ACFUN) -> Table:
        """By how much a method's J is above each other's, anchors apart."""
        rows = []
        for name in [name for name in self.names if name != own and name not in tables.anchors(self.names)]:
            value, low, high = self.judged.advantage(own, name)
            others = self.judged.advantage_for_others(own, name)
            both = [f"{a:.2f} to {b:.2f}" for a, b in ((low, high), others)]
            rows.append([methods.method(name).title, f"{value:.2f}", *both])
        title = methods.method(own).title
        return Table([f"*{title}* above", "J", "95 % over pairs", "95 % for other faces and styles"], rows)

    def value(self, name: str) -> float:
        """J of a method."""
        return float(self.judged.j[self.names.index(name)])


def pairs_in(rows: dict[str, aggregate.Rows]) -> int:
    """How many pairs of a face and a style all these rows are of."""
    return len(set(rows[aggregate.ACFUN].pairs.tolist()))


def table_of(images: list[dict], names: list[str]) -> Judged:
    """Judge the images of some methods."""
    images = [image for image in images if image["method"] in names]
    rows = aggregate.rows_of(images, names)
    return Judged(names, images, rows, aggregate.judgement(rows, tables.anchors(names)))


def beside(images: list[dict], others: list[dict]) -> list[dict]:
    """Images, and those of the others that are not among them."""
    key = operator.itemgetter(*publish.KEYS)
    known = {key(image) for image in images}
    return images + [image for image in others if key(image) not in known]


def with_options(options: argparse.Namespace, **changes) -> argparse.Namespace:
    return argparse.Namespace(**{**vars(options), **changes})


ALL = [one.name for one in methods.METHODS]


def names_of(options: argparse.Namespace) -> list[str]:
    """The table's methods: all, or those of ``--methods``."""
    return drawing.names_of(options.methods) if options.methods else ALL


def later(options: argparse.Namespace) -> argparse.Namespace:
    """Options of the stages that need not have all pairs of the table: one seed, ``--later-pairs`` of them."""
    return with_options(options, seeds=1, pairs=options.later_pairs or options.pairs)


def stage_table(options, pictures, measures) -> Judged:
    again = drawing.names_of(options.only) if options.only else names_of(options)
    grid = {"list": pictures.name, "grid": options.grid, "seeds": options.seeds}
    others = publish.kept(again, drawing.settings_of(options).run, grid) if options.only else []
    drawing.draw(options, again)
    return table_of(beside(tables.measured(options, pictures, measures), others), names_of(options))


def stage_time(options, pictures, measures, table: Judged) -> Section:
    """Trained methods with as much wall-clock time as ACFun took, beside those that need none."""
    took = [image["train_seconds"] for image in table.images if image["method"] == aggregate.ACFUN]
    timed = with_options(later(options), train_seconds=float(round(np.mean(took))))
    # ACFun's own time is the measure, so its pictures stay.
    known = [methods.method(name) for name in names_of(options)]
    trained = [one.name for one in known if one.trained and not isinstance(one, methods.ACFun)]
    drawing.draw(timed, trained)
    others = [image for image in table.images if image["method"] not in trained]
    found = table_of(tables.measured(timed, pictures, measures) + others, names_of(options))
    title = f"Equal time ({timed.train_seconds:.0f} s of training, {found.pairs} pairs)"
    return Section(title, [found.numbers()])


def stage_curve(options, pictures, measures, table: Judged) -> Section:
    """ACFun after fewer steps beside the paper's budget, with the scale that the whole table's methods set."""
    shorter = [methods.method(f"{aggregate.ACFUN}:steps={steps}").name for steps in CURVE]
    own = [*shorter, aggregate.ACFUN]
    paper = methods.method(f"{aggregate.ACFUN}:{PAPER_TRAINING}").name
    missing = [*shorter, paper]
    once = with_options(options, seeds=1)
    drawing.draw(once, missing)
    images = beside(tables.measured(once, pictures, measures), table.images)
    found = table_of(images, [*names_of(options), *missing])

    def point(name: str) -> tuple[float, ...]:
        return found.rows[name].mean("train_passes"), found.value(name), *found.judged.interval(name)

    rows = []
    for name in own:
        value, low, high = found.judged.advantage(name, paper)
        passes = found.rows[name].mean("train_passes")
        rows.append([f"{passes:.0f}", f"{value:.3f}", f"{low:.3f} to {high:.3f}"])
    advantages = Table(["passes", "J minus that of the paper's budget", "95 %"], rows)
    plot = plots.curve([point(name) for name in own], point(paper))
    return Section("Fewer passes", [found.numbers(), advantages], plot)


def stage_edits(options, pictures, measures) -> Section:
    """Changed texts for those methods that take one."""
    once = later(options)
    drawing.draw(once, edits.names())
    return Section("Text edits", [edits.table(tables.measured(once, pictures, measures))])


def stage_limits(options, pictures, measures, table: Judged) -> Section:
    """How far each margin can go at all: what the metric gives the real pictures, what the VAE keeps, what one term reaches."""
    once = later(options)
    drawing.draw(once, [one.name for one in methods.LIMITS])
    names = ["copy_face", "copy_style", *(one.name for one in methods.LIMITS), aggregate.ACFUN]
    rows = aggregate.rows_of(beside(tables.measured(once, pictures, measures), table.images), names)
    columns = {
        "identity": "id margin",
        "face_first": "face rank-1",
        "style": "style margin",
        "style_first": "style rank-1",
    }
    shown = [
        [methods.method(name).title, *(f"{rows[name].mean(column):.2f}" for column in (*columns, "found"))]
        for name in names
    ]
    title = f"Limits ({pairs_in(rows)} pairs; margins and ranks as measured, copies too)"
    return Section(title, [Table(["what", *columns.values(), "faces"], shown)])


def full(options: argparse.Namespace) -> dict:
    """All stages that were asked for. -> the line of JSON."""
    pictures = drawing.pictures_of(options)
    # A missing face encoder is said now, not after hours.
    measures = tables.measures_of(options, pictures)
    end = time.monotonic() + 60 * options.minutes
    table = stage_table(options, pictures, measures)
    sections = [Section(f"At most {options.passes} passes", [table.numbers(), table.ahead()])]
    more = {"time": stage_time, "curve": stage_curve, "limits": stage_limits}
    more = {name: partial(stage, table=table) for name, stage in more.items()} | {"edits": stage_edits}
    for name in STAGES[1:]:
        left = (end - time.monotonic()) / 60 if options.minutes else 0.0
        if name in options.stages.split(",") and left >= 0:
            sections.append(more[name](with_options(options, minutes=left), pictures, measures))
    return write(options, pictures, measures, table, sections)


def write(options, pictures, measures: Measures, table: Judged, sections: list[Section]) -> dict:
    """Table, raw rows and summary, into ``benchmarks/published`` for the whole fixed list, else beside the results."""
    store, settings = Store(options.out), drawing.settings_of(options)
    pairs = table.pairs
    line = table.summary()
    whole = {
        **line,
        "settings": {**settings.as_dict(), "seeds": options.seeds, "grid": options.grid, "workers": options.workers},
        "acfun": methods.method(aggregate.ACFUN).options,
        "of_pairs": len(pictures.pairs()),
        "run": settings.run,
        "pairs": pairs,
        "images": len(table.images),
        "part_pairs": publish.part_pairs(table.images),
        "accuracies": measures.accuracies,
        "command": options.command,
    }
    # A piece of the list, or other pictures, is not the published table.
    whole_list = pairs == len(pictures.pairs()) or options.publish_piece
    complete = whole_list and pictures.name == lists.JUDGED and not options.train_seconds
    folder = publish.PUBLISHED if complete and not options.no_publish else store.folder
    folder.mkdir(exist_ok=True)
    publish.write_summary(whole, folder / "summary.json")
    publish.write_rows(table.images, folder / "rows.csv")
    write_portraits(options, store, pictures, table, folder)
    weights = said_of(base_folder(options.base))
    page = pages.render("table.md", summary=whole, seeds=options.seeds, weights=weights, sections=sections)
    (folder / "table.md").write_text(page, encoding="utf-8")
    shown = drawing.pairs_of(options, pictures)
    report.write(store, settings, pictures, shown, table, measures, whole, options.seeds, sections[1:])
    return line


def write_portraits(options, store: Store, pictures, table: Judged, folder: Path) -> None:
    """One sheet a preset. Where there is none, an older one stays only beside the rows that it shows."""
    kept = set(PRESETS) - set(drawing.names_of(options.only)) if options.only else set()
    for name in PRESETS:
        sheet, path = publish.portraits(store, table.images, pictures, name), folder / f"{name}.jpg"
        if sheet is not None:
            sheet.save(path, quality=85)
        elif name not in kept:
            path.unlink(missing_ok=True)


def part(options: argparse.Namespace) -> dict:
    """Repeat the fixed part, from nothing, and compare. -> the line of JSON."""
    if not (publish.PUBLISHED / "summary.json").is_file():
        raise ACFunError("There is no published table yet.", "benchmarks/published", "make judge-full first")
    published = json.loads((publish.PUBLISHED / "summary.json").read_text(encoding="utf-8"))
    settings = published["settings"]
    same = {name: settings[name] for name in ("passes", "sampler_steps", "cfg", "side", "train_seconds", "grid")}
    options = with_options(options, **same, pairs=published["part_pairs"], seeds=1, minutes=PART_MINUTES - 4)
    found = drawing.settings_of(options)
    if found.run != published["run"]:
        raise ACFunError(
            f"The published table was made with {published['run']}, this is {found.run}.",
            "the base and settings of the published table",
            "make judge-full again after a change of the base",
        )
    pictures = drawing.pictures_of(options)
    measures = tables.measures_of(options, pictures)
    names = list(published["methods"])
    drawing.draw(options, names)
    again = tables.measured(options, pictures, measures)
    if options.out == PART_OUT:
        # The next time starts from nothing again.
        shutil.rmtree(PART_OUT)
    differences = publish.differences(publish.read_rows(publish.PUBLISHED / "rows.csv"), again)
    wrong = publish.disagreements(differences, names)
    for text in wrong:
        print(text, file=sys.stderr)
    line = {key: published[key] for key in ("methods", "advantage_low95")}
    return {**line, "agrees": not wrong, "repeated": sum(one["images"] for one in differences.values())}


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("full", "part"))
    drawing.add_arguments(parser)
    parser.add_argument("--stages", default=",".join(STAGES), help=f"of full ({','.join(STAGES)})")
    parser.add_argument(
        "--only", default="", help="methods of full's table that are drawn; the others' published rows stay"
    )
    parser.add_argument("--methods", default="", help="methods of the table (all); what others have drawn is left out")
    parser.add_argument(
        "--later-pairs",
        type=int,
        default=0,
        help="pairs of the stages time, edits and limits, evenly spread (0 is all)",
    )
    parser.add_argument("--no-publish", action="store_true", help="leave benchmarks/published as it is")
    parser.add_argument(
        "--publish-piece", action="store_true", help="publish with --pairs too; the page says how many there are"
    )
    options = parser.parse_args(arguments)
    options.command = drawing.command("judge", arguments)
    if options.what == "part" and options.out == drawing.OUT:
        # A part that took pictures of the whole table would prove nothing.
        options.out = PART_OUT
    return options


def main(arguments: list[str] | None = None) -> int:
    options = parse(sys.argv[1:] if arguments is None else arguments)
    try:
        line = full(options) if options.what == "full" else part(options)
    except ACFunError as error:
        raise SystemExit(str(error)) from None
    print(json.dumps(line))
    return 0 if line.get("agrees", True) else 1


if __name__ == "__main__":
    sys.exit(main())
