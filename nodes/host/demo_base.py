"""The demo base, a diffusers pipeline folder, as ComfyUI's own MODEL, CLIP, VAE and CLIP_VISION."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable

import comfy.clip_vision
import comfy.latent_formats
import comfy.model_management
import comfy.model_patcher
import comfy.sd
import comfy.sd1_clip
import comfy.supported_models
import comfy.utils
import folder_paths

from ...acfun_core.demo_base import DEMO_BASE as FOLDER
from ...acfun_core.demo_base import base_key
from ...acfun_core.errors import ACFunError
from ...acfun_core.storage.tensor_file import read_floats
from .dtypes import in_declared_dtypes


def load_demo_base():
    """-> (ModelPatcher, CLIP, VAE, ClipVisionModel), each by the classes that stock loaders use."""
    missing = [
        part for part in ("unet", "vae", "text_encoder", "image_encoder", "tokenizer") if not (FOLDER / part).is_dir()
    ]
    if missing:
        raise ACFunError(
            f"The demo base in {FOLDER} lacks {', '.join(missing)}.",
            "the base folder of the pack",
            "install the pack again",
        )
    return load_unet(), load_text_encoder(), load_vae(), load_image_encoder()


def reloadable(patcher: comfy.model_patcher.ModelPatcher, load: Callable) -> comfy.model_patcher.ModelPatcher:
    """A patcher that can be had once more, without ComfyUI's dynamic VRAM too: trainers clone it so, this pack's and ComfyUI's.

    Args:
        load: gives another such patcher; called with ``disable_dynamic``. Hosts before 0.16 do not ask for it.
    """
    patcher.cached_patcher_init = (load, ())
    return patcher


def read_config(part: str) -> dict:
    return json.loads((FOLDER / part / "config.json").read_text())


def read_weights(part: str) -> dict:
    """The tensors of one part; diffusers and transformers name the file differently."""
    files = list((FOLDER / part).glob("*.safetensors"))
    if len(files) != 1:
        raise ACFunError(f"{FOLDER / part} holds {len(files)} weight files.", "exactly one", "install the pack again")
    return read_floats(files[0], "part of a base")


def check_complete(part: str, missing: Iterable[str], unknown: Iterable[str]) -> None:
    """Raise if weights were missing or left over; but for position numbers, which some versions of transformers save."""
    missing, unknown = list(missing), [key for key in unknown if not key.endswith("position_ids")]
    if missing or unknown:
        raise ACFunError(
            f"The demo {part} does not fit: {len(missing)} weights are missing, {len(unknown)} unknown.",
            "the base folder of the pack",
            "install the pack again",
        )


class UnscaledLatent(comfy.latent_formats.LatentFormat):
    """The demo autoencoder's latents have unit variance as they are."""


class DemoSD(comfy.supported_models.SD15):
    """Stable Diffusion 1.x, with a UNet of another width and weights that go by a key."""

    latent_format = UnscaledLatent
    unet_extra_config = {}


def ldm_unet_config(config: dict) -> dict:
    """diffusers' UNet2DConditionModel config -> ComfyUI's UNetModel arguments."""
    channels = config["block_out_channels"]
    per_level = config["layers_per_block"]
    attends = [int("CrossAttn" in kind) for kind in config["down_block_types"]]
    return {
        "image_size": 32,
        "use_checkpoint": False,
        "legacy": False,
        "num_classes": None,
        "adm_in_channels": None,
        "in_channels": config["in_channels"],
        "out_channels": config["out_channels"],
        "model_channels": channels[0],
        "channel_mult": [width / channels[0] for width in channels],
        "num_res_blocks": [per_level] * len(channels),
        "transformer_depth": [depth for depth in attends for _ in range(per_level)],
        # The decoder lists its levels from the finest to the coarsest as well; ComfyUI takes them from the end.
        "transformer_depth_output": [depth for depth in attends for _ in range(per_level + 1)],
        "transformer_depth_middle": 1,
        "use_spatial_transformer": True,
        "use_linear_in_transformer": False,
        "context_dim": config["cross_attention_dim"],
        # diffusers calls the number of heads of Stable Diffusion 1.x "attention_head_dim".
        "num_heads": config["attention_head_dim"],
        "num_head_channels": -1,
        "use_temporal_attention": False,
    }


