"""Faces cut out upright and put back: the picture preparation around training and sampling.

A crop is described by a similarity from its unit square (0-1 from left to right and top to bottom) to pixels of the picture,
so that one description serves crops of every size.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..errors import ACFunError
from ..masks import check_masks, check_not_empty
from .landmarks import (
    EYES_TO_MOUTH,
    LEFT_EYE,
    NAMES,
    RIGHT_EYE,
    Similarity,
    across_face,
    check_landmarks,
    frontal_eye_distance,
    is_nobody,
    warp,
)

EYE_DISTANCE, EYE_CENTRE = 0.22, (0.5, 0.43)
"""Of the crop's side: how the demo base's training pictures are framed, head and shoulders."""
CLOSE_UP = 0.28
"""The distance for a photo that is drawn by a preset: heads as large as those on which the presets were chosen."""
MEAN_FACE = ((-0.5, 0.0), (0.5, 0.0), (0.0, 0.58), (-0.42, EYES_TO_MOUTH), (0.42, EYES_TO_MOUTH))
"""The five landmarks of a frontal face around the middle of its eyes, in distances between the eyes."""
BOX_SIZE, BOX_EYES = (2.25, 2.9), (0.5, 0.37)
"""A face's box: its width and height in distances between the eyes, and where their middle lies in it."""


@dataclass(frozen=True)
class FaceCrop:
    """Where square crops came from.

    Attributes:
        frames: for each crop, the similarity from its unit square to pixels of its picture; None where there is no face and
            the picture is to stay as it is.
        eye_distance: distance between the eyes in parts of the crop's side.
        group: all crops are of one picture, a photo of several people.
    """

    frames: tuple[Similarity | None, ...]
    eye_distance: float
    group: bool = False


def landmarks_in_box(box: tuple[float, float, float, float]) -> Tensor:
    """Where an upright frontal face in a box (x, y, width, height) has its landmarks. -> (5, 2) pixels.

    Raises:
        ACFunError: the box has no area.
    """
    x, y, width, height = box
    if not (width > 0 and height > 0):
        raise ACFunError(
            f"The box is {width} x {height} pixels.", "a width and a height above 0", "draw the box around the face"
        )
    distance = ((width / BOX_SIZE[0]) * (height / BOX_SIZE[1])) ** 0.5
    middle = torch.tensor([x + BOX_EYES[0] * width, y + BOX_EYES[1] * height])
    return middle + distance * torch.tensor(MEAN_FACE)


def box_around(landmarks: Tensor) -> tuple[float, float, float, float]:
    """The upright box (x, y, width, height) that a face with these landmarks (5, 2) fills; undoes :func:`landmarks_in_box`."""
    distance = frontal_eye_distance(landmarks)
    middle = landmarks[[RIGHT_EYE, LEFT_EYE]].mean(dim=0).tolist()
    width, height = (distance * side for side in BOX_SIZE)
    return middle[0] - BOX_EYES[0] * width, middle[1] - BOX_EYES[1] * height, width, height


def landmarks_of_middle_square(height: int, width: int) -> Tensor:
    """Landmarks for which the default crop is the picture's middle square: what is used where no face was found. -> (5, 2)."""
    side = min(height, width)
    corner = torch.tensor([(width - side) / 2, (height - side) / 2])
    return corner + side * (torch.tensor(EYE_CENTRE) + EYE_DISTANCE * torch.tensor(MEAN_FACE))


def box_of_mask(mask: Tensor) -> tuple[float, float, float, float] | None:
    """The box (x, y, width, height) around a mask (H, W) above 0.5, or None if there is nothing in it."""
    rows, columns = torch.nonzero(mask > 0.5, as_tuple=True)
    if len(rows) == 0:
        return None
    top, left = rows.min().item(), columns.min().item()
    return left, top, columns.max().item() + 1 - left, rows.max().item() + 1 - top


def frame_of(landmarks: Tensor, eye_distance: float = EYE_DISTANCE, upright: bool = True) -> Similarity:
    """From the unit square of a crop to pixels: the eyes of ``landmarks`` (5, 2) meet their places in the crop.

    A turned face is cut as large as it would be from the front; the middle of its eyes meets its place then.

    Args:
        eye_distance: distance between the eyes in parts of the crop's side.
        upright: turn the face so that its eyes are level; otherwise only shift and scale.
    """
    places = torch.tensor(EYE_CENTRE) + eye_distance * torch.tensor(MEAN_FACE[:2])
    middle = landmarks[[RIGHT_EYE, LEFT_EYE]].mean(dim=0)
    direction = across_face(landmarks) if upright else torch.tensor([1.0, 0.0])
    half = frontal_eye_distance(landmarks) / 2 * direction
    return Similarity.fit(places, torch.stack([middle - half, middle + half]))


