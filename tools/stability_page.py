"""docs/stability.md: one row a width or base, how its loss fell, and whether all fell alike."""

from __future__ import annotations

import argparse
from statistics import fmean

from tools.base_key import said_of

LITERAL = "-literal"
ALIKE = 2.0
"""Falls are called alike if the largest mean fall is at most this many times the smallest."""

_PAGE = """# One learning rate for every width

**What this shows.** A base is as wide as it has channels: 320 at the top of Stable Diffusion 1.x, 64 at that of the demo
base. CFun, the part of an adapter that changes the UNet's blocks, holds matrices of channels by channels, and a learning
step that suits a narrow matrix can be too large for a wide one. Here one training runs on UNets of several widths, and the
page asks whether one learning rate serves all.

**How to repeat it.** `python -m tools.stability --page docs/stability.md`; a run that is stopped goes on where it was.

**On what.** Learning rate {rate:g}, {steps} steps a seed, all other settings the defaults. The random UNets have the layout of
Stable Diffusion 1.x with {levels} of its four levels (factors 1, 2, 4), ResBlocks a level in the encoder: {layers}, no middle
block, latents of {side} x {side}, a text of 77 x 768; so 320 has blocks of 1280 channels, as wide as Stable Diffusion has
them. Each seed has other weights, pictures, timesteps and noises. The trained base learns the example face with the
example styles in turn. *Eq. 3 to the letter* is the paper's formula as printed: with the standard deviations as they are,
and without this pack's scaling by the width.
{weights}

The loss is both terms of eq. 4, style and face, with their weights on ten fixed timesteps and noises, as a share of that
before the training: mean (smallest to largest) over the seeds.

{table}

## What it means

{verdict}

Random weights cannot paint: what falls is what any model learns first. So the page says whether the same step size does
the same at every width, and nothing about pictures.
"""


def summary(row: str, runs: list[dict]) -> dict:
    """All seeds of one width or base.

    Returns:
        ``curve``: step -> mean, smallest and largest loss over the seeds, as a share of the loss before the training.
    """
    finished = [run for run in runs if "error" not in run]
    steps = list(finished[0]["curve"]) if finished else []
    values = {step: [run["curve"][step] for run in finished] for step in steps}
    return {
        "row": row,
        "narrowest": runs[0]["narrowest"],
        "widest": runs[0]["widest"],
        "blocks": runs[0]["blocks"],
        "seeds": len(runs),
        "non_finite_steps": sum(run["non_finite"] for run in runs),
        "errors": [run["error"] for run in runs if "error" in run],
        "curve": {step: [round(fmean(v), 4), min(v), max(v)] for step, v in values.items()},
        "largest_loss": max(run["largest_loss"] for run in runs),
        "cpu_seconds": round(sum(run.get("cpu_seconds", 0) for run in runs), 1),
    }


def falls(summaries: list[dict]) -> dict[str, tuple[float, float]]:
    """Step -> smallest and largest mean fall of the loss among random UNets of all widths."""
    random = [one for one in summaries if one["row"].isdigit() and one["curve"]]
    steps = random[0]["curve"] if random else {}
    means = {step: [1 - one["curve"][step][0] for one in random] for step in steps}
    return {step: (min(values), max(values)) for step, values in means.items()}


def alike(summaries: list[dict]) -> bool:
    """Whether at every look the mean falls of all widths are within a factor of :data:`ALIKE`."""
    found = falls(summaries).values()
    return bool(found) and all(0 < low and high <= ALIKE * low for low, high in found)


def title(row: str) -> str:
    if row.endswith(LITERAL):
        return f"random, {row.removesuffix(LITERAL)}, eq. 3 to the letter"
    return f"random, {row}" if row.isdigit() else f"trained, `{row}/`"


def table(summaries: list[dict]) -> list[str]:
    """Markdown: losses as mean (smallest to largest) over the seeds."""
    steps = next((list(one["curve"]) for one in summaries if one["curve"]), [])
    head = [
        "UNet, model_channels",
        "channels of CFun",
        "seeds",
        "non-finite steps",
        *(f"step {step}" for step in steps),
    ]
    rows = [head, ["---"] * len(head)]
    for one in summaries:
        cells = [f"{mean:.3f} ({low:.3f} to {high:.3f})" for mean, low, high in one["curve"].values()]
        cells += [f"ended, loss up to {one['largest_loss']:.3g}"] * (len(steps) - len(cells))
        widths = f"{one['narrowest']} to {one['widest']}, {one['blocks']} blocks"
        rows.append([title(one["row"]), widths, str(one["seeds"]), str(one["non_finite_steps"]), *cells])
    return ["| " + " | ".join(row) + " |" for row in rows]


def page(summaries: list[dict], options: argparse.Namespace) -> str:
    """The text of the page."""
    low_high = falls(summaries)
    worst = max((high / low if low > 0 else float("inf") for low, high in low_high.values()), default=0.0)
    verdict = (
        f"At every look the mean falls of the random widths are within a factor of {worst:.2f} of one another "
        f"(called alike up to {ALIKE:g}): the curves "
    )
    verdict += (
        "**fall alike**,\nso one learning rate serves every base." if alike(summaries) else "**do not fall alike**."
    )
    ended = [f"* {title(one['row'])}: {error}" for one in summaries for error in one["errors"]]
    return _PAGE.format(
        rate=options.learning_rate,
        steps=options.steps,
        levels=options.levels,
        layers=options.layers,
        side=options.side,
        weights="\n".join(said_of(base) for base in options.bases),
        table="\n".join(table(summaries)),
        verdict="\n".join([verdict, *ended]),
    )
