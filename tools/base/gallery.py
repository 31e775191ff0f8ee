"""The pictures beside which the report sets samples, and what the autoencoder makes of them.

All that a sample can look like is what the autoencoder gives back: so judges are checked, and other people are compared, on
pictures that went through it. Passing about 1,200 through takes a core half an hour, so they are kept in the run folder.
"""

from __future__ import annotations

import hashlib
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderTiny

from tools.base_key import base_key

from . import media
from .common import Team, launch, to_tensor
from .draw import PART, decode, keep, kept
from .pictures.album import Album

SEXES = ("male", "female")
MEDIA = ("photo", *media.MEDIA)
OTHERS = 256
"""People of each sex of whom a photo and a picture in a medium stand beside the samples."""
FURTHER = 3
"""Further media of each unseen person, which the autoencoder and the judge of media are measured on."""


def sitter(record: dict) -> str:
    """Who is on a photo. The London set has two photos of each sitter, and one member of Congress sat in both chambers."""
    folder, name = Path(record["file"]).parent.name, Path(record["file"]).stem
    if folder.startswith("london"):
        return f"london {name.split('_')[0]}"
    return name.removeprefix("house-").removeprefix("senate-")


@dataclass(frozen=True)
class Shown:
    """Pictures uint8 [n, 256, 256, 3] with their records; `medium` in a record is `photo` or what it was drawn in."""

    pictures: np.ndarray
    records: list[dict]

    def where(self, chosen: np.ndarray) -> Shown:
        """Those that `chosen`, bool [n], marks."""
        index = np.flatnonzero(chosen)
        return Shown(self.pictures[index], [self.records[i] for i in index])

    def column(self, key: str) -> np.ndarray:
        return np.array([record.get(key) for record in self.records])

    def __add__(self, other: Shown) -> Shown:
        return Shown(np.concatenate([self.pictures, other.pictures]), self.records + other.records)


def chosen_people(records: list[dict], each: int = OTHERS) -> list[dict]:
    """One photo a sitter, `each` of both sexes or as many as there are: unseen ones and wearers of glasses first."""
    order = sorted(
        records, key=lambda r: (not r["heldout"], not r.get("glasses"), hashlib.sha256(r["file"].encode()).digest())
    )
    out = []
    for sex in SEXES:
        first = {}
        for record in order:
            if record.get("gender") == sex:
                first.setdefault(sitter(record), record)
        out += list(first.values())[:each]
    return out


def in_media(photos: Shown, count: int, start: int = 0) -> Shown:
    """Each photo in `count` media in turn, from the `start`th on; the same picture for the same photo and medium."""
    pictures, records, names = [], [], list(media.MEDIA)
    for k, (image, record) in enumerate(zip(photos.pictures, photos.records)):
        for turn in range(start, start + count):
            index = (k + 5 * turn) % len(names)
            picture, extra = media.render(names[index], image, np.random.default_rng([record["id"], index]))
            pictures.append(picture), records.append({**record, "kind": "media", "medium": names[index], **extra})
    return Shown(np.stack(pictures), records)


@dataclass(frozen=True)
class Gallery:
    """What the report needs of the data.

    Attributes:
        photos: every photo in colour, seen and unseen. grey: every other photo.
        others: `people` x photo and one medium. further: more media of the unseen people. art: unseen real art.
    """

    photos: Shown
    grey: Shown
    others: Shown
    further: Shown
    art: Shown

    @classmethod
    def of(cls, folder: Path) -> Gallery:
        albums = [Album(folder, heldout) for heldout in (False, True)]

        def shown(kind: str) -> Shown:
            return Shown(
                np.concatenate([a.plain(getattr(a, kind)) for a in albums if getattr(a, kind)]),
                [{**r, "medium": "photo"} for a in albums for r in getattr(a, kind)],
            )

        photos, unseen = shown("photos"), albums[1]
        wanted = {r["id"] for r in chosen_people(photos.records)}
        people = photos.where(np.array([r["id"] in wanted for r in photos.records]))
        paintings = unseen.art + unseen.other
        return cls(
            photos,
            shown("grey"),
            people + in_media(people, 1),
            in_media(people.where(people.column("heldout")), FURTHER, start=1),
            Shown(unseen.plain(paintings), paintings),
        )

    def to_decode(self) -> Shown:
        return self.others + self.further + self.art


def part_files(args, pictures: np.ndarray) -> list[Path]:
    """A PNG for every PART pictures, named by what is in them, in a folder named after the autoencoder."""
    folder = args.run / "decoded" / base_key(args.export / "vae")
    parts = (pictures[start : start + PART] for start in range(0, len(pictures), PART))
    return [folder / f"{hashlib.sha256(part.tobytes()).hexdigest()[:16]}.png" for part in parts]


@torch.no_grad()
def _pass_through(args, team: Team) -> None:
    """This process's share of the parts that are missing."""
    pictures = Gallery.of(args.data).to_decode().pictures
    files = part_files(args, pictures)
    missing = [k for k, path in enumerate(files) if not path.exists()][team.rank :: team.count]
    vae = AutoencoderTiny.from_pretrained(args.export / "vae", torch_dtype=torch.float32).eval()
    for k in missing:
        x = to_tensor(pictures[k * PART : (k + 1) * PART])
        keep(files[k], decode(vae, torch.cat([vae.encode(part).latents for part in x.split(4)])))
        print(f"gallery: decoded part {k + 1} of {len(files)}", file=sys.stderr, flush=True)


def decoded(args, gallery: Gallery) -> tuple[Shown, Shown, Shown]:
    """`others`, `further` and `art` as the autoencoder gives them back."""
    every = gallery.to_decode()
    files = part_files(args, every.pictures)
    if not all(path.exists() for path in files):
        launch(_pass_through, args)
    back = Shown(np.concatenate([kept(path) for path in files]), every.records)
    ends = np.cumsum([0, len(gallery.others.records), len(gallery.further.records), len(gallery.art.records)])
    return tuple(
        back.where((np.arange(len(every.records)) >= low) & (np.arange(len(every.records)) < high))
        for low, high in zip(ends, ends[1:])
    )
