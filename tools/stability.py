"""One learning rate for every width: train on random UNets from narrow to Stable Diffusion's own, and print what happened.

    python -m tools.stability --widths 64 128 320 --steps 200 --seeds 5

Prints one JSON line a width: steps whose loss or gradient was not finite, and for each seed the ratio of both loss terms after
and before, on fixed timesteps and noises. Random weights say nothing about pictures; they do show a blow-up, because that is a
matter of widths and step sizes.
"""

from __future__ import annotations

import argparse
import json
import sys
import time

import torch

from acfun_core.blocks import channels_to_train, find_sites
from acfun_core.config import AdapterConfig, TrainConfig
from acfun_core.errors import ACFunError
from acfun_core.options import options_of
from acfun_core.schedule import NoiseSchedule
from acfun_core.training import Base, train_adapter
from tests.host.launcher import define_torchvision_operators

TEXT_WIDTH, IMAGE_WIDTH, TOKENS, STYLE_TOKENS = 768, 1024, 77, 64


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


def random_base(channels: int, levels: int, seed: int, device: torch.device) -> Base:
    """A random UNet in Stable Diffusion 1.x layout: ``levels`` of its four, each two ResBlocks deep."""
    define_torchvision_operators()
    from diffusers import UNet2DConditionModel

    widths = [channels * factor for factor in (1, 2, 4, 4)[:levels]]
    torch.manual_seed(seed)
    unet = UNet2DConditionModel(
        sample_size=16,
        layers_per_block=2,
        block_out_channels=widths,
        cross_attention_dim=TEXT_WIDTH,
        attention_head_dim=8,
        down_block_types=["CrossAttnDownBlock2D"] * (levels - 1) + ["DownBlock2D"],
        up_block_types=["UpBlock2D"] + ["CrossAttnUpBlock2D"] * (levels - 1),
    )
    unet = unet.eval().requires_grad_(False).to(device)
    return Base(
        lambda z, t, context: unet(z, t, context).sample,
        find_sites(unet),
        RandomText(seed, device),
        NoiseSchedule.stable_diffusion(),
        device,
    )


def train_once(base: Base, adapter_config: AdapterConfig, config: TrainConfig, side: int) -> dict:
    """One training -> non-finite steps, loss ratios after / before, smoothed loss at tenths of the way."""
    generator = torch.Generator().manual_seed(config.seed)
    latents = torch.randn(2, 4, side, side, generator=generator)
    tokens = torch.randn(STYLE_TOKENS, IMAGE_WIDTH, generator=generator)
    try:
        record = train_adapter(base, latents, tokens, adapter_config, config).record
    except ACFunError as error:
        return {"non_finite": 1, "error": error.what}
    both = [style + face for style, face in zip(record.style_loss, record.face_loss)]
    part = max(1, len(both) // 10)
    curve = [round(sum(both[i : i + part]) / len(both[i : i + part]), 4) for i in range(0, len(both), part)]
    ratios = [round(after / before, 4) for before, after in zip(record.before, record.after)]
    return {"non_finite": record.skipped_steps, "ratios": ratios, "largest_loss": round(max(both), 4), "curve": curve}


def measure(width: int, options: argparse.Namespace, adapter_config: AdapterConfig) -> dict:
    """All seeds of one width."""
    device = torch.device(options.device)
    started, runs, channels = time.time(), [], {}
    for seed in range(options.seeds):
        base = random_base(width, options.levels, seed, device)
        channels = channels_to_train(base.sites, adapter_config.blocks, adapter_config.place)
        config = TrainConfig(steps=options.steps, learning_rate=options.learning_rate, seed=seed)
        runs.append(train_once(base, adapter_config, config, options.side))
    ratios = [ratio for run in runs for ratio in run.get("ratios", ())]
    return {
        "model_channels": width,
        "widest": max(channels.values(), default=0),
        "blocks": len(channels),
        "steps": options.steps,
        "seeds": options.seeds,
        "non_finite_steps": sum(run["non_finite"] for run in runs),
        "ratio_smallest": min(ratios, default=None),
        "ratio_largest": max(ratios, default=None),
        "seconds": round(time.time() - started, 1),
        "runs": runs,
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--widths", type=int, nargs="+", default=[64, 128, 320], help="model_channels (64 128 320)")
    parser.add_argument("--levels", type=int, default=4, choices=(2, 3, 4), help="levels of the UNet (4)")
    parser.add_argument("--steps", type=int, default=200, help="optimizer steps a seed (200)")
    parser.add_argument("--seeds", type=int, default=5, help="seeds a width (5)")
    parser.add_argument("--learning-rate", type=float, default=TrainConfig.learning_rate, help="step size (0.0001)")
    parser.add_argument("--side", type=int, default=16, help="side of the latents (16)")
    parser.add_argument("--device", default="cpu", help="torch device (cpu)")
    for name in ("form", "stats", "place", "abstract_mode", "blocks"):
        option = options_of(AdapterConfig)[name]
        default = getattr(AdapterConfig, name)
        parser.add_argument(f"--{name.replace('_', '-')}", choices=option.choices, default=default, help=f"({default})")
    options = parser.parse_args()
    chosen = {name: getattr(options, name) for name in ("form", "stats", "place", "abstract_mode", "blocks")}
    failures = 0
    for width in options.widths:
        found = measure(width, options, AdapterConfig("a painting of a woman in S* style", **chosen))
        failures += found["non_finite_steps"]
        print(json.dumps({**chosen, **found}), flush=True)
    return int(failures > 0)


if __name__ == "__main__":
    sys.exit(main())
