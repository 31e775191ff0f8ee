"""The training panel's server side: events, reloads, Stop and keep, Cancel, and two browsers at once."""

from __future__ import annotations

import io
import json
import threading
import time

import pytest
from PIL import Image

from acfun_core.storage import adapter_file
from tools.comfy.client import HTTPFailure, Interrupted, NodeError
from tools.comfy.graphs import base_graph, digest_node, node, train_node

from ..noises import FEW, measured_on
from .test_options import train_options

LONG = 400


def graph(**changes) -> dict:
    return {**base_graph(), "train": train_node(**changes)}


def adapters(comfy, name: str) -> list:
    return sorted(comfy.folder("models/acfun").glob(f"{name}_*"))


def live_events(run) -> list[dict]:
    return [event.data for event in run.events if event.kind == "acfun.training"]


def trainings(client) -> list[dict]:
    return client.get_json(f"/acfun/trainings?client_id={client.client_id}")["trainings"]


class PressAt:
    """Presses a button of the panel as soon as the panel shows this step; keeps what the server answered."""

    def __init__(self, client, button: str, step: int):
        self.client, self.button, self.step = client, button, step
        self.answer = None

    def __call__(self, event) -> None:
        if event.kind == "acfun.training" and event.data["step"] >= self.step and self.answer is None:
            self.answer = json.loads(self.client.request(f"/acfun/trainings/{event.data['id']}/{self.button}", {}))


def test_the_panel_sees_the_whole_training(client, comfy):
    run = client.run(graph(steps=6, preview_every=3, seed=11, name="watched"))
    events = live_events(run)
    first, last = events[0], events[-1]
    assert (first["phase"], first["step"], first["steps"], first["node_id"]) == ("preparing", 0, 6, "train")
    assert (last["phase"], last["step"]) == ("finished", 6)
    assert last["prompt_id"] == run.prompt_id
    assert last["adapter_name"] == adapters(comfy, "watched")[0].name
    assert len(last["style_loss"]) == len(last["face_loss"]) == 6
    assert all(loss > 0 for loss in last["style_loss"] + last["face_loss"])
    assert last["previews"] == [3, 6]
    assert trainings(client) == [last]
    for step in (3, 6):
        picture = Image.open(io.BytesIO(client.request(f"/acfun/trainings/{last['id']}/previews/{step}")))
        assert picture.format == "JPEG" and 0 < max(picture.size) <= 256


def test_an_adapter_that_only_copies_was_shown_as_finished_without_a_word(client):
    """The guard ends the training after two looks, and has no step to keep."""
    guard = {"options": train_options(copy_guard_every=1, copy_limit=0.0)}
    run = client.run({**graph(seed=22, steps=LONG, name="copies", options=["options", 0]), **guard})
    last = live_events(run)[-1]
    assert (last["phase"], last["step"], last["kept_step"]) == ("finished", 2, None)
    assert last["notice"].startswith("The copy guard found nothing but copies: this adapter draws one.")


def test_stop_and_keep_saves_a_whole_adapter(client, comfy):
    press = PressAt(client, "stop", 3)
    run = client.run(graph(steps=LONG, seed=12, name="stopped"), on_event=press)
    last = live_events(run)[-1]
    assert press.answer["training"]["request"] == "stop"
    assert last["phase"] == "stopped" and 3 <= last["step"] < LONG
    (path,) = adapters(comfy, "stopped")
    assert last["adapter_name"] == path.name
    assert len(adapter_file.load(path).record.style_loss) == last["step"]
    (_, settings) = client.object_info("ACFunLoadAdapter")["input"]["required"]["adapter_name"]
    assert path.name in settings["options"]


def test_cancel_saves_nothing_and_leaves_the_base_as_it_was(client, comfy):
    digest = {**base_graph(), "digest": digest_node()}
    before = client.run(digest).texts("digest")
    with pytest.raises(Interrupted) as error:
        client.run(graph(steps=LONG, seed=13, name="cancelled"), on_event=PressAt(client, "cancel", 2))
    last = live_events(error.value.run)[-1]
    assert last["phase"] == "cancelled" and last["adapter_name"] == ""
    assert not adapters(comfy, "cancelled")
    assert client.run(digest).texts("digest") == before


@pytest.fixture
def long_measuring(client):
    """Trainings that measure their loss for minutes before the first step, as they do where a pass takes long."""
    client.run(measured_on(5000))
    yield
    client.run(measured_on(FEW))


def test_the_panels_cancel_was_not_heard_before_the_first_step(client, comfy, long_measuring):
    with pytest.raises(Interrupted) as error:
        client.run(graph(steps=LONG, seed=21, name="measuring"), on_event=PressAt(client, "cancel", 0), timeout=60)
    last = live_events(error.value.run)[-1]
    assert (last["phase"], last["step"]) == ("cancelled", 0)
    assert not adapters(comfy, "measuring")


def test_a_failed_training_says_why(client):
    breaks = node("ProbeBreaksAfter", model=["base", 0], calls=4)
    broken = {**base_graph(), "breaks": breaks, "train": train_node(model=["breaks", 0], seed=14)}
    with pytest.raises(NodeError) as error:
        client.run(broken)
    (state,) = trainings(client)
    assert state["phase"] == "failed" and "broke on purpose" in state["message"]
    assert live_events(error.value.run)[-1] == state