def load_unet(disable_dynamic: bool = True) -> comfy.model_patcher.ModelPatcher:
    """The UNet. It is so small that it never streams its weights."""
    weights = read_weights("unet")
    unet_config = ldm_unet_config(read_config("unet"))
    unet_config["channel_mult"] = [_whole(ratio) for ratio in unet_config["channel_mult"]]
    names = comfy.utils.unet_to_diffusers(unet_config)
    state = {names[key]: value for key, value in weights.items() if key in names}
    load_device = comfy.model_management.get_torch_device()
    offload_device = comfy.model_management.unet_offload_device()
    parameters = sum(value.numel() for value in state.values())
    dtype = comfy.model_management.unet_dtype(
        model_params=parameters, supported_dtypes=DemoSD.supported_inference_dtypes
    )
    manual_cast = comfy.model_management.unet_manual_cast(dtype, load_device, DemoSD.supported_inference_dtypes)
    config = DemoSD(unet_config)
    config.set_inference_dtype(dtype, manual_cast)
    config.base_key = base_key(FOLDER)
    model = config.get_model({}, "", device=offload_device)
    missing, unknown = model.diffusion_model.load_state_dict(state, strict=False)
    check_complete("UNet", missing, [*unknown, *(weights.keys() - names.keys())])
    in_declared_dtypes(model)
    model.eval()
    patcher = comfy.model_patcher.ModelPatcher(model, load_device=load_device, offload_device=offload_device)
    return reloadable(patcher, load_unet)


def _whole(ratio: float) -> float | int:
    return int(ratio) if ratio == int(ratio) else ratio


def load_text_encoder(**how) -> comfy.sd.CLIP:
    """The text encoder.

    Args:
        how: further arguments of ComfyUI's CLIP, such as ``disable_dynamic`` where it has dynamic VRAM.
    """
    config = read_config("text_encoder")

    class TextModel(comfy.sd1_clip.SDClipModel):
        def __init__(self, device="cpu", dtype=None, model_options={}):
            special = {"start": config["bos_token_id"], "end": config["eos_token_id"], "pad": config["eos_token_id"]}
            super().__init__(
                device=device,
                dtype=dtype,
                max_length=config["max_position_embeddings"],
                textmodel_json_config=dict(config),
                special_tokens=special,
                return_projected_pooled=False,
                model_options=model_options,
            )
            # ComfyUI gives every CLIP the full 49,408 words; ours has its own small vocabulary.
            full = self.transformer.get_input_embeddings().weight
            small = self.operations.Embedding(
                config["vocab_size"], config["hidden_size"], dtype=full.dtype, device=full.device
            )
            self.transformer.set_input_embeddings(small.requires_grad_(False))

    class Encoder(comfy.sd1_clip.SD1ClipModel):
        def __init__(self, device="cpu", dtype=None, model_options={}):
            super().__init__(device=device, dtype=dtype, model_options=model_options, clip_model=TextModel)

    class WordTokenizer(comfy.sd1_clip.SDTokenizer):
        def __init__(self, embedding_directory=None, tokenizer_data={}):
            super().__init__(
                str(FOLDER / "tokenizer"),
                max_length=config["max_position_embeddings"],
                embedding_directory=embedding_directory,
                embedding_size=config["hidden_size"],
                tokenizer_data=tokenizer_data,
            )

    class Tokenizer(comfy.sd1_clip.SD1Tokenizer):
        def __init__(self, embedding_directory=None, tokenizer_data={}):
            super().__init__(
                embedding_directory=embedding_directory, tokenizer_data=tokenizer_data, tokenizer=WordTokenizer
            )

    class Target:
        clip, tokenizer, params = Encoder, Tokenizer, {}

    weights = read_weights("text_encoder")
    clip = comfy.sd.CLIP(
        Target,
        embedding_directory=folder_paths.get_folder_paths("embeddings"),
        parameters=sum(value.numel() for value in weights.values()),
        **how,
    )
    check_complete("text encoder", *clip.cond_stage_model.clip_l.load_sd(weights))
    reloadable(clip.patcher, lambda **how: load_text_encoder(**how).patcher)
    return clip


def load_vae() -> comfy.sd.VAE:
    state = {}
    for key, value in read_weights("vae").items():
        part, _, index, rest = key.split(".", 3)
        # diffusers clamps latents in forward(), ComfyUI in a module of its own at the head of the decoder.
        number = int(index) + (1 if part == "decoder" else 0)
        state[f"taesd_{part}.{number}.{rest}"] = value
    # diffusers' scaling_factor is 1: latents are used as they come.
    return comfy.sd.VAE(sd=state)


def load_image_encoder() -> comfy.clip_vision.ClipVisionModel:
    vision = comfy.clip_vision.ClipVisionModel(str(FOLDER / "image_encoder" / "config.json"))
    check_complete("image encoder", *vision.load_sd(read_weights("image_encoder")))
    return vision
