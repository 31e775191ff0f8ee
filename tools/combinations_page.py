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
_PAGE = """# The adapter beside other nodes and flags

**What this shows.** Whether an adapter leaves the other parts of a ComfyUI graph alone and they leave it alone, and whether it
does the same when ComfyUI saves memory or keeps the weights in fewer bits.

**How to repeat it.** `python -m tools.combinations --compile eager inductor` starts real ComfyUI servers on a CPU, writes this
page, and ends with exit code 1 if a row does not hold.

**On what.** The demo base at {side} pixels, {steps} sampling steps, guidance 3, one noise for all pictures, and an adapter
that was trained for a few large steps, so that it changes a picture strongly.
{weights}

Compared are latents, the small pictures that the VAE turns into pixels. A cell gives the largest difference between two
latents and, in brackets, the root mean square of the difference as a share of the latent's own. {verdict}

## Parts of a graph

| column | the two pictures it compares | a row holds if |
|---|---|---|
| adapter off | the part with an adapter whose three strengths are 0, and the part alone | it is 0 |
| adapter's change | the part with the adapter, and the part alone | it is not 0: the adapter acts |
| part's change | the part with the adapter, and the adapter alone | it is not 0: the part acts |
| order | the part behind the adapter, and before it | it is 0: the order does not matter |

{parts}

In the rows of torch.compile the part is meant to change nothing: *part's change* must be 0 there, and *adapter off* may
differ by the rounding of compiled code. While an adapter changes the UNet's blocks, the UNet runs uncompiled and the
server's log says so: compiled code does not look whether hooks (functions that others attach to a layer) have come or gone
since it was made. Without an adapter, or with it off, the UNet is compiled as before.

## Memory and precision

| column | what it compares | a row holds if |
|---|---|---|
| adapter off | strengths 0 with the same server's base | it is 0 |
| base; adapter; adapter and LoRA | each with its picture in float32, all weights loaded | any value: rounding |
| adapter's change | the adapter with the same server's base | it is not 0: the adapter acts |
| learned | the loss of style, then of face, before → after twelve training steps with the LoRA | both fall |

{flags}

ComfyUI does not take `--lowvram` and `--novram` beside `--cpu`. These servers were made to load only that share of the weights
and to cast the rest layer by layer, which is the code that the flags lead to on a GPU. On a CPU, ComfyUI computes in float32
whatever the weights' precision: with the precision flags what differs is the rounding of the weights.

## What it means

Where a row holds, the adapter and the part can stand in one graph, in any order where the order was tried, and strengths of
0 give back the picture of the part alone.

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
    broken = [row[0] for row in (*first, *second) if row[-1] != "holds"]
    text = _PAGE.format(
        weights=said_of(base),
        verdict=f"Rows that do not hold: {', '.join(broken)}." if broken else "All rows of both tables hold.",
        side=side,
        steps=steps,
        parts="\n".join(markdown(_PART_HEAD, first)),
        flags="\n".join(markdown(_FLAGS_HEAD, second)),
    )
    return text
