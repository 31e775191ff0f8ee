"""SDXL and Stable Diffusion 2.x, reduced, with random weights: saved by ComfyUI as one file, read here, drawn alike by both."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from diffusers import AutoencoderKL, AutoencoderTiny
from safetensors.torch import load_file, save_file

from acfun_core.backends import families
from acfun_core.backends.stable_diffusion import StableDiffusion
from acfun_core.config import AdapterConfig, TrainConfig
from acfun_core.storage import adapter_file
from acfun_core.strengths import Strengths
from tools import parity
from tools.comfy.graphs import SIDE, base_graph, node, train_node
from tools.comfy.install import ensure_comfy

from .conftest import BASE
from .test_weights import VAE, original_vae

KINDS = {
    "sdxl": ("sdxl", node("ProbeSDXL")),
    "sdxl_v_zero_snr": ("sdxl", node("ProbeSDXL", names="v_pred ztsnr")),
    "sd2_v": ("sd2", node("ProbeSD2", predicts_v=True)),
}
UNETS = {
    "sdxl": {
        "block_out_channels": [32, 64, 128],
        "transformer_layers_per_block": [1, 1, 1],
        # Numbers of heads, each 64 wide as in the full size.
        "attention_head_dim": [1, 1, 2],
    },
    "sd2": {
        "block_out_channels": [32, 64, 128, 128],
        "attention_head_dim": [1, 2, 4, 4],
        "upcast_attention": False,
    },
}
SCALES = {"sdxl": 0.13025, "sd2": 0.18215}


def reduced(family: families.Family, folder: Path) -> Path:
    """The family's settings at the size of the probe's models."""

    def write(part: str, config: dict) -> None:
        (folder / family.name / part).mkdir(parents=True)
        (folder / family.name / part / "config.json").write_text(json.dumps(config))

    write("unet", json.loads((family.configs / "unet" / "config.json").read_text()) | UNETS[family.name])
    write("vae", VAE | {"scaling_factor": SCALES[family.name]})
    for reading in family.readings:
        config = json.loads((family.configs / reading.part / "config.json").read_text())
        # Its heads are 64 wide, it acts by gelu throughout, and 2.x leaves out the last of three layers.
        layers = 2 if family.name == "sd2" else 3
        config |= {"intermediate_size": config["hidden_size"], "hidden_act": "gelu", "num_hidden_layers": layers}
        write(reading.part, config)
    return folder


@pytest.fixture(scope="module", params=KINDS)
def both(request, comfy, tmp_path_factory) -> tuple[StableDiffusion, parity.Source]:
    """The base here and in ComfyUI. The demo base's VAE stands on both sides: its latents at the family's scale."""
    name, probe = KINDS[request.param]
    family = next(one for one in families.KNOWN if one.name == name)
    source = parity.Source({**base_graph(), "probe": probe}, ["probe", 0], ["probe", 1], SCALES[name])
    save = node("CheckpointSave", model=source.model, clip=source.clip, vae=["base", 2], filename_prefix=request.param)
    with comfy.client() as client:
        client.run({**source.nodes, "save": save})
    [path] = comfy.folder("output").glob(f"{request.param}*.safetensors")
    tensors = {key: value for key, value in load_file(path).items() if not key.startswith("first_stage_model.")}
    path.unlink()
    torch.manual_seed(0)
    vae = AutoencoderKL(**VAE).state_dict()
    folder = tmp_path_factory.mktemp("reduced")
    saved = folder / "base.safetensors"
    save_file({**tensors, **{k: v.contiguous() for k, v in map(original_vae, vae, vae.values())}}, saved)
    del tensors
    with pytest.MonkeyPatch.context() as context:
        context.setattr(families, "CONFIGS", reduced(family, folder))
        base = StableDiffusion.load(saved, BASE / "image_encoder", ensure_comfy() / "comfy" / "sd1_tokenizer")
    saved.unlink()
    base.vae = AutoencoderTiny.from_pretrained(BASE, subfolder="vae").eval().requires_grad_(False)
    base.vae.register_to_config(scaling_factor=SCALES[name])
    return base, source


@pytest.mark.server
def test_the_checkpoint_says_what_it_is(request, both):
    base, _ = both
    kind = request.node.callspec.params["both"]
    assert base.family.name == KINDS[kind][0] and base.key == ""
    assert base.prediction == ("epsilon" if kind == "sdxl" else "v")
    assert (base.schedule.alphas_cumprod[-1] < 1e-6) == (kind == "sdxl_v_zero_snr")
    assert base.native_side == (1024 if base.family.name == "sdxl" else 768)


@pytest.mark.server
def test_an_adapter_trained_in_comfyui_draws_the_same_here(request, comfy, client, both, style, face):
    """On the plain SDXL over forty steps. And the same training here has the same losses."""
    base, source = both
    steps = 40 if request.node.callspec.params["both"] == "sdxl" else 6
    graph = {
        **source.nodes,
        "train": train_node(
            model=source.model, clip=source.clip, steps=3, resolution=SIDE, learning_rate=3e-3, name="x"
        ),
        "path": node("PreviewAny", source=["train", 2]),
    }
    [path] = client.run(graph).texts("path")
    learned = adapter_file.load(comfy.folder("models/acfun") / Path(path).name)
    config = TrainConfig(**learned.record.settings)
    ours = base.train(style, face, AdapterConfig(learned.config.description), config, SIDE)
    assert learned.base_family == ours.base_family == base.family.name
    assert learned.base_prediction == ours.base_prediction == base.prediction
    for name in ("before", "after", "style_loss", "face_loss"):
        assert getattr(learned.record, name) == pytest.approx(getattr(ours.record, name), rel=2e-3), name
    found = parity.compare(comfy, client, base, [(learned, Strengths())], SIDE, source, steps=steps)
    assert found["max_abs_difference"] <= 1e-3 and found["change_by_the_adapter"] > 0.01, found


@pytest.mark.server
@pytest.mark.parametrize("both", ["sdxl"], indirect=True)
def test_an_adapter_of_here_draws_the_same_in_comfyui(comfy, client, both):
    """With weights in the prompt, several sections and windows; what is told besides belongs to the first section."""
    base, source = both
    adapter = parity.random_adapter(base, abstract_mode="sequence")
    settings = {
        "prompt": "a ((smiling)) man in (S*:1.2) style, " + "blue sky, " * 40,
        "negative": "(red:0.7)",
        "cfg": 4.0,
    }
    strengths = Strengths(0.8, 1.2, 0.7, abstract_end=0.5, guidance="cond")
    found = parity.compare(comfy, client, base, [(adapter, strengths)], SIDE, source, steps=6, **settings)
    assert found["max_abs_difference"] <= 1e-3 and found["change_by_the_adapter"] > 0.01, found


@pytest.mark.server
def test_a_photo_has_the_same_noise(comfy, client, both, face):
    base, source = both
    photo = {"vae": ["base", 2], "photo": ["face", 0], "palette_hold": 0.0}
    graph = {
        **source.nodes,
        "start": node("ACFunPhotoNoise", model=source.model, clip=source.clip, **photo, steps=4, resolution=SIDE),
        "save": node("SaveLatent", samples=["start", 0], filename_prefix="noise_of_family"),
    }
    known = set(comfy.folder("output").glob("noise_of_family*.latent"))
    client.run(graph)
    [path] = set(comfy.folder("output").glob("noise_of_family*.latent")) - known
    largest = float(base.schedule.log_sigmas[-1].exp())
    trailing, base._trailing = base._trailing, False
    wanted = base.photo_noise(face, steps=4, resolution=SIDE)
    base._trailing = trailing
    found = load_file(path)["latent_tensor"] * SCALES[base.family.name] / (1 + largest**2) ** 0.5
    assert (found - wanted).abs().max() <= 1e-3 and wanted.std() > 0.3
