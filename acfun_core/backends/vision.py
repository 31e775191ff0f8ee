"""CLIP vision models from files: a transformers folder, or a single file as ComfyUI's models/clip_vision holds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..errors import ACFunError
from .claims import check_claims
from .clip import load_strictly, prefixed, read_json, read_weights
from .libraries import imported

KNOWN = {
    768: {"num_attention_heads": 12, "hidden_act": "quick_gelu", "intermediate_size": 3072},
    1024: {"num_attention_heads": 16, "hidden_act": "quick_gelu", "intermediate_size": 4096},
    1280: {"num_attention_heads": 16, "hidden_act": "gelu", "intermediate_size": 5120},
    1664: {"num_attention_heads": 16, "hidden_act": "gelu", "intermediate_size": 8192},
}
"""By width, what the shapes in a file do not tell: OpenAI's ViT-B and ViT-L, OpenCLIP's ViT-H and ViT-bigG."""

_NEEDED = (
    "CLIP vision in transformers' layout: a folder with config.json and model.safetensors, or the single file of ViT-L/14, "
    "ViT-H/14 or ViT-bigG/14 that ComfyUI keeps in models/clip_vision"
)


def load_image_encoder(path: str | Path) -> Any:
    """transformers' ``CLIPVisionModelWithProjection``, frozen, float32, on the CPU.

    Raises:
        ACFunError: nothing is there, or it is not CLIP vision in transformers' layout.
    """
    path = Path(path)
    if path.is_dir():
        config = _settings(read_json(path / "config.json"))
        weights = _vision_only(read_weights(path))
    elif path.is_file() and path.suffix == ".safetensors":
        weights = _vision_only(read_weights(path))
        config = _settings_from_shapes(path, weights)
    else:
        raise ACFunError(f"There is no CLIP vision model at {path}.", _NEEDED, "check the path")
    model_class, config_class = (
        imported("transformers", name) for name in ("CLIPVisionModelWithProjection", "CLIPVisionConfig")
    )
    shapes = {name: tensor.shape for name, tensor in weights.items()}
    check_claims(lambda given: model_class(config_class(**given)), config, shapes, "CLIP vision model")
    model = model_class(config_class(**config))
    load_strictly(model, weights, "CLIP vision model", optional=("visual_projection.weight",))
    if "visual_projection.weight" not in weights:
        # A file of vision alone: its embedding is then the pooled token itself, in place of what chance would make of it.
        torch.nn.init.eye_(model.visual_projection.weight)
    return model.eval().requires_grad_(False)


def _settings(config: dict) -> dict:
    """The vision part of a folder's settings; a folder of the whole CLIP holds it one level down."""
    config = config.get("vision_config", config)
    return {key: value for key, value in config.items() if key not in ("dtype", "torch_dtype", "transformers_version")}


def _vision_only(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """CLIP's vision under the names of transformers 4; its version 5 saves a model of vision alone without the prefix."""
    parts = ("vision_model.", "visual_projection.")
    if "embeddings.patch_embedding.weight" in weights:
        weights = prefixed(weights, *parts)
    return {key: value for key, value in weights.items() if key.startswith(parts)}


def _settings_from_shapes(path: Path, weights: dict[str, Tensor]) -> dict:
    patches = weights.get("vision_model.embeddings.patch_embedding.weight")
    positions = weights.get("vision_model.embeddings.position_embedding.weight")
    width = 0 if patches is None else patches.shape[0]
    if positions is None or width not in KNOWN:
        raise ACFunError(f"{path.name} is no CLIP vision model that is known here.", _NEEDED, "name its folder instead")
    patch = patches.shape[-1]
    layers = {key.split(".")[3] for key in weights if key.startswith("vision_model.encoder.layers.")}
    projection = weights.get("visual_projection.weight")
    return {
        "hidden_size": width,
        "patch_size": patch,
        "image_size": round((positions.shape[0] - 1) ** 0.5) * patch,
        "num_hidden_layers": len(layers),
        "projection_dim": width if projection is None else projection.shape[0],
        **KNOWN[width],
    }
