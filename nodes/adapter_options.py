"""When and where adapters act, and several adapters as one."""

from __future__ import annotations

import dataclasses
import logging

from comfy_api.latest import io

from ..acfun_core.config import Strengths
from ..acfun_core.errors import ACFunError
from ..acfun_core.masks import notice_of_empty
from ..acfun_core.method.mixing import check_same_text
from ..acfun_core.options import default_of, options_of
from ..acfun_core.strengths import check_mask, product_of_masks
from .faces import tell
from .schema import Adapter, AdapterOptions, LinkedAdapter, schema, widget

MOST_ADAPTERS = 4
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
                *(widget(name, options_of(Strengths)[name], default_of(Strengths, name)) for name in _WIDGETS),
                io.Mask.Input(
                    "mask",
                    optional=True,
                    tooltip=(
                        "Scales what encoder and decoder change at each place: 0 leaves the base, 1 is as trained. It is "
                        "stretched over the picture. Good: the output of ACFun Face Parts."
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


class ACFunMixAdapters(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        inputs = []
        for number in range(1, MOST_ADAPTERS + 1):
            needed = number <= 2
            inputs += [
                Adapter.Input(
                    f"adapter_{number}",
                    optional=not needed,
                    tooltip=f"Adapter {number} of the mix{'' if needed else ', if any'}. All must be of one base.",
                ),
                io.Float.Input(
                    f"weight_{number}",
                    default=0.5 if needed else 0.0,
                    min=0.0,
                    max=2.0,
                    step=0.05,
                    optional=not needed,
                    tooltip=f"Factor of all strengths of adapter {number}. Good: weights that add up to 1.",
                ),
                io.Mask.Input(
                    f"mask_{number}",
                    optional=True,
                    tooltip=f"Where adapter {number} changes the picture: 0 not, 1 fully. Good: left open for everywhere.",
                ),
            ]
        return schema(
            node_id="ACFunMixAdapters",
            display_name="ACFun Mix Adapters",
            description=(
                "Several adapters as one, each with a weight and a mask. Their changes add up, and S* becomes the "
                "weighted mix of their meanings: two styles in one, or a style trained apart from a face."
            ),
            inputs=inputs,
            outputs=[
                Adapter.Output(display_name="adapter", tooltip="The mix, for Apply ACFun Adapter. It is not a file.")
            ],
        )

    @classmethod
    def execute(cls, **inputs) -> io.NodeOutput:
        members = []
        for number in range(1, MOST_ADAPTERS + 1):
            linked = inputs.get(f"adapter_{number}")
            if linked is None:
                continue
            weight, mask = inputs.get(f"weight_{number}", 0.0), inputs.get(f"mask_{number}")
            mask = None if mask is None else check_mask(mask)
            tell_of_empty(mask, f"mask_{number}", f"encoder and decoder of adapter {number} change nothing anywhere")
            members += weighted(linked, weight, mask)
        if len(members) < 2:
            raise ACFunError(
                f"The mix holds {len(members)} adapters.", "two or more", "connect adapter_1 and adapter_2"
            )
        check_same_text(members)
        return io.NodeOutput(LinkedAdapter.of(members))


def tell_of_empty(mask, role: str, would: str) -> None:
    """Say in the log and on the node what a mask of zeros does; that may be wanted, but is mostly a mask from Load Image."""
    notice = None if mask is None else notice_of_empty(mask, role, would)
    if notice is not None:
        logging.warning("ACFun: %s", notice)
        tell(notice)


def weighted(linked: LinkedAdapter, weight: float, mask) -> list:
    """The adapters of a wire with their weights and masks multiplied; a mix may hold a mix."""
    return [
        (adapter, dataclasses.replace(own, weight=own.weight * weight, mask=product_of_masks(own.mask, mask)))
        for adapter, own in linked.members
    ]
