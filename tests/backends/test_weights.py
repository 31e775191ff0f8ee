"""Bases from files: a single-file checkpoint, CLIP vision files, and what is wrong with those that do not fit."""

from __future__ import annotations

import json
import re
import shutil

import pytest
import torch
from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
from safetensors.torch import load_file, save_file
from transformers import CLIPTextConfig, CLIPTextModelWithProjection

from acfun_core.backends import families, vision, weights
from acfun_core.backends.checkpoint import UNET_INPUT
from acfun_core.backends.families import SD1, SD2, SDXL
from acfun_core.backends.scheduler import Told, schedule_from_config
from acfun_core.backends.stable_diffusion import StableDiffusion
from acfun_core.backends.vision import load_image_encoder
from acfun_core.backends.weights import load_parts
from acfun_core.demo_base import NATIVE_SIDE
from acfun_core.errors import ACFunError

from .conftest import BASE

UNET = {
    "block_out_channels": [32, 64],
    "layers_per_block": 1,
    "cross_attention_dim": 32,
    "attention_head_dim": 2,
    "down_block_types": ["CrossAttnDownBlock2D", "DownBlock2D"],
    "up_block_types": ["UpBlock2D", "CrossAttnUpBlock2D"],
    "sample_size": 8,
}
VAE = {
    "block_out_channels": [32],
    "down_block_types": ["DownEncoderBlock2D"],
    "up_block_types": ["UpDecoderBlock2D"],
    "layers_per_block": 1,
    "scaling_factor": 0.18215,
}
TEXT = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "vocab_size": 1022,
    "bos_token_id": 1020,
    "eos_token_id": 1021,
    "projection_dim": 32,
}

_RESNET = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}
_UNET_PLACES = {
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "conv_in": "input_blocks.0.0",
    "down_blocks.0.resnets.0": "input_blocks.1.0",
    "down_blocks.0.attentions.0": "input_blocks.1.1",
    "down_blocks.0.downsamplers.0.conv": "input_blocks.2.0.op",
    "down_blocks.1.resnets.0": "input_blocks.3.0",
    "mid_block.resnets.0": "middle_block.0",
    "mid_block.attentions.0": "middle_block.1",
    "mid_block.resnets.1": "middle_block.2",
    "up_blocks.0.resnets.0": "output_blocks.0.0",
    "up_blocks.0.resnets.1": "output_blocks.1.0",
    "up_blocks.0.upsamplers.0.conv": "output_blocks.1.1.conv",
    "up_blocks.1.resnets.0": "output_blocks.2.0",
    "up_blocks.1.attentions.0": "output_blocks.2.1",
    "up_blocks.1.resnets.1": "output_blocks.3.0",
    "up_blocks.1.attentions.1": "output_blocks.3.1",
    "conv_norm_out": "out.0",
    "conv_out": "out.2",
}
_VAE_PLACES = {
    "encoder.down_blocks.0.resnets.0": "encoder.down.0.block.0",
    "decoder.up_blocks.0.resnets.0": "decoder.up.0.block.0",
    "decoder.up_blocks.0.resnets.1": "decoder.up.0.block.1",
    "mid_block.resnets.0": "mid.block_1",
    "mid_block.resnets.1": "mid.block_2",
    "mid_block.attentions.0.group_norm": "mid.attn_1.norm",
    "mid_block.attentions.0.to_q": "mid.attn_1.q",
    "mid_block.attentions.0.to_k": "mid.attn_1.k",
    "mid_block.attentions.0.to_v": "mid.attn_1.v",
    "mid_block.attentions.0.to_out.0": "mid.attn_1.proj_out",
    "conv_norm_out": "norm_out",
}


def original_unet_key(key: str) -> str:
    [place] = [place for place in _UNET_PLACES if key.startswith(f"{place}.")]
    rest = key.removeprefix(f"{place}.")
    if ".resnets." in place:
        module, parameter = rest.split(".")
        rest = f"{_RESNET[module]}.{parameter}"
    return f"model.diffusion_model.{_UNET_PLACES[place]}.{rest}"


def original_vae(key: str, value: torch.Tensor) -> tuple[str, torch.Tensor]:
    for place, original in _VAE_PLACES.items():
        key = key.replace(place, original)
    # Attention over pixels was written as convolutions of size 1.
    is_attention = re.search(r"attn_1\.(q|k|v|proj_out)\.weight", key)
    return f"first_stage_model.{key}", value[:, :, None, None] if is_attention else value


