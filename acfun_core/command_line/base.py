"""The base a command works on: where its files are, on which device, in which precision."""

from __future__ import annotations

import argparse
from pathlib import Path

from ..backends.chosen import AUTO, DTYPES, ChosenBase
from ..method.adapter import PREDICTIONS


def add_base(parser: argparse.ArgumentParser, training: bool) -> None:
    group = parser.add_argument_group("base")
    group.add_argument(
        "--base",
        type=Path,
        metavar="PATH",
        help="a diffusers folder of Stable Diffusion 1.x, 2.x or SDXL, or a single-file checkpoint (.safetensors); the default "
        "is the small demo base that comes with the repository",
    )
    if training:
        group.add_argument(
            "--clip-vision",
            type=Path,
            metavar="PATH",
            help="CLIP vision that reads the style picture: a transformers folder or a .safetensors file (ViT-L/14 or "
            "ViT-H/14); needed unless the base folder has an image_encoder in it",
        )
    group.add_argument(
        "--tokenizer",
        type=Path,
        metavar="FOLDER",
        help="folder with vocab.json and merges.txt; needed with a single-file checkpoint, which does not hold them",
    )
    group.add_argument(
        "--prediction",
        choices=tuple(PREDICTIONS),
        help="what the base predicts, the noise (epsilon) or the velocity (v), where its files do not say it: single-file "
        "checkpoints often do not (default: what the files say, epsilon if nothing)",
    )
    group.add_argument(
        "--zero-snr", action="store_true", help="the base's noise schedule ends at pure noise; with --prediction v"
    )
    group.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, mps (default: auto)")
    group.add_argument(
        "--dtype",
        choices=(AUTO, *DTYPES),
        default=AUTO,
        help="precision of the UNet; in float16 of SDXL's text encoders, too, and on CUDA of all text encoders; auto: float16 "
        "on CUDA cards that are faster in it, else float32 (default: auto)",
    )


def chosen_base(arguments: argparse.Namespace) -> ChosenBase:
    """What the command line says of the base."""
    return ChosenBase(
        arguments.base,
        getattr(arguments, "clip_vision", None),
        arguments.tokenizer,
        arguments.prediction,
        arguments.zero_snr,
        arguments.device,
        arguments.dtype,
    )


def load_base(arguments: argparse.Namespace):
    """The base of the command line, as :class:`~acfun_core.backends.stable_diffusion.StableDiffusion`."""
    return chosen_base(arguments).load()
