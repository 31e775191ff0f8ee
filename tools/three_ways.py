"""The README's first picture: three faces in three styles, each drawn in the pack's three ways.

Usage: ``python -m tools.three_ways`` (a quarter of an hour of one core); stopped at any moment, it goes on where it was.
All portraits are first ones: seed 0, none chosen among several. They are a batch (``out/three_ways``); the sheet is
``docs/three_ways.jpg``.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch
from PIL import Image, ImageDraw, ImageFont

from acfun_core.__main__ import main as acfun
from acfun_core.backends.pictures import read_picture, to_pil
from acfun_core.demo_base import NATIVE_SIDE
from acfun_core.faces.crop import CLOSE_UP, crop_faces, landmarks_of_middle_square
from acfun_core.presets import PRESETS
from tools.batch.drawn import drawn_in
from tools.contact_sheet import INK, PAPER

REPO = Path(__file__).resolve().parents[1]
OUT, SHEET = REPO / "out" / "three_ways", REPO / "docs" / "three_ways.jpg"
FACES = {"astronaut.png": "woman", "london_man.jpg": "man", "london_woman.jpg": "woman"}
"""Example picture, without ``face_`` -> who is on it."""
STYLES = {"woodblock.png": "a woodcut print", "oil.jpg": "an oil painting", "engraving.jpg": "an ink engraving"}
"""Example picture, without ``style_`` -> the words for its medium, as *instant* is told them."""
WAYS = {"instant": "instant", "keep_person": "keep the person", "follow_text": "follow the text"}
"""Preset -> caption."""
CELL, GAP, BETWEEN, LINE = 158, 4, 14, 20
"""Of the sheet, in pixels: a picture's side, gaps between pictures and between styles, and the height of a caption."""


def close_up(name: str) -> Image.Image:
    """An example face cut to the head. All example faces have their eyes where the default crop puts them."""
    photo = read_picture(REPO / "pictures" / f"face_{name}", "face photo")
    landmarks = landmarks_of_middle_square(*photo.shape[1:3])[None]
    crops, _, _ = crop_faces(photo, landmarks, NATIVE_SIDE, CLOSE_UP)
    return to_pil(crops[0])


def rows() -> list[dict[str, str]]:
    """A plan's rows; each is named after its two pictures and its preset."""
    made = []
    for face, person in FACES.items():
        for style, words in STYLES.items():
            for preset in WAYS:
                row = {"style": str(REPO / "pictures" / f"style_{style}"), "face": f"{Path(face).stem}.png"}
                row |= {"preset": preset, "name": name_of(face, style, preset)}
                # What is learned stands in its own prompt; where words decide, they are those of the preset for all styles.
                told = {"instant": f"{words} of a person", "follow_text": PRESETS["follow_text"].prompt}
                made.append(row | ({"prompt": told[preset].replace("person", person)} if preset in told else {}))
    return made


def name_of(face: str, style: str, preset: str) -> str:
    return f"{Path(face).stem}-{Path(style).stem}-{preset}"


def sheet(photos: dict[str, Image.Image]) -> Image.Image:
    """A row for each face, behind it a block of the three ways for each style, with the style picture above the block."""
    step, block = CELL + GAP, len(WAYS) * (CELL + GAP) + BETWEEN
    page = Image.new("RGB", (CELL + BETWEEN + len(STYLES) * block, (1 + len(FACES)) * step + LINE), PAPER)
    draw, font = ImageDraw.Draw(page), ImageFont.load_default(13)

    def put(picture: Image.Image, left: int, top: int) -> None:
        page.paste(picture.convert("RGB").resize((CELL, CELL), Image.Resampling.LANCZOS), (left, top))

    first = CELL + LINE + GAP
    for row, photo in enumerate(photos.values()):
        put(photo, 0, first + row * step)
    for number, style in enumerate(STYLES):
        left = CELL + BETWEEN + number * block
        put(Image.open(REPO / "pictures" / f"style_{style}"), left + step, 0)
        for column, (preset, caption) in enumerate(WAYS.items()):
            across = left + column * step
            draw.text((across + CELL // 2, CELL + LINE // 2), caption, INK, font, anchor="mm")
            for row, face in enumerate(photos):
                put(drawn_in(OUT, name_of(face, style, preset)), across, first + row * step)
    return page


def main() -> int:
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args()
    torch.set_num_threads(1)
    OUT.mkdir(parents=True, exist_ok=True)
    photos = {face: close_up(face) for face in FACES}
    for face, photo in photos.items():
        photo.save(OUT / f"{Path(face).stem}.png")
    plan = OUT / "plan.yaml"
    plan.write_text(json.dumps(rows()), encoding="utf-8")
    ended = acfun(["batch", str(plan), "--out", str(OUT)])
    if ended == 0:
        sheet(photos).save(SHEET, quality=90)
        print(SHEET)
    return ended


if __name__ == "__main__":
    raise SystemExit(main())