@pytest.fixture(scope="module")
def models() -> dict:
    torch.manual_seed(0)
    return {
        "unet": UNet2DConditionModel(**UNET),
        "vae": AutoencoderKL(**VAE),
        "text_encoder": CLIPTextModelWithProjection(CLIPTextConfig(**TEXT)),
    }


@pytest.fixture(scope="module")
def checkpoint(models) -> dict[str, torch.Tensor]:
    """A tiny base in the layout of a single-file checkpoint."""
    tensors = {original_unet_key(key): value for key, value in models["unet"].state_dict().items()}
    tensors |= dict(original_vae(key, value) for key, value in models["vae"].state_dict().items())
    text = {key: value for key, value in models["text_encoder"].state_dict().items() if key.startswith("text_model.")}
    tensors |= {f"cond_stage_model.transformer.{key}": value for key, value in text.items()}
    return {key: value.contiguous().clone() for key, value in tensors.items()}


@pytest.fixture
def tiny_configs(tmp_path, monkeypatch):
    """Settings of the tiny base in place of Stable Diffusion 1.x's own."""
    folder = tmp_path / "configs"
    for part, config in (("unet", UNET), ("vae", VAE), ("text_encoder", TEXT)):
        (folder / "sd1" / part).mkdir(parents=True)
        (folder / "sd1" / part / "config.json").write_text(json.dumps(config))
    monkeypatch.setattr(families, "CONFIGS", folder)


def test_a_single_file_holds_the_same_weights(models, checkpoint, tiny_configs, tmp_path):
    path = tmp_path / "tiny.safetensors"
    save_file(checkpoint, path)
    parts = load_parts(path, BASE / "tokenizer")
    for name in ("unet", "vae"):
        loaded, known = getattr(parts, name).state_dict(), models[name].state_dict()
        assert loaded.keys() == known.keys() and all(torch.equal(loaded[key], known[key]) for key in known)
    loaded, known = parts.text_encoders[0].state_dict(), models["text_encoder"].state_dict()
    assert all(torch.equal(loaded[key], known[key]) for key in known if key.startswith("text_model."))
    assert parts.vae.config.scaling_factor == 0.18215
    assert parts.key == "", "checkpoints of Stable Diffusion 1.x share their adapters"
    assert not any(parameter.requires_grad for parameter in parts.unet.parameters())


UNET_TEXT = "model.diffusion_model.input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight"


def without(part: str):
    return lambda tensors: {key: value for key, value in tensors.items() if part not in key}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (without("model.diffusion_model."), "no Stable Diffusion UNet"),
        (without("first_stage"), "holds no VAE"),
        (without("cond_stage"), "holds no CLIP text encoder"),
        (lambda t: t | {UNET_INPUT: torch.zeros(32, 9, 3, 3)}, "takes 9 channels"),
        (lambda t: t | {UNET_TEXT: torch.zeros(32, 2048)}, "text 2048 wide"),
        (lambda t: t | {"edm_mean": torch.zeros(1)}, "another noise schedule"),
        (
            lambda t: {k: v for k, v in t.items() if not k.endswith("output_blocks.3.0.in_layers.2.weight")},
            "unet in.*not whole",
        ),
        (without("decoder.conv_out.weight"), "vae in.*not whole"),
        (without("final_layer_norm"), "2 weights are missing"),
    ],
)
def test_checkpoints_that_do_not_fit_are_named(checkpoint, tiny_configs, tmp_path, change, says):
    path = tmp_path / "wrong.safetensors"
    save_file(change(dict(checkpoint)), path)
    with pytest.raises(ACFunError, match=says):
        load_parts(path, BASE / "tokenizer")


def nan(value):
    return value.clone().fill_(torch.nan)


def as_integers(value):
    return value.half().view(torch.int16)


@pytest.mark.parametrize(("change", "says"), [(nan, "not numbers"), (as_integers, "of type I16")])
@pytest.mark.parametrize("part", ["model.diffusion_model.", "first_stage_model.", "cond_stage_model."])
def test_a_damaged_checkpoint_was_read_whole_before_it_was_refused(
    checkpoint, tiny_configs, tmp_path, monkeypatch, part, change, says
):
    """diffusers loads what is not finite, and reads float16 that is marked as integers as large whole numbers."""
    path, key = tmp_path / "damaged.safetensors", next(key for key in checkpoint if key.startswith(part))
    save_file(checkpoint | {key: change(checkpoint[key])}, path)
    if part != "cond_stage_model.":
        for model in (UNet2DConditionModel, AutoencoderKL):
            monkeypatch.setattr(model, "from_single_file", lambda *a, **b: pytest.fail("diffusers has read the file"))
    with pytest.raises(ACFunError, match=f"{re.escape(key)} in damaged.safetensors.*{says}"):
        load_parts(path, BASE / "tokenizer")


