"""SDXL's layout with random weights: two text encoders, 2048-wide text, pooled conditioning. Real weights were not at hand."""

from __future__ import annotations

import dataclasses
import json

import pytest
from safetensors import safe_open
from safetensors.torch import load_file

from acfun_core.config import TransferConfig
from acfun_core.storage import adapter_file
from tools.comfy.client import NodeError
from tools.comfy.graphs import PROMPT, SIDE, apply_node, base_graph, compare_node, node

from .test_options import differences, portrait, small_training, stock_small, train_options
from .test_slider import slider_node
from .test_style_transfer import transfer_node

STEPS = 2
"""Of the sampling."""


def sdxl_graph(names: str = "", **training) -> dict:
    """The demo base's VAE and CLIP vision, MODEL and CLIP of the random SDXL, and one training of three steps.

    Args:
        names: of tensors by which its checkpoint says what it predicts.
    """
    graph = {**base_graph(), "sdxl": node("ProbeSDXL", names=names)}
    wires = {"model": ["sdxl", 0], "clip": ["sdxl", 1]}
    graph["train"] = small_training(**{**wires, "name": "sdxl", "steps": 3, **training})
    return graph


def applied(**changes) -> dict:
    one = apply_node(model=["sdxl", 0], **changes)
    one["inputs"]["clip"] = ["sdxl", 1]
    return one


def drawn(name: str, **changes) -> dict:
    return portrait(name, clip=["sdxl", 1], **{"steps": STEPS, **changes})


def stock(positive: str = PROMPT.replace("S*", "painting"), applied_as: str | None = None, steps: int = STEPS) -> dict:
    """Stock nodes, plain or behind an applied adapter."""
    nodes = stock_small()
    nodes["stock"]["inputs"]["steps"] = steps
    clip = ["sdxl", 1] if applied_as is None else [applied_as, 1]
    nodes["positive"] = node("CLIPTextEncode", clip=clip, text=positive)
    nodes["negative"]["inputs"]["clip"] = ["sdxl", 1]
    nodes["stock"]["inputs"]["model"] = ["sdxl", 0] if applied_as is None else [applied_as, 0]
    return nodes


def difference(client, graph: dict, one: list, two: list) -> float:
    found, finite, _ = client.run({**graph, "compare": compare_node(one, two)}).texts("compare")[0].split()
    assert finite == "finite=True"
    return float(found)


@pytest.mark.parametrize("mode", ["token", "sequence"])
def test_trains_and_draws(client, comfy, mode):
    before = set(comfy.folder("models/acfun").glob("*"))
    graph = sdxl_graph(options=["options", 0], name=f"sdxl_{mode}")
    graph |= {
        "options": train_options(abstract_mode=mode),
        "apply": applied(),
        "drawn": drawn("apply"),
        "off": applied(strengths=(0.0, 0.0, 0.0)),
        "undrawn": drawn("off"),
    }
    assert difference(client, {**graph, **stock()}, ["drawn", 0], ["stock", 0]) > 1e-3
    assert difference(client, {**graph, **stock()}, ["undrawn", 0], ["stock", 0]) == 0.0
    assert difference(client, {**graph, **stock(PROMPT, "apply")}, ["drawn", 0], ["stock", 0]) == 0.0
    [path] = set(comfy.folder("models/acfun").glob("*")) - before
    with safe_open(path, "pt") as file:
        metadata = file.metadata()
    record = json.loads(metadata["training"])
    assert metadata["base_family"] == "sdxl" and metadata["format_version"] == "2"
    assert len(json.loads(metadata["blocks"])) == 15
    assert all(after < before for before, after in zip(record["before"], record["after"])), record
    loaded = node(
        "ACFunLoadAdapter",
        model=["sdxl", 0],
        clip=["sdxl", 1],
        adapter_name=path.name,
        abstract_strength=1.0,
        encoder_strength=1.0,
        decoder_strength=1.0,
    )
    assert difference(client, {**graph, "load": loaded, "again": drawn("load")}, ["drawn", 0], ["again", 0]) == 0.0


def test_a_slider_is_learned_and_acts(client, comfy):
    wires = {"model": ["sdxl", 0], "clip": ["sdxl", 1], "name": "sdxl_slider", "push": 20.0}
    graph = {
        **sdxl_graph(),
        "train": slider_node(**wires),
        "apply": applied(),
        "off": applied(strengths=(0.0, 0.0, 0.0)),
    }
    graph |= {"drawn": drawn("apply"), "undrawn": drawn("off")}
    assert difference(client, {**graph, **stock()}, ["drawn", 0], ["stock", 0]) > 1e-6
    assert difference(client, {**graph, **stock()}, ["undrawn", 0], ["stock", 0]) == 0.0
    [path] = comfy.folder("models/acfun").glob("sdxl_slider*")
    assert adapter_file.load(path).base_family == "sdxl"


