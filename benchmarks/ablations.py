"""The paper's ablations as methods of the judge: one switch each, the same pictures and seeds, and the paper's claims.

    python -m benchmarks.ablations                                    docs/ablations.md and its picture
    python -m benchmarks.ablations --rows full,encoder                these rows now, the others and the page in a later run
    python -m benchmarks.ablations --passes 400 --sampler-steps 40 --seeds 4 --training ""    with the pack's own settings

Each row is ``acfun_plain`` with some options changed, those that no node shows among them. What is done lies in
``out/ablations`` and is not done again.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image as PIL

from acfun_core.errors import ACFunError
from tools.base_key import said_of
from tools.contact_sheet import picture_grid
from tools.measure import pictures as measure

from . import drawing, methods, tables
from .measures import Measures
from .pages import Table, render
from .store import Store
from .workbench import ROOT, base_folder

OUT = ROOT / "out" / "ablations"
SHORT = "learning_rate=0.0003,warmup_steps=5"
"""Of a training a third as long as the pack's, in every row: three times its rate, reached sooner. Ten times destroys faces."""
SHOWN_SEEDS = 2
"""Pictures of a pair in the page's picture."""

ROWS = {
    "text": ("text only (no adapter)", "abstract=0,encoder=0,decoder=0"),
    "abstract": ("abstract only", "blocks=none"),
    "encoder": ("abstract + encoder", "blocks=encoder"),
    "decoder": ("abstract + decoder", "blocks=decoder"),
    "full": ("ACFun (abstract + both)", ""),
    "pseudo": ("pseudo-word in place of the description", "prompt=pseudo_word"),
    "weight06": ("weights 0.6 : 1", "style_weight=0.6"),
    "weight10": ("weights 1 : 1", "style_weight=1.0"),
    "attention": ("CFun in the attention", "place=attention"),
    "mean_std": ("steered by mean and deviation", "stats=mean_std"),
    "sequence": ("e_a as a sequence", "abstract_mode=sequence"),
    "literal": ("e_a as a sequence, to the letter of eq. 2", "abstract_mode=sequence_literal"),
    "blend": ("one noised input, the blend", "noisy_source=blend"),
    "low_rank": ("CFun of rank 16", "form=low_rank"),
    "per_channel": ("CFun per channel", "form=per_channel"),
    "split": ("face at high noise, style at low (split 0.4)", "timestep_split=0.4"),
    "half": ("all strengths 0.5", "abstract=0.5,encoder=0.5,decoder=0.5"),
    "strong": ("all strengths 1.5", "abstract=1.5,encoder=1.5,decoder=1.5"),
}
"""Name -> title, and options in place of the pack's defaults."""
PLAIN = "text"
"""The row that others are compared with: what the base draws from the same noise."""

COLUMNS = {
    "sface_own": ("identity (SFace)", "cosine of the drawn face to the photo's; no face counts 0"),
    "dlib_own": ("identity (dlib)", "the same by another encoder"),
    "style_margin": (
        "style margin",
        "likeness to its own style minus that to the other styles, by the judge's measure (benchmarks/README.md)",
    ),
    "copy_style": ("copy of style", "cosine of the pixels to the style picture's, without the mean colour"),
    "copy_face": ("copy of face", "the same to the photo's"),
    "ghost": ("ghost", "share of the picture that a blend of both training pictures explains (R^2)"),
    "structure": ("structure", "the same for light and dark alone, at 12 pixels"),
    "texture": ("texture", "mean size of the Laplacian, in hundredths"),
    "change": ("change", "mean difference to what the base draws from the same noise, in hundredths"),
}
IN_HUNDREDTHS = ("texture", "change")


@dataclass(frozen=True)
class Claim:
    """``number`` is higher for the row ``more`` than for ``less``; ``source`` says who claims it."""

    text: str
    number: str
    more: str
    less: str
    source: str


CLAIMS = (
    Claim("abstract fusion alone is blurrier than the whole", "texture", "full", "abstract", "paper, Fig. 6"),
    Claim("the encoder adds texture", "texture", "encoder", "abstract", "paper, Fig. 6"),
    Claim("the decoder adds structure", "structure", "decoder", "abstract", "paper, Fig. 6"),
    Claim("a description keeps the person better than a pseudo-word", "sface_own", "full", "pseudo", "paper, Fig. 7"),
    Claim("more style weight, more style (0.6 to 0.8)", "style_margin", "full", "weight06", "paper, Fig. 7"),
    Claim("more style weight, more style (0.8 to 1)", "style_margin", "weight10", "full", "paper, Fig. 7"),
    Claim("more style weight, less person (0.6 to 0.8)", "sface_own", "weight06", "full", "paper, Fig. 7"),
    Claim("more style weight, less person (0.8 to 1)", "sface_own", "full", "weight10", "paper, Fig. 7"),
    Claim(
        "insertion in the attention leaks more of the style picture", "copy_style", "attention", "full", "paper, Fig. 8"
    ),
    Claim("the mean leaks more of the style picture", "copy_style", "mean_std", "full", "paper, Fig. 8"),
    Claim("without the mean the person is kept better", "sface_own", "full", "mean_std", "paper, Fig. 8"),
    Claim("one shared noised input gives a blend", "ghost", "blend", "full", "our reading of eq. 4"),
    Claim("strength 0.5 changes the base", "change", "half", "text", "ours"),
    Claim("strength 1 changes it more than 0.5", "change", "full", "half", "ours"),
    Claim("strength 1.5 changes it more than 1", "change", "strong", "full", "ours"),
)

Numbers = dict[str, dict[str, np.ndarray]]
"""Row -> number -> values of its pictures, by pair and seed in the same order for every row."""