def test_a_checkpoint_of_8_bits_loads(checkpoint, tiny_configs, tmp_path):
    path = tmp_path / "small.safetensors"
    save_file({key: value.to(torch.float8_e4m3fn) for key, value in checkpoint.items()}, path)
    assert load_parts(path, BASE / "tokenizer").unet.dtype == torch.float32


@pytest.mark.parametrize("part", ["unet", "vae"])
def test_a_damaged_folder_was_read_whole_before_it_was_refused(tmp_path, monkeypatch, part):
    folder = tmp_path / "base"
    shutil.copytree(BASE, folder)
    file = weights.weight_file(folder / part)
    state = load_file(file)
    key = next(iter(state))
    save_file(state | {key: nan(state[key])}, file)
    model = weights.imported("diffusers", json.loads((file.parent / "config.json").read_text())["_class_name"])
    monkeypatch.setattr(model, "from_pretrained", lambda *a, **b: pytest.fail("diffusers has read the file"))
    with pytest.raises(ACFunError, match=f"{re.escape(key)} in {file.name}.*not numbers"):
        load_parts(folder)


def test_a_checkpoint_needs_a_tokenizer(checkpoint, tiny_configs, tmp_path):
    path = tmp_path / "tiny.safetensors"
    save_file(checkpoint, path)
    with pytest.raises(ACFunError, match="holds no tokenizer.*--tokenizer FOLDER"):
        load_parts(path)
    with pytest.raises(ACFunError, match="lacks vocab.json and merges.txt"):
        load_parts(path, tmp_path)


def test_pickled_and_broken_checkpoints_are_refused(tmp_path):
    for name, says in (("old.ckpt", "not a .safetensors"), ("broken.safetensors", "cannot be read")):
        (tmp_path / name).write_bytes(b"\x80\x04 not a tensor file")
        with pytest.raises(ACFunError, match=says):
            load_parts(tmp_path / name, BASE / "tokenizer")


@pytest.mark.parametrize(
    ("family", "unet", "texts"),
    [
        (SD1, 859_520_964, [123_060_480 + 768**2]),
        (SD2, 865_910_724, [340_387_840 + 1024**2]),
        (SDXL, 2_567_463_684, [123_060_480 + 768**2, 694_659_840]),
    ],
    ids=lambda value: getattr(value, "name", None),
)
def test_the_settings_of_stable_diffusion_make_its_architecture(family, unet, texts):
    """Numbers of weights as published; a projection that is not published is counted apart."""
    read = lambda part: json.loads((family.configs / part / "config.json").read_text())  # noqa: E731
    with torch.device("meta"):
        models = [UNet2DConditionModel.from_config(read("unet")), AutoencoderKL.from_config(read("vae"))]
        models += [CLIPTextModelWithProjection(CLIPTextConfig(**read(one.part))) for one in family.readings]
    counts = [sum(parameter.numel() for parameter in model.parameters()) for model in models]
    assert counts == [unet, 83_653_863, *texts]
    assert families.family_of(BASE, read("unet")) is family
    assert (
        read("unet")["cross_attention_dim"] == family.width == sum(read(r.part)["hidden_size"] for r in family.readings)
    )


def changed_folder(tmp_path, part: str, **changes):
    """A copy of the demo base's settings, with links to its weights, and some settings changed."""
    folder = tmp_path / "base"
    for source in BASE.rglob("*"):
        target = folder / source.relative_to(BASE)
        if source.is_dir():
            target.mkdir(parents=True, exist_ok=True)
        elif source.suffix != ".safetensors":
            shutil.copy(source, target)
    path = next((folder / part).glob("*config.json"))
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
    return folder


@pytest.mark.parametrize(
    ("part", "changes", "says"),
    [
        ("unet", {"in_channels": 9}, "takes 9 channels"),
        ("unet", {"addition_embed_type": "text_time"}, "no text_encoder_2/config.json.*as SDXL has"),
        ("unet", {"addition_embed_type": "text_time", "cross_attention_dim": 1280}, "SDXL's refiner"),
        ("unet", {"class_embed_type": "projection"}, "not Stable Diffusion 1.x, 2.x or SDXL"),
        ("scheduler", {"prediction_type": "sample"}, "predicts 'sample'"),
        ("scheduler", {"beta_schedule": "linear"}, "noise schedule 'linear'"),
        ("scheduler", {"rescale_betas_zero_snr": True}, "zero terminal SNR and predicts noise"),
        ("vae", {"_class_name": "AutoencoderDC"}, "AutoencoderDC"),
        ("unet", {}, "holds no .safetensors file"),
    ],
)
def test_folders_that_do_not_fit_are_named(tmp_path, part, changes, says):
    with pytest.raises(ACFunError, match=says):
        load_parts(changed_folder(tmp_path, part, **changes))


