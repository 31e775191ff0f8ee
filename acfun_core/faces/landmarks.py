"""Five points of a face, and pictures moved so that they meet those of another face.

Landmarks are a float tensor (B, 5, 2) of pixel positions (x to the right, y down): right eye, left eye, nose tip, right mouth
corner, left mouth corner, as seen from the sitter, so that the right eye is the one further left in the picture.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from ..errors import ACFunError

NAMES = ("right eye", "left eye", "nose tip", "right mouth corner", "left mouth corner")
RIGHT_EYE, LEFT_EYE, NOSE, RIGHT_MOUTH, LEFT_MOUTH = range(5)
SMALLEST_EYE_DISTANCE = 4.0
"""Pixels; below it nothing can be placed by these points."""


def check_landmarks(landmarks: Tensor, image: Tensor, role: str) -> Tensor:
    """Return the landmarks of one face, (5, 2) float32, or say what is wrong with them.

    Args:
        landmarks: (5, 2), or (B, 5, 2) with one face in it.
        image: (B, H, W, C) the picture they belong to.
        role: how the user knows them, such as "landmarks of face 2".

    Raises:
        ACFunError: another shape or number of faces, not finite, far outside the picture, or not a face.
    """
    order = "five points (x, y) in pixels: " + ", ".join(NAMES)
    shape = tuple(getattr(landmarks, "shape", ()))
    if not isinstance(landmarks, Tensor) or landmarks.ndim not in (2, 3) or shape[-2:] != (5, 2):
        raise ACFunError(f"The {role} have shape {shape}.", order, "connect a node that finds a face's landmarks")
    if landmarks.ndim == 3 and len(landmarks) != 1:
        raise ACFunError(f"The {role} hold {len(landmarks)} faces.", "exactly one face", "choose one face first")
    points = landmarks.detach().float().cpu().reshape(5, 2)
    height, width = image.shape[1:3]
    size = torch.tensor([width, height], dtype=torch.float32)
    if not torch.isfinite(points).all() or (points < -size).any() or (points > 2 * size).any():
        raise ACFunError(
            f"The {role} lie outside the picture ({width} x {height} pixels).", order, "find the face again"
        )
    eyes, mouth = points[:2].mean(dim=0), points[3:].mean(dim=0)
    across, down = points[LEFT_EYE] - points[RIGHT_EYE], mouth - eyes
    # Both turns of the picture are fine, a mirrored or mixed-up order is not.
    if across.norm() < SMALLEST_EYE_DISTANCE or across[0] * down[1] - across[1] * down[0] <= 0:
        raise ACFunError(f"The {role} are not those of a face.", order, "put the points in this order")
    return points


@dataclass(frozen=True)
class Similarity:
    """``y = x @ matrix.T + shift``: a turn, one scale, a shift.

    Attributes:
        matrix: (2, 2).
        shift: (2,).
    """

    matrix: Tensor
    shift: Tensor

    @classmethod
    def fit(cls, source: Tensor, target: Tensor) -> Similarity:
        """The similarity that takes ``source`` (N, 2) to ``target`` (N, 2) with the least squared error, never mirrored."""
        x, y = source - source.mean(dim=0), target - target.mean(dim=0)
        # With z = x_1 + i x_2, the best complex factor a + i b of y = (a + i b) x.
        a = (x * y).sum() / x.square().sum()
        b = (x[:, 0] * y[:, 1] - x[:, 1] * y[:, 0]).sum() / x.square().sum()
        matrix = torch.stack([torch.stack([a, -b]), torch.stack([b, a])])
        return cls(matrix, target.mean(dim=0) - matrix @ source.mean(dim=0))

    @property
    def scale(self) -> float:
        return self.matrix[:, 0].norm().item()

    def __call__(self, points: Tensor) -> Tensor:
        """(..., 2) -> (..., 2)."""
        return points @ self.matrix.T + self.shift


def warp(picture: Tensor, similarity: Similarity, height: int, width: int) -> tuple[Tensor, Tensor]:
    """A picture (1, H, W, C) seen through a frame of ``height`` x ``width`` pixels.

    Args:
        similarity: takes positions in the frame to positions in the picture.

    Returns:
        (1, height, width, C), and (height, width) true where the picture reaches; elsewhere its border is continued.
    """
    pixels = picture.movedim(-1, 1)
    size = torch.tensor([pixels.shape[3], pixels.shape[2]], dtype=torch.float32)
    rows, columns = torch.meshgrid(torch.arange(height) + 0.5, torch.arange(width) + 0.5, indexing="ij")
    places = similarity(torch.stack([columns, rows], dim=-1)) / size
    if similarity.scale > 1.5:
        # Shrunk with an antialiasing filter first: bilinear sampling alone would skip pixels.
        smaller = [max(1, round(side / similarity.scale)) for side in pixels.shape[2:]]
        pixels = F.interpolate(pixels, size=smaller, mode="bicubic", antialias=True).clamp(0, 1)
    seen = F.grid_sample(pixels, 2 * places[None] - 1, padding_mode="border", align_corners=False)
    return seen.movedim(1, -1), ((places >= 0) & (places <= 1)).all(dim=-1)
