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
EYES_TO_MOUTH = 1.06
"""Of a frontal face, in distances between its eyes."""
IN_PROFILE = 0.3
"""Distance between the eyes, as part of that of the same face from the front, below which a face is seen from the side."""


def nobody() -> Tensor:
    """Landmarks (5, 2) that say that there is no face, and that its picture is to stay as it is."""
    return torch.full((5, 2), torch.nan)


def is_nobody(landmarks: Tensor) -> bool:
    """Whether landmarks (5, 2) are those of :func:`nobody`."""
    return bool(torch.isnan(landmarks).all())


def frontal_eye_distance(landmarks: Tensor) -> float:
    """The distance that the eyes of this face (5, 2) would have from the front, in pixels.

    Eyes draw together as a head turns, and mouth and eyes as it nods: the larger of the distance between the eyes, and of that
    between eyes and mouth in the proportion of a frontal face.
    """
    across, down = _axes(landmarks)
    return max(across.norm().item(), down.norm().item() / EYES_TO_MOUTH)


def _axes(landmarks: Tensor) -> tuple[Tensor, Tensor]:
    """From the right eye to the left one, and from the eyes to the mouth, (2,) each."""
    eyes, mouth = landmarks[:2].mean(dim=0), landmarks[3:].mean(dim=0)
    return landmarks[LEFT_EYE] - landmarks[RIGHT_EYE], mouth - eyes


def across_face(landmarks: Tensor) -> Tensor:
    """The direction of the line of the eyes (5, 2) -> (2,) of length 1; of a face seen from the side, at a right angle to the
    line from its eyes to its mouth, for there the eyes fall together."""
    across, down = _axes(landmarks)
    if across.norm().item() < IN_PROFILE * frontal_eye_distance(landmarks):
        across = torch.stack([down[1], -down[0]])
    return across / across.norm()


def check_landmarks(landmarks: Tensor, image: Tensor, role: str, profile: bool = False) -> Tensor:
    """Return the landmarks of one face, (5, 2) float32, or say what is wrong with them.

    Args:
        landmarks: (5, 2), or (B, 5, 2) with one face in it.
        image: (B, H, W, C) the picture they belong to.
        role: how the user knows them, such as "landmarks of face 2".
        profile: faces seen from the side will do, whose eyes fall together.

    Raises:
        ACFunError: another shape or number of faces, no face, not finite, far outside the picture, too small, turned too far,
            or in another order.
    """
    order = "five points (x, y) in pixels: " + ", ".join(NAMES)
    shape = tuple(getattr(landmarks, "shape", ()))
    if not isinstance(landmarks, Tensor) or landmarks.ndim not in (2, 3) or shape[-2:] != (5, 2):
        raise ACFunError(f"The {role} have shape {shape}.", order, "connect a node that finds a face's landmarks")
    if landmarks.ndim == 3 and len(landmarks) != 1:
        raise ACFunError(f"The {role} hold {len(landmarks)} faces.", "exactly one face", "choose one face first")
    points = landmarks.detach().float().cpu().reshape(5, 2)
    if is_nobody(points):
        raise ACFunError(
            f"The {role} say that no face was found in the picture.",
            order,
            "use another picture, or find the face by a box",
        )
    height, width = image.shape[1:3]
    size = torch.tensor([width, height], dtype=torch.float32)
    if not torch.isfinite(points).all() or (points < -size).any() or (points > 2 * size).any():
        raise ACFunError(
            f"The {role} lie outside the picture ({width} x {height} pixels).", order, "find the face again"
        )
    (across, down), size = _axes(points), frontal_eye_distance(points)
    apart = across.norm().item()
    if size < SMALLEST_EYE_DISTANCE:
        raise ACFunError(
            f"The face of the {role} is too small: its eyes are {apart:.1f} pixels apart.",
            f"eyes at least {SMALLEST_EYE_DISTANCE:g} pixels apart",
            "enlarge the picture, or use one with a larger face",
        )
    in_profile = apart < max(IN_PROFILE * size, SMALLEST_EYE_DISTANCE)
    # Both turns of the picture are fine, a mirrored or mixed-up order is not.
    if not in_profile and across[0] * down[1] - across[1] * down[0] <= 0:
        raise ACFunError(
            f"The {role} are not those of a face: they are mirrored or in another order.",
            order,
            "put them in this order",
        )
    if in_profile and not profile:
        raise ACFunError(
            f"The face of the {role} is seen from the side: its eyes are {apart:.1f} pixels apart, from the front they would "
            f"be {size:.0f}.",
            "a face that looks at the camera, turned by less than about 70 degrees",
            "use another picture",
        )
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


def _places(picture: Tensor, similarity: Similarity, height: int, width: int) -> Tensor:
    """(height, width, 2): where in a picture (1, H, W, C) the pixels of a frame lie, 0-1 across and down."""
    size = torch.tensor([picture.shape[2], picture.shape[1]], dtype=torch.float32)
    rows, columns = torch.meshgrid(torch.arange(height) + 0.5, torch.arange(width) + 0.5, indexing="ij")
    return similarity(torch.stack([columns, rows], dim=-1)) / size


def reached(picture: Tensor, similarity: Similarity, height: int, width: int) -> Tensor:
    """(height, width) true where a picture reaches in a frame; see :func:`warp`."""
    places = _places(picture, similarity, height, width)
    return ((places >= 0) & (places <= 1)).all(dim=-1)


def warp(picture: Tensor, similarity: Similarity, height: int, width: int) -> tuple[Tensor, Tensor]:
    """A picture (1, H, W, C) seen through a frame of ``height`` x ``width`` pixels.

    Args:
        similarity: takes positions in the frame to positions in the picture.

    Returns:
        (1, height, width, C), and (height, width) true where the picture reaches; elsewhere its border is continued.
    """
    pixels = picture.movedim(-1, 1)
    places = _places(picture, similarity, height, width)
    if similarity.scale > 1.5:
        # Shrunk with an antialiasing filter first: bilinear sampling alone would skip pixels.
        smaller = [max(1, round(side / similarity.scale)) for side in pixels.shape[2:]]
        pixels = F.interpolate(pixels, size=smaller, mode="bicubic", antialias=True).clamp(0, 1)
    seen = F.grid_sample(pixels, 2 * places[None] - 1, padding_mode="border", align_corners=False)
    return seen.movedim(1, -1), ((places >= 0) & (places <= 1)).all(dim=-1)
