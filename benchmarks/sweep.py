"""Settings of ACFun on the tuning pairs: train and draw each, measure, rank, and put them side by side for the eye.

    python -m benchmarks.sweep --data FOLDER --pairs 6 --seeds 1 "timestep_split=0.4" "timestep_split=0.6,style_crop=0.3"
    python -m benchmarks.sweep --data FOLDER --grid-of timestep_split=0,0.3,0.5 --grid-of cfg=2,3,5
    python -m benchmarks.sweep --data FOLDER --only-table

An empty setting ("") is the defaults. Killed at any moment, it goes on where it was. Options of the drawing alone (strengths,
windows, ``cfg``) share one training. Writes ``sweep.md`` and ``sweep.jpg`` into the results' folder; ``--also`` adds other
methods to the table, which set the scale of J.
"""

from __future__ import annotations

import argparse
import itertools
import sys

from PIL import Image as PIL

from acfun_core.errors import ACFunError
from tools.base_key import said_of
from tools.contact_sheet import SHEET_CELL, picture_grid

from . import aggregate, drawing, lists, methods, tables
from .measures import as_array
from .store import Store
from .workbench import base_folder


def variants(of: str, settings: list[str], grids: list[str]) -> list[str]:
    """Method names of one form of ACFun with single settings and of all combinations of ``name=a,b,c``."""
    axes = []
    for grid in grids:
        name, _, values = grid.partition("=")
        axes.append([f"{name}={value}" for value in values.split(",")])
    texts = [*settings, *(",".join(chosen) for chosen in itertools.product(*axes) if axes)]
    names = [methods.method(f"{of}:{text}").name if text else of for text in texts]
    return list(dict.fromkeys(names))


def sheet(options: argparse.Namespace, pairs: list[lists.Pair], images: list[dict], names: list[str]) -> PIL.Image:
    """A row a setting, a column a pair and seed; face and style on top."""
    store, columns = Store(options.out), [(pair, seed) for pair in pairs for seed in range(options.seeds)]
    files = {(i["method"], i["face"], i["style"], i["seed"]): store.file(i) for i in images}
    rows = [
        (role, [PIL.fromarray(as_array(getattr(pair, role), SHEET_CELL)) for pair, _ in columns])
        for role in ("face", "style")
    ]
    for name in names:
        paths = [files.get((name, pair.face.id, pair.style.id, seed)) for pair, seed in columns]
        rows.append((name.partition(":")[2].replace(",", ",\n") or name, [path and PIL.open(path) for path in paths]))
    return picture_grid(rows)


def report(options: argparse.Namespace, names: list[str]) -> str:
    """Measure, and write table and sheet of what all these methods have. -> the table."""
    pictures = drawing.pictures_of(options)
    images = tables.measured(options, pictures, tables.measures_of(options, pictures))
    done = [name for name in names if any(image["method"] == name for image in images)]
    rows = aggregate.rows_of(images, done)
    table = tables.numbers(rows, aggregate.judgement(rows, tables.anchors(done)))
    text = f"{table}\n\n{said_of(base_folder(options.base))}\n"
    (options.out / "sweep.md").write_text(text, encoding="utf-8")
    sheet(options, drawing.pairs_of(options, pictures), images, done).save(options.out / "sweep.jpg", quality=88)
    return text


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    drawing.add_arguments(parser, default_list="tuning")
    parser.add_argument("settings", nargs="*", help="option=value,option=value; an empty one is the defaults")
    parser.add_argument("--grid-of", action="append", default=[], help="name=a,b,c; several give all combinations")
    parser.add_argument(
        "--of", default=aggregate.ACFUN, help=f"the form of ACFun: its name in the table ({aggregate.ACFUN})"
    )
    parser.add_argument("--also", default="text;img2img_0.6;adain", help="other methods in the table")
    parser.add_argument("--only-table", action="store_true", help="train and draw nothing")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    options = parse(arguments)
    try:
        own = variants(options.of, options.settings, options.grid_of) or [options.of]
        names = [*own, *(drawing.names_of(options.also) if options.also else [])]
        if not options.only_table:
            drawing.draw(options, names)
        print(report(options, names))
    except ACFunError as error:
        raise SystemExit(str(error)) from None
    print(options.out / "sweep.jpg")
    return 0


if __name__ == "__main__":
    sys.exit(main())
