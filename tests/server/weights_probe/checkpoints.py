"""Small random Stable Diffusion 1.x in the layouts in which people quantise it, in files that stock loaders read."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import comfy.ldm.modules.diffusionmodules.openaimodel as openaimodel
import comfy.ops
import comfy.quant_ops
import comfy.sd
import comfy.sd1_clip
import comfy.utils
import folder_paths
import torch
from safetensors.torch import save_file
from torch import Tensor

FP8 = torch.float8_e4m3fn
UNET = {
    "image_size": 32,
    "in_channels": 4,
    "out_channels": 4,
    "model_channels": 320,
    "channel_mult": [1, 1],
    "num_res_blocks": [1, 1],
    "transformer_depth": [1, 0],
    "transformer_depth_output": [1, 1, 0, 0],
    "transformer_depth_middle": 1,
    "use_spatial_transformer": True,
    "context_dim": 768,
    "num_heads": 8,
    "legacy": False,
    "use_linear_in_transformer": False,
}
"""Two levels of one ResBlock: the least that ComfyUI takes for Stable Diffusion 1.x."""
SMALL_TEXT = {"intermediate_size": 768, "num_hidden_layers": 2}
"""What differs from the text encoder of Stable Diffusion 1.x."""


@torch.no_grad()
def chance(module: torch.nn.Module, seed: int) -> dict[str, Tensor]:
    """A state whose activations stay finite; ComfyUI's layers leave theirs unset."""
    generator, state = torch.Generator().manual_seed(seed), {}
    for name, value in module.state_dict().items():
        if value.ndim > 1:
            scale = 0.02 if "embed" in name else value[0].numel() ** -0.5
            state[name] = scale * torch.randn(value.shape, generator=generator)
        else:
            state[name] = torch.full(value.shape, float(name.endswith("weight")))
    return state


def unet() -> dict[str, Tensor]:
    meta = torch.device("meta")
    module = openaimodel.UNetModel(**UNET, device=meta, operations=comfy.ops.disable_weight_init, dtype=torch.float32)
    return chance(module, seed=0)


def is_linear(name: str, weight: Tensor) -> bool:
    """Whether quantisers touch it: the matrices of attentions and of what follows them, in a UNet and in a text encoder."""
    return (
        weight.ndim == 2
        and name.endswith(".weight")
        and any(one in name for one in (".attn", ".ff.", "_attn.", ".mlp."))
    )


def fp8(weight: Tensor) -> tuple[Tensor, Tensor]:
    scale = weight.abs().max() / torch.finfo(FP8).max
    return (weight / scale).to(FP8), scale.reshape([])


def int8(weight: Tensor) -> tuple[Tensor, Tensor]:
    scale = weight.abs().amax(dim=1, keepdim=True) / 127
    return (weight / scale).round().clamp(-127, 127).to(torch.int8), scale


def quantised(state: dict[str, Tensor], quantise: Callable, scale_name: str) -> tuple[dict[str, Tensor], list[str]]:
    """The state with its matrices in fewer bits, each with its scale beside it, and the names of their layers."""
    new, layers = {}, []
    for name, weight in state.items():
        if is_linear(name, weight):
            layer = name.removesuffix(".weight")
            new[name], new[f"{layer}.{scale_name}"] = quantise(weight)
            layers.append(layer)
        else:
            new[name] = weight
    return new, layers


def noted(layers: list[str], form: str) -> dict[str, str]:
    """The metadata by which newer files say how each layer is quantised."""
    told = {"format_version": "1.0", "layers": {layer: {"format": form} for layer in layers}}
    return {"_quantization_metadata": json.dumps(told)}


def restored(state: dict[str, Tensor], quantise: Callable) -> dict[str, Tensor]:
    """The state with the values that quantised matrices stand for."""

    def value(weight: Tensor) -> Tensor:
        few, scale = quantise(weight)
        return few.float() * scale

    return {name: value(weight) if is_linear(name, weight) else weight for name, weight in state.items()}


