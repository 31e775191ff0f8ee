"""How the pack's charts are drawn: colours, and a PIL picture as an IMAGE."""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image
from torch import Tensor

STYLE, FACE, GREY = (214, 93, 57), (46, 110, 172), (120, 116, 108)
PAPER, INK, LINES, WARNING = (250, 249, 246), (60, 58, 54), (226, 223, 216), (190, 30, 45)


def as_image(picture: Image.Image) -> Tensor:
    """-> IMAGE (1, H, W, 3), values 0-1."""
    return torch.from_numpy(np.asarray(picture, dtype=np.float32) / 255.0)[None]
