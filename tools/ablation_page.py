"""docs/ablations.md and docs/ablations.jpg: the numbers of all rows, what the paper says of them, and one picture of each."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from tools.base_key import said_of
from tools.contact_sheet import GREY, INK, PAPER
from tools.measure.pictures import paired_interval

CELL, LABEL, GAP, FONT = 128, 300, 6, 14

COLUMNS = {
    "identity_sface": (
        "identity (SFace)",
        "likeness of the drawn face to the photo's (cosine, -1 to 1); no face counts 0",
    ),
    "identity_dlib": ("identity (dlib)", "the same by another face encoder"),
    "style": (
        "style margin",
        "likeness to its own style minus that to the other styles, by CLIP vision's patch tokens",
    ),
    "copy_style": ("copy of style", "cosine of the pixels to the style picture's, without the mean colour"),
    "copy_face": ("copy of face", "the same to the photo's"),
    "ghost": ("ghost", "share of the picture that a blend of both training pictures explains (R^2)"),
    "structure": ("structure", "the same for light and dark alone, at 12 pixels"),
    "texture": ("texture", "mean size of the Laplacian, in hundredths"),
    "change": ("change", "mean difference to what the base draws from the same noise, in hundredths"),
}
_IN_HUNDREDTHS = ("texture", "change")

_PAGE = """# What each part of the method does

**What this shows.** An ablation leaves out or changes one part and keeps all others. The paper reports several; here they
are repeated on the demo base, with some of our own, and each claim of the paper is set beside what was measured.

**How to repeat it.** `python -m tools.ablations --steps {steps} --seeds {seeds}`; a run that is stopped goes on where it was.

**On what.** Every row: {steps} training steps at {side} pixels, then {seeds} seeds a pair, {sampler_steps} sampling steps,
guidance {cfg:g}, from pure noise, with the prompt of the training, "{description}"; what a row does not name is the default.
Pairs of face and style: {pairs}.
{weights}

*Abstract* is what `S*` means (AFun); *encoder* and *decoder* are the two halves of the UNet in which CFun acts; e_a is the
vector that AFun makes. The options behind the rows are explained in [options.md](options.md).

![One row of pictures for each row of the table](ablations.jpg)

{table}

{columns}

## What the paper says, and what was found here

A difference is between two pictures of one pair and one seed, and their mean is given; the interval is found by drawing
those differences anew with repetition (bootstrap). *Not decided* means that it holds 0.

{verdicts}

## What it means

