"""ACFun Adapter Options: when and where an adapter acts."""

from __future__ import annotations

from comfy_api.latest import io

from ..acfun_core.strengths import Strengths
from .faces import tell_of_empty
from .schema import AdapterOptions, schema, widget

_WIDGETS = [
    *(f"{part}_{border}" for part in ("abstract", "encoder", "decoder") for border in ("start", "end")),
    "blocks",
    "guidance",
]


class ACFunAdapterOptions(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="ACFunAdapterOptions",
            display_name="ACFun Adapter Options",
            description=(
                "When and where an adapter acts: start and end of each strength over the sampling, a mask, fewer blocks, "
                "or only the pass with the prompt. Nothing is trained again."
            ),
            inputs=[
                *(widget(Strengths, name) for name in _WIDGETS),
                io.Mask.Input(
                    "mask",
                    optional=True,
                    tooltip=(
                        "Scales what encoder and decoder change at each place: 0 leaves the base, 1 is as trained. It is "
                        "stretched over the picture; a batch has one mask a picture. Good: the output of ACFun Face Parts."
                    ),
                ),
            ],
            outputs=[
                AdapterOptions.Output(
                    display_name="options", tooltip="For the options input of Load or Apply ACFun Adapter."
                )
            ],
        )

    @classmethod
    def execute(cls, mask=None, **values) -> io.NodeOutput:
        strengths = Strengths(**values, mask=mask)
        tell_of_empty(strengths.mask, "mask", "encoder and decoder change nothing anywhere")
        return io.NodeOutput(strengths)
