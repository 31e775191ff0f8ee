"""Lists by hash, and pictures that are drawn once."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image as PIL

from acfun_core.errors import ACFunError
from benchmarks import judge, lists, methods, publish, tables
from benchmarks.drawing import ANY_FACE, Drawings, command, images, set_numbers
from benchmarks.methods import METHODS, Method
from benchmarks.runner import go_on
from benchmarks.store import Store
from benchmarks.workbench import ROOT, Settings
from tools.contact_sheet import SHEET_CELL, SHEET_GAP, SHEET_LABEL


def folder_of(path: Path, count: int, start: int = 0) -> Path:
    path.mkdir()
    for index in range(count):
        pixels = np.random.default_rng(start + index).integers(0, 256, (64, 64, 3), dtype=np.uint8)
        PIL.fromarray(pixels).save(path / f"{index}.png")
    return path


@pytest.fixture
def pictures(tmp_path) -> lists.PictureList:
    return lists.of_folders(folder_of(tmp_path / "faces", 3), folder_of(tmp_path / "styles", 2, 10))


def test_lists_are_balanced_and_share_nothing():
    report, tuning = (json.loads((lists.LISTS / f"{name}.json").read_text()) for name in ("report", "tuning"))
    for content in (report, tuning):
        faces, styles = content["faces"], content["styles"]
        assert len(faces) >= 6 and len(styles) >= 6
        kinds = [style["kind"] for style in styles]
        assert all(kinds.count(kind) == 2 for kind in lists.KINDS)
        for kind, groups in (("sex", 2), ("age", 3), ("skin", 3)):
            labels = [face["groups"][kind] for face in faces]
            assert len(set(labels)) == groups
            assert all(labels.count(label) == len(faces) // groups for label in set(labels))
    hashes = [{entry["sha256"] for entry in content["faces"] + content["styles"]} for content in (report, tuning)]
    assert not hashes[0] & hashes[1] and len(hashes[0]) == 12


def test_the_list_that_nobody_looked_at_shares_nothing_with_the_others():
    """Of the faces that the base has not seen, too few are left for each skin tone to be there twice."""
    contents = {name: json.loads((lists.LISTS / f"{name}.json").read_text()) for name in ("report", "tuning", "unseen")}
    hashes = {name: {e["sha256"] for e in one["faces"] + one["styles"]} for name, one in contents.items()}
    assert len(hashes["unseen"]) == 12 and not hashes["unseen"] & (hashes["report"] | hashes["tuning"])
    kinds = [style["kind"] for style in contents["unseen"]["styles"]]
    assert all(kinds.count(kind) == 2 for kind in lists.KINDS)
    groups = [face["groups"] for face in contents["unseen"]["faces"]]
    for kind, count in (("sex", 2), ("age", 3)):
        labels = [one[kind] for one in groups]
        assert len(set(labels)) == count and all(labels.count(label) == 6 // count for label in set(labels))
    assert len({one["skin"] for one in groups}) == 3


def test_a_list_finds_its_files_by_hash_alone(tmp_path, monkeypatch):
    data = folder_of(tmp_path / "data", 2)
    entries = [hashlib.sha256((data / f"{i}.png").read_bytes()).hexdigest() for i in range(2)]
    (data / "0.png").rename(data / "renamed.png")
    content = {"faces": [{"sha256": entries[0], "person": "man"}], "styles": [{"sha256": entries[1], "kind": "flat"}]}
    (tmp_path / "small.json").write_text(json.dumps(content))
    monkeypatch.setattr(lists, "LISTS", tmp_path)
    found = lists.named("small", data)
    assert found.faces[0].path.name == "renamed.png" and found.pairs()[0].description.startswith("a photo of a man")
    (data / "1.png").write_bytes(b"other")
    with pytest.raises(ACFunError, match="1 of the 2 pictures"):
        lists.named("small", data)


def test_a_listed_photo_is_cut_around_its_face_and_a_style_is_not(tmp_path):
    # White where the middle of the eyes is, 14 pixels wide as the eyes are apart.
    photo = np.zeros((64, 64, 3), np.uint8)
    photo[28:32, 20:34] = 255
    PIL.fromarray(photo).save(tmp_path / "photo.png")
    landmarks = [[20.0, 30.0], [34.0, 30.0], [27.0, 38.0], [21.0, 45.0], [33.0, 45.0]]
    assert lists.Image("a" * 64, tmp_path / "photo.png").pixels.shape == (1, 64, 64, 3)
    cut = lists.Image("a" * 64, tmp_path / "photo.png", landmarks=landmarks).pixels[0, :, :, 0]
    rows, columns = (cut > 0.5).nonzero(as_tuple=True)
    side = len(cut)
    assert rows.float().mean() / side == pytest.approx(0.43, abs=0.02)
    assert columns.float().mean() / side == pytest.approx(0.5, abs=0.02)
    assert (columns.max() - columns.min()) / side == pytest.approx(lists.CLOSE_UP, abs=0.02)
    for name in ("report", "tuning"):
        content = json.loads((lists.LISTS / f"{name}.json").read_text())
        assert all(len(entry["landmarks"]) == 5 for entry in content["faces"])


def test_the_first_table_on_a_machine_makes_its_own_folder(tmp_path, monkeypatch):
    """It failed before: the space of styles is kept there before any picture is."""
    data = folder_of(tmp_path / "data", 2)
    records = [{"file": f"{i}.png", "kind": "art", "sha256": str(i) * 64} for i in range(2)]
    (data / "manifest.jsonl").write_text("\n".join(map(json.dumps, records)))
    monkeypatch.setattr(tables.styles, "statistics", lambda picture: picture.mean((0, 1)))
    keep = tmp_path / "new" / "folder" / "art.npy"
    found = tables.real_art(data, lists.PictureList("report", (), ()), 64, keep)
    assert found.shape == (2, 3) and np.array_equal(np.load(keep), found)


def test_every_beginning_of_the_pairs_is_spread(pictures):
    pairs = pictures.pairs()
    assert len({pair.id for pair in pairs}) == 6
    assert {pair.face.id for pair in pairs[:3]} == {face.id for face in pictures.faces}
    assert {pair.style.id for pair in pairs[:2]} == {style.id for style in pictures.styles}


class Counting(Method):
    """Draws one grey; counts what it was asked."""

    name, title, trained = "counting", "counting", True

    def __init__(self, style_only: bool = False, fail_at: int = -1):
        self.trainings, self.drawn, self.style_only, self.fail_at = 0, [], style_only, fail_at

    def train(self, bench, pair):
        self.trainings += 1
        return {"grey": torch.tensor([0.5])}

    def sample(self, bench, pair, state, seed):
        if seed == self.fail_at:
            raise KeyboardInterrupt
        self.drawn.append(seed)
        return state["grey"] * torch.ones(8, 8, 3)


class NoBase:
    training_passes = other_passes = 0


@pytest.fixture
def run(tmp_path):
    """Draw some seeds of a method and some pairs. -> the run's rows, as a new process would read them."""

    def run(method: Method, *pairs: lists.Pair, seeds: int = 1) -> list[dict]:
        work = Drawings(Store(tmp_path / "out"), Settings(), [method], list(pairs), seeds)
        work.bench = NoBase()
        go_on(work)
        return images(work.store, work.run)

    return run