The base is small and the pairs are few: a number shows what a switch does to this base, not how good the method can look,
and *not decided* is no proof that nothing happens.
"""


@dataclass(frozen=True)
class Claim:
    """``number`` is higher for ``more`` than for ``less``.

    Attributes:
        source: where the claim comes from.
    """

    text: str
    number: str
    more: str
    less: str
    source: str


CLAIMS = (
    Claim("abstract fusion alone is blurrier than the whole", "texture", "full", "abstract", "paper, Fig. 6"),
    Claim("the encoder adds texture", "texture", "encoder", "abstract", "paper, Fig. 6"),
    Claim("the decoder adds structure", "structure", "decoder", "abstract", "paper, Fig. 6"),
    Claim(
        "a description keeps the person better than a pseudo-word", "identity_sface", "full", "pseudo", "paper, Fig. 7"
    ),
    Claim("more style weight, more style (0.6 to 0.8)", "style", "full", "weight06", "paper, Fig. 7"),
    Claim("more style weight, more style (0.8 to 1)", "style", "weight10", "full", "paper, Fig. 7"),
    Claim("more style weight, less person (0.6 to 0.8)", "identity_sface", "weight06", "full", "paper, Fig. 7"),
    Claim("more style weight, less person (0.8 to 1)", "identity_sface", "full", "weight10", "paper, Fig. 7"),
    Claim(
        "insertion in the attention leaks more of the style picture", "copy_style", "attention", "full", "paper, Fig. 8"
    ),
    Claim("the mean leaks more of the style picture", "copy_style", "mean_std", "full", "paper, Fig. 8"),
    Claim(
        "the deviation alone keeps the person better than with the mean",
        "identity_sface",
        "full",
        "mean_std",
        "paper, Fig. 8",
    ),
    Claim("one shared noised input gives a blend", "ghost", "blend", "full", "our reading of eq. 4"),
    Claim("strength 0.5 changes the base", "change", "half", "text", "ours"),
    Claim("strength 1 changes it more than 0.5", "change", "full", "half", "ours"),
    Claim("strength 1.5 changes it more than 1", "change", "strong", "full", "ours"),
)


def judged(claim: Claim, rows: dict[str, dict[str, np.ndarray]]) -> tuple[float, tuple[float, float], str] | None:
    """Mean paired difference, its 95 % interval and the verdict; None if the number was not measured."""
    if claim.number not in rows[claim.more]:
        return None
    differences = rows[claim.more][claim.number] - rows[claim.less][claim.number]
    low, high = paired_interval(differences)
    verdict = "agrees" if low > 0 else "**disagrees**" if high < 0 else "not decided"
    return float(differences.mean()), (low, high), verdict


def table(rows: dict[str, dict[str, np.ndarray]], titles: dict[str, str]) -> list[str]:
    """Markdown: a row an ablation, a column a number, means over all pairs and seeds."""
    columns = [name for name in COLUMNS if name in next(iter(rows.values()))]
    lines = ["| | " + " | ".join(COLUMNS[name][0] for name in columns) + " |", "|---|" + "---|" * len(columns)]
    for row, numbers in rows.items():
        means = [numbers[name].mean() * (100 if name in _IN_HUNDREDTHS else 1) for name in columns]
        lines.append(f"| {titles[row]} | " + " | ".join(f"{mean:.2f}" for mean in means) + " |")
    return lines


def verdicts(rows: dict[str, dict[str, np.ndarray]]) -> list[str]:
    """Markdown: each claim with its difference, interval and verdict."""
    lines = ["| claim | from | number | difference (95 % interval) | here |", "|---|---|---|---|---|"]
    for claim in CLAIMS:
        found = judged(claim, rows)
        if found is None:
            lines.append(f"| {claim.text} | {claim.source} | {COLUMNS[claim.number][0]} | | not measured |")
            continue
        mean, (low, high), verdict = found
        number = COLUMNS[claim.number][0]
        lines.append(
            f"| {claim.text} | {claim.source} | {number} | {mean:+.3f} ({low:+.3f} to {high:+.3f}) | {verdict} |"
        )
    return lines


def sheet(pictures: list[tuple[str, list[Image.Image]]]) -> Image.Image:
    """A row of pictures behind each title, all on one page."""
    across = max(len(row) for _, row in pictures)
    page = Image.new("RGB", (LABEL + across * (CELL + GAP) + GAP, GAP + len(pictures) * (CELL + GAP)), PAPER)
    draw, font = ImageDraw.Draw(page), ImageFont.load_default(FONT)
    for index, (title, row) in enumerate(pictures):
        top = GAP + index * (CELL + GAP)
        draw.text((GAP, top + CELL // 2), title, INK if index else GREY, font, anchor="lm")
        for column, picture in enumerate(row):
            left = LABEL + column * (CELL + GAP)
            page.paste(picture.convert("RGB").resize((CELL, CELL), Image.Resampling.LANCZOS), (left, top))
    return page


def write(docs: Path, work: Any, pairs: list, ablations: tuple, rows: dict, judges: Any) -> None:
    """Both files into ``docs``."""
    options, titles = work.options, {ablation.name: ablation.title for ablation in ablations}
    training = [Image.fromarray(judges.training_picture(path)) for pair in pairs for path in (pair.style, pair.face)]
    seeds = range(min(2, options.seeds))
    shown = [("style and photo of each pair", training)]
    for ablation in ablations:
        drawn = [Image.open(work.drawing(ablation, pair, seed)) for pair in pairs for seed in seeds]
        shown.append((ablation.title, drawn))
    sheet(shown).save(docs / "ablations.jpg", quality=88)
    found = [name for name in COLUMNS if name in next(iter(rows.values()))]
    text = _PAGE.format(
        steps=options.steps,
        seeds=options.seeds,
        side=options.side,
        sampler_steps=options.sampler_steps,
        cfg=options.cfg,
        description=options.description,
        pairs=", ".join(pair.name for pair in pairs),
        weights=said_of(options.base),
        table="\n".join(table(rows, titles)),
        columns="\n".join(f"* **{COLUMNS[name][0]}**: {COLUMNS[name][1]}" for name in found)
        + ("" if "identity_sface" in found else "\n\nMeasured without face encoders: identity is left out."),
        verdicts="\n".join(verdicts(rows)),
    )
    (docs / "ablations.md").write_text(text, encoding="utf-8")
