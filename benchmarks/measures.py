"""The numbers of one picture of a table, and of the table's pictures as a whole."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from PIL import Image as PIL

from acfun_core.backends.pictures import to_pil
from acfun_core.faces.score import copied_share
from acfun_core.images import is_copy, square
from tools.measure import pictures as measure
from tools.measure import style as styles
from tools.measure.faces import Face, FaceFinder, encoders

from . import edits
from .lists import Image, PictureList

VERSION = "3"
"""Goes up when a number changes its meaning; rows that were measured by another are measured again."""
"""Share of a picture that both training pictures explain (R^2) above which it counts as a copy. Of 600 real portraits none has
more than 0.33 by another portrait and a painting; copies that are paler, tinted or blurred, and blends, have more than 0.95."""
ENCODERS = ("sface", "dlib")
SMALLEST_DISTANCE = 0.5
"""Pixels below which two sets of landmarks are the same."""
SMALLEST_COLLECTION = 16
"""Style pictures below which the space of styles is spanned by parts of them as well."""


@dataclass(frozen=True)
class Seen:
    """What the face models find in a picture: a face, and its vector by each encoder; nothing if there is none."""

    face: Face | None
    vectors: dict[str, np.ndarray]


def as_array(image: Image, side: int) -> np.ndarray:
    """What every method sees of a picture, uint8 [side, side, 3]."""
    return np.asarray(to_pil(square(image.pixels, side)[0]))


def as_tensor(picture: np.ndarray) -> torch.Tensor:
    """uint8 [h, w, 3] -> (1, h, w, 3), values 0-1."""
    return torch.from_numpy(picture.astype(np.float32) / 255)[None]


def corners(picture: np.ndarray) -> list[np.ndarray]:
    """The four quarters of a picture at its own size."""
    half = len(picture) // 2
    parts = (picture[y : y + half, x : x + half] for y in (0, half) for x in (0, half))
    return [np.asarray(PIL.fromarray(part).resize((2 * half, 2 * half), PIL.Resampling.LANCZOS)) for part in parts]


class Measures:
    """Measures pictures against the faces and styles of a list.

    Args:
        pictures: the list. side: of all pictures.
        collection: [n, d] statistics of further real art that spans the space of styles.
        quarters: [4 m, d] statistics of the four quarters of such pictures, to check the space with.
    """

    def __init__(self, pictures: PictureList, side: int, collection: np.ndarray | None = None, quarters=None):
        self.find, self.encode = FaceFinder(), encoders()
        self.quarters = quarters
        self.faces = {image.id: as_array(image, side) for image in pictures.faces}
        self.styles = {image.id: as_array(image, side) for image in pictures.styles}
        self.sitters = {name: self.see(picture) for name, picture in self.faces.items()}
        blind = [name for name, seen in self.sitters.items() if seen.face is None]
        if blind:
            raise SystemExit(f"No face was found in {len(blind)} of the photos ({blind[0]} ...); choose others.")
        self.style_sitters = {name: self.see(picture) for name, picture in self.styles.items()}
        spanning = [styles.statistics(picture) for picture in self.styles.values()]
        spanning += [] if collection is None else list(collection)
        if len(spanning) < SMALLEST_COLLECTION:
            spanning += [styles.statistics(part) for picture in self.styles.values() for part in corners(picture)]
        self.space = styles.StyleSpace(np.stack(spanning))
        self.style_vectors = self.space(np.stack([styles.statistics(picture) for picture in self.styles.values()]))

    def see(self, picture: np.ndarray) -> Seen:
        face = self.find(picture)
        vectors = {} if face is None else {name: encode(picture, face) for name, encode in self.encode.items()}
        return Seen(face, vectors)

    def numbers(self, picture: np.ndarray, face: str, style: str) -> dict[str, float]:
        """All numbers of one picture drawn for a face and a style of the list, by name."""
        seen = self.see(picture)
        found = {"found": float(seen.face is not None), "texture": measure.texture(picture)}
        for name in ENCODERS:
            found |= {f"{name}_{key}": value for key, value in self._identity(seen, face, name).items()}
        found |= edits.readings(picture, seen.face)
        found |= self._style(picture, style) | self._copies(picture, self.faces[face], self.styles[style])
        return found | self._style_sitter(seen, face, style)

    def _identity(self, seen: Seen, face: str, encoder: str) -> dict[str, float]:
        """No face counts as 0: no likeness, no margin, not the first."""
        if seen.face is None:
            return {"own": 0.0, "margin": 0.0, "first": 0.0}
        cosines = {
            name: float(seen.vectors[encoder] @ sitter.vectors[encoder]) for name, sitter in self.sitters.items()
        }
        return own_and_others(cosines, face)

    def _style(self, picture: np.ndarray, style: str) -> dict[str, float]:
        cosines = self.style_vectors @ self.space(styles.statistics(picture))
        found = own_and_others(dict(zip(self.styles, cosines.tolist())), style)
        return {f"style_{key}": value for key, value in found.items()}

    def _copies(self, picture: np.ndarray, face: np.ndarray, style: np.ndarray) -> dict[str, float]:
        to_face, to_style = measure.likeness(picture, face), measure.likeness(picture, style)
        ghost = copied_share(as_tensor(picture), [as_tensor(style), as_tensor(face)])
        return {"copy_face": to_face, "copy_style": to_style, "ghost": ghost, "copied": float(is_copy(ghost))}

    def _style_sitter(self, seen: Seen, face: str, style: str) -> dict[str, float]:
        """Whose pose it is and how much of the style's sitter is in it; nothing where either has no face."""
        sitter = self.style_sitters[style]
        if seen.face is None or sitter.face is None:
            return {}
        to_style, to_face = (
            float(np.linalg.norm(seen.face.landmarks - other.face.landmarks, axis=1).mean())
            for other in (sitter, self.sitters[face])
        )
        leaks = {f"leak_{name}": float(seen.vectors[name] @ sitter.vectors[name]) for name in ENCODERS}
        return {"pose_ratio": to_style / max(to_face, SMALLEST_DISTANCE), **leaks}

    # -- how far the numbers can be trusted ------------------------------------------------

    @cached_property
    def accuracies(self) -> dict[str, float]:
        """Shares of right answers on real pictures: style by parts of the list's styles, copies by made and unrelated ones."""
        quarters = [part for picture in self.styles.values() for part in corners(picture)]
        vectors = np.stack([styles.statistics(part) for part in quarters])
        labels = np.repeat(np.arange(len(self.styles)), 4)
        right = (self.space(vectors) @ self.style_vectors.T).argmax(1) == labels
        found = {"style_parts": float(right.mean()), **self.copy_accuracy()}
        if self.quarters is not None:
            groups = np.repeat(np.arange(len(self.quarters) // 4), 4)
            found["art_parts"] = styles.accuracy(self.space, self.quarters, groups)
            found["art_parts_of_6"] = styles.accuracy(self.space, self.quarters, groups, of=6)
        return found

    def copy_accuracy(self) -> dict[str, float]:
        """Share of copies and blends that are caught, and of other real portraits that are not."""
        faces, pictures = list(self.faces.values()), list(self.styles.values())
        caught = [self._copies(copy, faces[0], one)["copied"] for one in (*faces, *pictures) for copy in altered(one)]
        for share in (0.3, 0.5, 0.7):
            mixed = [(share * f + (1 - share) * s).astype(np.uint8) for f, s in zip(faces, pictures)]
            caught += [self._copies(blend, f, s)["copied"] for blend, f, s in zip(mixed, faces, pictures)]
        others = [
            self._copies(other, faces[i], pictures[j])["copied"]
            for i in range(len(faces))
            for j in range(len(pictures))
            for other in faces[:i] + faces[i + 1 :] + pictures[:j] + pictures[j + 1 :]
        ]
        return {"copies_caught": float(np.mean(caught)), "others_passed": 1 - float(np.mean(others))}


def altered(picture: np.ndarray) -> list[np.ndarray]:
    """Copies as they come about: paler, tinted, blurred, shifted by two pixels."""
    pale = (100 + picture * 0.5).astype(np.uint8)
    tinted = (picture * np.array([1.0, 0.8, 0.6])).astype(np.uint8)
    small = PIL.fromarray(picture).resize((len(picture) // 4,) * 2, PIL.Resampling.LANCZOS)
    blurred = np.asarray(small.resize((len(picture),) * 2, PIL.Resampling.BICUBIC))
    return [picture, pale, tinted, blurred, np.roll(picture, (2, 2), (0, 1))]


def own_and_others(similarities: dict[str, float], own: str) -> dict[str, float]:
    """Similarity to the own one, minus the mean of the others, and whether the own is the first; one alone has no others."""
    others = [value for name, value in similarities.items() if name != own]
    mine = similarities[own]
    margin = mine - float(np.mean(others)) if others else 0.0
    return {"own": mine, "margin": margin, "first": float(mine > max(others, default=-1.0))}
