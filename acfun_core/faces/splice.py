"""One face put together from several, as in the paper's spliced-face figure: from bands, or part by part.

Bands are cut at given heights. Parts (eyes, nose, mouth, and the rest) lie where the first face's landmarks say; the other
faces are moved onto the first. Seams are hard as in the paper, soft, or blended over a Laplacian pyramid.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from ..errors import ACFunError
from ..images import square
from .landmarks import LEFT_EYE, LEFT_MOUTH, NOSE, RIGHT_EYE, RIGHT_MOUTH, Similarity, reached, warp

PARTS = ("eyes", "nose", "mouth", "rest")
SEAMS = ("hard", "soft", "pyramid")
MOST_FACES = 4
PYRAMID_LEVELS = 5
WIDEST_BLUR = 32.0
"""Pixels; wider ones are made on a smaller picture."""

_OWN_LANDMARKS = {
    "eyes": [RIGHT_EYE, LEFT_EYE],
    "nose": [NOSE],
    "mouth": [RIGHT_MOUTH, LEFT_MOUTH],
    "rest": list(range(5)),
}


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
    if not 2 <= len(faces) <= MOST_FACES or len(cuts) != len(faces) - 1:
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


def moved_onto_first(faces: Sequence[Tensor], landmarks: Sequence[Tensor]) -> list[Tensor]:
    """The first face as it is and the others, (1, H, W, 3) each, in its frame, with eyes, nose and mouth at the same places.

    Args:
        landmarks: one (5, 2) a face, see :mod:`acfun_core.faces.landmarks`.
    """
    height, width = faces[0].shape[1:3]
    others = zip(faces[1:], landmarks[1:])
    return [
        faces[0],
        *(warp(face, Similarity.fit(landmarks[0], points), height, width)[0] for face, points in others),
    ]


@dataclass(frozen=True)
class SplicedFace:
    """What :func:`splice_parts` makes.

    Attributes:
        picture: (1, H, W, 3), values 0-1, in the frame of the first face.
        givers: (H, W) whole numbers: the face, counted from 1, that gave each pixel (at a seam: the larger share).
        shares: (N, H, W) how much of each pixel each of the N faces gave; they add up to 1.
    """

    picture: Tensor
    givers: Tensor
    shares: Tensor


def splice_parts(
    faces: Sequence[Tensor],
    landmarks: Sequence[Tensor],
    givers: Mapping[str, int],
    seam: str = "hard",
    softness: float = 0.15,
    match_tone: bool = False,
    on_layer: Callable[[], None] | None = None,
) -> SplicedFace:
    """One face from parts of several, in the place and pose of the first.

    Each face is moved by the similarity that best brings its landmarks onto the first face's, then shifted so that the part's
    own landmarks meet. Where a face's picture ends, the first face shows.

    Args:
        faces: 2 to 4 pictures (1, H, W, 3), values 0-1.
        landmarks: one (5, 2) a face, see :mod:`acfun_core.faces.landmarks`.
        givers: part of :data:`PARTS` -> number of the face that gives it, from 1; parts left out come from face 1.
        seam: one of :data:`SEAMS`.
        softness: width of soft seams in distances between the eyes, 0.01 to 1.
        match_tone: give each moved face the mean and spread of the first one's colours around eyes, nose and mouth.
        on_layer: called before each part is worked on, the longest that this takes in one go; may raise to stop it.

    Raises:
        ACFunError: faces, landmarks and givers do not belong together, or a setting is out of range.
    """
    _check_splice(faces, landmarks, givers, seam, softness)
    height, width = faces[0].shape[1:3]
    regions = part_map(landmarks[0], height, width)
    moved = {part: givers[part] for part in PARTS if givers.get(part, 1) != 1}
    places = {part: _placed(part, landmarks[0], landmarks[number - 1]) for part, number in moved.items()}
    # Face 1 is one layer, with its own parts and whatever the pictures of the others do not reach.
    owns = {part: regions == PARTS.index(part) for part in moved}
    for part, number in moved.items():
        owns[part] &= reached(faces[number - 1], places[part], height, width)
    of_first = ~torch.stack([*owns.values(), torch.zeros(height, width, dtype=torch.bool)]).any(dim=0)
    eyes = (landmarks[0][LEFT_EYE] - landmarks[0][RIGHT_EYE]).norm().item()
    shares = torch.zeros(len(faces), height, width)

    def layers() -> Iterable[tuple[Tensor, Tensor]]:
        """Picture and share of one layer after the other: all at once, they would fill the memory."""
        for part in (None, *moved):
            if on_layer is not None:
                on_layer()
            number, hard = (1, of_first) if part is None else (moved[part], owns[part])
            hard = hard[None, None].float()
            soft = hard if seam == "hard" else blurred(hard, softness * eyes / 2)
            shares[number - 1] += soft[0, 0]
            layer = faces[0]
            if part is not None:
                layer, reach = warp(faces[number - 1], places[part], height, width)
                if match_tone:
                    layer = toned(layer, faces[0], reach & (regions < PARTS.index("rest")))
            yield layer.movedim(-1, 1), hard if seam == "pyramid" else soft

    picture = pyramid_sum(layers()) if seam == "pyramid" else weighted_sum(layers())
    return SplicedFace(picture.clamp_(0, 1).movedim(1, -1), shares.argmax(dim=0) + 1, shares)


def _check_splice(faces, landmarks, givers, seam: str, softness: float) -> None:
    if not 2 <= len(faces) <= MOST_FACES or len(landmarks) != len(faces):
        raise ACFunError(
            f"{len(faces)} faces and landmarks of {len(landmarks)} were given.",
            "2 to 4 faces, each with its landmarks",
            "connect both for each face",
        )
    unknown = [part for part in givers if part not in PARTS]
    if unknown:
        raise ACFunError(f"{unknown[0]!r} is no part of a face.", "one of " + ", ".join(PARTS), "choose one of these")
    for part, number in givers.items():
        if not isinstance(number, int) or not 1 <= number <= len(faces):
            raise ACFunError(
                f"The {part} shall come from face {number}, but there are {len(faces)} faces.",
                f"a number from 1 to {len(faces)}",
                "choose another face or connect one more",
            )
    if seam not in SEAMS:
        raise ACFunError(f"The seam is {seam!r}.", "one of " + ", ".join(SEAMS), "choose one of these")
    if not 0.01 <= softness <= 1.0:
        raise ACFunError(f"The softness is {softness}.", "a number from 0.01 to 1", "use 0.15")


def _placed(part: str, target: Tensor, source: Tensor) -> Similarity:
    """Where in the giver's picture each position of the first face's picture is found."""
    similarity = Similarity.fit(target, source)
    own = _OWN_LANDMARKS[part]
    miss = source[own].mean(dim=0) - similarity(target[own].mean(dim=0))
    return Similarity(similarity.matrix, similarity.shift + miss)


def part_map(landmarks: Tensor, height: int, width: int) -> Tensor:
    """(H, W) index into :data:`PARTS`: ellipses around eyes, nose and mouth; where two overlap, the one whose middle is nearer.

    Positions are measured from the point between the eyes, in distances between the eyes, along the line of the eyes and down
    the face. So the parts turn and grow with the face.
    """
    middle = landmarks[:2].mean(dim=0)
    across = landmarks[LEFT_EYE] - landmarks[RIGHT_EYE]
    axes = torch.stack([across, torch.stack([-across[1], across[0]])]) / across.square().sum()

    def place(points: Tensor) -> Tensor:
        return (points - middle) @ axes.T

    nose, mouth = place(landmarks[NOSE]), place(landmarks[[RIGHT_MOUTH, LEFT_MOUTH]])
    mouth_width = (mouth[1] - mouth[0]).norm()
    # Eyebrows are above the eyes; the tip of the nose is near its lower end.
    ellipses = (
        (torch.tensor([0.0, -0.08]), torch.tensor([0.92, 0.42])),
        (torch.stack([0.8 * nose[0], 0.7 * nose[1]]), torch.stack([torch.tensor(0.42), 0.55 * nose[1].abs() + 0.1])),
        (mouth.mean(dim=0), torch.stack([0.75 * mouth_width, torch.tensor(0.36)])),
    )
    rows, columns = torch.meshgrid(torch.arange(height) + 0.5, torch.arange(width) + 0.5, indexing="ij")
    pixels = place(torch.stack([columns, rows], dim=-1))
    radii = [((pixels - centre) / half).square().sum(dim=-1) for centre, half in ellipses]
    return torch.stack([*radii, torch.ones(height, width)]).argmin(dim=0)


def toned(picture: Tensor, model: Tensor, where: Tensor) -> Tensor:
    """``picture`` with the mean and spread of the colours of ``model`` inside ``where`` (H, W); both (1, H, W, 3)."""
    if where.sum() < 2:
        return picture
    inside, wanted = picture[0, where], model[0, where]
    spread = wanted.std(dim=0) / inside.std(dim=0).clamp(min=1e-3)
    return ((picture - inside.mean(dim=0)) * spread + wanted.mean(dim=0)).clamp(0, 1)


def blurred(masks: Tensor, sigma: float) -> Tensor:
    """Gaussian blur of (N, 1, H, W), sigma in pixels; masks that add up to 1 still do."""
    if sigma > WIDEST_BLUR:
        # A wide blur leaves nothing that a smaller picture would lack, and its kernel would take minutes.
        shrink = 2 * sigma / WIDEST_BLUR
        small = _resized(masks, [max(1, round(side / shrink)) for side in masks.shape[2:]])
        return _resized(blurred(small, WIDEST_BLUR / 2), masks.shape[2:])
    reach = max(1, round(3 * sigma))
    line = torch.exp(-0.5 * (torch.arange(-reach, reach + 1) / max(sigma, 1e-3)).square())
    line = line / line.sum()
    padded = F.pad(masks, (reach, reach, reach, reach), mode="replicate")
    return F.conv2d(F.conv2d(padded, line[None, None, :, None]), line[None, None, None, :])


def weighted_sum(layers: Iterable[tuple[Tensor, Tensor]]) -> Tensor:
    """The sum of pictures (1, 3, H, W) times their shares (1, 1, H, W)."""
    total = None
    for layer, share in layers:
        total = share * layer if total is None else total.addcmul_(share, layer)
    return total


def pyramid_sum(layers: Iterable[tuple[Tensor, Tensor]]) -> Tensor:
    """Blend each band of frequencies over its own width (Burt and Adelson 1983).

    Args:
        layers: pictures (1, 3, H, W) with their masks (1, 1, H, W), which add up to 1. One is in use at a time.

    Returns:
        (1, 3, H, W).
    """
    bands: list[Tensor] = []
    for layer, mask in layers:
        sizes = [layer.shape[2:]]
        while len(sizes) < PYRAMID_LEVELS and min(sizes[-1]) >= 16:
            sizes.append(tuple((side + 1) // 2 for side in sizes[-1]))
        bands = bands or [torch.zeros(1, layer.shape[1], *size) for size in sizes]
        for band, size, smaller in zip(bands, sizes, sizes[1:]):
            small = _resized(layer, smaller)
            band.addcmul_(mask, layer - _resized(small, size))
            layer, mask = small, _resized(mask, smaller)
        bands[-1].addcmul_(mask, layer)
    blended = bands.pop()
    while bands:
        detail = bands.pop()
        blended = detail.add_(_resized(blended, detail.shape[2:]))
    return blended


def _resized(pictures: Tensor, size) -> Tensor:
    return F.interpolate(pictures, size=tuple(size), mode="bilinear", antialias=True, align_corners=False)
