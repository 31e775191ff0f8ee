"""The record behind the training panel: bounded, and consistent while two threads use it."""

from __future__ import annotations

import importlib.util
import json
import sys
import threading

import pytest

from tools.comfy.install import REPO

# By path: the package around it belongs to ComfyUI and would import it.
_spec = importlib.util.spec_from_file_location("acfun_live_state", REPO / "nodes" / "panel" / "state.py")
live_state = importlib.util.module_from_spec(_spec)
sys.modules[_spec.name] = live_state
_spec.loader.exec_module(live_state)

ORIGIN = live_state.Origin("tab", "prompt", "3:7", "workflow")


def training(steps=1000):
    return live_state.LiveTraining(ORIGIN, steps)


@pytest.mark.parametrize("count", [0, 1, 239, 240, 241, 5000])
def test_a_curve_never_gets_longer_and_keeps_the_mean(count):
    points = live_state.LossPoints()
    for step in range(count):
        points.add(float(step), 2.0 * step)
    style, face = points.series()
    assert len(style) == len(face) <= live_state.MAX_POINTS
    assert points.steps_per_point * len(style) >= count
    full = count // points.steps_per_point
    for index in range(full):
        first = index * points.steps_per_point
        mean = first + (points.steps_per_point - 1) / 2
        assert style[index] == pytest.approx(mean, rel=1e-4)
        assert face[index] == pytest.approx(2 * mean, rel=1e-4)


def test_numbers_that_json_cannot_hold_are_left_out():
    record = training()
    record.add_step(1, float("nan"), float("inf"), readouts={"copy": float("nan")})
    snapshot = json.loads(json.dumps(record.snapshot(), allow_nan=False))
    assert snapshot["style_loss"] == snapshot["face_loss"] == [None]
    assert snapshot["readouts"] == {"copy": None}


def test_previews_stay_few_and_keep_the_latest():
    record = training()
    for step in range(1, 101):
        record.add_step(step, 1.0, 1.0, jpeg=bytes([step]))
        kept = record.snapshot()["previews"]
        assert len(kept) <= live_state.MAX_PREVIEWS and kept[0] == 1 and kept[-1] == step
        assert kept == sorted(set(kept))
    assert record.preview(100) == bytes([100])
    assert record.preview(99999) is None


def test_the_time_left_falls_to_nothing(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(live_state.time, "monotonic", lambda: now[0])
    record = training(steps=5)
    left = []
    for step in range(1, 6):
        record.add_step(step, 1.0, 1.0)
        left.append(record.snapshot()["seconds_left"])
        now[0] += 2.0
    assert left == [None, 6.0, 4.0, 2.0, 0.0]
    record.end("finished", adapter_name="a.safetensors")
    assert record.snapshot()["seconds_left"] is None


def test_the_time_left_of_a_training_that_goes_on_is_counted_from_where_it_began(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(live_state.time, "monotonic", lambda: now[0])
    record = training(steps=500)
    record.note("It goes on from step 400.")
    left = []
    for step in (401, 402, 403):
        record.add_step(step, 1.0, 1.0)
        left.append(record.snapshot()["seconds_left"])
        now[0] += 2.0
    assert left == [None, 196.0, 194.0] and record.snapshot()["notice"] == "It goes on from step 400."


def test_buttons_count_only_while_it_runs_and_cancel_wins():
    record = training()
    assert record.request is None
    assert record.ask("stop") and record.request == "stop"
    assert record.ask("cancel") and record.request == "cancel"
    assert record.ask("stop") and record.request == "cancel"
    record.end("cancelled")
    record.end("finished", adapter_name="too late")
    assert not record.ask("stop")
    snapshot = record.snapshot()
    assert (snapshot["phase"], snapshot["adapter_name"], snapshot["request"]) == ("cancelled", "", None)


@pytest.mark.parametrize(
    ("phase", "kept_step", "shown"),
    [
        ("finished", None, "finished"),
        ("finished", 4, "finished"),
        ("finished", 2, "guarded"),
        ("stopped", 2, "guarded"),
        ("failed", 2, "failed"),
    ],
)
def test_the_panel_knows_when_the_copy_guard_kept_an_earlier_step(phase, kept_step, shown):
    record = training()
    for step in range(1, 5):
        record.add_step(step, 1.0, 1.0)
    record.end(phase, adapter_name="a.safetensors", kept_step=kept_step, done=4)
    snapshot = record.snapshot()
    assert (snapshot["phase"], snapshot["kept_step"]) == (shown, kept_step)
    assert snapshot["phase"] in live_state.ENDED


@pytest.mark.parametrize("told", [0, 3], ids=["found done", "one step ahead"])
def test_the_last_step_was_shown_as_an_earlier_one_where_it_was_not_told(told):
    """Of a training that is only found done no step is told, on some devices all but the last."""
    for kept_step, shown in ((4, "finished"), (2, "guarded")):
        record = training()
        for step in range(1, told + 1):
            record.add_step(step, 1.0, 1.0)
        record.end("finished", adapter_name="a.safetensors", kept_step=kept_step, done=4)
        assert record.snapshot()["phase"] == shown


def test_the_curve_of_a_training_that_went_on_was_drawn_from_step_1():
    record = training(steps=500)
    assert record.snapshot()["first_step"] == 0
    for step in (401, 402, 403):
        record.add_step(step, 1.0, 1.0)
    assert record.snapshot()["first_step"] == 401


def test_only_the_latest_trainings_are_kept_and_each_tab_sees_its_own():
    trainings = live_state.Trainings()
    mine = [training() for _ in range(live_state.MAX_TRAININGS)]
    for record in mine:
        trainings.add(record)
    other = live_state.LiveTraining(live_state.Origin("other tab", "prompt", "7"), 5)
    trainings.add(other)
    assert trainings.of_client("other tab") == [other]
    assert trainings.of_client("tab") == mine[1:]
    assert trainings.get(mine[0].id) is None and trainings.get(other.id) is other


def test_reading_while_writing_never_tears():
    record, seen, failures = training(20_000), threading.Event(), []

    def read():
        while not seen.is_set():
            snapshot = record.snapshot()
            if len(snapshot["style_loss"]) != len(snapshot["face_loss"]):
                failures.append(snapshot)
            if snapshot["style_loss"] and snapshot["steps_per_point"] * len(snapshot["style_loss"]) < snapshot["step"]:
                failures.append(snapshot)

    reader = threading.Thread(target=read)
    reader.start()
    for step in range(1, 20_001):
        record.add_step(step, 1.0, 2.0, jpeg=b"x" if step % 50 == 0 else None)
    seen.set()
    reader.join()
    assert not failures
