"""Nodes that look at what ACFun did to a MODEL, and that make the inputs a user gets wrong."""

import hashlib
import math

import comfy.model_base
import comfy.model_patcher
import comfy.sd1_clip
import comfy.supported_models
import torch


def answer(text):
    return {"ui": {"text": [str(text)]}, "result": ()}


class ProbeNode:
    CATEGORY, FUNCTION = "probe", "run"

    @classmethod
    def IS_CHANGED(cls, **inputs):
        return math.nan


class ProbeDigest(ProbeNode):
    """SHA-256 over all weights of a MODEL and a CLIP, and whether anything was left on their modules."""

    RETURN_TYPES, OUTPUT_NODE = (), True

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"model": ("MODEL",), "clip": ("CLIP",)}}

    def run(self, model, clip):
        digest = hashlib.sha256(str(id(model.model)).encode())
        hooks = gradients = 0
        for module in (model.model, clip.cond_stage_model):
            for name, value in module.state_dict().items():
                digest.update(
                    name.encode() + value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
                )
            hooks += sum(len(part._forward_hooks) + len(part._forward_pre_hooks) for part in module.modules())
            gradients += sum(part.grad is not None for part in module.parameters())
        wrappers = sum(len(kind) for kind in model.wrappers.values())
        return answer(
            f"{digest.hexdigest()} hooks={hooks} gradients={gradients} wrappers={wrappers} patches={len(model.patches)}"
        )


class ProbeLatents(ProbeNode):
    """Largest difference of two latents and whether they are finite and bitwise equal."""

    RETURN_TYPES, OUTPUT_NODE = (), True

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"one": ("LATENT",), "two": ("LATENT",)}}

    def run(self, one, two):
        a, b = one["samples"], two["samples"]
        finite = bool(torch.isfinite(a).all() and torch.isfinite(b).all())
        return answer(f"{(a - b).abs().max().item()} finite={finite} equal={torch.equal(a, b)}")


class ProbePicture(ProbeNode):
    """A picture no training can use."""

    RETURN_TYPES = ("IMAGE",)

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"kind": ("STRING", {})}}

    def run(self, kind):
        shapes = {
            "rank": (64, 64, 3),
            "empty": (0, 64, 64, 3),
            "tiny": (1, 1, 1, 3),
            "wide": (1, 32, 20_000, 3),
            "batch": (2, 64, 64, 3),
            "nan": (1, 64, 64, 3),
        }
        return (torch.full(shapes[kind], math.nan if kind == "nan" else 0.5),)


class ProbeOtherModel(ProbeNode):
    """A MODEL of no family that the pack knows, SDXL's refiner by its name; or an SD 1.x of other widths, or the smallest one,
    which alone can draw."""

    RETURN_TYPES = ("MODEL",)

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"family": ("STRING", {})}}

    def run(self, family):
        config = {
            "image_size": 32,
            "in_channels": 4,
            "out_channels": 4,
            "model_channels": 32,
            "channel_mult": [1, 2],
            "num_res_blocks": [1, 1],
            "transformer_depth": [1, 1],
            "transformer_depth_output": [1, 1, 1, 1],
            "transformer_depth_middle": 1,
            "use_spatial_transformer": True,
            "context_dim": 256,
            "legacy": False,
            "dtype": torch.float32,
        }
        if family == "smallest":
            one_level = {"channel_mult": [1], "num_res_blocks": [1], "transformer_depth": [0]}
            config |= {**one_level, "transformer_depth_output": [0, 0]}
        kind = comfy.supported_models.SDXLRefiner if family == "refiner" else comfy.supported_models.SD15
        model_config = kind(config)
        model_config.unet_config.update(num_heads=2, num_head_channels=-1)
        model = comfy.model_base.BaseModel(model_config, comfy.model_base.ModelType.EPS)
        if family == "smallest":
            fill_with_chance(model.diffusion_model, seed=0)
        return (comfy.model_patcher.ModelPatcher(model, torch.device("cpu"), torch.device("cpu")),)


class ProbeWideClip(ProbeNode):
    """A CLIP whose embeddings have the width of the real Stable Diffusion 1.x."""

    RETURN_TYPES = ("CLIP",)

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {}}

    def run(self):
        import comfy.sd

        class Target:
            clip, tokenizer, params = comfy.sd1_clip.SD1ClipModel, comfy.sd1_clip.SD1Tokenizer, {}

        return (comfy.sd.CLIP(Target),)


