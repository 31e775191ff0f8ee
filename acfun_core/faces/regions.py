"""Where in a picture the parts of a face are, from five landmarks: masks that scale CFun's change part by part.

Eyes, nose and mouth are the ellipses of :func:`~acfun_core.faces.splice.part_map`. Skin is an ellipse from the forehead to the
chin, hair what a larger one adds above the mouth, background the rest (neck and clothes too). Five points say nothing of the
hair's real outline: for that, paint a mask.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

import torch
from torch import Tensor

from ..errors import ACFunError
from .landmarks import LEFT_EYE, LEFT_MOUTH, RIGHT_EYE, RIGHT_MOUTH
from .splice import blurred, part_map

REGIONS = ("eyes", "nose", "mouth", "skin", "hair", "background")
MAP_STEP = 40
"""Grey values between two regions in :func:`map_picture`; far enough apart for any reader."""
_SKIN, _HAIR, _BACKGROUND = (REGIONS.index(name) for name in ("skin", "hair", "background"))

# In distances between the eyes from the point between them: middle, half width, half height.
_FACE = (0.5, 1.1, 1.4)
_HEAD = (0.15, 1.65, 1.95)


def region_map(landmarks: Tensor, height: int, width: int) -> Tensor:
    """(H, W) index into :data:`REGIONS` for the landmarks (5, 2) of one face; it turns and grows with the face."""
    middle = landmarks[[RIGHT_EYE, LEFT_EYE]].mean(dim=0)
    across = landmarks[LEFT_EYE] - landmarks[RIGHT_EYE]
    axes = torch.stack([across, torch.stack([-across[1], across[0]])]) / across.square().sum()
    rows, columns = torch.meshgrid(torch.arange(height) + 0.5, torch.arange(width) + 0.5, indexing="ij")
    x, y = ((torch.stack([columns, rows], dim=-1) - middle) @ axes.T).unbind(dim=-1)
    mouth = ((landmarks[[RIGHT_MOUTH, LEFT_MOUTH]].mean(dim=0) - middle) @ axes.T)[1]

    def inside(ellipse: tuple[float, float, float]) -> Tensor:
        centre, half_width, half_height = ellipse
        return (x / half_width).square() + ((y - centre) / half_height).square() <= 1

    regions = torch.full((height, width), _BACKGROUND)
    regions[inside(_HEAD) & (y < mouth)] = _HAIR
    regions[inside(_FACE)] = _SKIN
    features = part_map(landmarks, height, width)
    return torch.where(features < _SKIN, features, regions)


def map_picture(landmarks: Tensor, height: int, width: int) -> Tensor:
    """:func:`region_map` as grey values of a picture: (H, W) whole numbers, 0 for eyes, 40 for nose, ... 200."""
    return MAP_STEP * region_map(landmarks, height, width)


def region_masks(landmarks: Tensor, height: int, width: int, softness: float = 0.15) -> Tensor:
    """One mask a region, (6, H, W) in the order of :data:`REGIONS`; at each pixel they add up to 1.

    Args:
        softness: width of the borders in distances between the eyes; 0 is hard. Wide ones wash the small parts out.
    """
    hard = torch.nn.functional.one_hot(region_map(landmarks, height, width), len(REGIONS)).movedim(-1, 0).float()
    if softness == 0:
        return hard
    eyes = (landmarks[LEFT_EYE] - landmarks[RIGHT_EYE]).norm().item()
    return blurred(hard[:, None], softness * eyes / 2)[:, 0]


def region_strengths(text: str) -> dict[str, float]:
    """Strengths of all regions from JSON such as ``{"eyes": 0.4, "hair": 1.5}``; regions left out count 1.

    Raises:
        ACFunError: not JSON, not an object, an unknown region, or a strength outside 0 to 2.
    """
    expected = 'JSON such as {"eyes": 0.5, "hair": 1.5} with ' + ", ".join(REGIONS)
    try:
        given = json.loads(text)
    # Brackets in brackets without end exhaust Python's stack.
    except (TypeError, ValueError, RecursionError) as error:
        raise ACFunError(f"The region strengths cannot be read ({error}).", expected, "set the sliders anew") from None
    if not isinstance(given, dict):
        raise ACFunError(f"The region strengths are {str(text)[:120]}.", expected, "set the sliders anew")
    check_strengths(given)
    return {name: float(given.get(name, 1.0)) for name in REGIONS}


def check_strengths(strengths: Mapping[str, float]) -> None:
    """Raise unless all are regions with a strength of 0 to 2."""
    for name, strength in strengths.items():
        if name not in REGIONS:
            raise ACFunError(
                f"{name[:40]!r} is no region of a face.", "one of " + ", ".join(REGIONS), "use one of these"
            )
        # NaN and infinity fail the comparison.
        if isinstance(strength, bool) or not isinstance(strength, (int, float)) or not 0 <= strength <= 2:
            raise ACFunError(
                f"The strength of the {name} is {repr(strength)[:60]}.",
                "a number from 0 to 2",
                "use 1",
            )


def weighted_mask(masks: Tensor, weights: Mapping[str, float]) -> Tensor:
    """A factor at each pixel from a factor of each region, (1, H, W): ``1 + sum_i (w_i - 1) m_i``, exactly 1 if all are.

    Args:
        masks: (6, H, W) of :func:`region_masks`.
        weights: region -> 0 to 2; regions left out count 1.

    Raises:
        ACFunError: an unknown region, or a factor outside 0 to 2.
    """
    check_strengths(weights)
    factors = torch.tensor([float(weights.get(name, 1.0)) for name in REGIONS])
    return (1 + torch.einsum("n,nhw->hw", factors - 1, masks))[None].clamp(0, 2)
