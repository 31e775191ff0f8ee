"""What the base's training pictures are made of."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from tests.tools.made_up import OVAL, album, face, points
from tools.comfy.launcher import define_torchvision_operators

define_torchvision_operators()

from tools.base import captions, media  # noqa: E402
from tools.base.pictures import morphs, views  # noqa: E402
from tools.base.pictures.album import GLASSES, SIZE, Album, Portrait  # noqa: E402
from tools.base.pictures.spectacles import with_glasses  # noqa: E402
from tools.base.pictures.stream import Stream  # noqa: E402

SHARES = SimpleNamespace(
    kinds=SimpleNamespace(grey=0.2, photo=0.4, media=0.2, art=0.2),
    media=SimpleNamespace(),
    morphs=0.5,
    glasses=0.4,
    drawn=0.5,
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return album(tmp_path_factory.mktemp("data") / "made_up")


@pytest.fixture(scope="module")
def two() -> list[Portrait]:
    rng = np.random.default_rng(1)
    return [
        Portrait(face(mesh, rng), {"id": k}, mesh)
        for k, mesh in enumerate(points(rng).astype(np.float32) for _ in "ab")
    ]


@dataclass
class Cropped:
    """Means of the middle of a face, where another's skin shows, and of the rim of the picture."""

    middle: np.ndarray
    rim: np.ndarray

    @classmethod
    def of(cls, image: np.ndarray) -> Cropped:
        return cls(image[150:180, 150:170].mean((0, 1)), image[:8].mean((0, 1)))


def test_a_morph_keeps_the_surroundings_and_lies_between_the_faces(two):
    a, b = two
    same = morphs.morph(a, a, OVAL, 0.5, 0.5)
    assert np.abs(same.image.astype(int) - a.image).mean() < 0.5, "a face half way to itself is itself"
    between = morphs.morph(a, b, OVAL, 0.5, 0.5)
    assert between.record == a.record
    assert np.abs(Cropped.of(between.image).rim - Cropped.of(a.image).rim).max() < 1.5
    over = morphs.moved(b.points, morphs.similarity(b.points, a.points))
    assert np.allclose(between.points, (a.points + over) / 2, atol=0.1)
    assert np.abs(between.image.astype(int) - a.image).mean() > 1


def test_the_similarity_is_the_one_that_was_applied():
    rng = np.random.default_rng(0)
    first = rng.normal(size=(50, 2))
    matrix = np.array([[1.2, -0.5, 3.0], [0.5, 1.2, -7.0]])
    assert np.allclose(morphs.similarity(first, morphs.moved(first, matrix)), matrix, atol=1e-5)


def test_glasses_are_drawn_around_the_eyes_and_nowhere_else(two):
    a, _ = two
    seen = [with_glasses(a.image, a.points, np.random.default_rng(seed)) for seed in range(6)]
    changed = np.stack([np.abs(x.astype(int) - a.image).max(-1) > 20 for x in seen])
    assert changed[:, 115:185].mean() > 10 * changed[:, 200:].mean()
    assert not changed[:, 240:].any()
    assert changed[:, 130:160].any((1, 2)).all()
    assert len({x.tobytes() for x in seen}) == len(seen), "no two pairs alike"
    again = with_glasses(a.image, a.points, np.random.default_rng(0))
    assert np.array_equal(again, seen[0])


def test_views_have_the_base_s_size_and_light_changes_little(two):
    rng = np.random.default_rng(0)
    view = views.placed(two[0].image, rng)
    assert view.shape == (SIZE, SIZE, 3)
    assert 0 < np.abs(views.lit(view, rng).astype(int) - view).mean() < 40


@pytest.mark.parametrize("name", media.MEDIA)
def test_every_medium_is_drawn_alike_for_a_seed_and_at_any_size(name, two):
    for side in (96, 128):
        image = two[0].image[:side, :side]
        drawn, extra = media.render(name, image, np.random.default_rng(5))
        again, _ = media.render(name, image, np.random.default_rng(5))
        assert drawn.shape == image.shape and drawn.dtype == np.uint8 and np.array_equal(drawn, again)
        assert np.abs(drawn.astype(int) - image).mean() > 3
        assert set(extra) <= {"palette"}