class ProbeSDXL(ProbeNode):
    """A small SDXL with random weights in the real layout: two text encoders of the real widths, pooled conditioning.

    What it predicts is what ComfyUI reads from the names in a checkpoint.
    """

    RETURN_TYPES = ("MODEL", "CLIP")

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {}, "optional": {"names": ("STRING", {"default": ""})}}

    def run(self, names=""):
        config = {
            "image_size": 32,
            "in_channels": 4,
            "out_channels": 4,
            "model_channels": 32,
            "channel_mult": [1, 2, 4],
            "num_res_blocks": [2, 2, 2],
            "transformer_depth": [0, 0, 1, 1, 1, 1],
            "transformer_depth_output": [0, 0, 0, 1, 1, 1, 1, 1, 1],
            "transformer_depth_middle": 1,
            "use_spatial_transformer": True,
            "use_linear_in_transformer": True,
            "context_dim": 2048,
            "legacy": False,
            "num_classes": "sequential",
            "adm_in_channels": 2816,
            "num_heads": -1,
            "num_head_channels": 32,
            "dtype": torch.float32,
        }
        model_config = comfy.supported_models.SDXL(config)
        model_config.set_inference_dtype(torch.float32, None)
        model = model_config.get_model({name: torch.ones(1) for name in names.split()})
        fill_with_chance(model.diffusion_model, seed=0)
        cpu = torch.device("cpu")
        return comfy.model_patcher.ModelPatcher(model.eval(), cpu, cpu), self.text_encoders()

    def text_encoders(self):
        import comfy.sd
        import comfy.sdxl_clip
        import folder_paths

        def encoder(width: int, **settings):
            config = {
                "hidden_act": "gelu",
                "hidden_size": width,
                "intermediate_size": width,
                "max_position_embeddings": 77,
                "num_attention_heads": width // 64,
                "num_hidden_layers": 3,
                "eos_token_id": 49407,
                "vocab_size": 49408,
            }
            return comfy.sd1_clip.SDClipModel(
                layer="hidden", layer_idx=-2, layer_norm_hidden_state=False, textmodel_json_config=config, **settings
            )

        class Encoders(comfy.sdxl_clip.SDXLClipModel):
            def __init__(self, device="cpu", dtype=None, model_options=None):
                torch.nn.Module.__init__(self)
                where = {"device": device, "dtype": dtype, "model_options": model_options or {}}
                special = {"start": 49406, "end": 49407, "pad": 0}
                self.clip_l = encoder(768, **where)
                self.clip_g = encoder(1280, special_tokens=special, return_projected_pooled=True, **where)
                self.dtypes = {dtype}

        class Target:
            clip, tokenizer, params = Encoders, comfy.sdxl_clip.SDXLTokenizer, {}

        clip = comfy.sd.CLIP(Target, embedding_directory=folder_paths.get_folder_paths("embeddings"))
        fill_with_chance(clip.cond_stage_model, seed=1)
        return clip