def frames_of(
    landmarks: Tensor, images: Tensor, eye_distance: float, upright: bool, role: str, group: bool = False
) -> list[Similarity | None]:
    """One frame a picture, None where there is no face. Landmarks (B, 5, 2) or (1, 5, 2) for pictures (B, H, W, C).

    Args:
        group: a single picture may have several faces, landmarks (N, 5, 2), and gets a frame for each.
    """
    several = group and len(images) == 1 and isinstance(landmarks, Tensor) and len(landmarks) > 0
    if (
        not isinstance(landmarks, Tensor)
        or landmarks.ndim != 3
        or len(landmarks) not in (1, len(images))
        and not several
    ):
        raise ACFunError(
            f"The {role} have shape {tuple(getattr(landmarks, 'shape', ()))} for {len(images)} pictures.",
            f"one face a picture, shape ({len(images)}, 5, 2): " + ", ".join(NAMES),
            "find the faces in the same pictures",
        )

    def frame(at: int) -> Similarity | None:
        points, image = landmarks[at % len(landmarks)], images[at % len(images)][None]
        if is_nobody(points):
            return None
        return frame_of(check_landmarks(points, image, role, profile=True), eye_distance, upright)

    return [frame(at) for at in range(max(len(images), len(landmarks)))]


def in_pixels(frame: Similarity, side: int) -> Similarity:
    """The frame for positions in pixels of a crop of this side."""
    return Similarity(frame.matrix / side, frame.shift)


def inverse(similarity: Similarity) -> Similarity:
    matrix = torch.linalg.inv(similarity.matrix)
    return Similarity(matrix, -matrix @ similarity.shift)


def crop_faces(
    images: Tensor, landmarks: Tensor, side: int = 512, eye_distance: float = EYE_DISTANCE, upright: bool = True
) -> tuple[Tensor, Tensor, FaceCrop]:
    """Cut one square around the face of each picture, or around each face of one picture.

    Args:
        images: (B, H, W, 3), values 0-1.
        landmarks: (B, 5, 2) or (1, 5, 2), pixels; of one picture with N faces, (N, 5, 2).
        side: of the crops, pixels.

    Returns:
        The crops (B or N, side, side, 3), with the picture's border continued where it ends; masks (B or N, side, side) of what
        is picture; and where the crops came from. Of a picture without a face the crop is the middle square and the mask empty.

    Raises:
        ACFunError: the landmarks do not belong to the pictures.
    """
    frames = frames_of(landmarks, images, eye_distance, upright, "landmarks", group=True)
    shown = [frame_of(landmarks_of_middle_square(*images.shape[1:3])) if frame is None else frame for frame in frames]
    pairs = [warp(images[at % len(images)][None], in_pixels(frame, side), side, side) for at, frame in enumerate(shown)]
    crops = torch.cat([crop for crop, _ in pairs]).clamp(0, 1)
    masks = [valid.float() * (frame is not None) for (_, valid), frame in zip(pairs, frames)]
    return crops, torch.stack(masks), FaceCrop(tuple(frames), eye_distance, len(images) < len(frames))


def soft_edge(positions: Tensor, width: float) -> Tensor:
    """1 inside the unit square and 0 outside, with a smooth edge of this width inside it. (..., 2) -> (...)."""
    inside = torch.minimum(positions, 1 - positions)
    if width <= 0:
        return (inside >= 0).all(dim=-1).float()
    t = (inside / width).clamp(0, 1)
    return (t * t * (3 - 2 * t)).prod(dim=-1)


