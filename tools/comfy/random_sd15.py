"""Write a random Stable Diffusion 1.5 checkpoint and CLIP vision file, in the layout of the real ones.

The real weights are not ours to ship. Random ones of the same shapes show that loading, memory and numbers hold at full width
(860 M parameters in the UNet).

Usage: ``python -m tools.comfy.random_sd15 COMFY_DIR OUT_DIR`` -> OUT_DIR/random_sd15.safetensors and
OUT_DIR/random_clip_vision.safetensors
"""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path

import torch
from safetensors.torch import save_file

from .launcher import comfy_on_path, define_torchvision_operators

UNET = {
    "image_size": 32,
    "in_channels": 4,
    "out_channels": 4,
    "model_channels": 320,
    "channel_mult": [1, 2, 4, 4],
    "num_res_blocks": [2] * 4,
    "transformer_depth": [1, 1, 1, 1, 1, 1, 0, 0],
    "transformer_depth_output": [1] * 9 + [0] * 3,
    "transformer_depth_middle": 1,
    "use_spatial_transformer": True,
    "context_dim": 768,
    "num_heads": 8,
    "legacy": False,
    "use_linear_in_transformer": False,
}


def randomised(module: torch.nn.Module, generator: torch.Generator) -> dict[str, torch.Tensor]:
    """Half-precision state: fan-in scaled matrices and kernels, unit norms, zero biases."""
    norms = {
        f"{name}.weight"
        for name, part in module.named_modules()
        if isinstance(part, (torch.nn.GroupNorm, torch.nn.LayerNorm))
    }
    state = {}
    for name, value in module.state_dict().items():
        if name in norms:
            state[name] = torch.ones(value.shape)
        elif value.ndim >= 2:
            fan_in = value[0].numel()
            state[name] = torch.randn(value.shape, generator=generator) * (
                0.02 if "embedding" in name else 1 / math.sqrt(fan_in)
            )
        else:
            state[name] = torch.zeros(value.shape)
    return {name: value.half().contiguous() for name, value in state.items()}


def main(comfy_dir: Path, out: Path) -> None:
    comfy_on_path(comfy_dir)
    sys.argv = ["random_sd15", "--cpu"]
    define_torchvision_operators()
    import comfy.options

    comfy.options.enable_args_parsing()
    import comfy.clip_model
    import comfy.ldm.models.autoencoder
    import comfy.ldm.modules.diffusionmodules.openaimodel as openaimodel
    import comfy.ops

    generator, operations, meta = torch.Generator().manual_seed(0), comfy.ops.disable_weight_init, torch.device("meta")
    folder = comfy_dir / "comfy"
    text_config = json.loads((folder / "sd1_clip_config.json").read_text())
    vision_config = json.loads((folder / "clip_vision_config_vitl.json").read_text())
    vae_config = {
        "double_z": True,
        "z_channels": 4,
        "resolution": 256,
        "in_channels": 3,
        "out_ch": 3,
        "ch": 128,
        "ch_mult": [1, 2, 4, 4],
        "num_res_blocks": 2,
        "attn_resolutions": [],
        "dropout": 0.0,
    }
    with meta:
        parts = {
            "model.diffusion_model.": openaimodel.UNetModel(
                **UNET, device=meta, operations=operations, dtype=torch.float32
            ),
            "first_stage_model.": comfy.ldm.models.autoencoder.AutoencoderKL(ddconfig=vae_config, embed_dim=4),
            "cond_stage_model.transformer.": comfy.clip_model.CLIPTextModel(
                text_config, torch.float32, meta, operations
            ),
        }
        vision = comfy.clip_model.CLIPVisionModelProjection(vision_config, torch.float32, meta, operations)
    state = {
        prefix + name: value for prefix, part in parts.items() for name, value in randomised(part, generator).items()
    }
    state.pop("cond_stage_model.transformer.text_projection.weight")
    out.mkdir(parents=True, exist_ok=True)
    save_file(state, out / "random_sd15.safetensors")
    save_file(randomised(vision, generator), out / "random_clip_vision.safetensors")
    unet = sum(value.numel() for name, value in state.items() if name.startswith("model."))
    print(f"UNet: {unet / 1e6:.1f} M parameters")


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve(), Path(sys.argv[2]))
