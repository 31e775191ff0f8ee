"""Nodes that make what a user combines with an adapter: a ControlNet file, a patch on the attention, torch.compile."""

from pathlib import Path

import comfy.cldm.cldm
import folder_paths
import torch
from comfy.ldm.modules.attention import optimized_attention
from comfy_api.torch_helpers import set_torch_compile_wrapper
from safetensors.torch import save_file

HINT_CHANNELS = 3


class ProbeControlNet:
    """Writes a random ControlNet, in the layout of Stable Diffusion's own, that fits a MODEL."""

    CATEGORY, FUNCTION, RETURN_TYPES, OUTPUT_NODE = "probe", "run", (), True

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"model": ("MODEL",), "name": ("STRING", {})}}

    def run(self, model, name):
        config = dict(model.model.model_config.unet_config)
        for key in ("out_channels", "device", "dtype", "operations"):
            config.pop(key, None)
        net = comfy.cldm.cldm.ControlNet(**config, hint_channels=HINT_CHANNELS, dtype=torch.float32)
        generator = torch.Generator().manual_seed(0)
        weights = {key: chance(key, value, generator) for key, value in net.state_dict().items()}
        folder = Path(folder_paths.get_folder_paths("controlnet")[0])
        folder.mkdir(parents=True, exist_ok=True)
        save_file(weights, folder / name)
        return {"ui": {"text": [name]}, "result": ()}


def chance(key: str, value: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Weights that keep activations finite; what a trained ControlNet starts from as zeros is small here, not zero."""
    if value.ndim < 2:
        return torch.full_like(value, float(key.endswith("weight")))
    scale = value[0].numel() ** -0.5
    if key.startswith(("zero_convs", "middle_block_out")):
        scale *= 0.5
    return scale * torch.randn(value.shape, generator=generator)


class ProbeAttentionPatch:
    """A MODEL with a patch on the outputs of all cross-attentions, as IPAdapter sets one."""

    CATEGORY, FUNCTION, RETURN_TYPES = "probe", "run", ("MODEL",)

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"model": ("MODEL",), "scale": ("FLOAT", {"default": 1.5})}}

    def run(self, model, scale):
        clone = model.clone()
        clone.set_model_attn2_output_patch(lambda out, extra_options: out * scale)
        return (clone,)


class ProbeImageAttention:
    """A MODEL whose cross-attentions also look at random image tokens, replaced block by block as IPAdapter does."""

    CATEGORY, FUNCTION, RETURN_TYPES = "probe", "run", ("MODEL",)
    BLOCKS = [("middle", 0), *((side, number) for side in ("input", "output") for number in range(12))]

    @classmethod
    def INPUT_TYPES(cls):
        return {
            "required": {"model": ("MODEL",), "scale": ("FLOAT", {"default": 1.0}), "tokens": ("INT", {"default": 4})}
        }

    def run(self, model, scale, tokens):
        def attend(q, k, v, extra_options):
            """softmax(q k^T) v + scale softmax(q K^T) V with keys and values of the image, each (B, N, width)."""
            generator = torch.Generator().manual_seed(q.shape[-1])
            of_image = torch.randn(2, 1, tokens, k.shape[-1], generator=generator).to(q)
            image_k, image_v = (part.expand(len(q), -1, -1) for part in of_image)
            heads = extra_options["n_heads"]
            text = optimized_attention(q, k, v, heads)
            return text + scale * optimized_attention(q, image_k, image_v, heads)

        clone = model.clone()
        for block in self.BLOCKS:
            clone.set_model_attn2_replace(attend, *block)
        return (clone,)


class ProbeCompile:
    """The stock node TorchCompileModel with any backend: "eager" traces and guards as all do, without making code."""

    CATEGORY, FUNCTION, RETURN_TYPES = "probe", "run", ("MODEL",)

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"model": ("MODEL",), "backend": ("STRING", {"default": "eager"})}}

    def run(self, model, backend):
        clone = model.clone()
        set_torch_compile_wrapper(model=clone, backend=backend)
        return (clone,)


NODE_CLASS_MAPPINGS = {
    kind.__name__: kind for kind in (ProbeControlNet, ProbeAttentionPatch, ProbeImageAttention, ProbeCompile)
}
