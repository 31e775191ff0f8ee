"""Pictures on white: a captioned row of them, and titled rows of small ones."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont

PANEL, MARGIN, CAPTION_SIZE, NOTE_SIZE = 384, 24, 22, 15
SHEET_CELL, SHEET_LABEL, SHEET_GAP, SHEET_FONT = 128, 330, 6, 14
"""Of :func:`picture_grid`, in pixels."""
INK, GREY, PAPER = (30, 30, 30), (110, 110, 110), (255, 255, 255)


def middle_square(image: Image.Image, side: int) -> Image.Image:
    """The middle square of a picture at ``side`` x ``side`` pixels: what training sees of it."""
    edge = min(image.size)
    left, top = (image.width - edge) // 2, (image.height - edge) // 2
    box = (left, top, left + edge, top + edge)
    return image.convert("RGB").resize((side, side), Image.Resampling.LANCZOS, box=box)


def contact_sheet(panels: Sequence[tuple[str, Image.Image]], note: str = "") -> Image.Image:
    """Put captioned pictures side by side, with a small note below.

    Args:
        panels: (caption, picture) from left to right; pictures are shown as squares.
        note: how the pictures were made.
    """
    caption_font, note_font = ImageFont.load_default(CAPTION_SIZE), ImageFont.load_default(NOTE_SIZE)
    width = MARGIN + len(panels) * (PANEL + MARGIN)
    characters = int((width - 2 * MARGIN) / (0.52 * NOTE_SIZE))
    note_lines = textwrap.wrap(note, characters)
    note_top = MARGIN + PANEL + 2 * CAPTION_SIZE + MARGIN // 2
    height = note_top + len(note_lines) * (NOTE_SIZE + 6) + MARGIN // 2
    sheet = Image.new("RGB", (width, height), PAPER)
    draw = ImageDraw.Draw(sheet)
    for column, (caption, image) in enumerate(panels):
        left = MARGIN + column * (PANEL + MARGIN)
        sheet.paste(middle_square(image, PANEL), (left, MARGIN))
        draw.text((left + PANEL // 2, MARGIN + PANEL + 10), caption, INK, caption_font, anchor="ma")
    for row, line in enumerate(note_lines):
        draw.text((MARGIN, note_top + row * (NOTE_SIZE + 6)), line, GREY, note_font)
    return sheet


def picture_grid(rows: Sequence[tuple[str, Sequence[Image.Image | None]]]) -> Image.Image:
    """Rows of small pictures behind their titles; where there is none, paper."""
    step, across = SHEET_CELL + SHEET_GAP, max(len(pictures) for _, pictures in rows)
    page = Image.new("RGB", (SHEET_LABEL + across * step, SHEET_GAP + len(rows) * step), PAPER)
    draw, font = ImageDraw.Draw(page), ImageFont.load_default(SHEET_FONT)
    for row, (title, pictures) in enumerate(rows):
        top = SHEET_GAP + row * step
        draw.text((SHEET_GAP, top + SHEET_CELL // 2), title, INK, font, anchor="lm")
        for column, picture in enumerate(pictures):
            if picture is not None:
                page.paste(middle_square(picture, SHEET_CELL), (SHEET_LABEL + column * step, top))
    return page
