"""The families of base models that the pack knows, and what tells them apart.

SDXL has two text encoders. Their embeddings, and their hidden states, stand side by side in one vector: S* is 768 + 1280 = 2048
wide there. Stable Diffusion 2.x has one, OpenCLIP's ViT-H, of 1024. Everything else of the method stays as it is.
"""

from __future__ import annotations

from dataclasses import dataclass

import comfy.model_sampling
import comfy.supported_models
from comfy.model_base import ModelType
from torch import Tensor

from ...acfun_core.errors import ACFunError


@dataclass(frozen=True)
class Family:
    """One kind of base.

    Attributes:
        name: as in the adapter file.
        encoders: its text encoders in the order of their parts of S*; names of ComfyUI's modules and tokenizers.
        pooled: whether the UNet is also conditioned with a pooled text embedding.
    """

    name: str
    encoders: tuple[str, ...]
    pooled: bool


SD1 = Family("sd1", ("clip_l",), pooled=False)
SD2 = Family("sd2", ("clip_h",), pooled=False)
SDXL = Family("sdxl", ("clip_l", "clip_g"), pooled=True)


def check_model(model) -> Family:
    """The family of a MODEL, or an error unless it is a text-to-image model of one that predicts noise or v."""
    inner = model.model
    config = getattr(inner, "model_config", None)
    expected = "a Stable Diffusion 1.x, 2.x or SDXL MODEL"
    fix = "connect the MODEL of such a checkpoint or of Load ACFun Demo Base"
    if isinstance(config, comfy.supported_models.SD15):
        family = SD1
    elif isinstance(config, comfy.supported_models.SDXL):
        family = SDXL
    elif isinstance(config, comfy.supported_models.SD20) and not config.unet_config.get("adm_in_channels"):
        family = SD2
    else:
        # Also the unCLIP variants of Stable Diffusion 2.1, which are told a picture besides the text.
        said = f"The MODEL is a {type(config).__name__}, not Stable Diffusion 1.x, 2.x or SDXL."
        raise ACFunError(said, expected, fix)
    if config.unet_config.get("in_channels", 4) != 4:
        raise ACFunError(
            "The MODEL is an inpainting or image-editing variant.", "a text-to-image MODEL with 4 latent channels", fix
        )
    # By the checkpoint. What a node such as ModelSamplingDiscrete makes of it is known by its model_sampling alone.
    if inner.model_type not in (ModelType.EPS, ModelType.V_PREDICTION):
        raise ACFunError(
            f"The checkpoint's prediction is {inner.model_type.name}.",
            "one that predicts noise (EPS) or V_PREDICTION",
            fix,
        )
    return family


def prediction_of(model) -> str:
    """What a MODEL predicts, one of the core's PREDICTIONS: by its checkpoint, or by a node such as ModelSamplingDiscrete.

    EDM's output is v with the other sign, whose error is the same.
    """
    sampling = model.get_model_object("model_sampling")
    return "v" if isinstance(sampling, comfy.model_sampling.V_PREDICTION) else "epsilon"


def check_clip(clip) -> Family:
    """The family of a CLIP, or an error."""
    has = tuple(name for name in ("clip_l", "clip_g", "clip_h", "t5xxl") if hasattr(clip.cond_stage_model, name))
    for family in (SD1, SD2, SDXL):
        if has == family.encoders:
            return family
    raise ACFunError(
        f"The CLIP is a {type(clip.cond_stage_model).__name__}.",
        "the text encoder of a Stable Diffusion 1.x, 2.x or SDXL checkpoint",
        "connect the CLIP of the same checkpoint as the MODEL",
    )


def embedding_tables(clip) -> list[Tensor]:
    """Token embeddings of each text encoder, (vocabulary, width)."""
    model = clip.cond_stage_model
    return [getattr(model, name).transformer.get_input_embeddings().weight for name in check_clip(clip).encoders]


def text_width(clip) -> int:
    """Width of S* and of the encoded prompt."""
    return sum(table.shape[1] for table in embedding_tables(clip))


def check_together(model, clip) -> Family:
    """The family of a MODEL and its CLIP, or an error unless the CLIP is as wide as the UNet's cross-attention."""
    family = check_model(model)
    check_clip(clip)
    want, have = model.model.model_config.unet_config["context_dim"], text_width(clip)
    if want != have:
        raise ACFunError(
            f"The MODEL takes text {want} wide, this CLIP gives {have}.",
            "MODEL and CLIP of one checkpoint",
            "connect both from the same loader",
        )
    return family
