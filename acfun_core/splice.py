"""One face put together from horizontal parts of several faces, as in the paper's spliced-face figure."""

from __future__ import annotations

import torch
from torch import Tensor

from .errors import ACFunError
from .images import square


def splice_bands(faces: list[Tensor], cuts: list[float], blend: float = 0.0, side: int = 512) -> Tensor:
    """Stack bands of faces: the first face above the first cut, the second below it, and so on.

    Args:
        faces: 2 to 4 pictures (1, H, W, 3), values 0-1, faces at the same place in each.
        cuts: rising heights in 0-1 of the picture's height, one fewer than faces.
        blend: width of the soft seam as a fraction of the height; 0 leaves the seam hard, as in the paper.
        side: side of the result in pixels.

    Returns:
        (1, side, side, 3).

    Raises:
        ACFunError: the number of faces and cuts do not fit or the cuts do not rise.
    """
    if not 2 <= len(faces) <= 4 or len(cuts) != len(faces) - 1:
        raise ACFunError(
            f"{len(faces)} faces and {len(cuts)} cuts were given.",
            "2 to 4 faces and one cut between each two",
            "connect at least two faces",
        )
    if any(not 0 < cut < 1 for cut in cuts) or any(b <= a for a, b in zip(cuts, cuts[1:])):
        raise ACFunError(
            f"The cuts are {cuts}.",
            "heights between 0 and 1 that rise from the first to the last",
            "place each cut below the one before",
        )
    rows = (torch.arange(side, dtype=torch.float32) + 0.5) / side
    spliced = square(faces[0], side)
    for face, cut in zip(faces[1:], cuts):
        if blend > 0:
            weight = ((rows - cut) / blend + 0.5).clamp(0, 1)
        else:
            weight = (rows >= cut).float()
        spliced = torch.lerp(spliced, square(face, side), weight[None, :, None, None])
    return spliced
