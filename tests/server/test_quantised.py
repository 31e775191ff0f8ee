"""Bases in fewer bits, read by stock loaders: they train as their values say, draw, and are themselves at strengths 0."""

from __future__ import annotations

from pathlib import Path

import pytest

from acfun_core.storage import adapter_file
from tools.comfy.graphs import apply_node, base_graph, compare_node, ksampler_nodes, node, train_node

PLAIN = {"scaled_fp8": "fp8_restored", "mixed_fp8": "fp8_restored", "int8": "int8_restored"}
"""Kind of file -> the float32 file with the same values."""


def graph_of(file: str, name: str) -> dict:
    models = {"unet": node("UNETLoader", unet_name=f"{file}.safetensors", weight_dtype="default")}
    models["text"] = node("ProbeTextEncoder")
    train = train_node(model=["unet", 0], clip=["text", 0], steps=2, learning_rate=1e-3, name=name)
    return {**base_graph(), **models, "train": train, "path": node("PreviewAny", source=["train", 2])}


def losses(comfy, run) -> list[float]:
    [name] = run.texts("path")
    record = adapter_file.load(comfy.folder("models/acfun") / Path(name).name).record
    return [*record.style_loss, *record.face_loss]


@pytest.fixture(scope="module")
def written(comfy) -> set[str]:
    """The kinds that this ComfyUI knows; their files are there."""
    kinds = {*PLAIN, *PLAIN.values()}
    with comfy.client() as client:
        run = client.run({kind: node("ProbeCheckpoint", kind=kind) for kind in kinds})
    return {kind for kind in kinds if run.texts(kind) == [kind]}


@pytest.mark.parametrize("kind", PLAIN)
def test_a_quantised_base_trains_and_draws(client, comfy, written, kind):
    """Scaled fp8, mixed fp8 and int8 crashed: weights that are tensors around others have no memory of their own."""
    if kind not in written:
        pytest.skip(f"this ComfyUI does not know {kind}")
    expected = losses(comfy, client.run(graph_of(PLAIN[kind], name=f"{kind}_plain")))
    drawn = {**graph_of(kind, name=kind), **ksampler_nodes(("unet", 0))}
    for strength, end in ((0.0, "off"), (1.0, "on")):
        apply = apply_node(("unet", 0), strengths=(strength,) * 3)
        apply["inputs"]["clip"] = ["text", 0]
        stock = {**drawn["stock"], "inputs": {**drawn["stock"]["inputs"], "model": [f"apply_{end}", 0]}}
        drawn |= {f"apply_{end}": apply, f"drawn_{end}": stock, end: compare_node([f"drawn_{end}", 0], ["stock", 0])}
    for text in ("positive", "negative"):
        drawn[text]["inputs"]["clip"] = ["text", 0]
    run = client.run(drawn)
    assert losses(comfy, run) == pytest.approx(expected, rel=0.01)
    assert "finite=True equal=True" in run.texts("off")[0] and "finite=True equal=False" in run.texts("on")[0]
