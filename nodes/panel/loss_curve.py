"""The loss curve of a training as a picture."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw
from torch import Tensor

from .ink import FACE, INK, LINES, PAPER, STYLE, as_image


def smooth(values: list[float], window: int) -> np.ndarray:
    """Running mean over the last ``window`` values."""
    sums = np.cumsum(np.insert(np.asarray(values, dtype=float), 0, 0.0))
    ends = np.arange(1, len(values) + 1)
    starts = np.maximum(0, ends - window)
    return (sums[ends] - sums[starts]) / (ends - starts)


def draw_loss_curve(style: list[float], face: list[float], size: tuple[int, int] = (768, 448)) -> Tensor:
    """Both terms over the steps, smoothed, single values as dots. -> IMAGE (1, H, W, 3), values 0-1."""
    width, height = size
    left, top, right, bottom = 64, 40, width - 20, height - 44
    image = Image.new("RGB", size, PAPER)
    draw = ImageDraw.Draw(image)
    highest = max(max(style), max(face), 1e-6) * 1.05
    steps = len(style)

    def at(index: int, value: float) -> tuple[float, float]:
        return left + (right - left) * (index + 0.5) / steps, bottom - (bottom - top) * value / highest

    for part in range(5):
        value = highest * part / 4
        y = at(0, value)[1]
        draw.line([(left, y), (right, y)], fill=LINES)
        draw.text((left - 8, y), f"{value:.3f}", fill=INK, anchor="rm")
    for values, colour, name, x in (
        (style, STYLE, "style term", left),
        (face, FACE, "face term", left + 130),
    ):
        for index, value in enumerate(values):
            px, py = at(index, value)
            draw.ellipse([px - 1, py - 1, px + 1, py + 1], fill=tuple(c + (255 - c) * 2 // 3 for c in colour))
        curve = smooth(values, max(1, steps // 12))
        draw.line([at(index, value) for index, value in enumerate(curve)], fill=colour, width=3)
        draw.text((x, 14), name, fill=colour)
    draw.text((left, bottom + 16), "1", fill=INK, anchor="mm")
    draw.text((right, bottom + 16), f"step {steps}", fill=INK, anchor="rm")
    return as_image(image)
