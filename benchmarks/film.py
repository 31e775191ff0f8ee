"""How calm a film is that was drawn frame by frame: what changes in a drawn picture beside what moved in the film.

    python -m benchmarks.film      docs/film.md and docs/film.jpg

The film is made of the example photo: the head turns, comes nearer and moves aside, and each frame has its own grain, as a
camera's has. Prints one line of JSON a way of drawing; what is drawn is kept in ``--out`` and not drawn again.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import sys
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import torch
from PIL import Image
from torch import Tensor

from acfun_core.backends.pictures import read_picture, to_pil
from acfun_core.backends.transferring import Transfer
from acfun_core.config import TransferConfig
from acfun_core.demo_base import DEMO_BASE, NATIVE_SIDE
from acfun_core.faces.crop import CLOSE_UP, EYE_CENTRE, EYE_DISTANCE
from acfun_core.presets import PRESETS
from acfun_core.transfer.references import References
from tools.base_key import base_key, said_of
from tools.contact_sheet import picture_grid

from .drawing import command
from .pages import Table, render
from .workbench import ROOT, Settings, Workbench

OUT, PAGE, SHEET = ROOT / "out" / "film", ROOT / "docs" / "film.md", ROOT / "docs" / "film.jpg"
FRAMES, STEPS = 6, 40
TEXT = "a woodcut print of a woman"
GRAIN = 2.0
"""Standard deviation of a frame's own noise, of 255."""
TURN, NEARER, ASIDE, DOWN = 2.0, 0.02, 3.0, 1.5
"""From frame to frame: degrees at most, share, and pixels."""
AGREES = 1.0
"""Pixels: where the flow there and back misses its start by more, a place was covered or uncovered and does not count."""
DENOISE = 0.6


def film(photo: np.ndarray, frames: int = FRAMES, side: int = NATIVE_SIDE) -> np.ndarray:
    """Frames uint8 [n, side, side, 3] of a head that moves, cut close as **Crop Face** does it."""
    chance, made = np.random.default_rng(0), []
    centre = np.array(EYE_CENTRE)
    eyes, scale = centre * photo.shape[1::-1], side / photo.shape[1] * CLOSE_UP / EYE_DISTANCE
    for at in range(frames):
        moved = cv2.getRotationMatrix2D(eyes, TURN * math.sin(0.6 * at), scale * (1 + NEARER * at))
        moved[:, 2] += centre * side - eyes + np.array([ASIDE, DOWN]) * (at - frames / 2)
        frame = cv2.warpAffine(photo, moved, (side, side), flags=cv2.INTER_AREA, borderMode=cv2.BORDER_REPLICATE)
        made.append(np.clip(frame + chance.normal(0, GRAIN, frame.shape), 0, 255).round().astype(np.uint8))
    return np.stack(made)


def flicker(drawn: np.ndarray, source: np.ndarray) -> float:
    """Mean difference of a drawn frame to the next one led back along the film's own motion, in hundredths of the range.

    Args:
        drawn, source: uint8 [n, h, w, 3]; the motion is that of ``source`` (DIS optical flow), where there and back agree.
    """
    flow = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    grey = [cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in source]
    height, width = grey[0].shape
    rows, columns = np.mgrid[:height, :width].astype(np.float32)
    errors = []
    for here, there in zip(range(len(grey) - 1), range(1, len(grey))):
        forth, back = flow.calc(grey[here], grey[there], None), flow.calc(grey[there], grey[here], None)
        x, y = columns + forth[..., 0], rows + forth[..., 1]
        returned = forth + cv2.remap(back, x, y, cv2.INTER_LINEAR)
        seen = (np.linalg.norm(returned, axis=-1) < AGREES) & (x >= 0) & (x < width - 1) & (y >= 0) & (y < height - 1)
        led = cv2.remap(drawn[there].astype(np.float32), x, y, cv2.INTER_LINEAR)
        errors.append(np.abs(led - drawn[here]).mean(-1)[seen].mean())
    return 100 / 255 * float(np.mean(errors))


