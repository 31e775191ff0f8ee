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
from PIL import ImageDraw, ImageFont

from acfun_core.errors import ACFunError

from . import aggregate, lists, methods, run, tables
from .store import Store
from .workbench import Settings

CELL, LABEL = 128, 330


def variants(of: str, settings: list[str], grids: list[str]) -> list[str]:
    """Method names of one form of ACFun with single settings and of all combinations of ``name=a,b,c``."""
    axes = []
    for grid in grids:
        name, _, values = grid.partition("=")
        axes.append([f"{name}={value}" for value in values.split(",")])
    texts = [*settings, *(",".join(chosen) for chosen in itertools.product(*axes) if axes)]
    names = [methods.method(f"{of}:{text}").name if text else of for text in texts]
    return list(dict.fromkeys(names))


def sheet(store: Store, settings: Settings, pairs: list[lists.Pair], names: list[str], seeds: int) -> PIL.Image:
    """A row a setting, a column a pair and seed; face and style on top."""
    columns = [(pair, seed) for pair in pairs for seed in range(seeds)]
    picture = PIL.new("RGB", (LABEL + CELL * len(columns), CELL * (len(names) + 2)), "white")
    draw, font = ImageDraw.Draw(picture), ImageFont.load_default(14)

    def put(source, column: int, line: int) -> None:
        picture.paste(source.convert("RGB").resize((CELL, CELL)), (LABEL + CELL * column, CELL * line))

    for column, (pair, seed) in enumerate(columns):
        for line, image in enumerate((pair.face, pair.style)):
            whole = PIL.open(image.path)
            edge = min(whole.size)
            left, top = (whole.width - edge) // 2, (whole.height - edge) // 2
            put(whole.crop((left, top, left + edge, top + edge)), column, line)
        for line, name in enumerate(names, 2):
            path = store.picture_path(settings.run, methods.slug(name), pair.id, seed)
            if path.is_file():
                put(PIL.open(path), column, line)
    for line, name in enumerate(names, 2):
        text = name.partition(":")[2].replace(",", ",\n") or name
        draw.multiline_text((8, CELL * line + 8), text, "black", font)
    return picture


def report(options: argparse.Namespace, names: list[str]) -> str:
    """Measure, and write table and sheet of what all these methods have. -> the table."""
    store, settings, pictures = Store(options.out), run.settings_of(options), run.pictures_of(options)
    pairs = run.pairs_of(options, pictures)
    tables.measure(store, settings.run, pictures, tables.measures_of(options, pictures))
    images = list(store.images(settings.run))
    wanted = {pair.id for pair in pairs}
    images = [i for i in images if f"{i['face']}-{i['style']}" in wanted and i["seed"] < options.seeds]
    done = [name for name in names if any(i["method"] == name for i in images)]
    rows = aggregate.rows_of(images, done)
    judged = aggregate.judgement(rows, tables.anchors(done))
    table = tables.text_table(rows, judged)
    (options.out / "sweep.md").write_text(table + "\n", encoding="utf-8")
    sheet(store, settings, pairs, done, options.seeds).save(options.out / "sweep.jpg", quality=88)
    return table


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    run.add_arguments(parser, default_list="tuning")
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
        names = [*own, *(run.names_of(options.also) if options.also else [])]
        if not options.only_table:
            run.run(options, names)
        print(report(options, names))
    except ACFunError as error:
        raise SystemExit(str(error)) from None
    print(options.out / "sweep.jpg")
    return 0


if __name__ == "__main__":
    sys.exit(main())
