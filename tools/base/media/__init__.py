"""Quick simulations of art media: uint8 RGB in, uint8 RGB out, seeded by a numpy generator.

Each medium changes colour, edge and texture together, so that its word in a caption means something visible. Strokes, tiles
and dots have the sizes that suit a picture of 256 px, which takes a small part of a second.
"""

from __future__ import annotations

import numpy as np

from .brush import impasto, oil, pointillism, watercolour
from .fields import cartoon, low_poly, mosaic, pop_art, stained_glass
from .lines import charcoal, halftone, ink, pencil, woodcut
from .tools import PALETTES as PALETTES

MEDIA = {
    "pencil": pencil,
    "ink": ink,
    "oil": oil,
    "watercolor": watercolour,
    "woodcut": woodcut,
    "halftone": halftone,
    "pop art": pop_art,
    "mosaic": mosaic,
    "low poly": low_poly,
    "pointillism": pointillism,
    "cartoon": cartoon,
    "impasto": impasto,
    "stained glass": stained_glass,
    "charcoal": charcoal,
}


def render(name: str, image: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, dict]:
    """One picture in the medium `name`; the dict may hold `palette`, the name of its colours."""
    return MEDIA[name](np.ascontiguousarray(image), rng)