def method_of(row: str, training: str) -> methods.Method:
    """The judge's method of a row; ``training`` are options of all rows."""
    return methods.method("acfun_plain:" + ",".join(filter(None, [training, ROWS[row][1]])))


def numbers_of(options: argparse.Namespace, images: list[dict], measures: Measures) -> Numbers:
    """The judge's numbers by row, and the two that it has no use for.

    Args:
        images: measured, of all rows.
    """
    store, rows = Store(options.out), {row: method_of(row, options.training).name for row in ROWS}
    drawn = {row: [image for image in images if image["method"] == name] for row, name in rows.items()}
    plain = [np.asarray(PIL.open(store.file(image))).astype(float) for image in drawn[PLAIN]]
    found: Numbers = {}
    for row, ones in drawn.items():
        numbers = [dict(image["numbers"]) for image in ones]
        for image, known, before in zip(ones, numbers, plain, strict=True):
            picture = np.asarray(PIL.open(store.file(image)))
            training = [measures.styles[image["style"]], measures.faces[image["face"]]]
            known["structure"] = measure.explained(picture, training, measure.COARSE)
            known["change"] = float(np.abs(picture - before).mean() / 255)
        found[row] = {name: np.array([known[name] for known in numbers]) for name in COLUMNS}
    return found


def table(numbers: Numbers) -> Table:
    """A row an ablation, a column a number, means over all pairs and seeds."""
    rows = []
    for row, known in numbers.items():
        means = [known[name].mean() * (100 if name in IN_HUNDREDTHS else 1) for name in COLUMNS]
        rows.append([ROWS[row][0], *(f"{mean:.2f}" for mean in means)])
    return Table(["", *(title for title, _ in COLUMNS.values())], rows)


def judged(claim: Claim, numbers: Numbers) -> tuple[float, tuple[float, float], str]:
    """Mean paired difference, its 95 % interval and the verdict."""
    differences = numbers[claim.more][claim.number] - numbers[claim.less][claim.number]
    low, high = measure.paired_interval(differences)
    verdict = "agrees" if low > 0 else "**disagrees**" if high < 0 else "not decided"
    return float(differences.mean()), (low, high), verdict


def verdicts(numbers: Numbers) -> Table:
    """Each claim with its difference, interval and verdict."""
    rows = []
    for claim in CLAIMS:
        mean, (low, high), verdict = judged(claim, numbers)
        shown = f"{mean:+.3f} ({low:+.3f} to {high:+.3f})"
        rows.append([claim.text, claim.source, COLUMNS[claim.number][0], shown, verdict])
    return Table(["claim", "from", "number", "difference (95 % interval)", "here"], rows)


def sheet(options: argparse.Namespace, images: list[dict], measures: Measures) -> PIL.Image:
    """A row of pictures for each row of the table, below the pictures that they were trained on."""
    store = Store(options.out)
    pairs = list(dict.fromkeys((image["style"], image["face"]) for image in images))
    given = [PIL.fromarray(picture) for s, f in pairs for picture in (measures.styles[s], measures.faces[f])]
    rows = [("style and photo of each pair", given)]
    for row, (title, _) in ROWS.items():
        name = method_of(row, options.training).name
        shown = [image for image in images if image["method"] == name and image["seed"] < SHOWN_SEEDS]
        rows.append((title, [PIL.open(store.file(image)) for image in shown]))
    return picture_grid(rows)


def write(options: argparse.Namespace, images: list[dict], measures: Measures, numbers: Numbers) -> None:
    """The page and its picture into ``--docs``."""
    options.docs.mkdir(parents=True, exist_ok=True)
    pairs = drawing.pairs_of(options, drawing.pictures_of(options))
    sheet(options, images, measures).save(options.docs / "ablations.jpg", quality=88)
    page = render(
        "ablations.md",
        options=options,
        side=drawing.settings_of(options).side,
        pairs=", ".join(f"{pair.face.path.stem}-{pair.style.path.stem}" for pair in pairs),
        text=pairs[0].description,
        weights=said_of(base_folder(options.base)),
        table=table(numbers),
        columns=COLUMNS.values(),
        verdicts=verdicts(numbers),
    )
    (options.docs / "ablations.md").write_text(page, encoding="utf-8")


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    drawing.add_arguments(parser, default_list="examples")
    parser.set_defaults(data=ROOT / "pictures", passes=120, sampler_steps=12, out=OUT)
    parser.add_argument("--training", default=SHORT, help="options of every row's training (%(default)s)")
    parser.add_argument("--rows", default="", help="names of rows, with commas: draw these and write no page")
    parser.add_argument("--docs", type=Path, default=ROOT / "docs", help="folder of the page and its picture (docs)")
    options = parser.parse_args(arguments)
    options.command = drawing.command("ablations", sys.argv[1:] if arguments is None else arguments)
    options.rows = list(filter(None, options.rows.split(",")))
    if unknown := set(options.rows) - set(ROWS):
        parser.error(f"no such row: {', '.join(sorted(unknown))}; there are {', '.join(ROWS)}")
    return options


def main(arguments: list[str] | None = None) -> int:
    options = parse(arguments)
    try:
        pictures = drawing.pictures_of(options)
        # A missing face encoder is said now, not after the trainings.
        measures = None if options.rows else tables.measures_of(options, pictures)
        drawing.draw(options, [method_of(row, options.training).name for row in options.rows or ROWS])
        if measures is None:
            return 0
        images = tables.measured(options, pictures, measures)
        write(options, images, measures, numbers_of(options, images, measures))
    except ACFunError as error:
        raise SystemExit(str(error)) from None
    print(options.docs / "ablations.md")
    return 0


if __name__ == "__main__":
    sys.exit(main())
