"""The table of ablations: what its numbers say of copies, blends and blur, and what its verdicts say of the numbers."""

import argparse
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tools import ablation_page, ablations
from tools.base_key import base_key, said_of
from tools.measure import pictures as measure


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


def test_style_margins_find_the_own_style():
    rng = np.random.default_rng(0)
    styles = rng.normal(size=(4, 32))
    own = np.array([0, 1, 2, 3, 0, 1])
    margins, firsts = measure.style_margins(styles[own] + 0.1 * rng.normal(size=(6, 32)), styles, own)
    assert firsts.all() and (margins > 0.5).all()
    margins, firsts = measure.style_margins(styles[own] + 0.1 * rng.normal(size=(6, 32)), styles, (own + 1) % 4)
    assert not firsts.any() and (margins < 0).all()


def test_token_statistics_leave_the_class_token_out():
    tokens = np.random.default_rng(0).normal(size=(10, 6))
    changed = np.concatenate([tokens[:1] + 9, tokens[1:]])
    assert np.array_equal(measure.token_statistics(tokens), measure.token_statistics(changed))


def test_intervals_hold_the_mean():
    low, high = measure.paired_interval(np.random.default_rng(0).normal(1.0, 0.5, 40))
    assert 0.7 < low < 1.0 < high < 1.3


def rows(**means) -> dict:
    """Rows that are all alike but for the named numbers."""
    noise = np.random.default_rng(0).normal(0, 0.01, 8)
    numbers = [name for name in ablation_page.COLUMNS]
    found = {one.name: {name: 0.5 + noise for name in numbers} for one in ablations.ABLATIONS}
    for name, value in means.items():
        row, number = name.split("__")
        found[row][number] = value + noise[::-1]
    return found


def claim(text: str) -> ablation_page.Claim:
    [found] = [one for one in ablation_page.CLAIMS if text in one.text]
    return found


def test_verdicts():
    blurrier = claim("blurrier")
    assert ablation_page.judged(blurrier, rows(abstract__texture=0.3))[2] == "agrees"
    assert ablation_page.judged(blurrier, rows(abstract__texture=0.7))[2] == "**disagrees**"
    assert ablation_page.judged(blurrier, rows(abstract__texture=0.5))[2] == "not decided"
    assert ablation_page.judged(claim("pseudo-word"), {"full": {}, "pseudo": {}}) is None


def test_claims_and_rows_fit_together():
    names = {one.name for one in ablations.ABLATIONS}
    assert len(names) == len(ablations.ABLATIONS) and ablations.ABLATIONS[0].name == "text"
    assert all({one.more, one.less} <= names and one.number in ablation_page.COLUMNS for one in ablation_page.CLAIMS)
    assert all(one.trained_as in names for one in ablations.ABLATIONS)
    for one in ablations.ABLATIONS:
        ablations.AdapterConfig(ablations.DESCRIPTION, **one.adapter)
        ablations.TrainConfig(**one.train)


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
    base = ablations.ROOT / "base"
    assert f"`{base_key(base)}`" in (base / "README.md").read_text(encoding="utf-8")
    assert f"`{base_key(base)}`" in said_of(base) and "base/README.md" in said_of(base)


class Drawn:
    """Work whose pictures lie there already."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.options = argparse.Namespace(
            steps=2, side=96, seeds=2, sampler_steps=4, cfg=3.0, description=ablations.DESCRIPTION, base=folder
        )

    def drawing(self, ablation, pair, seed):
        return self.folder / f"{ablation.name}-{pair.name}-{seed}.png"

    def training_picture(self, path):
        return ONE


def test_the_page_has_all_rows_and_claims(tmp_path):
    work, pairs = Drawn(tmp_path), [ablations.Pair(Path("face.png"), Path("style.png"))]
    for one in ablations.ABLATIONS:
        for seed in range(2):
            Image.fromarray(OTHER).save(work.drawing(one, pairs[0], seed))
    ablation_page.write(tmp_path, work, pairs, ablations.ABLATIONS, rows(), work)
    text = (tmp_path / "ablations.md").read_text()
    assert all(f"| {one.title} |" in text for one in ablations.ABLATIONS)
    assert all(f"| {one.text} |" in text for one in ablation_page.CLAIMS)
    assert said_of(tmp_path) in text
    with Image.open(tmp_path / "ablations.jpg") as page:
        assert page.height > (len(ablations.ABLATIONS) + 1) * ablation_page.CELL


@pytest.mark.parametrize("arguments", [["--only", "full,nothing"], ["--styles", "one.png"]])
def test_arguments_that_do_not_fit(arguments, capsys):
    with pytest.raises(SystemExit):
        ablations.parse(arguments)
    assert capsys.readouterr().err
