"""Each measure of the base's report on made-up input with a known answer."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch

from tests.tools.made_up import album
from tools.comfy.launcher import define_torchvision_operators

define_torchvision_operators()

from tools.base import classifiers, common, draw, gallery, likeness, media, report, traits  # noqa: E402
from tools.base.report_table import table  # noqa: E402
from tools.base.sampling import REPORT_GRID, asked  # noqa: E402
from tools.measure.faces import Face  # noqa: E402
from tools.measure.pictures import share, unexplained_chroma  # noqa: E402

CONFIG = Path(common.__file__).with_name("config.json")


def unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


def test_the_report_asks_for_every_medium_and_both_sexes_evenly():
    assert {w.medium for w in REPORT_GRID} == {None, *gallery.MEDIA}
    assert sum(w.medium == "photo" for w in REPORT_GRID) * 2 == len(REPORT_GRID)
    assert all((" woman" in w.text) == (w.sex == "female") for w in REPORT_GRID)
    for medium in {w.medium for w in REPORT_GRID}:
        sexes = [w.sex for w in REPORT_GRID if w.medium == medium]
        assert sexes.count("male") * 2 == len(sexes), medium
    assert asked(130)[128:] == REPORT_GRID[:2]


def test_a_sepia_photo_is_without_colour_and_a_pale_colour_photo_is_not():
    rng = np.random.default_rng(0)
    grey = cv2.GaussianBlur(rng.uniform(0, 255, (128, 128)).astype(np.float32), (0, 0), 6)
    grey = np.clip((grey - grey.mean()) * 6 + 128, 0, 255)[..., None]
    sepia = grey * [1.0, 0.87, 0.7] + [12, 6, 0]
    pale = grey.repeat(3, -1)
    pale[:64] += [24, 0, -24]
    chroma = [unexplained_chroma(np.clip(x, 0, 255).astype(np.uint8)) for x in (grey.repeat(3, -1), sepia, pale)]
    assert chroma[0] < 0.5 and chroma[1] < report.WITHOUT_COLOUR < 6 < chroma[2]


def test_a_share_has_wilsons_interval():
    found = share(np.arange(20) < 19)
    assert (found["value"], found["of"]) == (0.95, 20)
    assert found["low"] == pytest.approx(0.764, abs=0.002) and found["high"] == pytest.approx(0.991, abs=0.002)
    assert share(np.zeros(0, bool))["high"] == 1


def test_psnr_is_that_of_each_picture():
    pictures = np.full((2, 4, 4, 3), 100, np.uint8)
    assert report.psnr(pictures, pictures + np.uint8([1, 10]).reshape(2, 1, 1, 1)) == pytest.approx(
        48.13 - 10, abs=0.01
    )


def test_samples_are_set_beside_other_people_with_every_group_counted_alike():
    rng = np.random.default_rng(0)
    groups, people = np.repeat(["female ink", "male ink"], (50, 450)), np.arange(500) // 2
    others = np.where(groups == "female ink", 0.8, 0.5) + 0.01 * rng.normal(size=500)
    alike = np.where(np.arange(200) % 2, 0.8, 0.5) + 0.01 * rng.normal(size=200)
    found = likeness.beside_others(alike, others, groups, people)
    assert found["no_nearer"] and found["samples_99"] == pytest.approx(found["others_99"], abs=0.02)
    low, high = found["others_95%"]
    assert low <= found["others_99"] <= high
    copies = likeness.beside_others(np.append(alike, [0.95] * 4), others, groups, people)
    assert not copies["no_nearer"] and copies["samples_nearest"] == 0.95


def test_nobody_is_compared_with_other_photos_of_herself():
    """The London set has two photos of each sitter: the other one would be everybody's nearest."""
    sitters = unit(np.random.default_rng(0).standard_normal((20, 64)))
    names = np.arange(20) // 2
    near, which = likeness.to_nearest(sitters + 0.01, sitters)
    assert (which == np.arange(20)).all() and near.min() > 0.9
    near, which = likeness.to_nearest(sitters + 0.01, sitters, names, names)
    assert (names[which] != names).all() and near.max() < 0.6
    files = ("london_neutral_front/001_03.jpg", "london_smiling_front/001_08.jpg", "portraits/senate-mark-kelly.jpg")
    assert [gallery.sitter({"file": f}) for f in files] == ["london 001", "london 001", "mark-kelly"]