def test_the_workflow_is_known_where_the_editor_names_it(client):
    """Its id tells the tabs of one browser apart, in which nodes have the same ids."""
    extra = {"extra_pnginfo": {"workflow": {"id": "a-workflow"}}}
    prompt = graph(steps=1, seed=19)
    client.request("/prompt", {"prompt": prompt, "client_id": client.client_id, "extra_data": extra})
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and not any(each["phase"] == "finished" for each in trainings(client)):
        time.sleep(0.2)
    (state,) = trainings(client)
    assert (state["phase"], state["workflow_id"]) == ("finished", "a-workflow")


def test_a_page_that_reloads_finds_its_training_again(client):
    found = []

    def reload(event):
        if event.kind == "acfun.training" and event.data["step"] >= 2 and not found:
            found.extend(trainings(client))
            PressAt(client, "cancel", 0)(event)

    with pytest.raises(Interrupted):
        client.run(graph(steps=LONG, seed=15, preview_every=1), on_event=reload)
    (state,) = found
    assert state["phase"] == "training" and state["step"] >= 2 and state["previews"]
    assert state["seconds_left"] > 0


def test_two_browsers_and_a_queue_are_not_mixed_up(comfy):
    """Cancel in one browser ends its own training only; the other's, waiting in the queue, runs to its end."""
    runs, failures = {}, {}

    def browse(name: str, on_event, **changes):
        with comfy.client() as client:
            try:
                runs[name] = client.run(graph(name=name, **changes), on_event=on_event and on_event(client))
            except Interrupted as error:
                runs[name], failures[name] = error.run, error
            runs[name].listed = trainings(client)

    first = threading.Thread(
        target=browse, args=("one", lambda client: PressAt(client, "cancel", 3)), kwargs={"steps": LONG, "seed": 16}
    )
    second = threading.Thread(target=browse, args=("two", None), kwargs={"steps": 4, "seed": 17})
    first.start()
    second.start()
    first.join(300)
    second.join(300)
    assert set(failures) == {"one"}
    assert [state["phase"] for state in runs["one"].listed] == ["cancelled"]
    assert [state["phase"] for state in runs["two"].listed] == ["finished"]
    for run in runs.values():
        assert {state["prompt_id"] for state in live_events(run)} == {run.prompt_id}
    assert not adapters(comfy, "one") and len(adapters(comfy, "two")) == 1


def test_six_queued_prompts_of_two_browsers_and_one_taken_out(comfy, client):
    """Each ends as its own browser's training, in order; the one deleted from the queue never starts."""
    with comfy.client() as other:
        browsers = {"left": client, "right": other}
        queued = [
            (side, number, browsers[side].queue(graph(steps=2, seed=40 + number, name=f"queue_{side}_{number}")))
            for number in range(3)
            for side in browsers
        ]
        dropped = queued[-1]
        client.request("/queue", {"delete": [dropped[2]]})
        kept = queued[:-1]
        deadline = time.monotonic() + 300
        while time.monotonic() < deadline and not all(client.history(prompt) for _, _, prompt in kept):
            time.sleep(0.5)
        assert client.history(dropped[2]) is None
        for side, number, prompt in kept:
            assert client.history(prompt)["status"]["status_str"] == "success"
            assert len(adapters(comfy, f"queue_{side}_{number}")) == 1
        assert not adapters(comfy, f"queue_{dropped[0]}_{dropped[1]}")
        for side, browser in browsers.items():
            listed = trainings(browser)
            mine = [prompt for who, _, prompt in kept if who == side]
            assert [state["prompt_id"] for state in listed] == mine[-len(listed) :]
            assert {state["phase"] for state in listed} == {"finished"}
            assert all(state["adapter_name"].startswith(f"queue_{side}_") for state in listed)


@pytest.mark.parametrize(
    ("path", "body", "status", "says"),
    [
        ("/acfun/trainings", None, 400, "client_id is missing"),
        ("/acfun/trainings/nothing/stop", {}, 404, "no such training"),
        ("/acfun/trainings/nothing/cancel", {}, 404, "no such training"),
        ("/acfun/trainings/nothing/previews/1", None, 404, "no such preview"),
    ],
)
def test_bad_requests_get_a_clear_answer(client, path, body, status, says):
    with pytest.raises(HTTPFailure) as failure:
        client.request(path, body)
    assert failure.value.status == status
    error = failure.value.body["error"]
    assert says in error["what"] and error["expected"] and error["fix"] and error["what"] in error["message"]


def test_buttons_of_an_ended_training_are_refused(client):
    run = client.run(graph(steps=2, seed=18, preview_every=1))
    (state,) = trainings(client)
    assert state["phase"] == "finished" and live_events(run)
    for button in ("stop", "cancel"):
        with pytest.raises(HTTPFailure, match="already ended") as failure:
            client.request(f"/acfun/trainings/{state['id']}/{button}", {})
        assert failure.value.status == 409
    for step in ("-1", "1e3", "%C2%B2", "7"):
        with pytest.raises(HTTPFailure, match="no such preview"):
            client.request(f"/acfun/trainings/{state['id']}/previews/{step}")