class ProbeSD2(ProbeNode):
    """A small Stable Diffusion 2.x with random weights in the real layout, and its text encoder with the real width.

    ComfyUI takes a base for one that predicts v by how far one of its norms has moved.
    """

    RETURN_TYPES = ("MODEL", "CLIP")

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"predicts_v": ("BOOLEAN", {"default": False})}}

    def run(self, predicts_v):
        import comfy.ldm.modules.diffusionmodules.openaimodel as openaimodel
        import comfy.ops
        import comfy.sd
        import comfy.text_encoders.sd2_clip as sd2_clip
        import folder_paths
        from comfy import model_detection

        attends = [1, 1, 1, 1, 1, 1, 0, 0]
        config = {
            **{"image_size": 32, "in_channels": 4, "out_channels": 4, "channel_mult": [1, 2, 4, 4]},
            **{"num_res_blocks": [2] * 4, "transformer_depth": attends, "transformer_depth_middle": 1},
            **{"transformer_depth_output": [1] * 9 + [0] * 3, "use_spatial_transformer": True, "context_dim": 1024},
            **{"use_linear_in_transformer": True, "legacy": False},
        }
        # Its full size, without memory behind it: that the host's loaders would know the layout, and as which kind.
        whole = openaimodel.UNetModel(
            **config, model_channels=320, num_head_channels=64, device="meta", operations=comfy.ops.disable_weight_init
        )
        norm = "output_blocks.11.1.transformer_blocks.0.norm1.bias"
        state = {**whole.state_dict(), norm: torch.tensor([-0.2, 0.2]) if predicts_v else torch.zeros(2)}
        known = model_detection.model_config_from_unet(state, "")
        assert type(known) is comfy.supported_models.SD20, known
        small = {"model_channels": 32, "dtype": torch.float32, "adm_in_channels": None}
        model_config = comfy.supported_models.SD20({**config, **small})
        model_config.unet_config["num_head_channels"] = 32
        model_config.set_inference_dtype(torch.float32, None)
        model = model_config.get_model(state)
        fill_with_chance(model.diffusion_model, seed=0)
        layers = {
            "hidden_act": "gelu",
            "num_attention_heads": 16,
            "num_hidden_layers": 3,
            "max_position_embeddings": 77,
        }
        text = {"hidden_size": 1024, "intermediate_size": 1024, "eos_token_id": 49407, "vocab_size": 49408, **layers}

        class TextModel(comfy.sd1_clip.SDClipModel):
            def __init__(self, device="cpu", dtype=None, model_options=None):
                special = {"start": 49406, "end": 49407, "pad": 0}
                where = {"device": device, "dtype": dtype, "model_options": model_options or {}}
                super().__init__(
                    layer="hidden", layer_idx=-2, textmodel_json_config=text, special_tokens=special, **where
                )

        class Encoder(comfy.sd1_clip.SD1ClipModel):
            def __init__(self, device="cpu", dtype=None, model_options=None):
                where = {"device": device, "dtype": dtype, "model_options": model_options or {}}
                super().__init__(clip_name="h", clip_model=TextModel, **where)

        class Target:
            clip, tokenizer, params = Encoder, sd2_clip.SD2Tokenizer, {}

        clip = comfy.sd.CLIP(Target, embedding_directory=folder_paths.get_folder_paths("embeddings"))
        fill_with_chance(clip.cond_stage_model, seed=1)
        cpu = torch.device("cpu")
        return comfy.model_patcher.ModelPatcher(model.eval(), cpu, cpu), clip


@torch.no_grad()
def fill_with_chance(module, seed: int) -> None:
    """Weights that keep activations finite; ComfyUI's layers leave them unset."""
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in module.named_parameters():
        if parameter.ndim > 1:
            scale = 0.02 if "embed" in name else parameter[0].numel() ** -0.5
            parameter.copy_(scale * torch.randn(parameter.shape, generator=generator))
        else:
            parameter.fill_(float(name.endswith("weight")))


class ProbeBreaksAfter(ProbeNode):
    """A MODEL whose UNet raises at the given call: an error in mid-training."""

    RETURN_TYPES = ("MODEL",)

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"model": ("MODEL",), "calls": ("INT", {"default": 5})}}

    def run(self, model, calls):
        clone, count = model.clone(), [0]

        def patch(h, transformer_options):
            if transformer_options["block"] == ("input", 0):
                count[0] += 1
            if count[0] >= calls:
                raise RuntimeError("the UNet broke on purpose")
            return h

        clone.set_model_input_block_patch(patch)
        return (clone,)


class ProbeName:
    """A text for a wire into a list of names."""

    CATEGORY, FUNCTION, RETURN_TYPES = "probe", "run", ("COMBO",)

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"name": ("STRING", {"default": ""})}}

    def run(self, name):
        return (name,)


class ProbeHeldScale(ProbeNode):
    """A MODEL with ProbeAttentionPatch's patch, which holds its number as a tensor, as image adapters hold their tokens."""

    RETURN_TYPES = ("MODEL",)

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"model": ("MODEL",), "scale": ("FLOAT", {"default": 1.5})}}

    def run(self, model, scale):
        clone, held = model.clone(), torch.full((1,), scale)
        clone.set_model_attn2_output_patch(lambda out, extra_options: out * held)
        return (clone,)


NODE_CLASS_MAPPINGS = {
    kind.__name__: kind
    for kind in (
        ProbeDigest,
        ProbeLatents,
        ProbePicture,
        ProbeOtherModel,
        ProbeWideClip,
        ProbeSDXL,
        ProbeSD2,
        ProbeBreaksAfter,
        ProbeName,
        ProbeHeldScale,
    )
}
