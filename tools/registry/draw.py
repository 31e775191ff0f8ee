"""Draw the registry's icon and banner from the example pictures, which all have their eyes at the same place.

Usage: ``python -m tools.registry.draw`` writes docs/icon.png and docs/banner.jpg.
"""

from __future__ import annotations

from pathlib import Path

from PIL import Image, ImageDraw, ImageFilter, ImageFont

REPO = Path(__file__).resolve().parents[2]
PICTURES, DOCS = REPO / "pictures", REPO / "docs"
PHOTO, PRINT = "face_astronaut.png", "style_woodblock.png"
STYLES = (
    "style_oil.jpg",
    "style_woodblock.png",
    "style_glass.jpg",
    "style_pop.png",
    "style_cubist.jpg",
    "style_cartoon.png",
)
ICON_SIDE, BANNER_SIZE = 400, (1680, 720)
NIGHT, PAPER = (19, 24, 38), (246, 240, 228)
EYES = (0.5, 0.43)


def head(name: str, side: int, zoom: float) -> Image.Image:
    """A picture's middle around the eyes, enlarged by ``zoom``, as a square of this side."""
    with Image.open(PICTURES / name) as file:
        picture = file.convert("RGB")
    half = min(picture.size) / zoom / 2
    x, y = EYES[0] * picture.width, (EYES[1] + 0.08) * picture.height
    box = (x - half, max(0, y - half), x + half, max(0, y - half) + 2 * half)
    return picture.resize((side, side), Image.Resampling.LANCZOS, box)


def rounded(size: tuple[int, int], radius: int) -> Image.Image:
    """A mask with round corners, antialiased."""
    large = Image.new("L", (4 * size[0], 4 * size[1]), 0)
    ImageDraw.Draw(large).rounded_rectangle([0, 0, 4 * size[0] - 1, 4 * size[1] - 1], 4 * radius, fill=255)
    return large.resize(size, Image.Resampling.LANCZOS)


def draw_icon(side: int = ICON_SIDE) -> Image.Image:
    """Half photo, half print: one face."""
    icon = head(PHOTO, side, 1.55)
    icon.paste(head(PRINT, side, 1.55).crop((side // 2, 0, side, side)), (side // 2, 0))
    draw = ImageDraw.Draw(icon)
    line = side // 100
    draw.rectangle([side // 2 - line, 0, side // 2 + line - 1, side], fill=PAPER)
    icon.putalpha(rounded((side, side), side // 6))
    return icon


def draw_banner(size: tuple[int, int] = BANNER_SIZE) -> Image.Image:
    """The photo and six styles as upright strips of one row, the name over them."""
    width, height = size
    banner = Image.new("RGB", size, NIGHT)
    names = (PHOTO, *STYLES)
    gap = 10
    strip = (width - gap * (len(names) + 1)) // len(names)
    top, tall = gap, height - 190
    for index, name in enumerate(names):
        picture = head(name, tall, 1.3)
        left = (tall - strip) // 2
        place = (gap + index * (strip + gap), top)
        banner.paste(picture.crop((left, 0, left + strip, tall)), place, rounded((strip, tall), 18))
    draw = ImageDraw.Draw(banner)
    draw.text((28, height - 168), "ACFun", font=ImageFont.load_default(96), fill=PAPER)
    text = "One photo, one style picture, a few minutes:\na portrait that is still the person."
    draw.text((360, height - 142), text, font=ImageFont.load_default(36), fill=PAPER, spacing=12)
    note = "Shown: the example photo and six example styles"
    draw.text((width - 28, height - 24), note, font=ImageFont.load_default(22), fill=(150, 158, 178), anchor="rs")
    return banner.filter(ImageFilter.UnsharpMask(1.2, 40, 2))


def main() -> None:
    draw_icon().save(DOCS / "icon.png", optimize=True)
    draw_banner().save(DOCS / "banner.jpg", quality=90, optimize=True)
    for name in ("icon.png", "banner.jpg"):
        print(f"docs/{name}: {(DOCS / name).stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
