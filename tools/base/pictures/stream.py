"""One training picture after another, in the shares that `config.json` gives to kinds and media."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .. import captions, media
from .album import Album, Portrait
from .morphs import morph, yaw
from .spectacles import with_glasses
from .views import lit, placed

SEXES = ("male", "female")


class Stream:
    """Draws training pictures without end; the same ones for the same seed.

    Args:
        shares: the config's `pictures`: `kinds` (grey, photo, media and art, in parts of all pictures), `media` (weights of
            those that are not 1), `morphs` (part of the photos), `glasses` (part of the photos), `drawn` (part of those with
            glasses on which they are drawn).
    """

    def __init__(self, album: Album, shares, seed: int) -> None:
        self.album, self.shares, self.rng = album, shares, np.random.default_rng(seed)
        worn: dict = {sex: [r for r in album.photos if r.get("gender") == sex and r.get("glasses")] for sex in SEXES}
        bare = {sex: [r for r in album.photos if r.get("gender") == sex and not r.get("glasses")] for sex in SEXES}
        self.worn, self.bare = worn, bare
        self.sexes = [sex for sex in SEXES if bare[sex]]
        if not self.sexes:
            raise SystemExit("The data hold no colour photo of a man or a woman without glasses: nothing to draw from.")
        self.pools: dict[tuple, list[Portrait]] = {}
        there = {"grey": album.grey, "photo": True, "media": True, "art": album.art}
        self.kinds = [kind for kind in there if there[kind]]
        self.media = list(media.MEDIA)
        self.media_weights = self._normed(getattr(shares.media, name, 1.0) for name in self.media)
        self.kind_weights = self._normed(getattr(shares.kinds, kind) for kind in self.kinds)

    def __iter__(self) -> Stream:
        return self

    def __next__(self) -> Portrait:
        """256 px; the record's `kind` is `photo`, `media` or `art`, and that of a medium names it and its palette."""
        kind = self.rng.choice(self.kinds, p=self.kind_weights)
        if kind == "art":
            found = self.album.open(self._any(self.album.art))
            return Portrait(lit(placed(found.image, self.rng, loose=2.0), self.rng), found.record)
        found = self.grey() if kind == "grey" else self.photo()
        image = lit(placed(found.image, self.rng), self.rng)
        if kind != "media":
            return Portrait(image, found.record)
        name = self.media[self.rng.choice(len(self.media), p=self.media_weights)]
        image, extra = media.render(name, image, self.rng)
        return Portrait(image, {**found.record, "kind": "media", "medium": name, **extra})

    def caption(self, record: dict) -> str:
        return captions.caption(record, self.rng)

    def grey(self) -> Portrait:
        """A photo without colour, or a morph of two."""
        if self.rng.random() < 0.4:
            return self.morph(self.album.grey)
        return self.album.open(self._any(self.album.grey))

    def photo(self) -> Portrait:
        """A colour photo or a morph, 320 px; both sexes equally often, and glasses on a fixed part, worn or drawn."""
        sex, shares = self._any(self.sexes), self.shares
        glasses = self.rng.random() < shares.glasses
        if glasses and self.worn[sex] and self.rng.random() >= shares.drawn:
            return self._some("worn", sex, self.worn[sex], 60)
        found = self._some("bare", sex, self.bare[sex], 150)
        if glasses and found.points is not None:
            image = with_glasses(found.image, found.points, self.rng)
            found = Portrait(image, {**found.record, "glasses": True}, found.points)
        return found

    def morph(self, group: list[dict]) -> Portrait:
        """A face between two sitters of the group who look the same way and have the same mood; one of them if none do."""
        group = [r for r in group if r["mesh"]] or group
        first = self._any(group)
        a = self.album.open(first)
        if a.points is None:
            return a
        towards = yaw(a.points)

        def alike_to(r: dict) -> bool:
            known = all(r.get(key) == first.get(key) for key in ("mood", "glasses"))
            return r is not first and known and abs(yaw(self.album.mesh[r["id"]]) - towards) < 0.10

        alike = [r for r in group if alike_to(r)]
        if not alike:
            return a
        b = self.album.open(self._any(alike))
        return morph(a, b, self.album.oval, *self.rng.uniform(0.35, 0.7, 2))

    def _some(self, kind: str, sex: str, group: list[dict], pool: int) -> Portrait:
        """A photo of the group, or a morph out of a pool that is slowly renewed: morphs cost more than all else."""
        if self.rng.random() < self.shares.morphs:
            return self._pooled((kind, sex), lambda: self.morph(group), pool)
        return self.album.open(self._any(group))

    def _pooled(self, key: tuple, make: Callable[[], Portrait], size: int) -> Portrait:
        pool = self.pools.setdefault(key, [])
        if len(pool) == size and self.rng.random() >= 0.15:
            return self._any(pool)
        item = make()
        if len(pool) == size:
            pool[self.rng.integers(size)] = item
        else:
            pool.append(item)
        return item

    def _any(self, options: list):
        return options[self.rng.integers(len(options))]

    @staticmethod
    def _normed(weights) -> np.ndarray:
        weights = np.array(list(weights), float)
        return weights / weights.sum()
