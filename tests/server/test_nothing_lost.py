"""The nodes lose nothing: a deleted file, a folder that cannot be written to, a name on a wire."""

from __future__ import annotations

import os
import shutil

import pytest
import torch
from safetensors.torch import load_file

from tools.comfy.client import NodeError
from tools.comfy.graphs import base_graph, node, train_node

from .test_options import DEFAULTS


def graph(**changes) -> dict:
    return {**base_graph(), "train": train_node(**changes), "show": node("PreviewAny", source=["train", 2])}


def live_events(run) -> list[dict]:
    return [event.data for event in run.events if event.kind == "acfun.training"]


def trained_steps(run) -> int:
    return max((state["step"] for state in live_events(run)), default=0)


def same_tensors(one, other) -> bool:
    ours, theirs = load_file(one), load_file(other)
    return ours.keys() == theirs.keys() and all(torch.equal(ours[key], theirs[key]) for key in ours)


def test_a_deleted_adapter_is_written_again_and_path_names_it(client, comfy):
    first = client.run(graph(seed=82, steps=2, name="deleted"))
    (path,) = comfy.folder("models/acfun").glob("deleted_*")
    cached = client.run(graph(seed=82, steps=2, name="deleted"))
    assert "train" in cached.cached and first.texts("show") == [str(path)]
    kept = path.rename(comfy.folder("temp") / "kept.safetensors")
    again = client.run(graph(seed=82, steps=2, name="deleted"))
    assert again.texts("show") == [str(path)] and path.is_file() and same_tensors(path, kept)
    assert trained_steps(again) == 0, "it was trained again"
    assert "train" in client.run(graph(seed=82, steps=2, name="deleted")).cached


def test_a_finished_training_was_not_continued_with_more_steps(client, comfy):
    """With its state kept; what comes out is the same bit for bit as all steps at once."""
    settings = {"seed": 88, "resolution": 64}
    kept = {"options": node("ACFunTrainOptions", **DEFAULTS, keep_state=True)}

    def trained(name, steps, more):
        given = {**graph(name=name, steps=steps, **settings), **more}
        if more:
            given["train"]["inputs"]["options"] = ["options", 0]
        run = client.run(given)
        return live_events(run)[-1], *comfy.folder("models/acfun").glob(f"{name}_*")

    states = comfy.folder("models/acfun").glob
    trained("short", 3, kept)
    assert len(list(states(".acfun-*.state"))) == 1
    last, longer = trained("longer", 5, kept)
    assert "up to step 3 before" in last["notice"] and last["step"] == 5 and len(list(states(".acfun-*.state"))) == 1
    _, whole = trained("whole", 5, {})
    assert same_tensors(longer, whole)
    last, _ = trained("longest", 6, {"options": node("ACFunTrainOptions", **DEFAULTS)})
    assert last["step"] == 6 and not list(states(".acfun-*.state")), "no longer wanted, so it goes"


def test_a_training_on_a_changed_model_was_taken_for_the_one_before(client):
    """The same inputs and weights, but a patch on the MODEL, a skipped layer of CLIP: the former adapter came back."""
    settings = {"seed": 86, "steps": 2, "name": "changed"}
    client.run(graph(**settings))
    other = {**graph(**settings), "patch": node("ProbeAttentionPatch", model=["base", 0], scale=1.5)}
    skipping = {**graph(**settings), "skip": node("CLIPSetLastLayer", clip=["base", 1], stop_at_clip_layer=-2)}
    other["train"]["inputs"]["model"] = ["patch", 0]
    skipping["train"]["inputs"]["clip"] = ["skip", 0]
    for changed in (other, skipping):
        steps = [event["step"] for event in live_events(client.run(changed)) if event["steps"] == 2]
        assert max(steps) == 2, "it was not trained"


def test_a_deleted_file_cost_every_other_training_under_its_name(client, comfy):
    """Two training nodes with the name that the node comes with: both ran anew, and only the last training was known."""
    settings = {"steps": 2, "name": "shared", "resolution": 64}
    client.run(graph(seed=91, **settings))
    both = {**graph(seed=91, **settings), "second": train_node(seed=92, **settings)}
    both["end"] = node("PreviewAny", source=["second", 2])
    run = client.run(both)
    (first,), (second,) = run.texts("show"), run.texts("end")
    os.unlink(second)
    again = client.run(both)
    assert trained_steps(again) == 0, "it was trained again"
    assert again.texts("show") == [first] and os.path.isfile(again.texts("end")[0])


def test_a_deleted_copy_is_saved_again(client, comfy):
    saving = {
        **graph(seed=83, steps=1, name="to_copy"),
        "save": node("ACFunSaveAdapter", adapter=["train", 0], name="copy"),
    }
    client.run(saving)
    (path,) = comfy.folder("models/acfun").glob("copy_*")
    path.unlink()
    run = client.run(saving)
    assert path.is_file() and "train" in run.cached and "save" not in run.cached


def test_a_folder_that_fails_during_the_training_does_not_cost_it(client, comfy):
    """The adapter goes to the output folder; queued again, it is only written."""
    folder, away = comfy.folder("models/acfun"), comfy.folder("models/acfun_away")

    def fail(event):
        if event.kind == "acfun.training" and event.data["step"] >= 1 and not away.exists():
            folder.rename(away)
            folder.write_text("in the way")

    try:
        with pytest.raises(NodeError, match="not lost: it is .*output.acfun.unlucky_00001") as error:
            client.run(graph(seed=84, steps=8, name="unlucky"), on_event=fail)
    finally:
        folder.unlink()
        away.rename(folder)
    assert error.value.exception_type.endswith("ACFunError")
    rescued = comfy.folder("output") / "acfun" / "unlucky_00001.safetensors"
    run = client.run(graph(seed=84, steps=8, name="unlucky"))
    (path,) = folder.glob("unlucky_*")
    assert trained_steps(run) == 0 and same_tensors(path, rescued) and run.texts("show") == [str(path)]
    shutil.rmtree(rescued.parent)


def test_an_adapter_name_on_a_wire_is_loaded_once(client, comfy):
    client.run(graph(seed=85, steps=1, name="wired"))
    wired = {
        **base_graph(),
        "name": node("ProbeName", name="wired_00001.safetensors"),
        "load": node(
            "ACFunLoadAdapter",
            model=["base", 0],
            clip=["base", 1],
            adapter_name=["name", 0],
            abstract_strength=1.0,
            encoder_strength=1.0,
            decoder_strength=1.0,
        ),
        "digest": node("ProbeDigest", model=["load", 0], clip=["load", 1]),
    }
    before = len(comfy.log())
    client.run(wired)
    again = client.run(wired)
    assert "load" in again.cached and "There is no adapter None" not in comfy.log()[before:]
    path = comfy.folder("models/acfun") / "wired_00001.safetensors"
    os.utime(path)
    assert "load" not in client.run(wired).cached
