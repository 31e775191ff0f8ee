"""Canonical names of a UNet's ResBlocks, the same for ComfyUI's (ldm) and diffusers' layout, and selections of them.

``enc.L.J``   ResBlock J of level L on the way down (level 0 is the finest)
``mid.J``     ResBlock J of the middle
``dec.L.J``   ResBlock J of level L on the way up

SD1.x has 8 + 2 + 12 of them.
"""

from __future__ import annotations

BLOCKS = ("none", "encoder", "decoder", "both", "all")
"""Selections of blocks; ``both`` is encoder and decoder without the middle."""

_PREFIXES = {
    "none": (),
    "encoder": ("enc.",),
    "decoder": ("dec.",),
    "both": ("enc.", "dec."),
    "all": ("enc.", "mid.", "dec."),
}


def covers(blocks: str, name: str) -> bool:
    """Whether a selection of blocks includes the block with this canonical name."""
    return name.startswith(_PREFIXES[blocks])


def part_of(name: str) -> str:
    """The strength that a block belongs to; the middle counts as encoder."""
    return "decoder" if name.startswith("dec.") else "encoder"
