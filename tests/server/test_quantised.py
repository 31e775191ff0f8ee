"""Bases in fewer bits, read by stock loaders: they train as their values say, draw, and are themselves at strengths 0."""

from __future__ import annotations

from pathlib import Path

import pytest

from acfun_core.storage import adapter_file
from tools.comfy.graphs import (
    PLAIN_PROMPT,
    PROMPT,
    apply_node,
    base_graph,
    compare_node,
    ksampler_nodes,
    node,
    train_node,
)

PLAIN = {"scaled_fp8": "fp8_restored", "mixed_fp8": "fp8_restored", "int8": "int8_restored", "cast": "fp8_rounded"}
"""Kind of base -> the float32 file with the same values. All but one are kinds of file."""
CAST = {"unet_name": "fp8_restored.safetensors", "weight_dtype": "fp8_e4m3fn"}
"""A float32 file that its loader reads as fp8."""


TEXTS = {"cast": "rounded", "scaled_fp8": "restored"}
"""Kind of text encoder -> the float32 one with the same values."""


def graph_of(file: str, name: str, text: str = "float32") -> dict:
    settings = {"unet_name": f"{file}.safetensors", "weight_dtype": "default"}
    models = {"unet": node("UNETLoader", **(CAST if file == "cast" else settings))}
    models["text"] = node("ProbeTextEncoder", kind=text)
    train = train_node(model=["unet", 0], clip=["text", 0], steps=2, learning_rate=1e-3, name=name)
    return {**base_graph(), **models, "train": train, "path": node("PreviewAny", source=["train", 2])}


def losses(comfy, run) -> list[float]:
    [name] = run.texts("path")
    record = adapter_file.load(comfy.folder("models/acfun") / Path(name).name).record
    return [*record.style_loss, *record.face_loss]


@pytest.fixture(scope="module")
def written(comfy) -> set[str]:
    """The kinds that this ComfyUI knows; their files are there."""
    kinds = {*PLAIN, *PLAIN.values()} - {"cast"}
    with comfy.client() as client:
        run = client.run({kind: node("ProbeCheckpoint", kind=kind) for kind in kinds})
    return {"cast", *(kind for kind in kinds if run.texts(kind) == [kind])}


@pytest.mark.parametrize("kind", PLAIN)
def test_a_quantised_base_trains_and_draws(client, comfy, written, kind):
    """Scaled fp8, mixed fp8 and int8 crashed: weights that are tensors around others have no memory of their own."""
    if kind not in written:
        pytest.skip(f"this ComfyUI does not know {kind}")
    # Two kinds have the same values: what is learned on those is not learned twice.
    expected = losses(comfy, client.run(graph_of(PLAIN[kind], name=f"{PLAIN[kind]}_plain")))
    drawn = {**graph_of(kind, name=kind), **ksampler_nodes(("unet", 0))}
    drawn["stock"]["inputs"]["steps"] = 2
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


@pytest.mark.parametrize("kind", TEXTS)
def test_a_text_encoder_in_fp8_trains_draws_and_takes_embeddings(client, comfy, written, kind):
    """Its learned word is drawn by the adapter and, exported, by stock nodes alike."""
    known = set(comfy.folder("models/embeddings").glob("*"))
    expected = losses(comfy, client.run(graph_of("fp8_restored", f"text_{kind}_plain", text=TEXTS[kind])))
    graph = graph_of("fp8_restored", f"text_{kind}", text=kind)
    graph["export"] = node(
        "ACFunExportAdapter", adapter=["train", 0], kind="embedding", rank=0, compact=False, name=f"word_{kind}"
    )
    assert losses(comfy, client.run(graph)) == pytest.approx(expected, rel=1e-3)
    [word] = set(comfy.folder("models/embeddings").glob("*")) - known
    graph |= {**ksampler_nodes(("unet", 0)), "word": apply_node(("unet", 0), strengths=(1.0, 0.0, 0.0))}
    graph["word"]["inputs"]["clip"] = ["text", 0]
    drawn = {"plain": PLAIN_PROMPT, "by_adapter": PROMPT, "by_file": PROMPT.replace("S*", f"embedding:{word.stem}")}
    for name, text in drawn.items():
        clip = ["word", 1] if name == "by_adapter" else ["text", 0]
        graph[f"{name}_text"] = node("CLIPTextEncode", clip=clip, text=text)
        settings = {**graph["stock"]["inputs"], "steps": 1, "positive": [f"{name}_text", 0]}
        graph[name] = node("KSampler", **settings)
    graph["negative"]["inputs"]["clip"] = ["text", 0]
    graph |= {
        "same": compare_node(["by_adapter", 0], ["by_file", 0]),
        "other": compare_node(["by_adapter", 0], ["plain", 0]),
    }
    run = client.run({name: part for name, part in graph.items() if name not in ("positive", "stock")})
    assert "finite=True equal=True" in run.texts("same")[0] and "finite=True equal=False" in run.texts("other")[0]