class Ways:
    """The ways to draw the frames. Each gives pictures (n, side, side, 3), values 0-1."""

    def __init__(self, frames: np.ndarray, style: Tensor):
        self.bench, self.style = Workbench(Settings(sampler_steps=STEPS)), style
        self.clip = torch.from_numpy(frames.astype(np.float32) / 255)
        self._references: References | None = None

    def named(self) -> dict[str, Callable[[], Tensor]]:
        """What it is -> the drawing."""
        instant = PRESETS["instant"].transfer
        return {
            "the film itself, through the VAE": lambda: self.bench.base.decode(self.bench.base.encode(self.clip)),
            "img2img 0.6, a noise for each frame": lambda: self.redrawn(range(len(self.clip))),
            "img2img 0.6, one noise for all": lambda: self.redrawn([0] * len(self.clip)),
            "`instant`, from each frame's own noise": lambda: self.beside(instant),
            "`instant`, calm 0.5": lambda: self.beside(replace(instant, calm=0.5)),
            "`instant` without branch and latent swap": lambda: self.beside(replace(instant, branch=0.0, latent=0.0)),
        }

    def redrawn(self, seeds: Iterable[int]) -> Tensor:
        """Noised to a share of the schedule and drawn again, as KSampler does it with ``denoise``."""
        text, latents = self.bench.text(TEXT), self.bench.base.encode(self.clip)
        drawn = [self.bench.draw(text, seed, latent[None], DENOISE) for seed, latent in zip(seeds, latents)]
        return torch.stack(drawn)

    def beside(self, config: TransferConfig) -> Tensor:
        """From the noise that each frame itself comes from, beside the style picture."""
        base = self.bench.base
        if self._references is None:
            self._references = base.references(self.clip, self.style, STEPS)
        transfer = Transfer(self._references, config)
        return base.decode(base.sample(TEXT, steps=STEPS, cfg=1.0, batch=len(self.clip), transfer=transfer))


def drawn(name: str, ways: Ways, draw: Callable[[], Tensor], out: Path) -> np.ndarray:
    """The frames that a way gives, uint8, kept side by side in one PNG named after all that decides them."""
    pixels = hashlib.sha256(ways.clip.numpy().tobytes() + ways.style.numpy().tobytes()).hexdigest()
    key = base_key(DEMO_BASE, name, TEXT, str(STEPS), str(DENOISE), repr(PRESETS["instant"]), pixels)
    path = out / f"{key}.png"
    if not path.exists():
        out.mkdir(parents=True, exist_ok=True)
        pictures = [np.asarray(to_pil(picture)) for picture in draw()]
        Image.fromarray(np.concatenate(pictures, axis=1)).save(path)
    row = np.asarray(Image.open(path))
    return np.stack(np.split(row, FRAMES, axis=1))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=OUT, help="where drawn frames are kept (default: out/film)")
    options = parser.parse_args()
    torch.set_num_threads(1)
    frames = film(np.asarray(Image.open(ROOT / "pictures" / "face_astronaut.png").convert("RGB")))
    ways = Ways(frames, read_picture(ROOT / "pictures" / "style_woodblock.png", "style picture"))
    rows, shown = [["the film itself", f"{flicker(frames, frames):.1f}", ""]], [("the film itself", frames)]
    for name, draw in ways.named().items():
        pictures = drawn(name, ways, draw, options.out)
        shown.append((name, pictures))
        rows.append([name, flicker(pictures, frames)])
        print(json.dumps({"way": name, "flicker": round(rows[-1][1], 2)}), flush=True)
    worst = max(row[1] for row in rows[1:])
    rows[1:] = [[name, f"{value:.1f}", f"{value / worst:.2f}"] for name, value in rows[1:]]
    picture_grid([(name.replace("`", ""), [Image.fromarray(p) for p in pictures]) for name, pictures in shown]).save(
        SHEET, quality=88
    )
    told = {"table": str(Table(["how it was drawn", "flicker", "of the most"], rows)), "frames": FRAMES, "steps": STEPS}
    PAGE.write_text(render("film.md", command=command("film", sys.argv[1:]), weights=said_of(DEMO_BASE), **told))
    return 0


if __name__ == "__main__":
    sys.exit(main())
