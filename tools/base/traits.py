"""Glasses and smile: judges of both, and whether samples have what their captions say."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tools.measure.faces import FaceFinder
from tools.measure.pictures import share

from .classifiers import LinearJudge, accuracy, around, as_it_is, cross_validated
from .gallery import Gallery, Shown, sitter
from .pictures.album import Album
from .pictures.spectacles import with_glasses
from .sampling import Wanted

DRAWN = 150
"""Photos on which glasses are drawn for the judge to learn from. It is never checked on them."""
DECAY = 0.1
"""See :class:`LinearJudge`; the figures hardly depend on it."""


class Trait:
    """A judge of one trait, learnt from photos and checked on those that went through the autoencoder, in five parts of
    different people.

    Args:
        region: see :func:`around`. classes: without and with it. label: a record's class, or None where nobody knows.
    """

    def __init__(self, region: str, classes: tuple[str, str], label) -> None:
        self.region, self.label, self.judge = region, label, LinearJudge(classes, as_it_is, DECAY)
        self.find = FaceFinder()

    def read(self, shown: Shown) -> tuple[np.ndarray, np.ndarray]:
        """Whether a face is found, bool [n], and the features of those, [m, d]."""
        faces = [self.find(picture) for picture in shown.pictures]
        rows = [around(self.region, p, f) for p, f in zip(shown.pictures, faces) if f is not None]
        return np.array([f is not None for f in faces], bool), np.array(rows)

    def learn(self, photos: Shown, decoded: Shown, drawn: Shown | None = None) -> dict:
        """Fit on all; how right it is on `decoded` where it learnt from other people."""
        features, labels, people, checked = [], [], [], []
        for shown, counts in ((photos, False), (decoded, True), (drawn, False)):
            if shown is None:
                continue
            known = shown.where(np.array([self.label(r) is not None for r in shown.records]))
            found, rows = self.read(known)
            features.append(rows)
            here = [r for r, f in zip(known.records, found) if f]
            labels += [self.judge.classes.index(self.label(r)) for r in here]
            people += [sitter(r) for r in here]
            checked += [counts] * len(here)
        features, labels, checked = np.concatenate(features), np.array(labels), np.array(checked)
        said = cross_validated(self.judge, features, labels, np.array(people), checked)
        self.judge.fit(features, labels)
        return accuracy(said[checked], labels[checked], self.judge.classes)

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """Class of each picture, 0 or 1, or -1 where no face is found: int [n]."""
        found, rows = self.read(Shown(images, [{}] * len(images)))
        said = np.full(len(images), -1)
        if found.any():
            said[found] = self.judge(rows)
        return said


class Traits:
    """Both judges. `data` is the folder of the album, whose meshes say where glasses are drawn."""

    def __init__(self, gallery: Gallery, others: Shown, data: Path) -> None:
        self.glasses = Trait("eyes", ("bare", "glasses"), lambda r: "glasses" if r.get("glasses") else "bare")
        self.smile = Trait("mouth", ("serious", "smiling"), lambda r: r.get("mood"))
        photos = others.where(others.column("medium") == "photo")
        self.checks = {
            "glasses": self.glasses.learn(gallery.photos, photos, self._with_drawn_glasses(data)),
            "smile": self.smile.learn(gallery.photos, photos),
        }

    @staticmethod
    def _with_drawn_glasses(data: Path) -> Shown:
        album, rng = Album(data), np.random.default_rng(0)
        bare = [r for r in album.photos if r["mesh"] and not r.get("glasses")]
        chosen = [album.open(bare[i]) for i in rng.choice(len(bare), min(DRAWN, len(bare)), replace=False)]
        pictures = np.stack([with_glasses(p.image, p.points, rng) for p in chosen])
        return Shown(pictures, [{**p.record, "glasses": True} for p in chosen])

    def figures(self, images: np.ndarray, grid: list[Wanted]) -> dict:
        """Shares of the samples captioned as photos that are judged to have each trait, asked for or not.

        `right` is the mean of those with it where it is asked for and without where it is not (glasses) or where the opposite
        is (smile): a base that always smiles gets half.
        """
        photos = np.array([g.medium == "photo" for g in grid])
        asked_for = [g for g in grid if g.medium == "photo"]
        out = {"judges": self.checks}
        for name, trait, word, opposite in (
            ("glasses", self.glasses, "glasses", None),
            ("smile", self.smile, "smiling", "serious"),
        ):
            said = trait(images[photos])
            wanted = np.array([g.says(word) for g in asked_for])
            unwanted = np.array([g.says(opposite) if opposite else not g.says(word) for g in asked_for])
            have, lack = share(said[wanted] == 1), share(said[unwanted] == 0)
            out[name] = {"asked": have, "not_asked_and_without": lack, "right": (have["value"] + lack["value"]) / 2}
        return out
