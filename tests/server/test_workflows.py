"""The workflows that come with the pack: listed by the host, complete, and run over HTTP as a user would queue them."""

from __future__ import annotations

import copy
import io
import json
from pathlib import Path

import numpy as np
import pytest
from host.install import REPO
from PIL import Image

WORKFLOWS = REPO / "workflows"
NAMES = ("stylization", "spliced_face")
PACK = "ComfyUI-ACFun"
# Enough to go through every node; what a full run looks like is the demo's business.
SHORT = {"ACFunTrainStyle": {"steps": 3, "preview_every": 3}, "ACFunSampler": {"steps": 4}, "KSampler": {"steps": 4}}


def read(path: Path) -> dict:
    return json.loads(path.read_text(encoding="utf-8"))


def shortened(workflow: dict) -> dict:
    """The same workflow with few steps."""
    workflow = copy.deepcopy(workflow)
    for node in workflow.values():
        node["inputs"].update(SHORT.get(node["class_type"], {}))
    return workflow


def nodes_of(workflow: dict) -> list[dict]:
    """All nodes of a UI-format workflow, those inside of subgraphs too."""
    subgraphs = workflow.get("definitions", {}).get("subgraphs", [])
    return workflow["nodes"] + [node for subgraph in subgraphs for node in subgraph["nodes"]]


def test_the_template_browser_lists_both_with_thumbnails(client):
    listed = client.get_json("/workflow_templates")[PACK]
    assert set(NAMES) <= set(listed)
    for name in listed:
        path = f"/api/workflow_templates/{PACK}/{name}"
        assert json.loads(client.request(f"{path}.json"))["nodes"]
        thumbnail = Image.open(io.BytesIO(client.request(f"{path}.jpg")))
        assert min(thumbnail.size) >= 128


@pytest.mark.parametrize("name", NAMES)
def test_the_two_formats_hold_the_same_nodes(client, name):
    known = set(client.object_info())
    drawn = [node["type"] for node in nodes_of(read(WORKFLOWS / f"{name}.json")) if node["type"] in known]
    queued = [node["class_type"] for node in read(WORKFLOWS / "api" / f"{name}.json").values()]
    assert sorted(drawn) == sorted(queued)


@pytest.mark.parametrize("name", NAMES)
def test_a_workflow_runs_and_returns_pictures(client, name):
    workflow = shortened(read(WORKFLOWS / "api" / f"{name}.json"))
    run = client.run(workflow, timeout=900)
    (train,) = (key for key, node in workflow.items() if node["class_type"] == "ACFunTrainStyle")
    assert run.progress(train)[-1] == (3, 3)
    assert run.previews(train), "no preview while training"
    pictures = [picture for key in run.outputs if key != train for picture in run.images(key)]
    assert pictures, "the workflow saves no picture"
    for picture in pictures:
        pixels = np.asarray(picture.convert("RGB"), dtype=np.float32)
        assert min(picture.size) >= 128
        assert pixels.std() > 2, "an empty picture"


def test_queueing_again_is_a_cache_hit(client):
    """Training is deterministic: nothing that was computed once is computed again."""
    workflow = shortened(read(WORKFLOWS / "api" / "stylization.json"))
    client.run(workflow, timeout=900)
    again = client.run(workflow, timeout=60)
    (train,) = (key for key, node in workflow.items() if node["class_type"] == "ACFunTrainStyle")
    assert train in again.cached
    assert not again.progress()
