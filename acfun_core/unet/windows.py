"""When and where an adapter acts: start and end over the sampling, passes of guidance, masks. Plain factors of CFun's change.

All factors are tensors, never Python decisions on their values: reading one would make a GPU wait.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

from torch import Tensor
from torch.nn import functional as F

from ..block_names import part_of
from ..errors import ACFunError
from ..masks import check_one_a_picture
from ..strengths import Strengths

T = TypeVar("T")

TOLERANCE = 1e-4
"""Noise levels come rounded from samplers: a boundary of a window counts as inside."""


@dataclass(frozen=True)
class Moment:
    """Where in the sampling one UNet call is.

    Attributes:
        done: (B,) or () share of the sampling that is done, 0 at pure noise, 1 at the picture.
        conditioned: (B,) whether a row belongs to the pass with the prompt.
        pictures: how many pictures are drawn: each pass holds them all, one pass after the other.
    """

    done: Tensor | None = None
    conditioned: Tensor | None = None
    pictures: int | None = None


def factor(strengths: Strengths, name: str, moment: Moment | None, h: Tensor) -> Tensor | None:
    """What CFun's change in block ``name`` is multiplied with beside its strength, or None where it is 1 everywhere.

    Args:
        h: (B, C, H, W) what CFun acts on.

    Returns:
        None, or a tensor that broadcasts over h.

    Raises:
        ACFunError: a window, cond-only or a mask for each picture is set and the host does not say where in the sampling it
            is, or there are not as many masks as pictures.
    """
    factors, moment = [], moment or Moment()
    start, end = strengths.window(part_of(name))
    if (start, end) != (0.0, 1.0):
        done = _known(moment.done, "how far the sampling is", "a start or end of a strength").to(h.device)
        inside = is_open((start, end), done)
        factors.append(inside.to(h.dtype).reshape(-1, 1, 1, 1))
    if strengths.guidance == "cond":
        rows = _known(moment.conditioned, "which rows carry the prompt", "guidance cond")
        factors.append(rows.to(h.device, h.dtype).reshape(-1, 1, 1, 1))
    if strengths.mask is not None:
        factors.append(_resized(_of_rows(strengths.mask, len(h), moment), h))
    if not factors:
        return None
    product = factors[0]
    for other in factors[1:]:
        product = product * other
    return product


def is_open(window: tuple[float, float], done):
    """Whether a share of the sampling that is over, a number or a tensor of them, lies in a window of shares."""
    start, end = window
    return (done >= start - TOLERANCE) & (done <= end + TOLERANCE)


def _known(value: T | None, what: str, needed_for: str) -> T:
    if value is None:
        raise ACFunError(
            f"The sampler does not say {what}, which {needed_for} needs.",
            "a sampler that hands its timesteps and passes to the UNet",
            "use a stock sampler, or set start 0, end 1, guidance both and no more than one mask",
        )
    return value


def _of_rows(mask: Tensor, rows: int, moment: Moment) -> Tensor:
    """(N, 1, H, W) -> (1 or B, 1, H, W): the mask of the picture that each row draws."""
    if len(mask) == 1:
        return mask
    pictures = _known(moment.pictures, "how many pictures it draws", "a mask for each of them")
    check_one_a_picture(len(mask), pictures, "mask of the adapter")
    return mask.repeat(rows // pictures, 1, 1, 1)


def _resized(mask: Tensor, h: Tensor) -> Tensor:
    """(N, 1, H', W') -> the size of h, (N, 1, H, W): each value is the mean of what it covers."""
    size = h.shape[-2:]
    if mask.shape[-2:] != size:
        mask = F.interpolate(mask.float(), size=size, mode="bilinear", antialias=True, align_corners=False)
    return mask.to(h.device, h.dtype)
