"""Numbers of pictures: what they say of copies, blends and blur; and the key of a base's weights."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tools.base_key import base_key, said_of
from tools.measure import pictures as measure

ROOT = Path(__file__).resolve().parents[2]


def picture(seed: int, side: int = 96) -> np.ndarray:
    """A smooth random picture."""
    small = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(small).resize((side, side), Image.Resampling.BICUBIC))


ONE, TWO, OTHER = picture(1), picture(2), picture(3)
BLEND = ((ONE.astype(int) + TWO) // 2).astype(np.uint8)


def test_copies_and_blends_are_told_from_other_pictures():
    assert measure.likeness(ONE, ONE) == pytest.approx(1.0)
    paler = (100 + ONE * 0.5).astype(np.uint8)
    assert measure.likeness(paler, ONE) > 0.99 and measure.likeness(OTHER, ONE) < 0.5
    for copy in (ONE, TWO, BLEND):
        assert measure.explained(copy, [ONE, TWO]) > 0.99
    assert measure.explained(OTHER, [ONE, TWO]) < 0.5


def test_blur_has_less_texture():
    noisy = np.random.default_rng(0).integers(0, 256, (96, 96, 3), dtype=np.uint8)
    assert measure.texture(noisy) > 5 * measure.texture(ONE) > 0
    assert measure.texture(np.full((96, 96, 3), 80, np.uint8)) == 0


def test_intervals_hold_the_mean():
    low, high = measure.paired_interval(np.random.default_rng(0).normal(1.0, 0.5, 40))
    assert 0.7 < low < 1.0 < high < 1.3


def test_another_base_or_prompt_is_another_folder(tmp_path):
    (tmp_path / "unet").mkdir()
    weights = tmp_path / "unet" / "weights.safetensors"
    weights.write_bytes(b"one")
    first = base_key(tmp_path, "a man in S* style")
    assert base_key(tmp_path, "a man in S* style") == first != base_key(tmp_path, "S*")
    weights.write_bytes(b"two")
    assert base_key(tmp_path, "a man in S* style") != first


def test_the_card_names_the_key_of_the_shipped_weights():
    """Pages of measurements name theirs, and send the reader to the card for this one."""
    base = ROOT / "base"
    assert f"`{base_key(base)}`" in (base / "README.md").read_text(encoding="utf-8")
    assert f"`{base_key(base)}`" in said_of(base) and "base/README.md" in said_of(base)
