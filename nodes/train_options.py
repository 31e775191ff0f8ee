"""ACFun Train Options: every choice of the method beyond the few that Train ACFun Style shows."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from comfy_api.latest import io
from torch import Tensor

from ..acfun_core.config import PLACEHOLDER, AdapterConfig, TrainConfig
from ..acfun_core.options import default_of, options_of
from .schema import TrainOptions, schema, widget

# What Train ACFun Style asks for itself, and what only the export makes.
_NOT_HERE = {"description", "compact", "steps", "learning_rate", "style_weight", "face_weight", "seed"}


@dataclass(frozen=True)
class ChosenOptions:
    """What travels along an ACFUN_TRAIN_OPTIONS wire.

    Attributes:
        adapter, train: fields of AdapterConfig and of TrainConfig.
        style_mask, face_mask: MASKs of the size of their pictures, or None.
    """

    adapter: dict[str, Any] = field(default_factory=dict)
    train: dict[str, Any] = field(default_factory=dict)
    style_mask: Tensor | None = None
    face_mask: Tensor | None = None


def fields_here(config) -> list[str]:
    """Names of the fields of a config that this node shows."""
    return [name for name in options_of(config) if name not in _NOT_HERE]


def widgets_of(config) -> list[io.Input]:
    return [widget(name, options_of(config)[name], default_of(config, name)) for name in fields_here(config)]


class ACFunTrainOptions(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="ACFunTrainOptions",
            display_name="ACFun Train Options",
            description=(
                "Every choice of the method for Train ACFun Style: the paper's ablations and what goes beyond it. "
                "Untouched, it changes nothing."
            ),
            inputs=[
                *widgets_of(AdapterConfig),
                *widgets_of(TrainConfig),
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
            ],
            outputs=[
                TrainOptions.Output(display_name="options", tooltip="For the options input of Train ACFun Style.")
            ],
        )

    @classmethod
    def execute(cls, style_mask=None, face_mask=None, **values) -> io.NodeOutput:
        adapter = {name: values[name] for name in fields_here(AdapterConfig)}
        train = {name: values[name] for name in fields_here(TrainConfig)}
        # Bad combinations are named here already, not after the pictures were encoded.
        AdapterConfig(description=PLACEHOLDER, **adapter)
        TrainConfig(**train)
        return io.NodeOutput(ChosenOptions(adapter, train, style_mask, face_mask))