def test_a_run_goes_on_where_it_was_cut(run, pictures):
    pair = pictures.pairs()[0]
    with pytest.raises(KeyboardInterrupt):
        run(Counting(fail_at=1), pair, seeds=3)
    again = Counting()
    rows = run(again, pair, seeds=3)
    assert again.drawn == [1, 2] and again.trainings == 0
    assert [row["seed"] for row in rows] == [0, 1, 2]
    assert all(row["train_seconds"] is not None and row["state_mb"] > 0 for row in rows)
    assert run(again, pair, seeds=3) == rows and again.drawn == [1, 2]


def test_changed_defaults_are_not_taken_for_the_old_ones(run, pictures):
    pair = pictures.pairs()[0]
    run(Counting(), pair)

    class Other(Counting):
        state_name = "counting-2"

    other = Other()
    rows = run(other, pair)
    assert other.drawn == [0] and other.trainings == 1
    assert [row["state"] for row in rows] == ["counting-2"]
    assert methods.method("acfun:steps=7").state_name != methods.method("acfun").state_name


def test_lost_files_are_made_again(run, pictures, tmp_path):
    pair, method = pictures.pairs()[0], Counting()
    first, _ = run(method, pair, seeds=2)
    (tmp_path / "out" / first["file"]).unlink()
    [state] = (tmp_path / "out" / "states").rglob("*.safetensors")
    state.unlink()
    rows = run(method, pair, seeds=2)
    assert method.drawn == [0, 1, 0] and method.trainings == 2 and len(rows) == 2


def test_trainings_that_see_only_the_style_are_made_once(run, pictures):
    method = Counting(style_only=True)
    rows = run(method, *pictures.pairs())
    assert method.trainings == len(pictures.styles)
    assert {row["state_face"] for row in rows} == {ANY_FACE}


def test_numbers_stay_with_their_picture(run, pictures, tmp_path):
    [row] = run(Counting(), pictures.pairs()[0])
    assert row["numbers"] is None
    set_numbers(Store(tmp_path / "out"), Settings().run, row, {"found": 1.0}, "3")
    [again] = run(Counting(), pictures.pairs()[0])
    assert again == {**row, "numbers": {"found": 1.0}, "measured_by": "3"}


