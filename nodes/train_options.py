"""ACFun Train Options: choices of the method beyond the few that Train ACFun Style shows."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from comfy_api.latest import io
from torch import Tensor

from ..acfun_core.config import PLACEHOLDER, AdapterConfig, TrainConfig
from ..acfun_core.training.memory import CHECKPOINTING
from .host import files
from .schema import TrainOptions, schema, widget

OF_THE_ADAPTER = ("blocks", "abstract_mode", "form", "rank")
OF_THE_TRAINING = (
    "learning_rate_end",
    "timestep_split",
    "min_snr_gamma",
    "style_crop",
    "style_flip",
    "style_colour",
    "style_variants",
    "copy_guard_every",
    "copy_limit",
)
"""What a user has a reason to change. The other choices of the paper and its ablations are on the command line."""


@dataclass(frozen=True)
class ChosenOptions:
    """What travels along an ACFUN_TRAIN_OPTIONS wire.

    Attributes:
        adapter, train: fields of AdapterConfig and of TrainConfig.
        style_mask, face_mask: MASKs of the size of their pictures, or None.
        keep_state: leave the training's state there at the end, so that more steps can continue it.
        start_embedding: path of a textual inversion that S* starts from, or None.
        checkpointing: one of :data:`~acfun_core.training.memory.CHECKPOINTING`.
    """

    adapter: dict[str, Any] = field(default_factory=dict)
    train: dict[str, Any] = field(default_factory=dict)
    style_mask: Tensor | None = None
    face_mask: Tensor | None = None
    keep_state: bool = False
    checkpointing: str = "auto"
    start_embedding: Path | None = None


def adapter_widgets() -> list[io.Input]:
    modes = (
        f"Where the learned meaning goes. token: it replaces {PLACEHOLDER} in the prompt, before CLIP's text transformer. "
        "sequence: it is added to the encoded prompt and goes straight to the UNet. Good: token."
    )
    special = {"abstract_mode": {"tooltip": modes, "choices": ("token", "sequence")}}
    return [widget(AdapterConfig, name, **special.get(name, {})) for name in OF_THE_ADAPTER]


class ACFunTrainOptions(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="ACFunTrainOptions",
            display_name="ACFun Train Options",
            description=(
                "More choices for Train ACFun Style: smaller adapters, variants of the style image, a guard against copies, "
                "masks. Untouched, it changes nothing."
            ),
            inputs=[
                *adapter_widgets(),
                *(widget(TrainConfig, name) for name in OF_THE_TRAINING),
                io.Mask.Input(
                    "style_mask",
                    optional=True,
                    tooltip=(
                        "Where the style image counts in the loss, 1 fully and 0 not at all; of the style image's size. "
                        "Good: everything but the sitter's eyes, nose and mouth."
                    ),
                ),
                io.Mask.Input(
                    "face_mask",
                    optional=True,
                    tooltip=(
                        "Where the face image counts in the loss, 1 fully and 0 not at all; of the face image's size. "
                        "Good: the head."
                    ),
                ),
                io.Boolean.Input(
                    "keep_state",
                    default=False,
                    optional=True,
                    tooltip=(
                        "Keeps the training's state in models/acfun, about six times as large as the adapter. The same inputs "
                        "with more steps then go on from there; not with learning_rate_end below 1. Good: no."
                    ),
                ),
                io.Combo.Input(
                    "checkpointing",
                    options=list(CHECKPOINTING),
                    default="auto",
                    optional=True,
                    tooltip=(
                        "Gradient checkpointing: the UNet computes twice and needs much less memory, for a third more time. "
                        "What is learned stays the same. auto: where memory is short. Good: auto."
                    ),
                ),
                io.String.Input(
                    "start_embedding",
                    default="",
                    optional=True,
                    tooltip=(
                        "Name of a textual inversion (.safetensors) in models/embeddings, made for the same kind of base: S* "
                        "starts from it in place of a plain word. Good: empty."
                    ),
                ),
            ],
            outputs=[
                TrainOptions.Output(display_name="options", tooltip="For the options input of Train ACFun Style.")
            ],
        )

    @classmethod
    def fingerprint_inputs(cls, start_embedding="", **others):
        # Another file under the same name is another start.
        return files.fingerprint_of_embedding(start_embedding)

    @classmethod
    def execute(
        cls,
        style_mask=None,
        face_mask=None,
        keep_state=False,
        checkpointing="auto",
        start_embedding="",
        **values,
    ) -> io.NodeOutput:
        adapter = {name: values[name] for name in OF_THE_ADAPTER}
        train = {name: values[name] for name in OF_THE_TRAINING}
        # Bad values are named here already, not after the pictures were encoded.
        AdapterConfig(description=PLACEHOLDER, **adapter)
        TrainConfig(**train)
        start = files.embedding_path(start_embedding) if start_embedding.strip() else None
        chosen = ChosenOptions(adapter, train, style_mask, face_mask, keep_state, checkpointing, start)
        return io.NodeOutput(chosen)
