"""What is done once stays done: by content, after any interruption, and failures are rows. Nothing is drawn here."""

from __future__ import annotations

import json
import sys
import tracemalloc

import pytest

from acfun_core.batch.extras import has, needed
from acfun_core.batch.folders import folder_at
from acfun_core.batch.jobs import Training
from acfun_core.batch.plan import crossed
from acfun_core.batch.results import Results
from acfun_core.batch.run import planned
from acfun_core.batch.tally import Tally
from acfun_core.batch.work import Kept
from acfun_core.errors import ACFunError

from .made_up import BASE, drawn, folders, picture


@pytest.fixture
def rows(tmp_path):
    return crossed(*folders(tmp_path, 2, 3), "keep_person", [0], {})


@pytest.fixture(params=["disk", "object store", "far disk"])
def results(request, tmp_path):
    """On this disk, and at addresses of fsspec where objects appear whole and where files must be moved to their places."""
    if request.param == "disk":
        return Results(str(tmp_path / "out"))
    pytest.importorskip("fsspec")
    return Results({"object store": "memory:/", "far disk": "local://"}[request.param] + f"/{tmp_path}/out")


def table(results):
    from io import BytesIO

    from pyarrow import parquet

    return parquet.read_table(BytesIO(results.folder.read("results.parquet"))).to_pylist()


def test_every_style_is_learned_once_and_every_face_drawn_in_each(rows, results):
    told, worker, _ = drawn(rows, results)
    assert (told["trained"], told["drawn"], told["failed"]) == (2, 6, 0)
    lines = table(results)
    assert [line["state"] for line in lines] == ["done"] * 6 and len({line["path"] for line in lines}) == 6
    assert lines[0]["identity"] == 0.25 and lines[0]["style_score"] == 0.5 and lines[0]["machine"] == "made up"
    assert results.folder.read("contact_sheet.jpg")[:2] == b"\xff\xd8"
    told, worker, _ = drawn(rows, results)
    assert told["drawn"] == 0 and told["done"] == 6 and worker.done == []


def test_content_counts_and_names_do_not(rows, results, tmp_path):
    drawn(rows, results)
    (tmp_path / "faces" / "face0.png").rename(tmp_path / "faces" / "anna.png")
    picture(tmp_path / "faces" / "face1.png", 77)
    again = crossed(str(tmp_path / "styles"), str(tmp_path / "faces"), "keep_person", [0], {})
    told, worker, _ = drawn(again, results)
    # The renamed photo is known; the other one of an old name is not.
    assert sorted(job.name for job in worker.done) == ["face1_style0", "face1_style1"]
    names = {name.split("/")[1].rpartition("_")[0] for name in results.folder.sizes("pictures")}
    assert {"anna_style0", "anna_style1"} <= names and "face0_style0" not in names
    assert told["done"] == 6


def test_rows_that_ask_for_one_picture_share_it(results, tmp_path):
    styles, faces = folders(tmp_path, 1, 1)
    picture(tmp_path / "faces" / "the_same.png", 1000)
    told, worker, _ = drawn(crossed(styles, faces, "keep_person", [0], {}), results)
    assert told["rows"] == told["done"] == 2 and told["drawn"] == 1
    assert len({line["path"] for line in table(results)}) == 1


def test_other_options_and_another_base_are_other_pictures(rows, results, tmp_path):
    drawn(rows, results)
    folder = str(tmp_path / "styles"), str(tmp_path / "faces")
    steps = planned(crossed(*folder, "keep_person", [0], {"draw.steps": 7}), BASE, results)
    assert (len(steps.trainings), len(steps.drawings)) == (0, 6)
    learning = planned(crossed(*folder, "keep_person", [0], {"train.seed": 7}), BASE, results)
    assert (len(learning.trainings), len(learning.drawings)) == (2, 6)
    both = planned(crossed(*folder, "keep_person", [0], {"train.face_weight": 1.0}), BASE, results)
    assert (len(both.trainings), len(both.drawings)) == (6, 6), "style and face are learned together, each pair anew"
    other = planned(rows, "another base", results)
    assert (len(other.trainings), len(other.drawings)) == (2, 6)


@pytest.mark.parametrize("done", range(0, 8, 2))
def test_after_an_interruption_nothing_is_done_twice_and_nothing_is_lost(rows, results, done):
    with pytest.raises(KeyboardInterrupt):
        drawn(rows, results, stops_after=done)
    told, worker, _ = drawn(rows, results)
    assert len(worker.done) == 8 - done and told["done"] == 6


def test_a_picture_without_its_record_or_of_another_size_is_drawn_again(rows, results):
    drawn(rows, results)
    pictures = sorted(results.folder.sizes("pictures"))
    results.folder.write(pictures[0], b"cut short")
    results.folder.remove(sorted(results.folder.sizes("records"))[0])
    results.folder.write(sorted(results.folder.sizes("records"))[0], b"{no json")
    left = planned(rows, BASE, results)
    assert 2 <= len(left.drawings) <= 3 and left.trainings == []
    told, *_ = drawn(rows, results)
    assert told["done"] == 6 and sorted(results.folder.sizes("pictures")) == pictures


def test_failures_are_rows_and_stay_until_they_are_asked_for_again(rows, results):
    told, *_ = drawn(rows, results, fails=("face1_style0",))
    assert told["done"] == 5 and told["failed"] == 1
    [failed] = [line for line in table(results) if line["state"] == "failed"]
    assert failed["name"] == "face1_style0" and failed["reason"] == "as asked" and failed["path"] is None
    told, worker, _ = drawn(rows, results)
    assert told["failed"] == 1 and worker.done == []
    told, worker, _ = drawn(rows, results, retry=True)
    assert told["failed"] == 0 and [job.name for job in worker.done] == ["face1_style0"]
    assert drawn(rows, results)[0]["failed"] == 0