def test_the_share_of_a_person_that_is_kept():
    """Decoded photos that lean half way to the mean face keep less of the margin; one without a face keeps nothing."""
    own = np.eye(8, dtype=np.float32)
    photos = likeness.Faces(np.ones(8, bool), {"one": own})
    assert likeness.survives(photos, photos)["one"]["value"] == pytest.approx(1)
    half = likeness.Faces(np.arange(8) > 0, {"one": own[1:] / 2})
    found = likeness.survives(photos, half)["one"]
    assert found["value"] == pytest.approx(0.5 * 7 / 8) and found["low"] < found["value"] < found["high"]


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
    judge = classifiers.LinearJudge(("noise", "stripes"), roughness).fit(pictures[few], labels[few])
    assert (judge(pictures[16:]) == labels[16:]).all()


def test_a_judge_is_checked_on_people_it_has_not_learnt_from():
    """Labels by chance: who sees the same people again is always right, who does not is right half of the time."""
    rng = np.random.default_rng(0)
    people, labels = np.arange(200) // 2, (rng.random(100) < 0.5).astype(int).repeat(2)
    features = rng.normal(size=(100, 300)).repeat(2, axis=0) + 0.01 * rng.normal(size=(200, 300))
    checked = np.arange(200) % 2 == 0
    judge = classifiers.LinearJudge(("no", "yes"), classifiers.as_it_is)
    said = classifiers.cross_validated(judge, features, labels, people, checked)
    assert (said[~checked] == -1).all() and 0.3 < (said[checked] == labels[checked]).mean() < 0.7
    said = classifiers.cross_validated(judge, features, labels, np.arange(200), checked)
    assert (said[checked] == labels[checked]).mean() > 0.8, "a twin in another part gives it away"


def test_accuracy_gives_no_credit_for_the_commonest_class():
    labels = np.array([0] * 9 + [1])
    assert classifiers.accuracy(np.zeros(10, int), labels, ("bare", "glasses"))["balanced"] == 0.5


class Found:
    """In place of the face finder: a face where the picture is not black."""

    def __call__(self, picture):
        return Face(np.zeros(4), np.zeros((5, 2)), 1.0) if picture.any() else None


@pytest.fixture
def trait(monkeypatch):
    """A judge whose feature is the picture's mean: bright ones have the trait."""
    monkeypatch.setattr(traits, "FaceFinder", Found)
    monkeypatch.setattr(traits, "around", lambda region, picture, face: np.array([picture.mean(), 1.0]))
    return traits.Trait("eyes", ("bare", "glasses"), lambda record: "glasses" if record.get("glasses") else "bare")


def bright(marks: np.ndarray) -> np.ndarray:
    """Pictures uint8 [n, 8, 8, 3]: 200 where marked, else 50."""
    return np.where(marks[:, None, None, None], 200, 50).astype(np.uint8).repeat(8, 1).repeat(8, 2).repeat(3, 3)


def test_a_trait_is_checked_on_decoded_photos_alone_and_not_on_drawn_ones(trait):
    worn = np.arange(40) % 4 == 0
    records = [{"file": f"a/{k}.jpg", "glasses": bool(w)} for k, w in enumerate(worn)]
    lies = gallery.Shown(bright(np.zeros(20, bool)), [{"file": f"b/{k}.jpg", "glasses": True} for k in range(20)])
    photos = gallery.Shown(bright(worn), records)
    check = trait.learn(photos, photos)
    assert check == {"pictures": 40, "balanced": 1.0, "right": {"bare": 1.0, "glasses": 1.0}}
    assert trait.learn(photos, photos, lies)["pictures"] == 40
    trait.learn(photos, photos)
    assert trait(np.concatenate([bright(np.array([True, False])), np.zeros((1, 8, 8, 3), np.uint8)])).tolist() == [
        1,
        0,
        -1,
    ]


def test_a_base_that_always_smiles_is_half_right(trait):
    grid = asked(64)
    both = traits.Traits.__new__(traits.Traits)
    both.glasses, both.smile, both.checks = trait, lambda images: np.ones(len(images), int), {}
    trait.learn(
        *[
            gallery.Shown(
                bright(np.arange(20) % 2 == 0), [{"file": f"{k}.jpg", "glasses": k % 2 == 0} for k in range(20)]
            )
        ]
        * 2
    )
    found = both.figures(bright(np.array([g.says("glasses") for g in grid])), grid)
    assert found["glasses"]["right"] == 1 and found["glasses"]["asked"]["of"] == 8
    assert (found["smile"]["asked"]["value"], found["smile"]["right"]) == (1, 0.5)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return album(tmp_path_factory.mktemp("data") / "made_up", sitters=2)


@pytest.fixture(scope="module")
def shown(folder) -> gallery.Gallery:
    return gallery.Gallery.of(folder)


