"""One learning rate for every width: train on random UNets from narrow to Stable Diffusion's own, and on a trained base.

    python -m tools.stability                      what docs/stability.md shows; minutes to hours, on a CPU
    python -m tools.stability --widths 64 --seeds 1 --bases --literal

Each width, base and seed is a training of its own, kept in ``out/stability`` and not made again: a run that was stopped goes
on where it was. Prints one JSON line a width or base with the steps whose loss or gradient was not finite, and writes the page
when ``--page`` names it. Random weights say nothing about pictures; they do show a blow-up, because that is a matter of widths
and step sizes. As a check of the check, widths named by ``--literal`` are trained once more with eq. 3 to the letter.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

import torch

from acfun_core.config import AdapterConfig, TrainConfig
from acfun_core.diffusion.schedule import NoiseSchedule
from acfun_core.errors import ACFunError
from acfun_core.host import Base
from acfun_core.method.cfun import CFun, channel_sigma
from acfun_core.options import options_of
from acfun_core.training.alignment_loss import measure_adapter
from acfun_core.training.loop import StepReport, train_adapter
from acfun_core.training.material import encode_pair
from acfun_core.unet.blocks import channels_to_train, find_sites
from tools import stability_page
from tools.base_key import base_key
from tools.comfy.launcher import define_torchvision_operators

ROOT = Path(__file__).resolve().parent.parent
OUT = ROOT / "out" / "stability"
DESCRIPTION = "a painting of a woman in S* style"
FACE = ROOT / "pictures" / "face_astronaut.png"
STYLES = [ROOT / "pictures" / name for name in ("style_woodblock.png", "style_oil.jpg", "style_pop.png")]
TEXT_WIDTH, IMAGE_WIDTH, TOKENS, STYLE_TOKENS = 768, 1024, 77, 64
LOOKS = 4
"""How often a training is measured, the last time at its end."""
KINDS = ("form", "stats", "place", "abstract_mode", "blocks")


class RandomText:
    """A text side of Stable Diffusion's sizes: fixed words, mixed causally, S* in the middle."""

    position = 9

    def __init__(self, seed: int, device: torch.device):
        generator = torch.Generator().manual_seed(seed)
        self.words = (0.02 * torch.randn(TOKENS, TEXT_WIDTH, generator=generator)).to(device)
        self.mix = (torch.randn(TEXT_WIDTH, TEXT_WIDTH, generator=generator) / TEXT_WIDTH**0.5).to(device)
        self.initial_row = self.words[self.position].cpu()

    def encode(self, row: torch.Tensor) -> torch.Tensor:
        """(width,) -> (1, T, width)."""
        words = torch.cat([self.words[: self.position], row[None], self.words[self.position + 1 :]])
        history = words.cumsum(dim=0) / torch.arange(1, TOKENS + 1, device=row.device)[:, None]
        return torch.nn.functional.layer_norm(words + history @ self.mix, (TEXT_WIDTH,))[None]


def random_base(channels: int, options: argparse.Namespace, seed: int) -> Base:
    """A random UNet in Stable Diffusion 1.x layout: ``levels`` of its four, each ``layers`` ResBlocks deep, no middle block."""
    from diffusers import UNet2DConditionModel

    device = torch.device(options.device)
    widths = [channels * factor for factor in (1, 2, 4, 4)[: options.levels]]
    torch.manual_seed(seed)
    unet = UNet2DConditionModel(
        sample_size=options.side,
        layers_per_block=options.layers,
        block_out_channels=widths,
        cross_attention_dim=TEXT_WIDTH,
        attention_head_dim=8,
        down_block_types=["CrossAttnDownBlock2D"] * (options.levels - 1) + ["DownBlock2D"],
        # The middle block carries no CFun by default, and would be a third of the time.
        mid_block_type=None,
        up_block_types=["UpBlock2D"] + ["CrossAttnUpBlock2D"] * (options.levels - 1),
    )
    unet = unet.eval().requires_grad_(False).to(device, memory_format=torch.channels_last)
    return Base(
        lambda z, t, context: unet(z, t, context).sample,
        find_sites(unet),
        RandomText(seed, device),
        NoiseSchedule.stable_diffusion(),
        device,
    )