def rounded(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """What becomes of values where all are fp8 without scales."""
    return {name: value.to(FP8).float() for name, value in state.items()}


def file_of(kind: str) -> tuple[dict[str, Tensor], dict[str, str] | None]:
    """Tensors and metadata of a UNet file of this kind."""
    state = unet()
    if kind == "scaled_fp8":
        tensors, _ = quantised(state, fp8, "scale_weight")
        # Its presence says that scales follow.
        tensors["scaled_fp8"] = torch.zeros(0, dtype=FP8)
        return tensors, None
    if kind == "mixed_fp8":
        tensors, layers = quantised(state, fp8, "weight_scale")
        return tensors, noted(layers, "float8_e4m3fn")
    if kind == "int8":
        tensors, layers = quantised(state, int8, "weight_scale")
        return tensors, noted(layers, "int8_tensorwise")
    if kind == "fp8_rounded":
        return rounded(restored(state, fp8)), None
    return restored(state, {"fp8_restored": fp8, "int8_restored": int8}[kind]), None


class ProbeCheckpoint:
    """Writes the UNet in this kind, for Load Diffusion Model; ``..._restored`` holds the quantised one's values in float32."""

    CATEGORY, FUNCTION, RETURN_TYPES, OUTPUT_NODE = "probe", "run", (), True

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"kind": ("STRING", {})}}

    def run(self, kind):
        if kind.startswith("int8") and "int8_tensorwise" not in getattr(comfy.quant_ops, "QUANT_ALGOS", {}):
            return {"ui": {"text": ["unknown"]}, "result": ()}
        tensors, metadata = file_of(kind)
        folder = Path(folder_paths.get_folder_paths("diffusion_models")[-1])
        folder.mkdir(parents=True, exist_ok=True)
        save_file(
            {name: value.contiguous() for name, value in tensors.items()}, folder / f"{kind}.safetensors", metadata
        )
        return {"ui": {"text": [kind]}, "result": ()}


class ProbeTextEncoder:
    """A CLIP as wide as Stable Diffusion 1.x wants it, two layers deep, with random weights, read as stock loaders read it.

    ``scaled_fp8``: its matrices are fp8 with scales, and with ``restored`` the values that these stand for. ``cast``: in memory
    all its weights are fp8, as under ``--fp8_e4m3fn-text-enc``, and with ``rounded`` what becomes of their values.
    """

    CATEGORY, FUNCTION, RETURN_TYPES = "probe", "run", ("CLIP",)

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"kind": ("STRING", {})}}

    def run(self, kind):
        tensors, options = text_file(kind), {"model_config": dict(SMALL_TEXT)}
        if kind == "cast":
            options["dtype"] = FP8
        elif kind == "scaled_fp8":
            tensors, told = told_of_scales(tensors)
            options |= told
        embeddings = folder_paths.get_folder_paths("embeddings")
        kind_of_clip = comfy.sd.CLIPType.STABLE_DIFFUSION
        return (comfy.sd.load_text_encoder_state_dicts([tensors], embeddings, kind_of_clip, options),)


def told_of_scales(tensors: dict[str, Tensor]) -> tuple[dict[str, Tensor], dict]:
    """Tensors and options by which the host reads the scales, which its loaders of this encoder do not ask for."""
    if not hasattr(comfy.utils, "detect_layer_quantization"):
        return tensors, {"scaled_fp8": FP8}
    tensors, _ = comfy.utils.convert_old_quants(tensors)
    return tensors, {"quantization_metadata": comfy.utils.detect_layer_quantization(tensors, "")}


def text_file(kind: str) -> dict[str, Tensor]:
    """Tensors of a text encoder's file, under the names that transformers gives them."""
    meta = torch.device("meta")
    module = comfy.sd1_clip.SDClipModel(device=meta, model_options={"clip_l_model_config": SMALL_TEXT}).transformer
    state = chance(module, seed=1)
    if kind == "restored":
        return restored(state, fp8)
    if kind == "scaled_fp8":
        tensors, _ = quantised(state, fp8, "scale_weight")
        return {**tensors, "scaled_fp8": torch.zeros(0, dtype=FP8)}
    if kind == "rounded":
        return rounded(state)
    return state
