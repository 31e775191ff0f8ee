"""How a portrait compares with the two pictures it was learned from, and one number to choose the best of several by.

Similarities mean little by themselves, so each is put on a scale between the two training pictures:

    identity = (s(x, f) - s(y, f)) / (1 - s(y, f))        style = (t(x, y) - t(f, y)) / (1 - t(f, y))

with x the portrait, f the photo, y the style picture, s the cosine of embeddings, t the cosine of the statistics of patch
tokens. 0 is no nearer than the other training picture, 1 is the picture itself. A copy of one of them is at one end of each
scale, and so are blends in the middle of both; these are told by the share of the pixels that both pictures explain.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..config import COPY_LIMIT
from ..errors import ACFunError
from ..images import explained_share, is_copy, square
from .detector import NoFace

DETAIL = 48
"""Side in pixels at which pictures are compared: where everything lies, but not the grain."""


@dataclass(frozen=True)
class Score:
    """What is known about one portrait.

    Attributes:
        identity, style: at most 1, see above; negative if it is farther than the other training picture.
        copy: share of the picture that the two training pictures explain, 0 to 1.
    """

    identity: float
    style: float
    copy: float

    def is_copy(self, limit: float = COPY_LIMIT) -> bool:
        return is_copy(self.copy, limit)

    def overall(self, identity_weight: float = 0.5, limit: float = COPY_LIMIT) -> float:
        """The weighted harmonic mean of both, which a picture that has only one of them does not win; 0 for copies."""
        if self.is_copy(limit):
            return 0.0
        parts = [(identity_weight, self.identity), (1 - identity_weight, self.style)]
        if any(weight > 0 and value <= 0 for weight, value in parts):
            return 0.0
        return 1 / sum(weight / value for weight, value in parts if weight > 0)


def ranking(scores: Sequence[Score], identity_weight: float = 0.5, limit: float = COPY_LIMIT) -> list[int]:
    """Positions of the portraits that are no copies, the best first. Those without identity or style come by their mean."""

    def worth(at: int) -> tuple[float, float]:
        one = scores[at]
        return one.overall(identity_weight, limit), identity_weight * one.identity + (1 - identity_weight) * one.style

    return sorted((at for at, one in enumerate(scores) if not one.is_copy(limit)), key=worth, reverse=True)


def copied_share(picture: Tensor, references: Sequence[Tensor]) -> float:
    """R^2 of the least-squares fit ``picture = sum_i a_i reference_i + c`` with a constant a channel, 0 to 1.

    It is 1 for a copy of any reference, also a paler or a mirrored one, and for any blend of them; two portraits that are
    framed alike share some of it. Copies that are cut out or shifted by more than a hundredth are not told.

    Args:
        picture, references: (1, H, W, 3) of any size, values 0-1; the middle squares are compared.
    """
    wanted = _centred(picture)
    straight = torch.stack([_centred(reference) for reference in references], dim=1)
    mirrored = torch.stack([_centred(reference.flip(2)) for reference in references], dim=1)
    return max(explained_share(wanted, basis).item() for basis in (straight, mirrored))


def _centred(picture: Tensor) -> Tensor:
    small = square(picture, DETAIL)[0].double().cpu()
    return (small - small.mean(dim=(0, 1))).flatten()


def token_statistics(tokens: Tensor) -> Tensor:
    """Mean and deviation of CLIP vision's patch tokens, the class token first: (B, N, width) -> (B, 2 width).

    They tell how a picture is made, not what is where in it.
    """
    patches = tokens[:, 1:].double()
    return torch.cat([patches.mean(dim=1), patches.std(dim=1, correction=0)], dim=1)


def relative(similarities: Tensor, between: float, what: str) -> list[float]:
    """Similarities (B,) of portraits to a training picture, on the scale from the other training picture (0) to it (1).

    Args:
        between: similarity of the two training pictures.

    Raises:
        ACFunError: the two training pictures are the same in this respect, or a number is not finite.
    """
    if not (torch.isfinite(similarities).all() and between < 1 - 1e-6):
        raise ACFunError(
            f"The style image and the face image cannot be told apart by their {what}.",
            "two different pictures",
            "connect the pictures that the adapter was trained on",
        )
    return ((similarities.double() - between) / (1 - between)).clamp(-1, 1).tolist()


def cosines(embeddings: Tensor, other: Tensor) -> Tensor:
    """Cosine of each row of (B, D) with (D,) -> (B,)."""
    return torch.nn.functional.cosine_similarity(embeddings.double(), other.double()[None], dim=1)


See = Callable[[Tensor], tuple[Tensor, Tensor]]
"""CLIP vision: pictures (B, H, W, 3) -> tokens of its last layer but one (B, N, width), embeddings (B, D)."""


class LikenessByCLIP:
    """How near portraits (B, H, W, 3) are to their training pictures, (1, H, W, 3) each, as CLIP vision sees them."""

    def __init__(self, see: See, portraits: Tensor, style: Tensor, face: Tensor):
        seen = [see(pictures) for pictures in (portraits, style, face)]
        self._statistics = [token_statistics(tokens) for tokens, _ in seen]
        self._embeddings = [embeddings for _, embeddings in seen]

    def to_style(self) -> list[float]:
        """The style of a :class:`Score`, one a portrait."""
        drawn, style, face = self._statistics
        return relative(cosines(drawn, style[0]), cosines(face, style[0]).item(), "style")

    def to_face(self) -> list[float]:
        """The identity of a :class:`Score` by whole pictures, for want of a face encoder."""
        drawn, style, face = self._embeddings
        return relative(cosines(drawn, face[0]), cosines(style, face[0]).item(), "look")


def likeness_by_face(
    identify: Callable[[Tensor, str], Tensor],
    portraits: Tensor,
    style: Tensor,
    face: Tensor,
    on_portrait: Callable[[], None] = lambda: None,
) -> tuple[list[float], list[str]]:
    """Identities by a face encoder, and what to say about them. A portrait without a face counts 0.

    Args:
        identify: a picture (1, H, W, 3) and its role -> (D,) of length 1; raises NoFace.
        on_portrait: called after each portrait.

    Raises:
        ACFunError: no face in the photo, or the encoder does not work.
    """
    own = identify(face, "face image")
    try:
        between, notices = float(identify(style, "style image") @ own), []
    except NoFace:
        # Faces of different people have cosines around 0.
        between, notices = 0.0, ["No face was found in the style image; 0 stands for a stranger's."]
    identities = []
    for number, portrait in enumerate(portraits.split(1), 1):
        try:
            identities += relative((identify(portrait, f"picture {number}") @ own)[None], between, "faces")
        except NoFace:
            identities.append(0.0)
            notices.append(f"Picture {number}: no face was found; its identity counts 0.")
        on_portrait()
    return identities, notices
