"""What all nodes share: the adapter's type, the category, and schemas that older hosts accept."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from comfy_api.latest import io

from ..acfun_core.adapter import StyleAdapter
from ..acfun_core.config import Strengths

CATEGORY = "ACFun"


@dataclass(frozen=True)
class LinkedAdapter:
    """What travels along an ACFUN_ADAPTER wire: an adapter and the strengths chosen for it."""

    adapter: StyleAdapter
    strengths: Strengths = Strengths()


Adapter = io.Custom("ACFUN_ADAPTER")


def schema(**fields) -> io.Schema:
    """``io.Schema`` of these fields without those the running ComfyUI does not know: one of them would cost all nodes."""
    known = {field.name for field in dataclasses.fields(io.Schema)}
    return io.Schema(category=CATEGORY, **{name: value for name, value in fields.items() if name in known})


def strength_inputs() -> list[io.Input]:
    """The three strengths, the same wherever an adapter is applied."""

    def strength(name: str, effect: str) -> io.Input:
        return io.Float.Input(
            f"{name}_strength",
            default=1.0,
            min=0.0,
            max=2.0,
            step=0.05,
            tooltip=f"{effect} 0 is off, 1 is as trained, above 1 exaggerates. Good: 0.8 to 1.2.",
        )

    return [
        strength("abstract", "How much of the learned meaning of S* is used in place of the plain word 'painting'."),
        strength("encoder", "How much of the style's strokes and texture is used (CFun in the UNet's encoder)."),
        strength("decoder", "How much of the style's structure and pose is used (CFun in the UNet's decoder)."),
    ]
