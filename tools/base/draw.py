"""Draw the samples that the report judges: some at a time, kept in the run folder, by as many processes as `--workers` says.

    python -m tools.base.draw --run FOLDER [--workers 2]

Parts that are there are not drawn again, so that a killed report goes on where it was. The folder is named after the weights
and the sampler's settings: pictures of another base are never taken for this one's.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderTiny, UNet2DConditionModel
from PIL import Image
from transformers import CLIPTextModelWithProjection, CLIPVisionModelWithProjection

from tools.base_key import base_key

from .common import Team, arguments, launch
from .sampling import REPORT_GRID, contexts, sample
from .tokenizer import CLIPTokenizer

SAMPLES = int(os.environ.get("BASE_REPORT_SAMPLES", 256))
PART = 16
"""Pictures that share a seed and a file."""


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


def part_files(args) -> list[Path]:
    """One PNG for each part of SAMPLES, PART pictures side by side: whole ones, so that they serve any number of samples."""
    cfg = args.cfg
    key = base_key(args.export, f"{cfg.image_size} {cfg.sample.steps} {cfg.sample.cfg} {cfg.seed}")
    return [args.run / "samples" / key / f"{start:04d}.png" for start in range(0, SAMPLES, PART)]


def draw(args, team: Team) -> None:
    """This process's share of the missing parts."""
    missing = [path for path in part_files(args) if not path.exists()][team.rank :: team.count]
    if not missing:
        return
    cfg, parts = args.cfg, exported(args.export)
    tokenizer = CLIPTokenizer.from_pretrained(args.export / "tokenizer")
    for path in missing:
        start = int(path.stem)
        texts = [REPORT_GRID[k % len(REPORT_GRID)].text for k in range(start, start + PART)]
        context = contexts(parts["text_encoder"], tokenizer, [*texts, ""])
        size, settings = cfg.image_size // 8, (cfg.sample.steps, cfg.sample.cfg, cfg.seed + start)
        pictures = decode(parts["vae"], sample(parts["unet"], context[:-1], context[-1:], size, *settings))
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_suffix(".partial")
        Image.fromarray(np.concatenate(pictures, axis=1)).save(temporary, "png")
        temporary.replace(path)
        print(f"draw: samples {start} to {start + PART} of {SAMPLES}", file=sys.stderr, flush=True)


def drawn(args) -> np.ndarray:
    """SAMPLES pictures over the caption grid, seeds fixed: uint8 [n, size, size, 3]; missing ones are drawn first."""
    launch(draw, args)
    rows = [np.asarray(Image.open(path)) for path in part_files(args)]
    return np.concatenate([np.stack(np.split(row, PART, axis=1)) for row in rows])[:SAMPLES]


if __name__ == "__main__":
    launch(draw, arguments(__doc__))
