"""The client sees what a server does: results, progress, previews, refusals, failures, cancel."""

from __future__ import annotations

import pytest
from PIL import Image

from tools.comfy.client import Interrupted, NodeError, PromptTimeout, WorkflowRejected


def progress_workflow(steps: int, seconds: float = 0.0) -> dict:
    return {
        "1": {"class_type": "ProbeProgress", "inputs": {"steps": steps, "seconds": seconds}},
        "2": {"class_type": "PreviewImage", "inputs": {"images": ["1", 0]}},
    }


def test_pictures_come_back_as_they_were_made(client):
    workflow = {
        "1": {"class_type": "EmptyImage", "inputs": {"width": 64, "height": 48, "batch_size": 2, "color": 0xFF8000}},
        "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "client"}},
        "3": {"class_type": "PreviewImage", "inputs": {"images": ["1", 0]}},
    }
    run = client.run(workflow)
    assert [image.size for image in run.images("2")] == [(64, 48)] * 2
    assert run.images("3")[1].getpixel((5, 5)) == (255, 128, 0)
    assert len(run.images()) == 4
    assert client.run(workflow).cached


def test_an_uploaded_picture_can_be_loaded(client):
    name = client.upload_image(Image.new("RGB", (40, 24), (10, 200, 30)), "uploaded.png")
    workflow = {
        "1": {"class_type": "LoadImage", "inputs": {"image": name}},
        "2": {"class_type": "PreviewImage", "inputs": {"images": ["1", 0]}},
    }
    (image,) = client.run(workflow).images()
    assert (image.size, image.getpixel((0, 0))) == ((40, 24), (10, 200, 30))


def test_progress_and_previews_name_their_node(client):
    seen = []
    run = client.run(progress_workflow(4), on_event=lambda event: seen.append(event.kind))
    assert run.progress("1") == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert run.previews("1")[-1].picture().size[0] == 2 * run.previews("1")[-1].picture().size[1]
    assert {"progress", "preview", "executed"} <= set(seen)


def test_a_refused_workflow_names_node_and_input(client):
    with pytest.raises(WorkflowRejected) as caught:
        client.run({"7": {"class_type": "PreviewImage", "inputs": {}}})
    assert "images" in caught.value.node_errors["7"][0]
    with pytest.raises(WorkflowRejected, match="NoSuchNode"):
        client.run({"1": {"class_type": "NoSuchNode", "inputs": {}}})


def test_a_failing_node_is_named_and_the_server_goes_on(client):
    workflow = {
        "5": {"class_type": "ProbeFailure", "inputs": {"message": "the pencil is broken"}},
        "6": {"class_type": "PreviewImage", "inputs": {"images": ["5", 0]}},
    }
    with pytest.raises(NodeError, match="the pencil is broken") as caught:
        client.run(workflow)
    assert (caught.value.node_id, caught.value.node_type) == ("5", "ProbeFailure")
    assert caught.value.exception_type == "ValueError"
    assert client.run(progress_workflow(2)).progress()


def test_cancel_ends_a_prompt_at_its_next_step(client):
    def cancel_at_first_step(event):
        if event.kind == "progress" and event.data["value"] == 1:
            client.interrupt()

    with pytest.raises(Interrupted) as caught:
        client.run(progress_workflow(50, seconds=25.0), on_event=cancel_at_first_step)
    assert caught.value.node_id == "1"
    assert len(caught.value.run.progress()) < 10


def test_a_prompt_that_takes_too_long_is_stopped(client):
    with pytest.raises(PromptTimeout):
        client.run(progress_workflow(40, seconds=20.0), timeout=1.5)
    assert client.run(progress_workflow(5)).progress()[-1] == (5, 5)
