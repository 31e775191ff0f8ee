"""Diffusers folders of SDXL and Stable Diffusion 2.x in their own layout, a few channels wide, with random weights."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import torch
from diffusers import UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from acfun_core.demo_base import DEMO_BASE

TEXT = {
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "vocab_size": 1022,
    "bos_token_id": 1020,
    "eos_token_id": 1021,
}
WIDTHS = 32, 48
"""Of SDXL's two text encoders."""
POOLED = 40

SDXL_UNET = {
    "block_out_channels": [32, 64, 64],
    "layers_per_block": 1,
    "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"],
    "up_block_types": ["CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"],
    "transformer_layers_per_block": [1, 2, 2],
    "attention_head_dim": [1, 2, 2],
    "cross_attention_dim": sum(WIDTHS),
    "use_linear_projection": True,
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": 8,
    "projection_class_embeddings_input_dim": POOLED + 6 * 8,
    "sample_size": 8,
}
SD2_UNET = {
    "block_out_channels": [32, 64],
    "layers_per_block": 1,
    "down_block_types": ["CrossAttnDownBlock2D", "DownBlock2D"],
    "up_block_types": ["UpBlock2D", "CrossAttnUpBlock2D"],
    "attention_head_dim": [1, 2],
    "cross_attention_dim": 32,
    "use_linear_projection": True,
    "sample_size": 8,
}


def text_model(width: int, act: str, projection: int | None = None, **changes):
    config = CLIPTextConfig(
        **{**TEXT, "hidden_size": width, "intermediate_size": 2 * width, "hidden_act": act, **changes},
        projection_dim=projection or width,
    )
    return (CLIPTextModelWithProjection if projection else CLIPTextModel)(config)


def write(folder: Path, unet: dict, texts: dict, scheduler: dict) -> Path:
    """A folder with the demo base's VAE, vision and tokenizer."""
    for part in ("vae", "image_encoder", "scheduler", "tokenizer"):
        shutil.copytree(DEMO_BASE / part, folder / part)
    torch.manual_seed(0)
    UNet2DConditionModel(**unet).save_pretrained(folder / "unet")
    for part, model in texts.items():
        model.save_pretrained(folder / part)
    path = folder / "scheduler" / "scheduler_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **scheduler}))
    return folder


def pads_with_zero(folder: Path) -> None:
    """As OpenCLIP's tokenizers do: their padding is the exclamation mark, token 0."""
    path = folder / "tokenizer_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "pad_token": "!"}))
    (folder / "special_tokens_map.json").unlink()


def sdxl(folder: Path, **scheduler) -> Path:
    torch.manual_seed(1)
    texts = {
        "text_encoder": text_model(WIDTHS[0], "quick_gelu"),
        "text_encoder_2": text_model(WIDTHS[1], "gelu", POOLED),
    }
    write(folder, SDXL_UNET, texts, scheduler)
    shutil.copytree(folder / "tokenizer", folder / "tokenizer_2")
    pads_with_zero(folder / "tokenizer_2")
    return folder


def sd2(folder: Path, **scheduler) -> Path:
    torch.manual_seed(1)
    write(folder, SD2_UNET, {"text_encoder": text_model(32, "gelu")}, scheduler)
    pads_with_zero(folder / "tokenizer")
    return folder
