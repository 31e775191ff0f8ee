"""What all nodes share: the adapter's type, the category, and schemas that older hosts accept."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from comfy_api.latest import io

from ..acfun_core.errors import ACFunError
from ..acfun_core.method.adapter import StyleAdapter
from ..acfun_core.options import default_of, options_of
from ..acfun_core.strengths import Strengths

CATEGORY = "ACFun"


@dataclass(frozen=True)
class LinkedAdapter:
    """What travels along an ACFUN_ADAPTER wire: an adapter and the strengths chosen for it, or a mix of several."""

    adapter: StyleAdapter
    strengths: Strengths = Strengths()
    others: tuple[tuple[StyleAdapter, Strengths], ...] = ()

    @property
    def members(self) -> tuple[tuple[StyleAdapter, Strengths], ...]:
        """All adapters of the wire with their strengths."""
        return ((self.adapter, self.strengths), *self.others)

    @classmethod
    def of(cls, members) -> LinkedAdapter:
        """The wire that carries these adapters."""
        (adapter, strengths), *others = members
        return cls(adapter, strengths, tuple(others))

    def single(self, purpose: str) -> StyleAdapter:
        """The one adapter of the wire, or an error if it is a mix."""
        if self.others:
            raise ACFunError(
                f"A mix of {len(self.members)} adapters cannot be {purpose}.",
                "one adapter",
                "connect each adapter of the mix by itself",
            )
        return self.adapter


Adapter = io.Custom("ACFUN_ADAPTER")
AdapterOptions = io.Custom("ACFUN_ADAPTER_OPTIONS")
TrainOptions = io.Custom("ACFUN_TRAIN_OPTIONS")
TransferOptions = io.Custom("ACFUN_TRANSFER_OPTIONS")
Landmarks = io.Custom("ACFUN_LANDMARKS")


def schema(**fields) -> io.Schema:
    """``io.Schema`` of these fields without those the running ComfyUI does not know: one of them would cost all nodes."""
    known = {field.name for field in dataclasses.fields(io.Schema)}
    return io.Schema(category=CATEGORY, **{name: value for name, value in fields.items() if name in known})


def strength_inputs() -> list[io.Input]:
    """The three strengths, the same wherever an adapter is applied."""
    effects = {
        "abstract": "How much of the learned meaning of S* is used in place of the plain word 'painting'.",
        "encoder": "How much of the style's strokes and texture is used (CFun in the UNet's encoder).",
        "decoder": "How much of the style's structure and pose is used (CFun in the UNet's decoder).",
    }
    end = "0 is off, 1 is as trained, above 1 exaggerates. Good: 0.8 to 1.2."
    return [widget(Strengths, part, f"{effect} {end}", name=f"{part}_strength") for part, effect in effects.items()]


def options_input() -> io.Input:
    """Start, end, blocks and mask, the same wherever an adapter is applied."""
    return AdapterOptions.Input(
        "options",
        optional=True,
        tooltip="When and where the adapter acts, from ACFun Adapter Options. Without it: always and everywhere.",
    )


def widget(config: type, field: str, tooltip: str = "", *, name: str = "", choices=None, **settings: Any) -> io.Input:
    """The widget of a config's field: its range and default are those that the config declares.

    Args:
        tooltip: the field's own text unless given.
        name: of the input, if it is not the field's.
        choices: fewer than the field has.
        settings: further settings of the input, or another default.
    """
    option, default = options_of(config)[field], settings.pop("default", default_of(config, field))
    good = {True: "yes", False: "no"}[default] if option.kind == "flag" else default
    common = {"default": default, "tooltip": tooltip or f"{option.doc} Good: {good}.", **settings}
    name = name or field
    if option.kind == "choice":
        return io.Combo.Input(name, options=list(choices or option.choices), **common)
    if option.kind == "flag":
        return io.Boolean.Input(name, **common)
    if option.kind == "whole":
        return io.Int.Input(name, min=int(option.low), max=int(option.high), **common)
    return io.Float.Input(
        name, **{"min": option.low, "max": option.high, "step": option.step, "round": False, **common}
    )
