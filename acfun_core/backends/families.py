"""The kinds of base that diffusers' classes make up, and the parts that one consists of.

Stable Diffusion 2.x is built as 1.x is, with linear projections around its attention and OpenCLIP's ViT-H for its text. SDXL
has two text encoders, whose hidden states stand side by side, and its UNet is told besides a pooled embedding of the prompt and
the size of the picture.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..diffusion.schedule import NoiseSchedule
from ..errors import ACFunError
from ..method.adapter import FAMILIES

CONFIGS = Path(__file__).parent


@dataclass(frozen=True)
class Reading:
    """How a family reads one of its text encoders.

    Attributes:
        part: its folder in a diffusers folder; ``words``: that of its tokenizer.
        prefix: of its names in a single-file checkpoint.
        open_clip: whether a checkpoint has it in OpenCLIP's layout, and it pads with token 0 in place of the end token.
        penultimate: whether the last layer but one is read, before the last normalisation. Stable Diffusion 2.x reads that
            layer too, with the normalisation; its folders hold one layer less.
        pools: whether the UNet is told its projected embedding at the end token.
    """

    part: str
    words: str
    prefix: str
    open_clip: bool = False
    penultimate: bool = False
    pools: bool = False


@dataclass(frozen=True)
class Family:
    """One kind of base.

    Attributes:
        name: one of :data:`~acfun_core.method.adapter.FAMILIES`.
        width: of the text that the UNets of its checkpoints listen to.
        readings: of its text encoders, in the order in which their hidden states stand side by side.
    """

    name: str
    width: int
    readings: tuple[Reading, ...]

    @property
    def title(self) -> str:
        return FAMILIES[self.name]

    @property
    def configs(self) -> Path:
        """diffusers' and transformers' settings of all its parts: a single-file checkpoint does not hold them."""
        return CONFIGS / self.name


SD1 = Family("sd1", 768, (Reading("text_encoder", "tokenizer", "cond_stage_model.transformer."),))
SD2 = Family("sd2", 1024, (Reading("text_encoder", "tokenizer", "cond_stage_model.model.", open_clip=True),))
SDXL = Family(
    "sdxl",
    2048,
    (
        Reading("text_encoder", "tokenizer", "conditioner.embedders.0.transformer.", penultimate=True),
        Reading(
            *("text_encoder_2", "tokenizer_2", "conditioner.embedders.1.model."),
            open_clip=True,
            penultimate=True,
            pools=True,
        ),
    ),
)
KNOWN = (SD1, SD2, SDXL)

_REFINER_WIDTH = 1280
"""SDXL's refiner listens to the second text encoder alone."""

TEXT_TO_IMAGE = "a text-to-image base of Stable Diffusion 1.x, 2.x or SDXL"


@dataclass(frozen=True)
class Parts:
    """A base in memory, frozen, in evaluation mode, on the CPU.

    Attributes:
        unet: diffusers' ``UNet2DConditionModel``.
        vae: diffusers' ``AutoencoderKL`` or ``AutoencoderTiny``.
        text_encoders: transformers' ``CLIPTextModelWithProjection``, one for each of the family's readings.
        tokenizers: transformers' ``CLIPTokenizer``, one for each of them.
        schedule: what the UNet was trained on.
        family: which kind it is.
        key: names the weights, unless they are as wide as the family's checkpoints, which share their adapters.
        prediction: what the UNet predicts, one of :data:`~acfun_core.method.adapter.PREDICTIONS`.
        trailing: whether drawings leave out the first timestep (diffusers' ``timestep_spacing``).
    """

    unet: Any
    vae: Any
    text_encoders: tuple[Any, ...]
    tokenizers: tuple[Any, ...]
    schedule: NoiseSchedule
    family: Family = SD1
    key: str = ""
    prediction: str = "epsilon"
    trailing: bool = False


def family_of(source: Path, config: Mapping) -> Family:
    """The family of a UNet by diffusers' settings.

    Raises:
        ACFunError: it is of none, or takes more than 4 latent channels.
    """
    if config.get("in_channels", 4) != 4:
        raise ACFunError(
            f"The UNet of {source} takes {config['in_channels']} channels: an inpainting or editing variant.",
            "a text-to-image UNet with 4 latent channels",
            f"name {TEXT_TO_IMAGE}",
        )
    added, width = config.get("addition_embed_type"), config.get("cross_attention_dim")
    if isinstance(width, int) and not config.get("class_embed_type"):
        if added == "text_time" and width != _REFINER_WIDTH:
            return SDXL
        if added is None:
            return SD2 if config.get("use_linear_projection") else SD1
    raise ACFunError(
        f"The UNet of {source} is not Stable Diffusion 1.x, 2.x or SDXL"
        + (": it is SDXL's refiner." if added and width == _REFINER_WIDTH else "."),
        "a UNet that is told a text, and in SDXL the picture's size, and nothing else",
        f"name {TEXT_TO_IMAGE}",
    )
