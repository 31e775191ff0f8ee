"""The base a command works on: where its files are, on which device, in which precision."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import torch

from ..demo_base import DEMO_BASE
from ..errors import ACFunError
from ..method.adapter import PREDICTIONS

DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


def add_base(parser: argparse.ArgumentParser, training: bool) -> None:
    group = parser.add_argument_group("base")
    group.add_argument(
        "--base",
        type=Path,
        metavar="PATH",
        help="a diffusers folder of Stable Diffusion 1.x, or a single-file checkpoint (.safetensors); the default is the small "
        "demo base that comes with the repository",
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
        choices=tuple(DTYPES),
        default="float32",
        help="precision of the UNet; float16 halves its memory on a GPU (default: float32)",
    )


def pick_device(name: str) -> torch.device:
    """The device of ``--device``.

    Raises:
        ACFunError: torch does not know it or cannot use it here.
    """
    if name == "auto":
        mps = getattr(torch.backends, "mps", None)
        return torch.device("cuda" if torch.cuda.is_available() else "mps" if mps and mps.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    # Which of these a missing device raises depends on the build of torch.
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise ACFunError(
            f"The device {name!r} cannot be used: {str(error).splitlines()[0]}.",
            "auto, cpu, cuda or mps",
            "use --device cpu",
        ) from error
    return device


def load_base(arguments: argparse.Namespace):
    """The base of the command line, as :class:`~acfun_core.backends.stable_diffusion.StableDiffusion`."""
    path = arguments.base
    if path is None:
        path = DEMO_BASE
        if not (path / "unet").is_dir():
            raise ACFunError(
                "No base was named, and there is no demo base beside this package.",
                "a Stable Diffusion 1.x diffusers folder or checkpoint",
                "add --base PATH",
            )
    device = pick_device(arguments.device)
    _keep_libraries_quiet()
    from ..backends.scheduler import Told
    from ..backends.stable_diffusion import StableDiffusion

    told = Told(arguments.prediction, arguments.zero_snr)
    return StableDiffusion.load(
        path, getattr(arguments, "clip_vision", None), arguments.tokenizer, device, DTYPES[arguments.dtype], told
    )


def _keep_libraries_quiet() -> None:
    """No model hub, and only errors: standard error belongs to the progress bar."""
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    os.environ.setdefault("DIFFUSERS_VERBOSITY", "error")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
