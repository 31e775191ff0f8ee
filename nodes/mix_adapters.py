"""ACFun Mix Adapters: several adapters as one."""

from __future__ import annotations

import dataclasses

from comfy_api.latest import io

from ..acfun_core.errors import ACFunError
from ..acfun_core.method.pseudo_word import check_same_text
from ..acfun_core.strengths import Strengths, check_mask, product_of_masks
from .faces import tell_of_empty, warn
from .schema import Adapter, LinkedAdapter, schema, widget

MOST_ADAPTERS = 4


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
                widget(
                    Strengths,
                    "weight",
                    f"Factor of all strengths of adapter {number}. Good: weights that add up to 1.",
                    name=f"weight_{number}",
                    default=0.5 if needed else 0.0,
                    optional=not needed,
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
        members, notices = [], []
        for number in range(1, MOST_ADAPTERS + 1):
            linked = inputs.get(f"adapter_{number}")
            if linked is None:
                continue
            weight, mask = inputs.get(f"weight_{number}", 0.0), inputs.get(f"mask_{number}")
            mask = None if mask is None else check_mask(mask)
            tell_of_empty(mask, f"mask_{number}", f"encoder and decoder of adapter {number} change nothing anywhere")
            members += weighted(linked, weight, mask)
            if weight == 0:
                notices.append(
                    f"adapter_{number} is connected and has no say: weight_{number} is 0. Raise it, or disconnect it."
                )
        if len(members) < 2:
            raise ACFunError(
                f"The mix holds {len(members)} adapters.", "two or more", "connect adapter_1 and adapter_2"
            )
        check_same_text(members)
        warn(*notices)
        return io.NodeOutput(LinkedAdapter.of(members))


def weighted(linked: LinkedAdapter, weight: float, mask) -> list:
    """The adapters of a wire with their weights and masks multiplied; a mix may hold a mix."""
    return [
        (adapter, dataclasses.replace(own, weight=own.weight * weight, mask=product_of_masks(own.mask, mask)))
        for adapter, own in linked.members
    ]
