"""How much of an adapter is used, when and where: chosen at inference, never trained."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from torch import Tensor
from torch.nn import functional as F

from .block_names import BLOCKS, covers, part_of
from .masks import check_masks
from .options import check_options, choice, number, require

PARTS = ("abstract", "encoder", "decoder")


@dataclass(frozen=True)
class Strengths:
    """How much of each part is used at inference: 0 is the base, 1 is as trained, up to 2.

    Attributes:
        mask: (H, W) or (N, H, W) factor of CFun's change at each place, 0 to 2, stretched over the picture: one mask for all
            pictures that are drawn, or one a picture. None is 1 everywhere, and so is a mask of ones. It is kept as
            (N, 1, H, W) and is not compared.
    """

    abstract: float = number(1.0, 0.0, 2.0, "How far S* has moved from its initial word to the fused embedding e_a.")
    encoder: float = number(1.0, 0.0, 2.0, "Scale of CFun's change in the encoder and the middle: strokes and texture.")
    decoder: float = number(1.0, 0.0, 2.0, "Scale of CFun's change in the decoder: structure and pose.")
    abstract_start: float = number(0.0, 0.0, 1.0, "Share of the sampling after which S* means the style.")
    abstract_end: float = number(1.0, 0.0, 1.0, "Share of the sampling after which S* is the plain initial word again.")
    encoder_start: float = number(0.0, 0.0, 1.0, "Share of the sampling after which CFun acts in the encoder.")
    encoder_end: float = number(1.0, 0.0, 1.0, "Share of the sampling after which CFun stops in the encoder.")
    decoder_start: float = number(0.0, 0.0, 1.0, "Share of the sampling after which CFun acts in the decoder.")
    decoder_end: float = number(1.0, 0.0, 1.0, "Share of the sampling after which CFun stops in the decoder.")
    blocks: str = choice("all", BLOCKS, "Which of the trained ResBlocks are used: all means all that were trained.")
    guidance: str = choice(
        "both",
        ("both", "cond"),
        "Whether CFun acts in both passes of classifier-free guidance or only in the one with the prompt.",
    )
    weight: float = number(1.0, 0.0, 2.0, "Share of this adapter in a mix: a factor of all three strengths.")
    mask: Tensor | None = dataclasses.field(default=None, compare=False, repr=False)

    def __post_init__(self):
        for name in PARTS:
            value = getattr(self, name)
            require(_in_range(value), f"The {name} strength is {value}.", "a number from 0 to 2", "use 1")
        check_options(self)
        for name in PARTS:
            start, end = self.window(name)
            require(
                start <= end,
                f"The {name} strength starts at {start} and ends at {end}.",
                "a start that is not after the end",
                f"lower {name}_start or raise {name}_end",
            )
        if self.mask is not None:
            mask = check_mask(self.mask)
            # Resizing would round it: without a mask, ones are bit for bit what no mask is.
            object.__setattr__(self, "mask", None if bool((mask == 1).all()) else mask)

    def window(self, part: str) -> tuple[float, float]:
        """(start, end) of a part as shares of the sampling."""
        return getattr(self, f"{part}_start"), getattr(self, f"{part}_end")

    def for_block(self, name: str) -> float:
        """Scale of CFun's change in the block with this canonical name, inside its window."""
        if not covers(self.blocks, name):
            return 0.0
        return self.weight * getattr(self, part_of(name))

    @property
    def needs_moment(self) -> bool:
        """Whether CFun's change depends on where in the sampling it is."""
        windowed = any(self.window(part) != (0.0, 1.0) for part in ("encoder", "decoder"))
        return windowed or self.guidance == "cond" or (self.mask is not None and len(self.mask) > 1)

    @property
    def abstract_share(self) -> float:
        """How far S* has moved toward e_a, the weight in a mix counted in."""
        return self.weight * self.abstract


def _in_range(value: float) -> bool:
    return isinstance(value, (int, float)) and 0.0 <= value <= 2.0


def check_mask(mask: Tensor) -> Tensor:
    """Masks in any form that :func:`~acfun_core.masks.check_masks` takes, with values 0 to 2 -> (N, 1, H, W), float32.

    Raises:
        ACFunError: as there.
    """
    return check_masks(mask, "mask", high=2.0)[:, None]


def product_of_masks(one: Tensor | None, two: Tensor | None) -> Tensor | None:
    """Two masks (N, 1, H, W) at once, at the size of the first; None is 1 everywhere, and one mask is for all pictures.

    Raises:
        ACFunError: they are for different numbers of pictures.
    """
    if one is None or two is None:
        return two if one is None else one
    require(
        len(one) == len(two) or 1 in (len(one), len(two)),
        f"One mask is a batch of {len(one)}, the other of {len(two)}.",
        "one mask, or as many as there are pictures",
        "make both from the same pictures",
    )
    two = F.interpolate(two, size=one.shape[-2:], mode="bilinear", antialias=True)
    return (one * two).clamp(0, 2)


def strengths_of(text: str) -> list[float]:
    """The strengths in a text such as ``1, 0.5``: one for each of several faces.

    Raises:
        ACFunError: there is none, or one is no number from 0 to 2.
    """
    parts = text.replace(",", " ").replace(";", " ").split()
    require(parts, "There are no strengths.", "a number from 0 to 2 for each face, such as 1, 0.5", "write 1")
    return [_strength(part) for part in parts]


def _strength(part: str) -> float:
    try:
        value = float(part)
    except ValueError:
        value = float("nan")
    require(_in_range(value), f"{part[:40]!r} is no strength.", "numbers from 0 to 2, such as 1, 0.5", "write 1")
    return value
