"""Fixed lists of faces and styles. A picture is named by the SHA-256 of its file, so a list says nothing of where it lies."""

from __future__ import annotations

import hashlib
import itertools
import json
import sys
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor

from acfun_core.backends.pictures import read_picture
from acfun_core.errors import ACFunError
from acfun_core.faces.crop import CLOSE_UP, crop_faces

LISTS = Path(__file__).with_name("lists")
NAMES = tuple(sorted(path.stem for path in LISTS.glob("*.json")))
JUDGED = "unseen"
"""The list that the published table is of: nobody looked at its pictures before all settings were fixed."""
KINDS = ("deformed", "strokes", "flat")
"""What is hard about a style: shapes far from a photo's, brush or pen strokes, flat graphic areas."""
SUFFIXES = {".png", ".jpg", ".jpeg", ".webp"}


@dataclass(frozen=True)
class Image:
    """A picture of a list.

    Attributes:
        sha256: of its file. path: where it lies here.
        person: of a face: man, woman or person. groups: of a face: kind of group -> group.
        landmarks: of a face, the five points of :mod:`acfun_core.faces.landmarks` in pixels of the file; a photo that has them
            is cut around the face as *Crop Face* does it, one without is taken as it is.
        kind: of a style, one of :data:`KINDS`. words: of a style, what a user would call it in a prompt.
    """

    sha256: str
    path: Path
    person: str = "person"
    groups: dict = field(default_factory=dict, compare=False)
    landmarks: list = field(default_factory=list, compare=False)
    kind: str = ""
    words: str = "a painting"

    @property
    def id(self) -> str:
        return self.sha256[:12]

    @cached_property
    def pixels(self) -> Tensor:
        """What all methods and measures start from, (1, H, W, 3), values 0-1."""
        picture = read_picture(self.path, "picture")
        if not self.landmarks:
            return picture
        return crop_faces(picture, torch.tensor([self.landmarks]), eye_distance=CLOSE_UP)[0]


@dataclass(frozen=True)
class Pair:
    """One face and one style."""

    face: Image
    style: Image

    @property
    def id(self) -> str:
        return f"{self.face.id}-{self.style.id}"

    @property
    def description(self) -> str:
        """The face description with S* in it."""
        return f"a photo of a {self.face.person} in S* style"

    @property
    def plain_text(self) -> str:
        """What a user without any method would ask for."""
        return f"{self.style.words} of a {self.face.person}"


@dataclass(frozen=True)
class PictureList:
    """Faces and styles; every face goes with every style."""

    name: str
    faces: tuple[Image, ...]
    styles: tuple[Image, ...]

    def pairs(self) -> list[Pair]:
        """All pairs, in an order in which every beginning is spread evenly over faces and styles."""
        n, k = len(self.faces), len(self.styles)
        both = itertools.product(range(n), range(k))
        return [Pair(self.faces[i], self.styles[j]) for i, j in sorted(both, key=lambda p: ((p[1] - p[0]) % k, p[0]))]

    def shrunk(self, faces: int, styles: int) -> PictureList:
        """The first of each; lists are ordered so that a beginning is balanced too."""
        return replace(self, faces=self.faces[:faces], styles=self.styles[:styles])


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def files_by_hash(folder: Path) -> dict[str, Path]:
    """SHA-256 -> file, of all pictures below a folder."""
    return {sha256(path): path for path in sorted(folder.rglob("*")) if path.suffix.lower() in SUFFIXES}


def named(name: str, data: Path) -> PictureList:
    """A fixed list (one of :data:`NAMES`) with its files, found in a folder: the base's training data, or ``pictures/`` for
    the list ``examples``.

    Raises:
        ACFunError: the folder or some of its pictures are missing.
    """
    content = json.loads((LISTS / f"{name}.json").read_text(encoding="utf-8"))
    known = files_by_hash(data)
    entries = content["faces"] + content["styles"]
    missing = [entry["sha256"][:12] for entry in entries if entry["sha256"] not in known]
    if missing:
        raise ACFunError(
            f"{len(missing)} of the {len(entries)} pictures of the list {name} are not in {data} ({missing[0]} ...).",
            "the folder of the training data, unchanged",
            "set DATA=FOLDER, or use folders of your own with FACES=FOLDER STYLES=FOLDER",
        )
    images = [Image(path=known[entry["sha256"]], **entry) for entry in entries]
    count = len(content["faces"])
    return PictureList(name, tuple(images[:count]), tuple(images[count:]))


def of_folders(faces: Path, styles: Path) -> PictureList:
    """All pictures of two folders. ``labels.json`` in the faces' folder may say person and groups by file name.

    Raises:
        ACFunError: fewer than two pictures in a folder: a margin needs others to compare with.
    """
    found = {}
    for role, folder in (("faces", faces), ("styles", styles)):
        labels = folder / "labels.json"
        known = json.loads(labels.read_text(encoding="utf-8")) if labels.is_file() else {}
        files = files_by_hash(folder)
        if len(files) < 2:
            raise ACFunError(f"{folder} holds {len(files)} pictures.", f"at least two {role}", "name another folder")
        found[role] = tuple(Image(digest, path, **known.get(path.name, {})) for digest, path in files.items())
    digest = hashlib.sha256("".join(i.sha256 for role in found.values() for i in role).encode()).hexdigest()[:8]
    return PictureList(f"folders-{digest}", found["faces"], found["styles"])


def main() -> int:
    """Print the SHA-256 of every picture of a folder, to make a list of one's own."""
    for digest, path in files_by_hash(Path(sys.argv[1])).items():
        print(digest, path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