def test_the_gallery_shows_each_sitter_once_and_both_sexes_alike(shown):
    photos = shown.others.where(shown.others.column("medium") == "photo")
    assert sorted(photos.column("gender")) == ["female"] * 4 + ["male"] * 4
    assert len(shown.others.records) == 16 and len(set(map(gallery.sitter, photos.records))) == 8
    assert shown.further.column("heldout").all() and len(shown.further.records) == 4 * gallery.FURTHER
    drawn = {(r["file"], r["medium"]) for r in (shown.others + shown.further).records}
    assert len(drawn) == len((shown.others + shown.further).records), "no picture twice"
    assert len(set((shown.others + shown.further).column("medium"))) > 8
    assert all(r["heldout"] for r in shown.art.records) and not any(r["colour"] for r in shown.grey.records)
    again = gallery.in_media(photos.where(np.arange(8) < 3), 1)
    assert np.array_equal(again.pictures, shown.others.pictures[8:11]), (
        "the same pictures, so that decoded ones serve again"
    )
    few = gallery.chosen_people(photos.records, each=2)
    assert len(few) == 4 and all(r["heldout"] for r in few)


def test_decoded_pictures_are_kept_and_told_apart(folder, shown, tmp_path, monkeypatch):
    (tmp_path / "vae").mkdir()
    args = SimpleNamespace(run=tmp_path, export=tmp_path, data=folder, workers=1)
    passes = []

    class Vae:
        def eval(self):
            return self

        def encode(self, x):
            passes.append(len(x))
            return SimpleNamespace(latents=x)

    monkeypatch.setattr(gallery.AutoencoderTiny, "from_pretrained", lambda *a, **k: Vae())
    monkeypatch.setattr(
        gallery, "decode", lambda vae, z: z.add(1).mul(127.5).round().byte().permute(0, 2, 3, 1).numpy()
    )
    for _ in range(2):
        back = gallery.decoded(args, shown)
        assert all(
            np.array_equal(a.pictures, b.pictures) for a, b in zip(back, (shown.others, shown.further, shown.art))
        )
        assert sum(passes) == sum(len(s.records) for s in back), "passed through once"
    first = gallery.part_files(args, shown.art.pictures)
    (tmp_path / "vae" / "other.safetensors").write_bytes(b"another")
    assert not set(first) & {*gallery.part_files(args, shown.art.pictures)}


def test_faces_sex_and_medium_are_counted_against_the_captions(shown, monkeypatch):
    """Samples that are all men, all in pencil, and show no face in stained glass."""
    grid = asked(64)
    monkeypatch.setattr(report, "FaceFinder", Found)
    monkeypatch.setattr(report, "taught", lambda judge, key, *rest: {"key": key})
    for name, value in (("sex_judge", gallery.SEXES.index("male")), ("medium_judge", gallery.MEDIA.index("pencil"))):
        monkeypatch.setattr(report, name, lambda value=value: lambda images: np.full(len(images), value))
    images = bright(np.ones(64, bool))
    images[[g.medium == "stained glass" for g in grid]] = 0
    found = report.content_figures(images, shown, (shown.others, shown.further, shown.art))
    assert found["face_all_but_stained_glass"]["value"] == found["face_photos"]["value"] == 1
    assert found["by_medium"]["stained glass"]["face"] == 0 and found["sex"]["value"] == 0.5
    assert found["medium"]["value"] == pytest.approx(1 / len(media.MEDIA))
    assert found["medium"]["of"] == 2 * len(media.MEDIA)


def test_grey_samples_are_found_among_those_captioned_as_photos(shown):
    grid = asked(64)
    images = shown.photos.pictures[np.zeros(64, int)]
    images[[g.text == "a photo of a man" for g in grid]] = shown.grey.pictures[0]
    found = report.colour_figures(images, grid, shown)
    assert found["a photo of a man"]["value"] == 1 and found["a photo of a woman"]["value"] == 0
    assert found["all photos"]["value"] == pytest.approx(4 / 32)
    assert found["limit"] == {"grey": 1, "colour": 1}


