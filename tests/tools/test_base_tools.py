"""What the measurements of the base and its captions rest on."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from tools.comfy.launcher import define_torchvision_operators

define_torchvision_operators()

from tools.base import common, draw, judges, likeness  # noqa: E402
from tools.base.sampling import REPORT_GRID  # noqa: E402


def unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def test_a_copy_is_nearer_than_any_two_sitters():
    rng = np.random.default_rng(0)
    sitters = unit(rng.standard_normal((40, 128)))
    copy = unit(sitters[3:4] + 0.02 * rng.standard_normal((1, 128)))
    stranger = unit(rng.standard_normal((1, 128)))
    found = likeness.copied(np.concatenate([copy, stranger]), sitters)
    assert found["share"] == 0.5 and found["nearest"] > 0.9 > found["limit"] > (stranger @ sitters.T).max()
    assert likeness.copied(sitters[:0], sitters)["share"] == 0


def test_a_base_that_remembers_its_sitters_is_told_from_one_that_draws_average_faces():
    rng = np.random.default_rng(0)

    def faces(count, spread):
        vectors = np.ones(32) + spread * rng.normal(size=(count, 32))
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)

    seen, unseen = (
        likeness.Sitters(faces(count, 1.0), np.resize(["female", "male", "male"], count)) for count in (300, 60)
    )
    average = likeness.against_unseen(faces(200, 0.3), seen, unseen, draws=100)
    copies = likeness.against_unseen(seen.vectors[:200] + 0.03 * rng.normal(size=(200, 32)), seen, unseen, draws=100)
    for number in ("median", "nearest_99"):
        assert average[number]["seen_low"] <= average[number]["unseen"] <= average[number]["seen_high"]
    assert copies["nearest_99"]["seen_low"] > copies["nearest_99"]["unseen"] + 0.05


def test_samples_are_set_beside_other_people_with_every_group_counted_alike():
    rng = np.random.default_rng(0)
    groups, names = np.repeat(["female ink", "male ink"], (50, 450)), np.arange(500) // 2
    others = np.where(groups == "female ink", 0.8, 0.5) + 0.01 * rng.normal(size=500)
    alike = np.where(np.arange(200) % 2, 0.8, 0.5) + 0.01 * rng.normal(size=200)
    found = likeness.beside_others(alike, others, groups, names, limit=0.7)
    assert found["samples_share"] == 0.5
    assert found["others_share"] == pytest.approx(0.5)  # and not the 0.1 that women have in number
    assert found["others_low"] <= found["others_99"] <= found["others_high"]
    assert found["samples_99"] == pytest.approx(found["others_99"], abs=0.02)
    assert likeness.beside_others(alike + 0.1, others, groups, names, limit=0.7)["samples_99"] > found["others_high"]


def test_people_are_compared_with_all_sitters_but_themselves(monkeypatch):
    """Unseen people's media that repeat a sitter show as near ones; a sitter's own decoded photo does not."""
    rng = np.random.default_rng(0)
    faces = {}

    def pictures(vectors):
        shots = rng.integers(0, 256, (len(vectors), 32, 32, 3), dtype=np.uint8)
        faces.update({shot.tobytes(): vector for shot, vector in zip(shots, unit(vectors))})
        return shots

    def embeddings(shots):
        found = np.array([faces[shot.tobytes()][0] < 0.5 for shot in shots])
        return found, {"one": np.stack([faces[shot.tobytes()] for shot in shots])[found]}

    monkeypatch.setattr(likeness, "embeddings", embeddings)
    sitters = rng.standard_normal((40, 64))
    sitters[5] = np.eye(64)[0]  # no face is found in this one
    sexes = np.resize(["female", "male"], 40)
    media = likeness.Drawn(pictures(sitters[6:12]), np.arange(6), np.resize(["female ink", "male oil"], 6))
    result = likeness.figures(
        pictures(rng.standard_normal((20, 64))),
        np.arange(20) < 8,
        likeness.Photos(pictures(sitters), sexes),
        pictures(sitters + 0.01 * rng.standard_normal(sitters.shape)),
        likeness.Photos(pictures(rng.standard_normal((10, 64))), sexes[:10]),
        media,
    )
    beside = result["beside_others"]["one"]
    assert beside["photo"]["others_99"] < 0.6 and beside["media"]["others_99"] > 0.99


def test_spread_is_the_mean_square_distance_of_pairs():
    rows = np.random.default_rng(1).standard_normal((7, 5))
    pairs = [((a - b) ** 2).sum() for i, a in enumerate(rows) for b in rows[:i]]
    assert likeness.spread(rows) == pytest.approx(np.sqrt(np.mean(pairs)))
    assert likeness.spread(np.ones((4, 3))) == 0


def roughness(picture):
    """Mean differences to the right and below: enough to tell stripes from noise."""
    x = picture.astype(np.float32)
    return np.array([np.abs(np.diff(x, axis=axis)).mean() for axis in (0, 1)])


def test_the_linear_judge_tells_textures_apart_and_counts_classes_alike():
    """Two textures on random colours: learnt from few of one and many of the other, right on others."""
    rng = np.random.default_rng(2)
    stripes = np.tile((np.arange(192) // 4 % 2)[None, :, None], (192, 1, 3))
    pictures = np.stack(
        [
            np.clip(rng.integers(40, 160, 3) + 60 * (stripes if k % 2 else rng.random((192, 192, 1))), 0, 255)
            for k in range(24)
        ]
    ).astype(np.uint8)
    labels = np.arange(24) % 2
    few = [k for k in range(16) if labels[k] == 0 or k < 4]
    judge = judges.LinearJudge(("noise", "stripes"), roughness).fit(pictures[few], labels[few])
    assert (judge(pictures[16:]) == labels[16:]).all()


def test_the_report_asks_for_every_medium_and_both_sexes_evenly():
    assert len({w.medium for w in REPORT_GRID if w.medium not in (None, "photo")}) == len(judges.MEDIA) - 1
    assert sum(w.sex == "female" for w in REPORT_GRID) * 2 == len(REPORT_GRID)
    assert all((" woman" in w.text) == (w.sex == "female") for w in REPORT_GRID)


def test_samples_of_another_base_or_setting_are_not_taken_for_this_ones(tmp_path):
    """A killed report goes on with the parts it has drawn: only with its own."""
    weights = tmp_path / "base" / "unet.safetensors"
    weights.parent.mkdir()
    weights.write_bytes(b"one")
    config = common.load_config(Path(common.__file__).with_name("config.json"))
    args = SimpleNamespace(run=tmp_path, export=weights.parent, cfg=config)
    first = draw.part_files(args)
    assert len(set(first)) == len(first) > 1 and draw.part_files(args) == first
    args.cfg.sample.cfg += 1
    second = draw.part_files(args)
    weights.write_bytes(b"another")
    assert len({files[0].parent for files in (first, second, draw.part_files(args))}) == 3


def test_parts_of_a_smaller_report_serve_a_larger_one(tmp_path, monkeypatch):
    """A part once held only as many pictures as were asked for: later ones then stood under others' captions."""
    config = common.load_config(Path(common.__file__).with_name("config.json"))
    args = SimpleNamespace(run=tmp_path, export=tmp_path, cfg=config, workers=1)
    side = config.image_size

    def one_value_a_picture(models, bound, *rest):
        return np.arange(len(bound), dtype=np.uint8)[:, None, None, None].repeat(side, 1).repeat(side, 2).repeat(3, 3)

    monkeypatch.setattr(draw, "exported", lambda folder: dict.fromkeys(("vae", "unet", "text_encoder")))
    monkeypatch.setattr(draw.CLIPTokenizer, "from_pretrained", lambda folder: None)
    monkeypatch.setattr(draw, "contexts", lambda encoder, tokenizer, texts: torch.zeros(len(texts), 1, 1))
    monkeypatch.setattr(draw, "sample", one_value_a_picture)
    monkeypatch.setattr(draw, "decode", lambda vae, latents: latents)
    for count in (4, draw.PART + 4):
        monkeypatch.setattr(draw, "SAMPLES", count)
        drawn = draw.drawn(args)
        assert drawn[:, 0, 0, 0].tolist() == [k % draw.PART for k in range(count)]