def paste_faces(
    images: Tensor,
    faces: Tensor,
    crop: FaceCrop,
    feather: float = 0.1,
    mask: Tensor | None = None,
    face_landmarks: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Put crops, usually stylized, back where they came from.

    Args:
        images: (B, H, W, 3), or one picture that takes all faces one at a time; all together if they were cut from one picture.
        faces: (N, h, w, 3) of any square size; one, or as many as pictures.
        crop: from :func:`crop_faces`, for one picture or as many as there are. Where it holds no face, nothing is pasted.
        feather: width of the soft seam in parts of the crop's side, 0-0.5.
        mask: (M, h, w) or another form of :func:`~acfun_core.masks.check_masks`, in the crop's frame; only what is 1 is pasted.
        face_landmarks: (N, 5, 2) in pixels of ``faces``, if what is in them moved: their eyes are laid on the picture's. A
            square face in which none was found goes back as a whole.

    Returns:
        The pictures (max(B, N), H, W, 3), and the weights (max(B, N), H, W) with which the faces were laid over them. Of a
        group that goes back into one picture, (1, H, W, 3) and (1, H, W): where crops overlap, a point is the nearer face's.

    Raises:
        ACFunError: the numbers of pictures, faces, crops and masks do not fit, or all masks are empty.
    """
    if mask is not None:
        mask = check_masks(mask, "mask")
        check_not_empty(mask, "mask", "no face would be put back")
    together = crop.group and len(images) == 1
    count = max(len(images), len(faces), len(crop.frames) if together else 1)
    parts = {"pictures": len(images), "faces": len(faces), "crops": len(crop.frames)}
    if mask is not None:
        parts["masks"] = len(mask)
    if any(number not in (1, count) for number in parts.values()):
        numbers = ", ".join(f"{number} {name}" for name, number in parts.items())
        raise ACFunError(f"There are {numbers}.", f"1 or {count} of each", "crop and paste the same batch")
    height, width = faces.shape[1:3]
    if face_landmarks is None and height != width:
        raise ACFunError(
            f"The face is {width} x {height} pixels.", "a square, as the crop was", "crop it, or connect face_landmarks"
        )
    whole = Similarity(torch.diag(torch.tensor([float(width), float(height)])), torch.zeros(2))
    own: list[Similarity | None] = [whole] * len(faces)
    if face_landmarks is not None:
        found = frames_of(face_landmarks, faces, crop.eye_distance, True, "face landmarks")
        own = [whole if frame is None and height == width else frame for frame in found]

    def nth(members, at: int):
        return members[at % len(members)]

    pasted = [
        _paste(
            nth(images.split(1), at),
            nth(faces.split(1), at),
            nth(crop.frames, at),
            nth(own, at),
            feather,
            None if mask is None else nth(mask, at),
        )
        for at in range(count)
    ]
    pictures, weights = torch.cat([picture for picture, _ in pasted]), torch.stack([weight for _, weight in pasted])
    return _together(images, pictures, weights, crop.frames) if together else (pictures, weights)


NEARER = 16.0
"""How sharply one face of a group gives way to the next: their shares are e to this power times the squared distances to the
crops' middles, in sides; between two crops half a side apart the seam is a tenth of a side wide."""


def _together(
    image: Tensor, pictures: Tensor, weights: Tensor, frames: tuple[Similarity | None, ...]
) -> tuple[Tensor, Tensor]:
    """Pictures (N, H, W, 3), each with one face laid over ``image`` (1, H, W, 3) by weights (N, H, W), as one."""
    middle, places = torch.tensor([0.5, 0.5]), _places_of(*image.shape[1:3])
    distances = torch.stack(
        [
            torch.full(image.shape[1:3], torch.inf)
            if frame is None
            else (inverse(frame)(places) - middle).square().sum(-1)
            for frame in frames
        ]
    ).masked_fill(weights == 0, torch.inf)
    # Beside the nearest one's, so that nothing vanishes far from all of them.
    nearest = distances.amin(dim=0).nan_to_num(posinf=0.0)
    shares = weights * torch.exp(NEARER * (nearest - distances))
    reached = shares.sum(dim=0) > 0
    shares = shares / shares.sum(dim=0).where(reached, torch.ones(()))
    whole = torch.einsum("nhw,nhwc->hwc", shares, pictures)
    return torch.where(reached[..., None], whole, image[0])[None], (shares * weights).sum(dim=0)[None]


def _places_of(height: int, width: int) -> Tensor:
    """The middles of all pixels, (height, width, 2)."""
    rows, columns = torch.meshgrid(torch.arange(height) + 0.5, torch.arange(width) + 0.5, indexing="ij")
    return torch.stack([columns, rows], dim=-1)


def _paste(
    image: Tensor,
    face: Tensor,
    frame: Similarity | None,
    to_face: Similarity | None,
    feather: float,
    mask: Tensor | None,
) -> tuple[Tensor, Tensor]:
    """One face over one picture. Positions go from the picture to the crop's unit square and from there to the face."""
    height, width = image.shape[1:3]
    if frame is None or to_face is None:
        return image, torch.zeros(height, width)
    to_crop = inverse(frame)
    there = Similarity(to_face.matrix @ to_crop.matrix, to_face(to_crop.shift))
    seen, _ = warp(face, there, height, width)
    places = _places_of(height, width)
    size = torch.tensor([face.shape[2], face.shape[1]], dtype=torch.float32)
    weight = soft_edge(to_crop(places), feather) * soft_edge(there(places) / size, feather)
    if mask is not None:
        frame = torch.tensor([mask.shape[1], mask.shape[0]], dtype=torch.float32)
        on_mask = Similarity(torch.diag(frame) @ to_crop.matrix, frame * to_crop.shift)
        covered, _ = warp(mask[None, :, :, None].float(), on_mask, height, width)
        weight = weight * covered[0, :, :, 0].clamp(0, 1)
    return torch.lerp(image, seen.clamp(0, 1), weight[None, :, :, None]), weight