def test_a_training_that_fails_costs_the_rows_of_its_style(rows, results):
    told, *_ = drawn(rows, results, fails=("training",))
    assert told["failed"] == 6 and told["contact_sheet"] is None
    assert {line["reason"] for line in table(results)} == {"its training failed: as asked"}
    assert drawn(rows, results)[0]["failed"] == 6
    assert drawn(rows, results, retry=True)[0]["done"] == 6


def test_what_a_killed_process_left_half_written_is_never_seen(rows, tmp_path):
    results = Results(str(tmp_path / "out"))
    drawn(rows, results)
    piece = tmp_path / "out" / "pictures" / ".acfun-00000000-1-x.partial"
    piece.write_bytes(b"half")
    assert len(results.folder.sizes("pictures")) == 6 and planned(rows, BASE, results).drawings == []


def test_pictures_of_one_disk_are_brought_where_all_machines_read_them(rows, tmp_path):
    pytest.importorskip("fsspec")
    results = Results(f"memory://{tmp_path.name}/brought")
    plan = planned(rows, BASE, results)
    addresses = {job.face.address for job in plan.work.drawings.values()}
    assert len(addresses) == 3 and all(address.startswith("memory://") for address in addresses)
    assert len(results.folder.sizes("inputs")) == 5
    assert plan.work.rows[0][0].face == str(tmp_path / "faces" / "face0.png")
    # A look at what is left copies nothing.
    other = Results(f"memory://{tmp_path.name}/looked_at")
    assert len(planned(rows, BASE, other, bring=False).drawings) == 6 and other.folder.sizes("inputs") == {}


def test_a_folder_that_is_another_on_another_machine_is_told(tmp_path):
    results = Results(str(tmp_path / "out"))
    token = results.token()
    results.check_token(token, "here")
    assert Results(str(tmp_path / "elsewhere")).token() != token
    with pytest.raises(Exception, match="machine there does not see the results folder"):
        Results(str(tmp_path / "elsewhere")).check_token(token, "there")


def test_a_large_plan_is_resumed_and_reported(tmp_path):
    """Hundreds of rows, the drawing faked, within their share of the memory that ten thousand may take."""
    styles, faces = folders(tmp_path, 4, 100)
    results = Results(str(tmp_path / "out"))
    with pytest.raises(KeyboardInterrupt):
        drawn(crossed(styles, faces, "keep_person", [0], {}), results, stops_after=204)
    tracemalloc.start()
    try:
        plan = planned(crossed(styles, faces, "keep_person", [0], {}), BASE, results)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(plan.trainings) + len(plan.drawings) == 200 and most < 20e6
    told, worker, _ = drawn(crossed(styles, faces, "keep_person", [0], {}), results)
    assert told["done"] == 400 and len(worker.done) == 200


def test_records_hold_nothing_but_json(rows, results):
    drawn(rows, results)
    contents = results.folder.read_all(results.folder.sizes("records"))
    assert all(set(json.loads(content)) >= {"file", "bytes", "seconds"} for content in contents.values())


def test_a_library_that_is_missing_is_named_with_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ACFunError, match=r"ray cannot be imported, and without it there is no --ray.*acfun\[ray\]"):
        needed("ray", "there is no --ray")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    assert not has("pyarrow")


def test_without_pyarrow_the_table_is_csv(rows, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    results = Results(str(tmp_path / "out"))
    told, *_ = drawn(rows, results)
    assert told["results"].endswith("results.csv")
    lines = results.folder.read("results.csv").decode().splitlines()
    assert len(lines) == 7 and lines[0].startswith("row,name,style,face,preset,seed,state,path,seconds,identity")


def test_values_are_kept_up_to_a_weight_and_those_used_last():
    made, kept = [], Kept(10, weight=len)

    def value(key, size):
        return kept.get((key,), lambda: made.append(key) or "x" * size)

    for key, size in (("a", 4), ("b", 4), ("a", 4), ("c", 4), ("a", 4), ("b", 4), ("large", 99), ("large", 99)):
        value(key, size)
    assert made == ["a", "b", "c", "b", "large"]


def test_the_time_left_is_of_what_is_left_on_all_workers():
    now = [0.0]
    tally = Tally(trainings=2, drawings=20, before=5, failed=1, workers=2, clock=lambda: now[0])
    assert tally.left is None and "not known yet" in tally.line()
    now[0] = 60.0
    tally.add("training", 30.0)
    for _ in range(4):
        tally.add("drawing", 6.0)
    tally.not_drawn += 1
    assert tally.left == (30 + 15 * 6) / 2
    told = tally.as_dict()
    assert told["done"] == 9 and told["pictures_a_minute"] == 4.0 and "60 s left, 4.0 pictures a minute" in tally.line()


def test_the_next_training_begins_before_workers_are_left_without(results, tmp_path):
    """And not all of them first: a person wants to see pictures."""
    _, worker, _ = drawn(crossed(*folders(tmp_path, 3, 10), "keep_person", [0], {}), results)
    kinds = "".join("t" if isinstance(job, Training) else "d" for job in worker.done)
    # Ten are ready after the first training; with fewer than eight the next one begins.
    assert kinds == "tddd" + "t" + "d" * 10 + "t" + "d" * 17


def test_a_kind_of_address_that_nobody_knows():
    pytest.importorskip("fsspec")
    with pytest.raises(Exception, match="cannot be reached"):
        folder_at("nowhere://bucket/x")
