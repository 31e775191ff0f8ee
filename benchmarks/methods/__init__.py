"""All methods of the tables, by name."""

from __future__ import annotations

from acfun_core.errors import ACFunError
from acfun_core.presets import PRESETS

from .acfun import PASSES_A_STEP, ACFun, ACFunPlain, parse_options
from .base import Method, State, slug
from .by_preset import ByPreset
from .edited import EDITS, Edited
from .injection import KeyValueInjection
from .inversion import AttentionInversion, StageTokens, TextualInversion
from .lora import LoRA
from .native import NativeLoRA
from .simple import Blend, CopyFace, CopyStyle, Denoised, ImageToImage, LatentAdaIN, RoundTrip, TextOnly

__all__ = ["EDITS", "LIMITS", "METHODS", "PASSES_A_STEP", "ACFun", "Edited", "Method", "State", "method", "slug"]

METHODS: tuple[Method, ...] = (
    *(ByPreset(name) for name in PRESETS),
    ACFun(),
    ACFunPlain(),
    TextOnly(),
    ImageToImage(0.4),
    ImageToImage(0.6),
    ImageToImage(0.8),
    LatentAdaIN(),
    LatentAdaIN(0.5),
    TextualInversion(),
    AttentionInversion(),
    StageTokens(),
    LoRA(),
    NativeLoRA(),
    KeyValueInjection(),
    CopyFace(),
    CopyStyle(),
    Blend(),
)


LIMITS: tuple[Method, ...] = (
    *(RoundTrip(of) for of in ("face", "style")),
    *(Denoised(of, share) for of in ("face", "style") for share in (0.1, 0.2, 0.4)),
    # Without the split: with it, each term learns only a part of the timesteps.
    ACFun({"style_weight": 0, "timestep_split": 0}),
    ACFun({"face_weight": 0, "timestep_split": 0}),
)
"""What each margin can reach at most: through the VAE, through VAE and UNet, and with one of the two loss terms alone."""


def method(name: str) -> Method:
    """A method by name; those of ACFun take options after a colon, ``+smiling`` changes the text of any.

    Raises:
        ACFunError: there is none, or an option is wrong.
    """
    inner, plus, edit = name.rpartition("+")
    if plus and edit in EDITS:
        return Edited(method(inner), edit)
    kind, colon, options = name.partition(":")
    if colon and kind in PRESETS:
        return ByPreset(kind, parse_options(options))
    for own in (ACFun, ACFunPlain):
        if colon and kind == own.kind:
            return own(parse_options(options))
    for known in METHODS + LIMITS:
        if known.name == name:
            return known
    raise ACFunError(
        f"There is no method {name!r}.", ", ".join(known.name for known in METHODS), "choose one, or acfun:option=value"
    )