def random_material(side: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Latents (2, 4, side, side) and style tokens (N, width)."""
    generator = torch.Generator().manual_seed(seed)
    latents = torch.randn(2, 4, side, side, generator=generator)
    return latents, torch.randn(STYLE_TOKENS, IMAGE_WIDTH, generator=generator)


def trained_base(folder: Path, seed: int, device: str) -> tuple[Base, torch.Tensor, torch.Tensor]:
    """A base from files with latents and style tokens of the example pictures; each seed takes the next style."""
    from acfun_core.backends.pictures import read_picture
    from acfun_core.backends.stable_diffusion import StableDiffusion

    base = StableDiffusion.load(folder, device=device)
    style, face = read_picture(STYLES[seed % len(STYLES)], "style picture"), read_picture(FACE, "face photo")
    latents = encode_pair(base.encode, style, face, base.native_side)
    return base.core_base(DESCRIPTION), latents, base.style_tokens(style)


@contextmanager
def to_the_letter() -> Iterator[None]:
    """Eq. 3 with sigma as it is: not normalised, the maps not scaled by their width."""

    def delta(self: CFun, h: torch.Tensor) -> torch.Tensor:
        sigma = channel_sigma(h)
        gamma, beta = self.gamma(sigma), self.beta(sigma)
        return gamma[:, :, None, None] * h + beta[:, :, None, None]

    ours, CFun.delta = CFun.delta, delta
    try:
        yield
    finally:
        CFun.delta = ours


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

    started, cpu = time.time(), time.process_time()
    try:
        record = train_adapter(base, latents, tokens, adapter_config, config, look).record
    except ACFunError as error:
        return {"non_finite": 1, "error": error.what, "curve": {}, "largest_loss": round(largest, 4)}
    losses[config.steps] = weighted(record.after)
    return {
        "non_finite": record.skipped_steps,
        "ratios": [round(after / before, 4) for before, after in zip(record.before, record.after)],
        "curve": {str(step): round(loss / weighted(record.before), 4) for step, loss in losses.items()},
        "largest_loss": round(largest, 4),
        "seconds": round(time.time() - started, 1),
        "cpu_seconds": round(time.process_time() - cpu, 1),
    }


class Work:
    """Trains what is not there yet."""

    def __init__(self, options: argparse.Namespace):
        self.options = options
        self.kind = {name: getattr(options, name) for name in KINDS}
        self.adapter_config = AdapterConfig(DESCRIPTION, **self.kind)
        other = [f"{name}-{value}" for name, value in self.kind.items() if value != getattr(AdapterConfig, name)]
        settings = f"levels{options.levels}_layers{options.layers}_side{options.side}_steps{options.steps}"
        self.folder = options.out / "_".join([settings, f"lr{options.learning_rate:g}", *other])
        self.folder.mkdir(parents=True, exist_ok=True)
        # diffusers imports torchvision, whose compiled operators may not fit a CPU build of torch.
        define_torchvision_operators()

    def jobs(self) -> list[tuple[str, int]]:
        """(row, seed) of every training, seed by seed: a run that ends early has all widths alike."""
        options = self.options
        widths = [(str(width), seed) for seed in range(options.seeds) for width in options.widths]
        bases = [(str(base), seed) for base in options.bases for seed in range(options.seeds)]
        return [*widths, *bases, *((f"{width}-literal", 0) for width in options.literal)]

    def file(self, row: str, seed: int) -> Path:
        """A trained base is known by its weights: another one in the same folder is trained anew."""
        name = f"{Path(row).name}-{base_key(Path(row))}" if Path(row).is_dir() else row
        return self.folder / f"{name}-{seed}.json"

    def run(self, row: str, seed: int) -> dict:
        """Trained now, or read from an earlier run."""
        path = self.file(row, seed)
        if not path.exists():
            partial = path.with_suffix(".partial")
            partial.write_text(json.dumps({"row": Path(row).name, "seed": seed, **self.train(row, seed)}))
            partial.replace(path)
        return json.loads(path.read_text())

    def train(self, row: str, seed: int) -> dict:
        options = self.options
        width = row.removesuffix("-literal")
        if width.isdigit():
            base = random_base(int(width), options, seed)
            latents, tokens = random_material(options.side, seed)
        else:
            base, latents, tokens = trained_base(Path(row), seed, options.device)
        channels = channels_to_train(base.sites, self.adapter_config.blocks, self.adapter_config.place)
        config = TrainConfig(steps=options.steps, learning_rate=options.learning_rate, seed=seed)
        with to_the_letter() if row.endswith("-literal") else nullcontext():
            found = train_once(base, latents, tokens, self.adapter_config, config)
        sizes = [*channels.values()] or [0]
        return {"blocks": len(channels), "narrowest": min(sizes), "widest": max(sizes), **found}


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--widths", type=int, nargs="*", default=[64, 128, 320], help="model_channels (64 128 320)")
    parser.add_argument("--bases", type=Path, nargs="*", default=[ROOT / "base"], help="trained ones (the demo base)")
    parser.add_argument(
        "--literal", type=int, nargs="*", default=[320], help="widths tried with eq. 3 to the letter (320)"
    )
    parser.add_argument("--levels", type=int, default=3, choices=(2, 3, 4), help="levels of the random UNets (3)")
    parser.add_argument("--layers", type=int, default=1, help="ResBlocks a level in their encoder (1)")
    parser.add_argument("--steps", type=int, default=200, help="optimizer steps a training (200)")
    parser.add_argument("--seeds", type=int, default=5, help="trainings a width or base (5)")
    parser.add_argument("--learning-rate", type=float, default=TrainConfig.learning_rate, help="step size (0.0001)")
    parser.add_argument("--side", type=int, default=8, help="side of the latents of random UNets (8)")
    parser.add_argument("--device", default="cpu", help="torch device (cpu)")
    parser.add_argument("--out", type=Path, default=OUT, help="where finished trainings are kept (out/stability)")
    parser.add_argument("--page", type=Path, help="write this page, such as docs/stability.md")
    for name in KINDS:
        option, default = options_of(AdapterConfig)[name], getattr(AdapterConfig, name)
        parser.add_argument(f"--{name.replace('_', '-')}", choices=option.choices, default=default, help=f"({default})")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    options = parse(arguments)
    work, rows = Work(options), {}
    for row, seed in work.jobs():
        run = work.run(row, seed)
        rows.setdefault(run["row"], []).append(run)
        print(f"{run['row']}, seed {seed}: {run.get('error') or run['curve']}", file=sys.stderr, flush=True)
    summaries = [stability_page.summary(row, runs) for row, runs in rows.items()]
    for one in summaries:
        print(json.dumps({**work.kind, "steps": options.steps, **one}), flush=True)
    if options.page:
        options.page.write_text(stability_page.page(summaries, options), encoding="utf-8")
    return int(any(one["non_finite_steps"] for one in summaries if not one["row"].endswith("-literal")))


if __name__ == "__main__":
    sys.exit(main())
