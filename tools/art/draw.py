"""Draws every example picture: `python -m tools.art.draw [--out pictures] [--size 512] [--seed 7] [--only oil ...]`."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from PIL import Image

from .align import astronaut
from .brush import oil
from .cartoon import cartoon
from .cubist import cubist
from .engraving import engraving
from .field import shrink
from .glass import glass
from .prints import pop, woodblock

STYLES = {
    "woodblock": woodblock,
    "oil": oil,
    "glass": glass,
    "pop": pop,
    "engraving": engraving,
    "cubist": cubist,
    "cartoon": cartoon,
}
FLAT = {"woodblock", "pop", "cartoon", "astronaut"}  # small enough without loss; the others are JPEG


def _path(folder: Path, kind: str, name: str) -> Path:
    return folder / f"{kind}_{name}.{'png' if name in FLAT else 'jpg'}"


def save(picture: np.ndarray, path: Path) -> None:
    options = {"optimize": True} if path.suffix == ".png" else {"quality": 92, "subsampling": 0}
    Image.fromarray(picture).save(path, **options)
    print(f"{path}  {path.stat().st_size / 1000:.0f} kB")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("pictures"))
    parser.add_argument("--size", type=int, default=512, help="pixels of a side")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--only", nargs="*", choices=[*STYLES, "astronaut"], help="draw these alone")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    for name in args.only or [*STYLES, "astronaut"]:
        if name == "astronaut":
            save(astronaut(args.size), _path(args.out, "face", name))
        else:  # drawn at twice the size, then averaged down
            save(shrink(STYLES[name](2 * args.size, args.seed), args.size), _path(args.out, "style", name))


if __name__ == "__main__":
    main()