@pytest.mark.parametrize("zero_snr", [False, True])
def test_the_scheduler_of_a_folder_and_the_user_say_what_is_predicted(zero_snr):
    """Held against diffusers' own schedule, which is 0 at the end where ours is nearly."""
    config = json.loads((BASE / "scheduler" / "scheduler_config.json").read_text())
    config |= {"prediction_type": "v_prediction", "rescale_betas_zero_snr": zero_snr}
    prediction, schedule = schedule_from_config(BASE, config, Told())
    assert prediction == "v"
    theirs = DDIMScheduler.from_config(config).alphas_cumprod
    torch.testing.assert_close(schedule.alphas_cumprod, theirs, rtol=1e-3, atol=1e-7)
    config |= {"prediction_type": "epsilon", "rescale_betas_zero_snr": False}
    assert schedule_from_config(BASE, config, Told())[0] == "epsilon"
    prediction, told = schedule_from_config(BASE, config, Told("v", zero_snr))
    assert prediction == "v" and torch.equal(told.alphas_cumprod, schedule.alphas_cumprod)


def test_a_checkpoint_says_that_it_predicts_v(checkpoint, tiny_configs, tmp_path):
    path = tmp_path / "v.safetensors"
    save_file(checkpoint | {"v_pred": torch.tensor([]), "ztsnr": torch.tensor([])}, path)
    base = StableDiffusion.load(path, tokenizer=BASE / "tokenizer")
    assert base.prediction == "v" and base.schedule.alphas_cumprod[-1] < 1e-6 and base.scheduler == "normal"
    save_file(checkpoint, path)
    assert StableDiffusion.load(path, tokenizer=BASE / "tokenizer").prediction == "epsilon"
    assert StableDiffusion.load(path, tokenizer=BASE / "tokenizer", told=Told("v")).prediction == "v"


def test_a_folder_with_weights_missing_is_named(tmp_path):
    folder = changed_folder(tmp_path, "unet")
    state = load_file(BASE / "unet" / "diffusion_pytorch_model.safetensors")
    del state["conv_out.weight"]
    save_file(state, folder / "unet" / "diffusion_pytorch_model.fp16.safetensors")
    with pytest.raises(ACFunError, match="lacks 1 weights .conv_out.weight"):
        load_parts(folder)


def test_nothing_is_asked_of_a_network(monkeypatch):
    def refuse(*arguments, **settings):
        raise AssertionError("a connection was opened")

    for name in ("socket.socket.connect", "socket.getaddrinfo"):
        monkeypatch.setattr(name, refuse)
    base = StableDiffusion.load(BASE)
    assert base.native_side == NATIVE_SIDE and base.condition("a photo").shape == (1, 77, 256)
    assert load_image_encoder(BASE / "image_encoder").config.hidden_size == 256


def test_missing_folders_are_named(tmp_path):
    with pytest.raises(ACFunError, match="has no unet/config.json"):
        load_parts(tmp_path)


def test_clip_vision_from_a_single_file_as_from_its_folder(tmp_path, monkeypatch):
    folder = BASE / "image_encoder"
    path = tmp_path / "clip_vision.safetensors"
    save_file(load_file(folder / "model.safetensors"), path)
    with pytest.raises(ACFunError, match="no CLIP vision model that is known"):
        load_image_encoder(path)
    heads = {"num_attention_heads": 4, "hidden_act": "quick_gelu", "intermediate_size": 1024}
    monkeypatch.setitem(vision.KNOWN, 256, heads)
    one, two = load_image_encoder(path), load_image_encoder(folder)
    picture = torch.rand(1, 3, one.config.image_size, one.config.image_size)
    assert torch.equal(one(pixel_values=picture).image_embeds, two(pixel_values=picture).image_embeds)
    assert next(two.parameters()).dtype == torch.float32


def test_what_is_no_clip_vision_is_named(tmp_path):
    with pytest.raises(ACFunError, match="no CLIP vision model at"):
        load_image_encoder(tmp_path / "nothing")
    with pytest.raises(ACFunError, match="does not fit: .* missing"):
        folder = tmp_path / "text"
        shutil.copytree(BASE / "image_encoder", folder)
        save_file(load_file(BASE / "text_encoder" / "model.safetensors"), folder / "model.safetensors")
        load_image_encoder(folder)
