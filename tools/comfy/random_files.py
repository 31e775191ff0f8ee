"""Files that a user would have: a LoRA, a ControlNet and a hypernetwork that fit the demo base, with random weights."""

from __future__ import annotations

import torch
from safetensors.torch import save_file

from tools.comfy.client import ComfyClient
from tools.comfy.server import ComfyServer

from .graphs import base_graph, node

LORA, CONTROL_NET = "random_combination_lora.safetensors", "random_canny.safetensors"
CONVOLUTIONS = {"output_blocks_0_0_out_layers_3": 256, "input_blocks_1_0_out_layers_3": 64}  # name -> channels
WORDS, WORDS_WIDTH = "random_lora_with_words.safetensors", 256
RANK = 4
HYPERNETWORK = "random_hypernetwork.pt"


def write_lora(comfy: ComfyServer, words: bool = False) -> str:
    """A LoRA on two ResBlocks of the UNet -> its name in the loader's list.

    Args:
        words: on a layer of the text encoder, too.
    """
    generator, tensors = torch.Generator().manual_seed(4), {}
    for name, width in CONVOLUTIONS.items():
        tensors[f"lora_unet_{name}.lora_up.weight"] = 0.05 * torch.randn(width, RANK, 1, 1, generator=generator)
        tensors[f"lora_unet_{name}.lora_down.weight"] = 0.05 * torch.randn(RANK, width, 3, 3, generator=generator)
        tensors[f"lora_unet_{name}.alpha"] = torch.tensor(float(RANK))
    if words:
        name = "lora_te_text_model_encoder_layers_1_self_attn_v_proj"
        tensors[f"{name}.lora_up.weight"] = 0.05 * torch.randn(WORDS_WIDTH, RANK, generator=generator)
        tensors[f"{name}.lora_down.weight"] = 0.05 * torch.randn(RANK, WORDS_WIDTH, generator=generator)
    folder, file = comfy.folder("models/loras"), WORDS if words else LORA
    folder.mkdir(exist_ok=True)
    save_file(tensors, folder / file)
    return file


def write_control_net(comfy: ComfyServer, client: ComfyClient) -> str:
    """A ControlNet, written inside the server because its layout is ComfyUI's -> its name in the loader's list."""
    if not (comfy.folder("models/controlnet") / CONTROL_NET).is_file():
        client.run({**base_graph(), "write": node("ProbeControlNet", model=["base", 0], name=CONTROL_NET)})
    return CONTROL_NET


def write_hypernetwork(comfy: ComfyServer) -> str:
    """A hypernetwork on the words that the UNet attends to -> its name in the loader's list. Its format is older than
    safetensors.
    """
    generator = torch.Generator().manual_seed(4)
    keys, values = (
        {
            "linear.0.weight": 0.05 * torch.randn(WORDS_WIDTH, WORDS_WIDTH, generator=generator),
            "linear.0.bias": torch.zeros(WORDS_WIDTH),
        }
        for _ in range(2)
    )
    folder = comfy.folder("models/hypernetworks")
    folder.mkdir(exist_ok=True)
    torch.save({WORDS_WIDTH: [keys, values]}, folder / HYPERNETWORK)
    return HYPERNETWORK
