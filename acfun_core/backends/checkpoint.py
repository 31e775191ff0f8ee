"""A base from one file in the original layout, as Stable Diffusion's checkpoints come and as ComfyUI saves them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor

from ..diffusion.schedule import NoiseSchedule
from ..errors import ACFunError
from ..storage.tensor_file import Stored, checked_floats, opened, stored
from .clip import load_text_encoder, load_tokenizer, read_json
from .families import KNOWN, SD2, TEXT_TO_IMAGE, Family, Parts, Reading
from .libraries import imported
from .scheduler import Told, settled

UNET_INPUT = "model.diffusion_model.input_blocks.0.0.weight"
_UNET_TEXT = ".transformer_blocks.0.attn2.to_k.weight"
_PREFIXES = {"unet": "model.diffusion_model.", "vae": "first_stage_model."}
_V_PREDICTION, _ZERO_SNR = "v_pred", "ztsnr"
"""Names of empty tensors by which a checkpoint says so, as ComfyUI saves and reads them."""
_EDM = ("edm_mean", "edm_vpred.sigma_max")
_SD2_MOVED = "model.diffusion_model.output_blocks.11.1.transformer_blocks.0.norm1.bias"
_SD2_MOVES_BY = 0.09
"""Stable Diffusion 2.x that predicts v is known by the deviation of this one norm, as ComfyUI knows it."""
_SD2_V_SIDE = 96
"""Side of the latents on which those that predict v were trained; the others on 64."""


def from_checkpoint(path: Path, tokenizer: str | Path | None, dtype: torch.dtype, told: Told) -> Parts:
    """All parts of a base from a single file.

    Raises:
        ACFunError: the file is not safetensors, not whole, damaged, or of no family that is known; or there is no tokenizer.
    """
    if path.suffix != ".safetensors":
        raise ACFunError(
            f"{path.name} is not a .safetensors file.",
            "a safetensors checkpoint (pickled .ckpt files are not read)",
            "get the safetensors version of this base",
        )
    with opened(path, "a whole checkpoint") as file:
        parts = stored(file)
    family = _family_of(path, parts)
    if tokenizer is None:
        raise ACFunError(
            f"The checkpoint {path.name} holds no tokenizer.",
            "a tokenizer folder with vocab.json and merges.txt beside it",
            "add --tokenizer FOLDER: tokenizer/ of any Stable Diffusion diffusers folder, or ComfyUI's comfy/sd1_tokenizer",
        )
    words = load_tokenizer(Path(tokenizer))
    with opened(path) as file:
        for part, prefix in _PREFIXES.items():
            check_floats(file, path, part, prefix)
        predicts = "v" if _V_PREDICTION in parts or _moved(file, family, parts) else "epsilon"
    prediction, zero_snr = settled(path, told, predicts, _ZERO_SNR in parts)
    unet = _from_single_file(path, family, "unet", "UNet2DConditionModel", dtype)
    if family is SD2 and prediction == "v":
        unet.register_to_config(sample_size=_SD2_V_SIDE)
    return Parts(
        unet,
        _from_single_file(path, family, "vae", "AutoencoderKL", torch.float32),
        tuple(_text_encoder(path, family, reading) for reading in family.readings),
        (words,) * len(family.readings),
        NoiseSchedule.stable_diffusion(zero_snr=zero_snr),
        family,
        prediction=prediction,
    )


def _moved(file: Any, family: Family, parts: Mapping[str, Stored]) -> bool:
    """Whether a Stable Diffusion 2.x checkpoint is known to predict v."""
    if family is not SD2 or _SD2_MOVED not in parts:
        return False
    return bool(file.get_tensor(_SD2_MOVED).float().std(correction=0) > _SD2_MOVES_BY)


def _family_of(path: Path, parts: Mapping[str, Stored]) -> Family:
    """The family of a checkpoint, by the names and shapes in it.

    Raises:
        ACFunError: it is of none, or a part of it is missing.
    """
    expected, fix = "a checkpoint in the original layout", f"name {TEXT_TO_IMAGE}, with UNet, VAE and CLIP in one file"
    texts = [part.shape[1] for key, part in parts.items() if key.startswith(_PREFIXES["unet"]) and _UNET_TEXT in key]
    if UNET_INPUT not in parts or not texts:
        raise ACFunError(f"{path.name} holds no Stable Diffusion UNet.", expected, fix)
    if not any(key.startswith(_PREFIXES["vae"]) for key in parts):
        raise ACFunError(f"{path.name} holds no VAE ({_PREFIXES['vae']}...).", expected, fix)
    if any(name in parts for name in _EDM):
        raise ACFunError(
            f"{path.name} predicts along another noise schedule (EDM).", "a base that predicts the noise or v", fix
        )
    # That with the most text encoders first: each has its own names for them.
    for family in reversed(KNOWN):
        if all(any(key.startswith(reading.prefix) for key in parts) for reading in family.readings):
            break
    else:
        prefixes = ", ".join(f"{family.readings[-1].prefix}..." for family in KNOWN)
        raise ACFunError(f"{path.name} holds no CLIP text encoder ({prefixes}).", expected, fix)
    config = read_json(family.configs / "unet" / "config.json")
    shape, want = parts[UNET_INPUT].shape, (config["block_out_channels"][0], 4)
    if shape[:2] != want or texts[0] != config["cross_attention_dim"]:
        raise ACFunError(
            f"The UNet in {path.name} takes {shape[1]} channels and text {texts[0]} wide.",
            f"4 channels and text {config['cross_attention_dim']} wide, as {family.title}",
            fix,
        )
    return family


def _from_single_file(path: Path, family: Family, part: str, class_name: str, dtype: torch.dtype) -> Any:
    model_class = imported("diffusers", class_name)
    whole, again = f"a whole {family.title} checkpoint", "copy the file again or name another"
    settings = {"local_files_only": True, "low_cpu_mem_usage": False, "torch_dtype": dtype}
    try:
        model = model_class.from_single_file(str(path), config=str(family.configs), subfolder=part, **settings)
    except (OSError, ValueError, RuntimeError, KeyError, SafetensorError) as error:
        raise ACFunError(f"The {part} in {path.name} cannot be loaded: {str(error)[:300]}.", whole, again) from error
    # diffusers would leave weights that are missing at random and go on.
    want, have = sum(value.numel() for value in model.state_dict().values()), _numbers_under(path, _PREFIXES[part])
    if have < want:
        raise ACFunError(f"The {part} in {path.name} is not whole: {have} of {want} numbers are there.", whole, again)
    return model


def _text_encoder(path: Path, family: Family, reading: Reading) -> Any:
    config = read_json(family.configs / reading.part / "config.json")
    with opened(path) as file:
        tensors = dict(checked_floats(file, path, "text encoder", reading.prefix))
    if reading.open_clip:
        weights = _from_open_clip(tensors, reading.prefix, config)
    else:
        weights = {key.removeprefix(reading.prefix): tensor for key, tensor in tensors.items()}
    return load_text_encoder(config, weights, reading.pools)


_OPEN_CLIP = {
    "token_embedding.weight": "embeddings.token_embedding.weight",
    "positional_embedding": "embeddings.position_embedding.weight",
    "ln_final.weight": "final_layer_norm.weight",
    "ln_final.bias": "final_layer_norm.bias",
}
_OPEN_CLIP_LAYER = {
    "ln_1": "layer_norm1",
    "ln_2": "layer_norm2",
    "mlp.c_fc": "mlp.fc1",
    "mlp.c_proj": "mlp.fc2",
    "attn.out_proj": "self_attn.out_proj",
}
_OPEN_CLIP_BLOCK = "transformer.resblocks."


def _from_open_clip(tensors: Mapping[str, Tensor], prefix: str, config: Mapping) -> dict[str, Tensor]:
    """OpenCLIP's text transformer under transformers' names; layers beyond those of ``config`` are left out.

    diffusers has this too, but knows which layer Stable Diffusion 2.x leaves out by its number in the full size alone.
    """
    found = {}
    for key, tensor in tensors.items():
        name = key.removeprefix(prefix)
        if name in _OPEN_CLIP:
            found[f"text_model.{_OPEN_CLIP[name]}"] = tensor
        elif name in ("text_projection", "text_projection.weight"):
            # OpenCLIP multiplies by it from the right; the other name is that of a linear layer.
            found["text_projection.weight"] = tensor if name.endswith("weight") else tensor.T.contiguous()
        elif name.startswith(_OPEN_CLIP_BLOCK):
            number, _, rest = name.removeprefix(_OPEN_CLIP_BLOCK).partition(".")
            if number.isdigit() and int(number) < config["num_hidden_layers"]:
                layer = f"text_model.encoder.layers.{number}"
                found.update({f"{layer}.{new}": part for new, part in _layer_of_open_clip(rest, tensor)})
    return found


def _layer_of_open_clip(name: str, tensor: Tensor) -> list[tuple[str, Tensor]]:
    place, _, kind = name.rpartition(".")
    if kind.startswith("in_proj_"):
        # Queries, keys and values in one.
        parts = zip("qkv", tensor.chunk(3))
        return [(f"self_attn.{letter}_proj.{kind.removeprefix('in_proj_')}", part) for letter, part in parts]
    return [(f"{_OPEN_CLIP_LAYER.get(place, place)}.{kind}", tensor)]


def _numbers_under(path: Path, prefix: str) -> int:
    """How many numbers the tensors of one part hold, by their shapes alone."""
    with opened(path) as file:
        return sum(math.prod(part.shape) for key, part in stored(file).items() if key.startswith(prefix))


def check_floats(file: Any, path: Path, part: str, prefix: str = "") -> None:
    """Raise before diffusers reads a part that is damaged: it would load numbers that are not finite as they are."""
    for _ in checked_floats(file, path, part, prefix):
        pass