def test_the_embedding_has_a_part_for_each_encoder(client, comfy):
    before = set(comfy.folder("models/embeddings").glob("*"))
    graph = sdxl_graph() | {
        "export": node("ACFunExportAdapter", adapter=["train", 0], kind="embedding", rank=0, compact=False, name="xl"),
        "word": applied(strengths=(1.0, 0.0, 0.0)),
        "word_only": drawn("word"),
    }
    client.run(graph)
    [path] = set(comfy.folder("models/embeddings").glob("*")) - before
    assert {name: tuple(part.shape) for name, part in load_file(path).items()} == {
        "clip_l": (1, 768),
        "clip_g": (1, 1280),
    }
    by_stock = stock(PROMPT.replace("S*", f"embedding:{path.stem}"))
    assert difference(client, {**graph, **by_stock}, ["stock", 0], ["word_only", 0]) == 0.0


def test_families_do_not_mix(client):
    graph = sdxl_graph() | {"apply": apply_node(), "end": node("PreviewAny", source=["apply", 0])}
    with pytest.raises(NodeError, match="trained on SDXL, this MODEL is Stable Diffusion 1.x"):
        client.run(graph)
    with pytest.raises(NodeError, match="takes text 2048 wide, this CLIP gives 256"):
        client.run(sdxl_graph(clip=["base", 1]))


@pytest.mark.parametrize("names", ["", "v_pred ztsnr"], ids=["epsilon", "v"])
def test_the_transfer_gives_a_photo_back_that_is_its_own_style(client, names):
    """With all of the return, under the empty prompt: the way home ends at the photo only if the references pass as the
    sampling does, with pooled text, sizes, noise levels and all."""
    config = TransferConfig(branch=0, latent=0, returned=1, keep=1, sharpness=1)
    graph = sdxl_graph(names) | {
        "options": node("ACFunTransferOptions", **dataclasses.asdict(config)),
        "patched": transfer_node(
            model=("sdxl", 0), clip=["sdxl", 1], photo=["small", 0], style_image=["small", 0], options=["options", 0]
        ),
        **stock("", steps=4),
        "small": node("ImageScale", image=["face", 0], upscale_method="area", width=SIDE, height=SIDE, crop="center"),
        "photo": node("VAEEncode", pixels=["small", 0], vae=["base", 2]),
    }
    graph["stock"]["inputs"] |= {"model": ["patched", 0], "latent_image": ["patched", 1], "cfg": 1.0}
    del graph["train"]
    assert difference(client, graph, ["stock", 0], ["photo", 0]) < 1e-2
    graph["stock"]["inputs"]["model"] = ["sdxl", 0]
    assert difference(client, graph, ["stock", 0], ["photo", 0]) > 0.1


def test_a_checkpoint_that_predicts_v_up_to_zero_snr(client, comfy):
    """It was refused, while a MODEL that a node had told to predict v was trained by the error of the noise."""
    before = set(comfy.folder("models/acfun").glob("*"))
    other = {**applied(), "inputs": {**applied()["inputs"], "model": ["by_noise", 0]}}
    photo = {"model": ["sdxl", 0], "clip": ["sdxl", 1], "vae": ["base", 2], "photo": ["face", 0], "palette_hold": 0.0}
    graph = sdxl_graph("v_pred ztsnr", name="sdxl_v") | {
        "apply": applied(),
        "drawn": drawn("apply", scheduler="sgm_uniform"),
        "off": applied(strengths=(0.0, 0.0, 0.0)),
        "undrawn": drawn("off", scheduler="sgm_uniform"),
        **stock(),
        "photo": node("ACFunPhotoNoise", **photo, steps=4, resolution=SIDE),
        "from_photo": drawn("apply", start=["photo", 0], cfg=1.0),
        "by_noise": node("ModelSamplingDiscrete", model=["sdxl", 0], sampling="eps", zsnr=False),
        "over": other,
        "end": node("PreviewAny", source=["over", 0]),
    }
    graph["stock"]["inputs"]["scheduler"] = "sgm_uniform"
    pairs = {"change": ("drawn", "stock"), "off": ("undrawn", "stock"), "photo": ("from_photo", "drawn")}
    found = differences(client, graph, **{name: ([one, 0], [two, 0]) for name, (one, two) in pairs.items()})
    assert found["off"] == 0.0 and found["change"] > 1e-3 and found["photo"] > 1e-3, found
    [path] = set(comfy.folder("models/acfun").glob("*")) - before
    adapter = adapter_file.load(path)
    assert adapter.base_prediction == "v" and adapter.base_family == "sdxl"
    assert all(after < before for before, after in zip(adapter.record.before, adapter.record.after)), adapter.record
    assert "trained on a base that predicts the velocity" in comfy.log_path.read_text()


def test_other_predictions_are_named(client):
    with pytest.raises(NodeError, match="The checkpoint's prediction is V_PREDICTION_EDM"):
        client.run(sdxl_graph("edm_vpred.sigma_max"))