def test_a_base_that_repeats_its_sitters_is_found_out(shown, monkeypatch):
    """Every picture's vector is its own: samples that are training photos lie at 1, strangers far from it."""

    def embeddings(pictures):
        rows = [
            np.random.default_rng(np.frombuffer(p[::16, ::16].tobytes(), np.uint8)).normal(size=64) for p in pictures
        ]
        return likeness.Faces(np.ones(len(pictures), bool), {"one": unit(np.array(rows))})

    monkeypatch.setattr(likeness, "embeddings", embeddings)
    grid = asked(64)
    seen = shown.photos.where(~shown.photos.column("heldout")).pictures
    images = np.random.default_rng(0).integers(0, 255, (64, 256, 256, 3), dtype=np.uint8)
    images[:4] = seen
    found, looks = report.copy_figures(images, grid, shown, shown.others)
    photos = found["one"]["photos"]
    assert photos["samples_nearest"] == pytest.approx(1) and not photos["no_nearer"]
    assert photos["others_nearest"] < 0.9, "nobody is compared with her own photo"
    assert found["one"]["media"]["samples_nearest"] < 0.9 and found["one"]["media"]["samples"] == 32
    assert looks[0].shape == (2, 8, 256, 256, 3) and np.array_equal(looks[0][0, :4], looks[0][1, :4]), (
        "shown above their sitters"
    )


def part_args(tmp_path: Path, **settings) -> SimpleNamespace:
    (tmp_path / "unet").mkdir(exist_ok=True)
    (tmp_path / "unet" / "config.json").write_text('{"sample_size": 4}')
    cfg = common.load_config(CONFIG)
    return SimpleNamespace(run=tmp_path, export=tmp_path, cfg=cfg, workers=1, samples=None, **settings)


def test_samples_of_another_base_or_setting_are_not_taken_for_this_ones(tmp_path):
    """A killed report goes on with the parts it has drawn: only with its own."""
    args = part_args(tmp_path)
    (tmp_path / "unet.safetensors").write_bytes(b"one")
    first = [part.path for part in draw.parts_of(args)]
    assert len(set(first)) == len(first) > 1 and [part.path for part in draw.parts_of(args)] == first
    folders = {first[0].parent, first[-1].parent}
    assert len(folders) == 2, "further samples are drawn in fewer steps"
    args.cfg.sample.cfg += 1
    folders.add(draw.parts_of(args)[0].path.parent)
    (tmp_path / "unet.safetensors").write_bytes(b"another")
    folders.add(draw.parts_of(args)[0].path.parent)
    (tmp_path / "unet" / "config.json").write_text('{"sample_size": 8}')
    folders.add(draw.parts_of(args)[0].path.parent)
    assert len(folders) == 5


def test_parts_of_a_smaller_report_serve_a_larger_one(tmp_path, monkeypatch):
    """A part once held only as many pictures as were asked for: later ones then stood under others' captions."""
    args = part_args(tmp_path)

    def one_value_a_picture(models, bound, *rest):
        return np.arange(len(bound), dtype=np.uint8)[:, None, None, None].repeat(32, 1).repeat(32, 2).repeat(3, 3)

    monkeypatch.setattr(draw, "exported", lambda folder: dict.fromkeys(("vae", "unet", "text_encoder")))
    monkeypatch.setattr(draw.CLIPTokenizer, "from_pretrained", lambda folder: None)
    monkeypatch.setattr(draw, "contexts", lambda encoder, tokenizer, texts: torch.zeros(len(texts), 1, 1))
    monkeypatch.setattr(draw, "sample", one_value_a_picture)
    monkeypatch.setattr(draw, "decode", lambda vae, latents: latents)
    for args.samples in (4, draw.PART + 4):
        assert draw.drawn(args)[:, 0, 0, 0].tolist() == [k % draw.PART for k in range(args.samples)]


def test_the_table_says_the_figure_its_interval_and_its_floor():
    found = {"value": 0.9, "low": 0.8, "high": 0.96, "of": 64}
    kind = {"samples_99": 0.4, "samples_95%": [0.38, 0.45], "others_99": 0.41, "others_95%": [0.4, 0.43]}
    shares = ("face_photos", "face_all_but_stained_glass", "face_plain_painting", "sex", "medium")
    result = {
        **dict.fromkeys(shares, found),
        "image_size": 256,
        "psnr": {"photos": 29.4, "art": 27.8, "media": 24.1},
        "person_kept": {"sface": found},
        "without_colour": dict.fromkeys(("a photo of a man", "a photo of an old man", "a photo of a woman"), found),
        "traits": dict.fromkeys(("glasses", "smile"), {"asked": found, "not_asked_and_without": found}),
        "copies": {"sface": {"photos": kind, "media": kind}},
        **{"weights_mb": 52.5, "seconds_per_picture": 6.2, "threads": 2, "load_seconds": 0.4},
    }
    lines = table(result).splitlines()
    assert "| a face is found, photos | 90 % (80 to 96, of 64) | 98 % | 100 % |" in lines
    assert any("0.400 (0.380 to 0.450)" in line and "0.410 (0.400 to 0.430)" in line for line in lines)
