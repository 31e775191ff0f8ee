"""Draw the samples that the report judges: some at a time, kept in the run folder, by as many processes as `--workers` says.

    python -m tools.base.draw --run FOLDER [--workers 2] [--samples 256]

Settings are `sample` in config.json: the first `standard` samples take `steps`, the rest, which only widen the measures that
need many, `further_steps`. Parts that are there are not drawn again, so that a killed report goes on where it was. Each lies in
a folder named after the weights and the sampler's settings: pictures of another base are never taken for this one's.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderTiny, UNet2DConditionModel
from PIL import Image
from transformers import CLIPTextModelWithProjection, CLIPVisionModelWithProjection

from tools.base_key import base_key

from .common import Team, arguments, launch
from .sampling import asked, contexts, sample
from .tokenizer import CLIPTokenizer

PART = 16
"""Pictures that share a seed and a file."""
OPTIONS = {"--samples": {"type": int, "help": "how many pictures to draw; as many as the copies need where not given"}}


def exported(folder: Path) -> dict:
    """The exported networks in single precision."""
    classes = {
        "vae": AutoencoderTiny,
        "unet": UNet2DConditionModel,
        "text_encoder": CLIPTextModelWithProjection,
        "image_encoder": CLIPVisionModelWithProjection,
    }
    return {
        name: kind.from_pretrained(folder / name, torch_dtype=torch.float32).eval().requires_grad_(False)
        for name, kind in classes.items()
    }


def decode(vae, z: torch.Tensor) -> np.ndarray:
    """Latents [n, 4, s, s] -> pictures uint8 [n, 8 s, 8 s, 3]."""
    x = torch.cat([vae.decode(v).sample for v in z.split(4)]).clamp(-1, 1)
    return x.add(1).mul(127.5).round().byte().permute(0, 2, 3, 1).numpy()


@dataclass(frozen=True)
class Part:
    """Samples `start` to `start + PART`: one PNG, side by side; whole parts, so that they serve any number of samples."""

    start: int
    steps: int
    path: Path


def native_side(export: Path) -> int:
    """Side of the latents that the exported UNet was trained on."""
    return json.loads((export / "unet" / "config.json").read_text())["sample_size"]


def parts_of(args) -> list[Part]:
    """The parts that hold the samples asked for, the standard ones first."""
    cfg, side, parts = args.cfg.sample, native_side(args.export), []
    for start in range(0, count(args), PART):
        steps = cfg.steps if start < cfg.standard else cfg.further_steps
        key = base_key(args.export, f"{side} {steps} {cfg.cfg} {args.cfg.seed}")
        parts.append(Part(start, steps, args.run / "samples" / key / f"{start:04d}.png"))
    return parts


def count(args) -> int:
    return args.samples or args.cfg.sample.standard + args.cfg.sample.further


def draw(args, team: Team) -> None:
    """This process's share of the missing parts."""
    missing = [part for part in parts_of(args) if not part.path.exists()][team.rank :: team.count]
    if not missing:
        return
    cfg, networks = args.cfg, exported(args.export)
    tokenizer, side = CLIPTokenizer.from_pretrained(args.export / "tokenizer"), native_side(args.export)
    for part in missing:
        texts = [wanted.text for wanted in asked(part.start + PART)[part.start :]]
        context = contexts(networks["text_encoder"], tokenizer, [*texts, ""])
        settings = (side, part.steps, cfg.sample.cfg, cfg.seed + part.start)
        keep(part.path, decode(networks["vae"], sample(networks["unet"], context[:-1], context[-1:], *settings)))
        print(f"draw: samples {part.start} to {part.start + PART} of {count(args)}", file=sys.stderr, flush=True)


def keep(path: Path, pictures: np.ndarray) -> None:
    """Write pictures uint8 [n, s, s, 3] side by side as one PNG, under a temporary name first."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".partial")
    Image.fromarray(np.concatenate(pictures, axis=1)).save(temporary, "png")
    temporary.replace(path)


def kept(path: Path) -> np.ndarray:
    """The pictures that :func:`keep` wrote."""
    row = np.asarray(Image.open(path))
    return np.stack(np.split(row, row.shape[1] // row.shape[0], axis=1))


def drawn(args) -> np.ndarray:
    """The samples over the caption grid, seeds fixed: uint8 [n, size, size, 3]; missing ones are drawn first."""
    launch(draw, args)
    return np.concatenate([kept(part.path) for part in parts_of(args)])[: count(args)]


if __name__ == "__main__":
    launch(draw, arguments(__doc__, OPTIONS))
