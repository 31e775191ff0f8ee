"""Draw the pictures of the help pages that need no model: faces found, cut out, put back, split into parts, spliced, scored.

Usage: ``python -m tools.registry.help_pictures`` writes web/docs/pictures/, and web/face_regions.png: the regions of an
ordinary face, which the region widget shows until the node has seen one.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFilter, ImageFont, ImageOps
from torch import Tensor

from acfun_core.faces import crop as faces
from acfun_core.faces.landmarks import Similarity, warp
from acfun_core.faces.regions import REGIONS, map_picture, region_map
from acfun_core.faces.splice import splice_bands, splice_parts

REPO = Path(__file__).resolve().parents[2]
PICTURES, TARGET = REPO / "pictures", REPO / "web" / "docs" / "pictures"
ORDINARY_FACE, ORDINARY_SIDE = REPO / "web" / "face_regions.png", 128
SIDE, GAP, LABEL = 240, 10, 26
INK, PAPER, MARK = (235, 235, 235), (32, 34, 40), (40, 200, 90)
TILT, ZOOM = 16.0, 0.72
PARTS_SHOWN = {"eyes": (214, 93, 57), "nose": (46, 110, 172), "mouth": (200, 60, 120), "skin": (230, 190, 120)}
PARTS_SHOWN |= {"hair": (110, 80, 160), "background": (70, 110, 90)}

# Eye distance, eyes' middle, nose, mouth, mouth width: the first two in sides, the rest in eye distances from the middle.
FACES = {
    "face_astronaut.png": (0.218, (0.500, 0.430), (-0.02, 0.57), (-0.01, 0.95), 0.92),
    "style_oil.jpg": (0.153, (0.523, 0.428), (0.22, 0.70), (-0.10, 1.23), 0.85),
    "style_pop.png": (0.194, (0.510, 0.417), (0.06, 0.62), (0.04, 1.17), 0.80),
    "style_woodblock.png": (0.171, (0.503, 0.446), (-0.17, 0.65), (-0.16, 1.22), 0.73),
}


def load(name: str) -> Tensor:
    """(1, H, W, 3), values 0-1."""
    with Image.open(PICTURES / name) as file:
        return torch.from_numpy(np.asarray(file.convert("RGB"), dtype=np.float32) / 255)[None]


def landmarks_of(name: str, side: int = 512) -> Tensor:
    """(1, 5, 2) pixels."""
    distance, middle, nose, mouth, width = FACES[name]
    shape = [(-0.5, 0.0), (0.5, 0.0), nose, (mouth[0] - width / 2, mouth[1]), (mouth[0] + width / 2, mouth[1])]
    return (side * (torch.tensor(middle) + distance * torch.tensor(shape)))[None]


def image_of(picture: Tensor) -> Image.Image:
    return Image.fromarray((picture[0].clamp(0, 1) * 255).round().byte().numpy())


def tilted_photo() -> tuple[Tensor, Tensor]:
    """The example photo as somebody would take it: smaller, turned, on a plain ground; with its landmarks."""
    name, angle = "face_astronaut.png", math.radians(TILT)
    turn = torch.tensor([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    centre = torch.tensor([256.0, 256.0])
    # From the new picture to the old one.
    back = Similarity(turn.T / ZOOM, centre - turn.T / ZOOM @ centre)
    picture, _ = warp(load(name), back, 512, 512)
    return picture, (landmarks_of(name) - centre) @ (ZOOM * turn.T) + centre


def marked(picture: Tensor, landmarks: Tensor) -> Image.Image:
    image = image_of(picture)
    draw = ImageDraw.Draw(image)
    x, y, width, height = faces.box_around(landmarks[0])
    draw.rectangle([x, y, x + width, y + height], outline=MARK, width=4)
    for px, py in landmarks[0].tolist():
        draw.ellipse([px - 6, py - 6, px + 6, py + 6], fill=MARK)
    return image


def framed(picture: Tensor, crop: faces.FaceCrop) -> Image.Image:
    image = image_of(picture)
    corners = crop.frames[0](torch.tensor([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]])).tolist()
    ImageDraw.Draw(image).line([tuple(corner) for corner in (*corners, corners[0])], fill=MARK, width=4)
    return image


def painted(picture: Tensor) -> Tensor:
    """A stand-in for a stylized face: fewer colours in larger patches."""
    image = image_of(picture).filter(ImageFilter.ModeFilter(9))
    image = ImageOps.posterize(ImageOps.autocontrast(image, 1), 3).filter(ImageFilter.SMOOTH)
    return torch.from_numpy(np.asarray(image, dtype=np.float32) / 255)[None]


def parts_overlay(name: str) -> Image.Image:
    picture = load(name)
    regions = region_map(landmarks_of(name)[0], 512, 512)
    colours = torch.tensor([PARTS_SHOWN[region] for region in REGIONS]) / 255
    return image_of(torch.lerp(picture, colours[regions][None], 0.45))


def row(members: list[tuple[str, Image.Image]]) -> Image.Image:
    """Pictures side by side, each with a line below it."""
    width = len(members) * (SIDE + GAP) + GAP
    sheet = Image.new("RGB", (width, SIDE + 2 * GAP + LABEL), PAPER)
    draw = ImageDraw.Draw(sheet)
    for index, (label, image) in enumerate(members):
        left = GAP + index * (SIDE + GAP)
        sheet.paste(image.convert("RGB").resize((SIDE, SIDE), Image.Resampling.LANCZOS), (left, GAP))
        draw.text((left + SIDE / 2, SIDE + 2 * GAP + 2), label, font=ImageFont.load_default(15), fill=INK, anchor="mt")
    return sheet


def examples() -> Image.Image:
    """All example pictures with their names, four in a row."""
    names = sorted(path.name for path in PICTURES.glob("*") if path.suffix in (".png", ".jpg"))
    lines = [row([(name, image_of(load(name))) for name in names[at : at + 4]]) for at in range(0, len(names), 4)]
    sheet = Image.new("RGB", (max(line.width for line in lines), sum(line.height for line in lines)), PAPER)
    for index, line in enumerate(lines):
        sheet.paste(line, (0, index * line.height))
    return sheet


def all_pictures() -> dict[str, Image.Image]:
    """File name -> picture."""
    photo, landmarks = tilted_photo()
    crops, _, crop = faces.crop_faces(photo, landmarks, 256)
    stylized = painted(crops)
    pasted, weight = faces.paste_faces(photo, stylized, crop, 0.15)
    seam = Image.fromarray((weight[0] * 255).byte().numpy())
    names = ("face_astronaut.png", "style_oil.jpg", "style_pop.png")
    sources = [load(name) for name in names]
    bands = splice_bands(sources, [0.5, 0.62], 0.0, 512)
    givers = {"eyes": 2, "nose": 1, "mouth": 3, "rest": 1}
    points = [landmarks_of(name)[0] for name in names]
    spliced = splice_parts(sources, points, givers, seam="pyramid")
    numbered = [(f"face {number}", image_of(source)) for number, source in enumerate(sources, 1)]
    return {
        "example_images.jpg": examples(),
        "find_face.jpg": row([("picture", image_of(photo)), ("face found", marked(photo, landmarks))]),
        "crop_face.jpg": row([("where it is cut", framed(photo, crop)), ("crop", image_of(crops))]),
        "paste_face.jpg": row(
            [("picture", image_of(photo)), ("face", image_of(stylized)), ("mask", seam), ("put back", image_of(pasted))]
        ),
        "face_parts.jpg": row([("picture", image_of(load(names[0]))), ("its six parts", parts_overlay(names[0]))]),
        "splice_faces.jpg": row([*numbered, ("bands, hard seams", image_of(bands))]),
        "splice_face_parts.jpg": row([*numbered, ("eyes of 2, mouth of 3", image_of(spliced.picture))]),
    }


def ordinary_face() -> Image.Image:
    """The map of the regions of a frontal face in the middle of a picture."""
    landmarks = faces.landmarks_of_middle_square(ORDINARY_SIDE, ORDINARY_SIDE)
    return Image.fromarray(map_picture(landmarks, ORDINARY_SIDE, ORDINARY_SIDE).byte().numpy())


def main() -> None:
    ordinary_face().save(ORDINARY_FACE, optimize=True)
    TARGET.mkdir(parents=True, exist_ok=True)
    for name, picture in all_pictures().items():
        picture.save(TARGET / name, quality=86, optimize=True)
        print(f"{name}: {(TARGET / name).stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
