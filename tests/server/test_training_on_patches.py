"""Trainings on a MODEL that other nodes have patched: they learn, or say before the first step is over what is in the way."""

from __future__ import annotations

from pathlib import Path

import pytest

from acfun_core.storage import adapter_file
from tools.comfy.client import NodeError
from tools.comfy.graphs import adapter_options, apply_node, base_graph, node, train_node
from tools.comfy.random_files import write_hypernetwork, write_lora

PATCHES = {
    "SelfAttentionGuidance": {"scale": 0.5, "blur_sigma": 2.0},
    "PatchModelAddDownscale": {
        "block_number": 3,
        "downscale_factor": 2.0,
        "start_percent": 0.0,
        "end_percent": 0.35,
        "downscale_after_skip": True,
        "downscale_method": "bicubic",
        "upscale_method": "bicubic",
    },
    "FreeU_V2": {"b1": 1.3, "b2": 1.4, "s1": 0.9, "s2": 0.2},
}
PATH = node("PreviewAny", source=["train", 2])


def trained_on(patch: dict, name: str) -> dict:
    return {
        **base_graph(),
        "patch": patch,
        "train": train_node(model=["patch", 0], steps=2, seed=11, name=name),
        "end": PATH,
    }


def adapter_of(comfy, run):
    [name] = run.texts("end")
    return adapter_file.load(comfy.folder("models/acfun") / Path(name).name)


def losses_before(comfy, run) -> list[float]:
    """The [style, face] losses that the UNet had before the training, with the patch in it."""
    return adapter_of(comfy, run).record.before


def test_patches_that_ask_how_far_the_sampling_is_are_told(client, comfy, users_noises_in_server):
    """They failed with KeyError: a training's calls said neither the noise level nor the passes."""
    plain = client.run({**base_graph(), "train": train_node(steps=2, seed=11, name="on_none"), "end": PATH})
    found = {"none": losses_before(comfy, plain)}
    for kind in ("SelfAttentionGuidance", "PatchModelAddDownscale"):
        run = client.run(trained_on(node(kind, model=["base", 0], **PATCHES[kind]), f"on_{kind}"))
        found[kind] = losses_before(comfy, run)
    # The first changes what guidance makes of a pass without the prompt, the second the UNet itself.
    assert found["SelfAttentionGuidance"] == pytest.approx(found["none"], rel=1e-5), found
    assert found["PatchModelAddDownscale"] != pytest.approx(found["none"], rel=1e-3), found


def test_a_patch_with_tensors_of_its_own_could_not_be_trained_on(client, comfy):
    """It failed in the first step: the weights of hypernetworks and the tokens that image adapters hold were made in inference
    mode, and are no parameters of the UNet. Learned is what is learned where the patch holds a number."""
    found = {}
    for kind, settings in (
        ("ProbeAttentionPatch", {"scale": 1.5}),
        ("ProbeHeldScale", {"scale": 1.5}),
        ("HypernetworkLoader", {"hypernetwork_name": write_hypernetwork(comfy), "strength": 1.0}),
    ):
        run = client.run(trained_on(node(kind, model=["base", 0], **settings), f"on_{kind}"))
        found[kind] = adapter_of(comfy, run).record
    number, held, hypernetwork = found.values()
    assert (held.before, held.after) == (number.before, number.after)
    assert hypernetwork.after != hypernetwork.before != number.before


def test_a_patch_that_overwrites_what_gradients_need_is_named(client):
    patch = node("FreeU_V2", model=["base", 0], **PATCHES["FreeU_V2"])
    with pytest.raises(NodeError, match="overwrites values that training still needs, as FreeU does"):
        client.run(trained_on(patch, "on_free_u"))


def test_adapters_of_the_model_were_left_out_of_a_training_without_a_word(client, comfy):
    """They wrap the UNet while it samples, and only then; what is learned is what the bare base teaches."""
    first = {
        **base_graph(),
        "train": train_node(steps=2, name="under"),
        "half": adapter_options(encoder_start=0.5, decoder_start=0.5, guidance="cond"),
        "patch": apply_node(),
    }
    first["patch"]["inputs"]["options"] = ["half", 0]
    graph = {**first, "second": train_node(model=["patch", 0], steps=2, seed=11, name="over")}
    run = client.run({**graph, "end": node("PreviewAny", source=["second", 2])})
    [said] = {event.data["notice"] for event in run.events if event.kind == "acfun.training" and event.data["notice"]}
    assert "leaves out its ACFun adapter:" in said
    bare = client.run({**base_graph(), "train": train_node(steps=2, seed=11, name="bare"), "end": PATH})
    assert adapter_of(comfy, run).record.style_loss == adapter_of(comfy, bare).record.style_loss


def test_a_lora_in_bypass_mode_could_not_be_trained_on(client, comfy):
    """It failed in the first step: its weights, which are no parameters, were loaded in inference mode."""
    if "LoraLoaderBypass" not in client.object_info():
        pytest.skip("this ComfyUI has no LoRA in bypass mode; 0.33 has")
    lora = {"model": ["base", 0], "clip": ["base", 1], "lora_name": write_lora(comfy, words=True)}
    found = {}
    for kind, strength in (("LoraLoader", 0.8), ("LoraLoaderBypass", 0.8), ("LoraLoaderBypass", 0.4)):
        graph = trained_on(node(kind, **lora, strength_model=strength, strength_clip=strength), "on_lora")
        graph["train"]["inputs"]["clip"] = ["patch", 1]
        found[kind, strength] = adapter_of(comfy, client.run(graph)).record
    patched, bypassed, weaker = found.values()
    for losses in ("before", "after"):
        assert getattr(bypassed, losses) == pytest.approx(getattr(patched, losses), rel=1e-4)
        # The same name, pictures and settings: what was trained at another strength is not taken for it.
        assert getattr(weaker, losses) != pytest.approx(getattr(patched, losses), rel=1e-3)
