"""Whether an adapter fits a base, said before any work: its family, its blocks, the width of S*."""

from __future__ import annotations

from collections.abc import Mapping

from ..demo_base import check_weights
from ..errors import ACFunError
from ..unet.blocks import ResBlockSite, misfits
from .adapter import FAMILIES, PREDICTIONS, StyleAdapter

_EXPECTED, _FIX = "the kind of base the adapter was trained on", "load that base or train the adapter on this one"


def check_fits(
    adapter: StyleAdapter,
    family: str,
    sites: Mapping[str, ResBlockSite],
    base: str = "this base",
    fix: str = _FIX,
    key: str = "",
) -> None:
    """Raise unless an adapter is of this family, its blocks exist in the UNet with the same channels, and a key agrees.

    Args:
        family: one of :data:`~acfun_core.method.adapter.FAMILIES`.
        base: how the user knows it. fix: what to do with an adapter of another family.
        key: of the base's weights, see :func:`~acfun_core.demo_base.check_weights`.

    Raises:
        ACFunError: names the family or the first block that differs.
    """
    if adapter.base_family != family:
        was, now = FAMILIES[adapter.base_family], FAMILIES[family]
        raise ACFunError(f"The adapter was trained on {was}, {base} is {now}.", _EXPECTED, fix)
    wanted, place = adapter.cfun.channels, adapter.config.place
    wrong = misfits(sites, wanted, place)
    if wrong:
        name = wrong[0]
        if name not in sites:
            differs = f"there is no block {name}"
        elif sites[name].channels != wanted[name]:
            differs = f"block {name} has {sites[name].channels} channels, the adapter {wanted[name]}"
        else:
            differs = f"block {name} has nothing at the adapter's place, {place}"
        raise ACFunError(
            f"The adapter does not fit {base}: {len(wrong)} of {len(wanted)} blocks differ ({differs}).",
            _EXPECTED,
            _FIX,
        )
    check_weights(adapter.base_key, key)


def notice_of_prediction(adapter: StyleAdapter, prediction: str, base: str = "this base") -> str:
    """What to tell of an adapter on a base that predicts something else, or "" where there is nothing to tell.

    Both work on the same blocks, and checkpoints of either kind descend from each other: no error, as for any other checkpoint
    of the family.

    Args:
        prediction: what the base predicts, one of :data:`~acfun_core.method.adapter.PREDICTIONS`.
        base: how the user knows it.
    """
    if adapter.base_prediction == prediction:
        return ""
    was, now = PREDICTIONS[adapter.base_prediction], PREDICTIONS[prediction]
    return f"The adapter was trained on a base that predicts {was}, {base} predicts {now}: its style may come out otherwise."


def check_text_fits(adapter: StyleAdapter, width: int, text_encoder: str = "this base's text encoder") -> None:
    """Raise unless the adapter's S* is as wide as the token embeddings of a text encoder."""
    if width != adapter.text_width:
        raise ACFunError(
            f"The adapter's S* is {adapter.text_width} wide, the embeddings of {text_encoder} are {width} wide.",
            "the text encoder the adapter was trained with",
            _FIX,
        )
