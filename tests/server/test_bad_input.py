"""What users get wrong: a clear message before any training, and nothing half-written."""

from __future__ import annotations

import math

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from acfun_core.demo_base import DEMO_BASE, base_key
from tools.comfy.client import NodeError, WorkflowRejected
from tools.comfy.graphs import apply_node, base_graph, node, sampler_node, train_node


def refused(client, graph, says: str) -> None:
    """The graph must fail with this message before a single training step."""
    with pytest.raises((NodeError, WorkflowRejected), match=says) as error:
        client.run(graph)
    if isinstance(error.value, NodeError):
        assert error.value.exception_type.endswith("ACFunError"), error.value.traceback
        assert "Expected:" in error.value.message or "To fix it:" in error.value.message
        assert not error.value.run.progress("train")


@pytest.fixture(autouse=True)
def nothing_half_written(comfy):
    """No test here may leave a file, whole or partial, except those it makes on purpose."""

    def files():
        made_on_purpose = ("foreign", "truncated")
        return sorted(
            path for path in comfy.folder("models/acfun").glob("**/*") if not path.name.startswith(made_on_purpose)
        )

    before = files()
    yield
    assert files() == before


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"description": ""}, "description is empty"),
        ({"description": "a painting of a woman"}, r"S\* 0 times"),
        ({"steps": 0}, "smaller than min of 1: steps"),
        ({"steps": -3}, "smaller than min of 1: steps"),
        ({"learning_rate": math.nan}, "learning rate is nan"),
        ({"learning_rate": 0.0}, "smaller than min of 1e-09: learning_rate"),
        ({"style_weight": 0.0, "face_weight": 0.0}, "Both loss weights are 0"),
        ({"resolution": 200}, "resolution is 200"),
        ({"name": "../outside"}, "cannot be the name"),
        ({"name": "/etc/passwd"}, "cannot be the name"),
        ({"name": ""}, "cannot be the name"),
    ],
)
def test_settings(client, changes, says):
    refused(client, {**base_graph(), "train": train_node(**changes)}, says)


@pytest.mark.parametrize("role", ["style_image", "face_image"])
@pytest.mark.parametrize(
    ("kind", "says"),
    [
        ("rank", "shape"),
        ("empty", "is empty"),
        ("tiny", "1 x 1"),
        ("wide", "20000 x 32"),
        ("batch", "(is a batch of 2|1 of 2 has one colour)"),
        ("nan", "not numbers"),
    ],
)
def test_pictures(client, role, kind, says):
    graph = {**base_graph(), "bad": node("ProbePicture", kind=kind), "train": train_node(**{role: ["bad", 0]})}
    refused(client, graph, f"{role.replace('_', ' ')}.*{says}")


def test_another_family_of_model(client):
    graph = {
        **base_graph(),
        "other": node("ProbeOtherModel", family="refiner"),
        "train": train_node(model=["other", 0]),
    }
    refused(client, graph, "SDXLRefiner, not Stable Diffusion 1.x")


def test_a_clip_of_another_width(client):
    graph = {**base_graph(), "wide": node("ProbeWideClip"), "train": train_node(clip=["wide", 0])}
    refused(client, graph, "takes text 256 wide, this CLIP gives 768")


def test_an_adapter_of_another_base(client):
    client.run({**base_graph(), "train": train_node(steps=1, name="foreign_base")})
    graph = {
        **base_graph(),
        "train": train_node(steps=1, name="foreign_base"),
        "other": node("ProbeOtherModel", family="sd1"),
        "apply": apply_node(model=["other", 0]),
        "portrait": sampler_node(["apply", 0], "apply"),
        "end": node("PreviewAny", source=["portrait", 0]),
    }
    refused_after_training(client, graph, "does not fit this MODEL")
    graph = {
        **base_graph(),
        "train": train_node(steps=1, name="foreign_base"),
        "wide": node("ProbeWideClip"),
        "apply": apply_node(),
        "encode": node("ACFunTextEncode", clip=["wide", 0], adapter=["apply", 2], text="S*"),
        "end": node("PreviewAny", source=["encode", 0]),
    }
    refused_after_training(client, graph, "256 wide, the embeddings of this CLIP are 768")


