"""The flicker of a film: what it is of made-up films whose flicker is known."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from benchmarks import film
from tools.workflows.parts import FACE


@pytest.fixture(scope="module")
def source() -> np.ndarray:
    return film.film(np.asarray(Image.open(film.ROOT / "pictures" / FACE).convert("RGB")), frames=3, side=128)


def test_a_film_that_moves_does_not_flicker(source):
    """Beside its own grain, of which two frames have as much as one times the root of two."""
    assert not np.array_equal(source[0], source[2]) and np.abs(source[0].astype(int) - source[2]).mean() > 5
    assert film.flicker(source, source) < 1.5


def test_what_moves_along_does_not_flicker_and_what_stands_still_does(source):
    """A texture that is part of the head, and one that lies on the screen (a shower door)."""
    inverted = 255 - source
    assert film.flicker(inverted, source) == pytest.approx(film.flicker(source, source), rel=0.01)
    screen = np.random.default_rng(1).integers(0, 256, source.shape[1:], dtype=np.uint8)
    assert film.flicker(np.stack([screen] * 3), source) > 15


def test_a_change_of_light_is_its_own_size(source):
    grey = np.stack([np.full(source.shape[1:], level, np.uint8) for level in (100, 151, 100)])
    assert film.flicker(grey, source) == pytest.approx(20.0, abs=0.1)