def test_settings_do_not_mix(tmp_path):
    names = {Settings().run, Settings(passes=400).run, Settings(cfg=4.0).run, Settings(train_seconds=30).run}
    assert len(names) == 4
    with pytest.raises(ACFunError, match="passes"):
        Settings(passes=0)


def test_methods_have_names_of_their_own():
    names = [one.name for one in METHODS]
    assert len(set(names)) == len(names) == len({one.title for one in METHODS})
    assert names[1] == "keep_person" and [one.name for one in METHODS if one.anchor] == [
        "copy_face",
        "copy_style",
        "blend",
    ]
    assert all(methods.method(name).name == name for name in names)


def test_settings_of_acfun_by_name():
    one = methods.method("acfun:timestep_split=0.4,style_flip=true,encoder=1.2,cfg=4,use_blocks=decoder,form=low_rank")
    chosen = methods.method("acfun")
    assert one.config == {**chosen.config, "timestep_split": 0.4, "style_flip": True}
    assert one.adapter == {**chosen.adapter, "form": "low_rank"} and one.drawing == {"cfg": 4}
    assert one.strengths == {**chosen.strengths, "encoder": 1.2, "blocks": "decoder"}
    plain = methods.method("acfun_plain:style_flip=true")
    assert plain.config == {"style_flip": True} and not plain.strengths
    other = methods.method("acfun:timestep_split=0.4,style_flip=true,form=low_rank,cfg=2")
    assert one.state_name == other.state_name != methods.method("acfun").state_name
    for wrong in ("acfun:nothing=1", "acfun:steps", "acfun:steps=0", "unknown"):
        with pytest.raises(ACFunError):
            methods.method(wrong)


def test_a_changed_text_shares_the_training(run, pictures):
    texts = []

    class Telling(Counting):
        def sample(self, bench, pair, state, seed):
            texts.append(pair.description)
            return super().sample(bench, pair, state, seed)

    inner, pair = Telling(), pictures.pairs()[0]
    run(inner, pair)
    for edit in methods.EDITS:
        run(methods.Edited(inner, edit), pair)
    assert inner.trainings == 1
    assert texts[1:] == [
        "a photo of a smiling person in S* style",
        "a photo of a person with glasses in S* style",
    ]
    assert methods.method("acfun:cfg=2+smiling").inner.drawing == {"cfg": 2}


def test_a_command_on_a_page_names_no_place():
    given = ["full", "--data", "/somewhere/data", "--out=/tmp/x", "--workers", "2"]
    told = "python -m benchmarks.judge full --data DATA --out=OUT --workers 2"
    assert command("judge", given) == told


def test_a_picture_is_as_large_as_the_base_draws_unless_told():
    native = json.loads((ROOT / "base" / "unet" / "config.json").read_text())["sample_size"] * 8
    assert Settings().side == native and Settings(side=64).side == 64


def test_the_sheet_of_portraits_has_each_first_one_and_is_not_made_of_a_part(pictures, tmp_path):
    """A row a face, a column a style, in the list's order, and none chosen."""
    store, drawn = Store(tmp_path / "out"), []
    for shade, pair in enumerate(pictures.pairs(), 1):
        for seed in (0, 1):
            path = store.folder / f"{pair.id}-{seed}.png"
            PIL.new("RGB", (8, 8), (40 * shade if seed == 0 else 0,) * 3).save(path)
            row = {"method": "instant", "face": pair.face.id, "style": pair.style.id, "seed": seed, "file": path.name}
            drawn.append(row)
    sheet = publish.portraits(store, drawn, pictures, "instant")
    step = SHEET_CELL + SHEET_GAP
    for shade, pair in enumerate(pictures.pairs(), 1):
        column, row = pictures.styles.index(pair.style), pictures.faces.index(pair.face)
        middle = (SHEET_LABEL + column * step + SHEET_CELL // 2, SHEET_GAP + (row + 1) * step + SHEET_CELL // 2)
        assert sheet.getpixel(middle) == (40 * shade,) * 3
    assert publish.portraits(store, drawn[1:], pictures, "instant") is None
    without_file = [{key: value for key, value in row.items() if key != "file"} for row in drawn]
    assert publish.portraits(store, without_file, pictures, "instant") is None


def test_the_sheet_of_an_older_table_stayed_beside_a_new_one(pictures, tmp_path):
    """Where not all portraits of a preset were drawn here; with --only, those of the others are the rows that stay."""
    store, table = Store(tmp_path / "out"), judge.Judged([], [], {}, None)
    sheets = [tmp_path / f"{name}.jpg" for name in judge.PRESETS]
    for sheet in sheets:
        sheet.touch()
    judge.write_portraits(judge.parse(["full", "--only", "instant"]), store, pictures, table, tmp_path)
    assert [sheet.name for sheet in sheets if not sheet.exists()] == ["instant.jpg"]
    judge.write_portraits(judge.parse(["full"]), store, pictures, table, tmp_path)
    assert not any(sheet.exists() for sheet in sheets)
