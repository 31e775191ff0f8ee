"""docs/combinations.md: what was run together with the adapter, what differed, and whether it holds."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tools.base_key import said_of

SAME = 1e-5
"""Largest difference of two orders of the same parts: sums in another order round differently."""
COMPILED = 1e-3
"""Largest difference that torch.compile's other rounding may make."""
VISIBLE = 1e-3
"""A change is in the picture if its root mean square is at least this share of the latent's."""

_PART_HEAD = ["part", "what", "adapter off", "adapter's change", "part's change", "order", ""]
_FLAGS_HEAD = ["server", "adapter off", "base", "adapter", "adapter and LoRA", "adapter's change", "learned", ""]
_PAGE = """# Together with other parts

Written by `python -m tools.combinations --compile eager inductor`, which starts real ComfyUI servers on a CPU and ends with 1
if a row does not hold. Embedded base, {side} pixels, {steps} steps, guidance 3, one noise; an adapter that learned a few steep
steps. Differences of latents: the largest, and in brackets the root mean square of the difference in that of the latent.
{weights}

## Parts

*Adapter off*: all strengths 0 against the part without the adapter; must be 0. *Adapter's change*: on against the part alone.
*Part's change*: on against the adapter alone. *Order*: the part behind the adapter against before it.

Under torch.compile the UNet runs uncompiled while an adapter changes its blocks, and the server's log says so: compiled code
does not look whether hooks have come or gone since it was made. Without an adapter, or with it off, it is compiled as before.

{parts}

## Memory and precision

ComfyUI does not take `--lowvram` and `--novram` beside `--cpu`. These servers were made to load only that share of the weights
and to cast the rest layer by layer, which is the code that the flags lead to on a GPU. On a CPU, ComfyUI computes in float32
whatever the weights' precision: with the precision flags what differs is the rounding of the weights.

*Base*, *adapter*, *adapter and LoRA*: against the same picture in float32 with all weights loaded. *Adapter's change*: against
the base of the same server. *Learned*: style and face loss on fixed timesteps before and after twelve steps on the MODEL
with the LoRA.

{flags}

Not run for want of a GPU: CUDA, MPS and other devices, arithmetic in half precision and float8, cudagraphs.
"""


def part_holds(row: dict) -> bool:
    """Off leaves the part's own picture bit for bit; both are in the common one; the order makes no difference.

    What torch.compile does to a picture is rounding, and no change of its own.
    """
    compiled = row["name"].startswith("compile")
    changed = row["part"]["relative"] > VISIBLE
    off = row["off"]["max"] <= (COMPILED if compiled else 0)
    order = row.get("order", {"max": 0.0})["max"] <= (COMPILED if compiled else SAME)
    return row["finite"] and off and row["adapter"]["relative"] > VISIBLE and changed != compiled and order


def flags_hold(row: dict) -> bool:
    """Off is the base bit for bit, the adapter is in the picture, and a short training lowers both terms."""
    learned = all(after < before for before, after in zip(row["record"]["before"], row["record"]["after"]))
    return row["finite"] and row["off"]["max"] == 0 and row["style"]["relative"] > VISIBLE and learned


def number(value: float) -> str:
    return "0" if value == 0 else f"{value:.2g}"


def pair(found: dict | None) -> str:
    return "" if found is None else f"{number(found['max'])} ({number(100 * found['relative'])} %)"


def markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return ["| " + " | ".join(row) + " |" for row in [head, ["---"] * len(head), *rows]]


def page(
    part_rows: list[tuple[Any, dict]], flag_rows: list[tuple[Any, dict]], steps: int, side: int, base: Path
) -> str:
    """docs/combinations.md, measured on the weights in `base`."""
    first = [
        [part.title, part.how, pair(row["off"]), pair(row["adapter"]), pair(row["part"]), pair(row.get("order"))]
        + ["holds" if part_holds(row) else "**does not hold**"]
        for part, row in part_rows
    ]
    second = [
        [flags.title, pair(row["off"]), pair(row["base"]), pair(row["adapter"]), pair(row["lora"]), pair(row["style"])]
        + [" ".join(f"{b:.3f} → {a:.3f}" for b, a in zip(row["record"]["before"], row["record"]["after"]))]
        + ["holds" if flags_hold(row) else "**does not hold**"]
        for flags, row in flag_rows
    ]
    text = _PAGE.format(
        weights=said_of(base),
        side=side,
        steps=steps,
        parts="\n".join(markdown(_PART_HEAD, first)),
        flags="\n".join(markdown(_FLAGS_HEAD, second)),
    )
    return text
