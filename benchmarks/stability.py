"""One learning rate for every width: train on random UNets from narrow to Stable Diffusion's own, and on a trained base.

    python -m benchmarks.stability                  docs/stability.md
    python -m benchmarks.stability --widths 64 --seeds 1 --bases --literal

Each width, base and seed is a training of its own, kept in ``out/stability`` and not made again. Prints one line of JSON a
width or base, and ends with 1 if a loss or gradient was not finite. Random weights say nothing about pictures; they do show a
blow-up, because that is a matter of widths and step sizes. As a check of the check, widths named by ``--literal`` are trained
once more with eq. 3 to the letter.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from statistics import fmean

import torch

from acfun_core.backends.pictures import read_picture
from acfun_core.backends.stable_diffusion import StableDiffusion
from acfun_core.config import AdapterConfig, TrainConfig
from acfun_core.errors import ACFunError
from acfun_core.host import Base
from acfun_core.options import options_of
from acfun_core.training.alignment_loss import measure_adapter
from acfun_core.training.loop import StepReport, train_adapter
from acfun_core.training.material import encode_pair
from acfun_core.unet.blocks import channels_to_train
from tools.base_key import base_key, said_of
from tools.comfy.launcher import define_torchvision_operators

from .drawing import command
from .pages import Table, render
from .random_bases import random_base, random_material, to_the_letter
from .runner import Cell, Work, go_on
from .store import Store
from .workbench import ROOT

OUT = ROOT / "out" / "stability"
DESCRIPTION = "a painting of a woman in S* style"
FACE = ROOT / "pictures" / "face_astronaut.png"
STYLES = [ROOT / "pictures" / name for name in ("style_woodblock.png", "style_oil.jpg", "style_pop.png")]
LOOKS = 4
"""How often a training is measured, the last time at its end."""
KINDS = ("form", "stats", "place", "abstract_mode", "blocks")
LITERAL = "-literal"
ALIKE = 2.0
"""Falls are called alike if the largest mean fall is at most this many times the smallest."""


def trained_base(folder: Path, seed: int, device: str) -> tuple[Base, torch.Tensor, torch.Tensor]:
    """A base from files with latents and style tokens of the example pictures; each seed takes the next style."""
    base = StableDiffusion.load(folder, device=device)
    style, face = read_picture(STYLES[seed % len(STYLES)], "style picture"), read_picture(FACE, "face photo")
    latents = encode_pair(base.encode, style, face, base.native_side)
    return base.core_base(DESCRIPTION), latents, base.style_tokens(style)


def train_once(base: Base, latents, tokens, adapter_config: AdapterConfig, config: TrainConfig) -> dict:
    """One training -> non-finite steps, and the loss on fixed timesteps and noises on the way, as a share of the first."""
    every, losses, largest = max(1, config.steps // LOOKS), {}, 0.0

    def weighted(terms: list[float]) -> float:
        return config.style_weight * terms[0] + config.face_weight * terms[1]

    def look(report: StepReport) -> None:
        nonlocal largest
        largest = max(largest, report.style_loss, report.face_loss)
        if report.step % every == 0 and report.step < config.steps:
            losses[report.step] = weighted(measure_adapter(base, report.adapter, latents))

    cpu = time.process_time()
    try:
        record = train_adapter(base, latents, tokens, adapter_config, config, look).record
    except ACFunError as error:
        return {"non_finite": 1, "error": error.what, "curve": {}, "largest_loss": round(largest, 4)}
    losses[config.steps] = weighted(record.after)
    return {
        "non_finite": record.skipped_steps,
        "curve": {str(step): round(loss / weighted(record.before), 4) for step, loss in losses.items()},
        "largest_loss": round(largest, 4),
        "cpu_seconds": round(time.process_time() - cpu, 1),
    }


class Trainings(Work):
    """One training a width or base and seed."""

    def __init__(self, options: argparse.Namespace):
        self.options, self.kind = options, {name: getattr(options, name) for name in KINDS}
        self.adapter_config = AdapterConfig(DESCRIPTION, **self.kind)
        other = [f"{name}-{value}" for name, value in self.kind.items() if value != getattr(AdapterConfig, name)]
        settings = f"levels{options.levels}_layers{options.layers}_side{options.side}_steps{options.steps}"
        super().__init__(Store(options.out), "_".join([settings, f"lr{options.learning_rate:g}", *other]))

    def cells(self) -> list[Cell]:
        """Seed by seed: a run that ends early has all widths alike."""
        options, seeds = self.options, range(self.options.seeds)
        rows = [(str(width), seed) for seed in seeds for width in options.widths]
        rows += [(str(base), seed) for base in options.bases for seed in seeds]
        return [self.training(*row) for row in (*rows, *((f"{width}{LITERAL}", 0) for width in options.literal))]

    def training(self, row: str, seed: int) -> Cell:
        """A trained base is known by its weights."""
        key = base_key(Path(row)) if Path(row).is_dir() else ""
        named = {"row": Path(row).name, "key": key, "seed": seed}
        return Cell("training", named, partial(self._train, row, seed), group=f"{row} {seed}")

    def _train(self, row: str, seed: int) -> dict:
        # diffusers imports torchvision, whose compiled operators may not fit a CPU build of torch.
        define_torchvision_operators()
        options, width = self.options, row.removesuffix(LITERAL)
        if width.isdigit():
            base = random_base(int(width), options.levels, options.layers, options.side, seed, options.device)
            latents, tokens = random_material(options.side, seed)
        else:
            base, latents, tokens = trained_base(Path(row), seed, options.device)
        channels = channels_to_train(base.sites, self.adapter_config.blocks, self.adapter_config.place)
        config = TrainConfig(steps=options.steps, learning_rate=options.learning_rate, seed=seed)
        with to_the_letter() if row.endswith(LITERAL) else nullcontext():
            found = train_once(base, latents, tokens, self.adapter_config, config)
        sizes = [*channels.values()] or [0]
        return {"blocks": len(channels), "narrowest": min(sizes), "widest": max(sizes), **found}


# -- the page ----------------------------------------------------------------------------------


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


def table(summaries: list[dict]) -> Table:
    """Losses as mean (smallest to largest) over the seeds."""
    steps = next((list(one["curve"]) for one in summaries if one["curve"]), [])
    head = [
        "UNet, model_channels",
        "channels of CFun",
        "seeds",
        "non-finite steps",
        *(f"step {step}" for step in steps),
    ]
    rows = []
    for one in summaries:
        cells = [f"{mean:.3f} ({low:.3f} to {high:.3f})" for mean, low, high in one["curve"].values()]
        cells += [f"ended, loss up to {one['largest_loss']:.3g}"] * (len(steps) - len(cells))
        widths = f"{one['narrowest']} to {one['widest']}, {one['blocks']} blocks"
        rows.append([title(one["row"]), widths, str(one["seeds"]), str(one["non_finite_steps"]), *cells])
    return Table(head, rows)


def page(summaries: list[dict], options: argparse.Namespace) -> str:
    """The text of docs/stability.md."""
    return render(
        "stability.md",
        options=options,
        weights=[said_of(base) for base in options.bases],
        table=table(summaries),
        worst=max((high / low if low > 0 else float("inf") for low, high in falls(summaries).values()), default=0.0),
        limit=ALIKE,
        alike=alike(summaries),
        ended=[(title(one["row"]), error) for one in summaries for error in one["errors"]],
    )


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--widths", type=int, nargs="*", default=[64, 128, 320], help="model_channels (64 128 320)")
    add("--bases", type=Path, nargs="*", default=[ROOT / "base"], help="trained ones (the demo base)")
    add("--literal", type=int, nargs="*", default=[320], help="widths tried with eq. 3 to the letter (320)")
    add("--levels", type=int, default=3, choices=(2, 3, 4), help="levels of the random UNets (%(default)s)")
    add("--layers", type=int, default=1, help="ResBlocks a level in their encoder (%(default)s)")
    add("--steps", type=int, default=200, help="optimizer steps a training (%(default)s)")
    add("--seeds", type=int, default=5, help="trainings a width or base (%(default)s)")
    add("--learning-rate", type=float, default=TrainConfig.learning_rate, help="step size (%(default)g)")
    add("--side", type=int, default=8, help="side of the latents of random UNets (%(default)s)")
    add("--device", default="cpu", help="torch device (%(default)s)")
    add("--workers", type=int, default=1, help="processes at once, one thread and one core each if more than one (1)")
    add("--minutes", type=float, default=0.0, help="stop between two trainings after so long (0 is never)")
    add("--out", type=Path, default=OUT, help="where finished trainings are kept (%(default)s)")
    add("--docs", type=Path, default=ROOT / "docs", help="folder of the page (docs)")
    for name in KINDS:
        option, default = options_of(AdapterConfig)[name], getattr(AdapterConfig, name)
        add(f"--{name.replace('_', '-')}", choices=option.choices, default=default, help="(%(default)s)")
    options = parser.parse_args(arguments)
    options.command = command("stability", sys.argv[1:] if arguments is None else arguments)
    return options


def main(arguments: list[str] | None = None) -> int:
    options, rows = parse(arguments), {}
    work = Trainings(options)
    go_on(work, options.workers, options.minutes)
    for run in filter(None, map(work.kept, work.cells())):
        rows.setdefault(run["row"], []).append(run)
    summaries = [summary(row, runs) for row, runs in rows.items()]
    for one in summaries:
        print(json.dumps({**work.kind, "steps": options.steps, **one}), flush=True)
    if all(map(work.kept, work.cells())):
        (options.docs / "stability.md").write_text(page(summaries, options), encoding="utf-8")
    return int(any(one["non_finite_steps"] for one in summaries if not one["row"].endswith(LITERAL)))


if __name__ == "__main__":
    sys.exit(main())
