"""Scores as a picture: bars for identity, style and copy, one row a portrait."""

from __future__ import annotations

from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from ..acfun_core.config import COPY_LIMIT
from ..acfun_core.faces.score import Score
from .panel.ink import FACE, GREY, INK, LINES, PAPER, STYLE, WARNING, as_image

MOST_ROWS = 24
_COLOURS = {"identity": FACE, "style": STYLE, "copy": GREY}
_NUMBER, _BAR, _GAP, _HEAD, _ROW = 34, 120, 56, 34, 26  # pixels


def draw_scores(scores: Sequence[Score]) -> Tensor:
    """-> IMAGE (1, H, W, 3), values 0-1. Bars start at 0; a red line on the copy bar is its limit."""
    width = _NUMBER + len(_COLOURS) * (_BAR + _GAP)
    image = Image.new("RGB", (width, _HEAD + _ROW * len(scores) + 8), PAPER)
    draw, font = ImageDraw.Draw(image), ImageFont.load_default(13)
    for column, (name, colour) in enumerate(_COLOURS.items()):
        left = _NUMBER + column * (_BAR + _GAP)
        draw.text((left, 10), name, fill=colour, font=font)
        for row, score in enumerate(scores):
            top, value = _HEAD + row * _ROW, getattr(score, name)
            copied = name == "copy" and score.is_copy()
            shown = WARNING if copied else colour
            draw.rectangle([left, top, left + _BAR, top + _ROW - 10], fill=LINES)
            if value > 0:
                draw.rectangle([left, top, left + _BAR * min(value, 1), top + _ROW - 10], fill=shown)
            draw.text((left + _BAR + 6, top - 1), f"{value:.2f}", fill=WARNING if copied else INK, font=font)
        if name == "copy":
            limit = left + _BAR * COPY_LIMIT
            draw.line([(limit, _HEAD - 4), (limit, _HEAD + _ROW * len(scores) - 6)], fill=WARNING, width=1)
    for row in range(len(scores)):
        draw.text((10, _HEAD + row * _ROW - 1), str(row + 1), fill=INK, font=font)
    return as_image(image)