def test_a_stream_repeats_for_its_seed_and_shows_every_kind_and_both_sexes(folder):
    known = Album(folder)
    stream, again = (Stream(known, SHARES, seed=3) for _ in range(2))
    drawn = [next(stream) for _ in range(45)]
    assert all(np.array_equal(p.image, next(again).image) for p in drawn[:6])
    assert all(p.image.shape == (SIZE, SIZE, 3) and p.image.dtype == np.uint8 for p in drawn)
    kinds = [(p.record["kind"], p.record["colour"]) for p in drawn]
    assert set(kinds) == {("photo", True), ("photo", False), ("media", True), ("art", True)}
    people = [p.record for p in drawn if p.record["kind"] in ("photo", "media") and p.record["colour"]]
    assert 0.3 < np.mean([r["gender"] == "female" for r in people]) < 0.7
    assert 0.2 < np.mean([r["glasses"] for r in people]) < 0.6


def test_glasses_that_a_measurement_overlooked_are_known(tmp_path):
    """More than half of the wearers had no glasses in their record: captions did not name them."""
    folder = album(tmp_path / "data", sitters=2)
    lines = [json.loads(line) for line in (folder / "records.jsonl").read_text().splitlines()]
    lines[0] |= {"file": GLASSES["worn"][0], "glasses": None}
    lines[1] |= {"file": GLASSES["bare"][0], "glasses": True}
    (folder / "records.jsonl").write_text("".join(json.dumps(r) + "\n" for r in lines))
    records = Album(folder).records
    assert [r["glasses"] for r in records[:2]] == [True, False]
    assert [r["glasses"] for r in records[2:]] == [r["glasses"] for r in lines[2 : len(records)]]
    assert not set(GLASSES["worn"]) & set(GLASSES["bare"])


def test_a_stream_shows_nobody_that_is_kept_unseen(folder):
    known, unseen = Album(folder), Album(folder, heldout=True)
    assert not {r["id"] for r in known.records} & {r["id"] for r in unseen.records}
    stream = Stream(known, SHARES, seed=0)
    assert {next(stream).record["id"] for _ in range(30)} <= {r["id"] for r in known.records}
    assert unseen.plain(unseen.photos).shape == (len(unseen.photos), SIZE, SIZE, 3)


def test_a_folder_without_the_data_is_refused(tmp_path):
    with pytest.raises(SystemExit, match="records.jsonl"):
        Album(tmp_path)


def said(record: dict, count: int = 300) -> list[str]:
    rng = np.random.default_rng(3)
    return [captions.caption({"portrait": True, "gender": "female", **record}, rng) for _ in range(count)]


@pytest.mark.parametrize("medium", ["oil", "impasto"])
def test_painted_media_are_often_called_a_plain_painting(medium):
    """The method's prompt names no medium: the base drew noise for it when such captions were rare."""
    plain = [t for t in said({"kind": "media", "medium": medium}) if t.startswith("a painting of") and medium not in t]
    assert 0.2 < len(plain) / 300 < 0.6


def test_other_media_are_never_called_a_plain_painting():
    """Seven media answered to it, guidance pulled them apart, and half of the plain paintings had no face."""
    for medium in set(media.MEDIA) - captions.PAINTED:
        assert all(medium in text for text in said({"kind": "media", "medium": medium}, 60))


def test_a_photo_without_colour_is_never_called_a_photo_alone():
    """The base drew half of its men as sepia gentlemen: such photos had been captioned like the others."""
    texts = said({"kind": "photo", "medium": "photo", "colour": False})
    assert all("black and white" in text or "vintage" in text for text in texts)
    assert not any(
        "vintage" in t or "black and white" in t for t in said({"kind": "photo", "medium": "photo", "colour": True})
    )


def test_attributes_are_said_and_articles_agree():
    record = {"kind": "photo", "medium": "photo", "birth_year": 1940, "mood": "smiling", "glasses": True}
    texts = said(record)
    for word, low in (("old", 0.25), ("smiling", 0.3), ("glasses", 0.7)):
        assert low < np.mean([word in text for text in texts]) < 0.98
    full = captions.caption({"portrait": True, "gender": "female", **record}, np.random.default_rng(0), full=True)
    assert full == "a photo of an old smiling woman with glasses"
    for medium in media.MEDIA:
        vowels = [
            t for t in said({"kind": "media", "medium": medium}, 40) if f"a {medium}" in t and medium[0] in "aeiou"
        ]
        assert not vowels
    assert "a stained glass window of a woman" in said({"kind": "media", "medium": "stained glass"})