def test_an_adapter_of_the_former_demo_base(client, comfy):
    """Same shapes, other weights: it was drawn with silently. Its file names no weights, or those of another base."""
    folder = comfy.folder("models/acfun")
    folder.mkdir(exist_ok=True)
    before = set(folder.glob("*"))
    client.run({**base_graph(), "train": train_node(steps=1, name="foreign_weights")})
    [path] = set(folder.glob("*")) - before
    with safe_open(path, "pt") as file:
        metadata = file.metadata()
    assert metadata["base_key"] == base_key(DEMO_BASE)
    for name, key, says in (
        ("foreign_unnamed", {}, "weights that its file does not name .an earlier demo base"),
        ("foreign_other", {"base_key": "0a1b2c3d"}, "trained on the weights 0a1b2c3d; this base has"),
    ):
        others = {name: value for name, value in metadata.items() if name != "base_key"}
        save_file(load_file(path), folder / f"{name}.safetensors", {**others, **key})
        load = load_node(f"{name}.safetensors")
        refused(client, {**base_graph(), "load": load, "end": node("PreviewAny", source=["load", 2])}, says)


def refused_after_training(client, graph, says):
    with pytest.raises(NodeError, match=says) as error:
        client.run(graph)
    assert error.value.exception_type.endswith("ACFunError")


def test_a_model_that_does_not_carry_the_adapter(client):
    graph = {
        **base_graph(),
        "train": train_node(steps=1, name="foreign_base"),
        "apply": apply_node(),
        "portrait": sampler_node(["base", 0], "apply"),
        "end": node("PreviewAny", source=["portrait", 0]),
    }
    refused_after_training(client, graph, "does not carry this adapter")
    graph["portrait"] = sampler_node(["apply", 0], "apply", prompt="a painting of a woman")
    refused_after_training(client, graph, r"prompt does not hold S\*")


def load_node(name: str) -> dict:
    return node(
        "ACFunLoadAdapter",
        model=["base", 0],
        clip=["base", 1],
        adapter_name=name,
        abstract_strength=1.0,
        encoder_strength=1.0,
        decoder_strength=1.0,
    )


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("foreign_lora.safetensors", "not an ACFun adapter"),
        ("truncated.safetensors", "cannot be read"),
        ("none.safetensors", "no adapter"),
        ("../../secret.safetensors", "no adapter"),
    ],
)
def test_adapter_files(client, comfy, name, says):
    folder = comfy.folder("models/acfun")
    folder.mkdir(exist_ok=True)
    save_file({"lora_up.weight": torch.zeros(2, 2)}, folder / "foreign_lora.safetensors")
    (folder / "truncated.safetensors").write_bytes((folder / "foreign_lora.safetensors").read_bytes()[:40])
    graph = {**base_graph(), "load": load_node(name), "end": node("PreviewAny", source=["load", 2])}
    refused(client, graph, says)


def test_a_models_folder_that_cannot_be_written_to(client, comfy):
    """A file in place of the folder stands for a read-only one: root may write to those."""
    folder = comfy.folder("models/acfun")
    folder.mkdir(exist_ok=True)
    aside = folder.rename(folder.with_name("acfun_aside"))
    try:
        folder.write_text("in the way")
        refused(client, {**base_graph(), "train": train_node(seed=99)}, "cannot be written to")
    finally:
        folder.unlink()
        aside.rename(folder)


def test_a_full_disk(client):
    client.run({"disk": node("ProbeDiskSpace", free=1_000_000)})
    try:
        refused(client, {**base_graph(), "train": train_node(seed=98)}, "Only 1.0 MB are free")
    finally:
        client.run({"disk": node("ProbeDiskSpace", free=-1)})
