"""From rows to tables: means, J, and paired bootstrap intervals over pairs.

J of a method is the harmonic mean of its two margins, each scaled to the best method in the table, times (1 - copy rate).
Anchors set no scale and neither do copies, whoever made them: a method that gives the photo back would make everybody's
identity small, and J a measure of identity alone:

    J = 2 i s / (i + s) (1 - c),    i = min(1, id / best earned id),  s = min(1, style / best earned style),  each at least 0

The identity margin is the mean over two face encoders, so that neither alone decides. In tables a picture that is a copy
earns no margin and no rank, so that no column puts an anchor first; J takes the margins as they are and has its own factor.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

ACFUN = "keep_person"
EARNED = "_earned"
PARTS = ("identity", "style", "copied", f"identity{EARNED}", f"style{EARNED}")
DRAWS = 4000


@dataclass(frozen=True)
class Rows:
    """Numbers of one method, one value an image, in the same order of pairs and seeds for all methods of a table.

    Attributes:
        values: number -> [images], NaN where a picture has none. pairs: index of each image's pair [images].
        faces, styles: id of each image's face and of its style.
    """

    values: dict[str, np.ndarray]
    pairs: np.ndarray
    faces: tuple[str, ...] = ()
    styles: tuple[str, ...] = ()

    def mean(self, name: str) -> float:
        values = self.values.get(name, np.full(1, np.nan))
        return float(np.nanmean(values)) if np.isfinite(values).any() else float("nan")

    def by_pair(self, name: str) -> np.ndarray:
        """[pairs] means over seeds."""
        return np.array([self.values[name][self.pairs == pair].mean() for pair in np.unique(self.pairs)])


def with_means(numbers: dict[str, float]) -> dict[str, float]:
    """Numbers of a picture with the means over both face encoders, and with what it earned: a copy earns nothing."""
    found = {
        "identity": (numbers["sface_margin"] + numbers["dlib_margin"]) / 2,
        "style": numbers["style_margin"],
        "face_first": (numbers["sface_first"] + numbers["dlib_first"]) / 2,
        "style_first": numbers["style_first"],
    }
    earned = {f"{name}{EARNED}": value * (1 - numbers["copied"]) for name, value in found.items()}
    return {**numbers, **found, **earned}


def rows_of(images: Sequence[dict], methods: Sequence[str]) -> dict[str, Rows]:
    """Method -> its rows, over the pairs and seeds that all these methods have.

    Args:
        images: measured rows of the store.
    """
    by_method: dict[str, dict[tuple, dict]] = {name: {} for name in methods}
    for image in images:
        if image["method"] in by_method and image["numbers"]:
            by_method[image["method"]][image["face"], image["style"], image["seed"]] = image
    keys = sorted(set.intersection(*(set(found) for found in by_method.values()))) if by_method else []
    if not keys:
        raise SystemExit("No pair has been drawn by all methods and measured yet.")
    pairs = sorted({key[:2] for key in keys})
    index = np.array([pairs.index(key[:2]) for key in keys])
    who = tuple(key[0] for key in keys), tuple(key[1] for key in keys)
    return {name: Rows(_columns([found[key] for key in keys]), index, *who) for name, found in by_method.items()}


COSTS = ("train_passes", "train_seconds", "seconds", "memory_mb", "state_mb")


def cost(image: dict, name: str) -> float:
    """One of :data:`COSTS` of an image: 0 without a training, NaN where no time was taken."""
    missing = np.nan if image["seconds"] is None and name in ("train_seconds", "seconds", "memory_mb") else 0.0
    return missing if image[name] is None else image[name]


def _columns(images: list[dict]) -> dict[str, np.ndarray]:
    numbers = [with_means(image["numbers"]) for image in images]
    names = sorted({name for one in numbers for name in one})
    columns = {name: np.array([one.get(name, np.nan) for one in numbers], float) for name in names}
    for name in COSTS:
        columns[name] = np.array([cost(image, name) for image in images], float)
    # What one picture of a new pair costs.
    columns["total_seconds"] = columns["train_seconds"] + columns["seconds"]
    return columns


# -- J ---------------------------------------------------------------------------------------


def judge(
    identity: np.ndarray,
    style: np.ndarray,
    copied: np.ndarray,
    identity_earned: np.ndarray,
    style_earned: np.ndarray,
    anchor: np.ndarray,
) -> np.ndarray:
    """J of each method.

    Args:
        identity, style, copied: means, [..., methods].
        identity_earned, style_earned: the same margins with 0 for every copy; the best of them set the scale.
        anchor: bool [methods], these do not set it.

    Returns:
        [..., methods], 0 to 1.
    """
    scaled = []
    for margin, earned in ((identity, identity_earned), (style, style_earned)):
        best = np.where(anchor, -np.inf, earned).max(axis=-1, keepdims=True)
        scaled.append(np.clip(margin / np.maximum(best, 1e-9), 0, 1))
    total = scaled[0] + scaled[1]
    return np.where(total > 0, 2 * scaled[0] * scaled[1] / np.maximum(total, 1e-12), 0.0) * (1 - copied)


@dataclass(frozen=True)
class Judgement:
    """J of every method with its bootstrap draws over pairs, and with those over faces and styles (:func:`of_others`)."""

    names: tuple[str, ...]
    j: np.ndarray
    draws: np.ndarray
    others: np.ndarray

    def interval(self, name: str) -> tuple[float, float]:
        """95 % interval of J."""
        low, high = np.quantile(self.draws[:, self.names.index(name)], [0.025, 0.975])
        return float(low), float(high)

    def advantage(self, name: str, over: str) -> tuple[float, float, float]:
        """J of one minus J of another: the value and its paired 95 % interval."""
        one, two = self.names.index(name), self.names.index(over)
        low, high = np.quantile(self.draws[:, one] - self.draws[:, two], [0.025, 0.975])
        return float(self.j[one] - self.j[two]), float(low), float(high)

    def advantage_for_others(self, name: str, over: str) -> tuple[float, float]:
        """The 95 % interval of the same for other faces and styles than these."""
        one, two = self.names.index(name), self.names.index(over)
        low, high = np.quantile(self.others[:, one] - self.others[:, two], [0.025, 0.975])
        return float(low), float(high)

    def first(self) -> str:
        return self.names[int(self.j.argmax())]


def of_others(faces: Sequence[str], styles: Sequence[str], draws: int, rng: np.random.Generator) -> np.ndarray:
    """Weights of pairs, [draws, pairs], when faces and styles are drawn anew with repetition, each by itself.

    Pairs of one face are not independent, nor are those of one style: the few of both decide how far a table carries.

    Args:
        faces, styles: of each pair.
    """
    weights = np.ones((draws, len(faces)))
    for names in (faces, styles):
        _, index, count = np.unique(names, return_inverse=True, return_counts=True)
        weights *= rng.multinomial(len(count), np.full(len(count), 1 / len(count)), size=draws)[:, index]
    # A draw without a single pair that was made says nothing; a full grid has none.
    some = weights.sum(1) > 0
    return weights[some] / weights[some].sum(1, keepdims=True)


def judgement(rows: dict[str, Rows], anchors: Sequence[str], draws: int = DRAWS, seed: int = 0) -> Judgement:
    """J and its draws; in each draw the pairs are drawn again and everything is computed anew, the scale too."""
    names = tuple(rows)
    by_pair = {part: np.stack([rows[name].by_pair(part) for name in names], axis=-1) for part in PARTS}
    anchor = np.array([name in anchors for name in names])
    count = len(by_pair["identity"])
    chosen = np.random.default_rng(seed).integers(count, size=(draws, count))
    value = judge(*(by_pair[part].mean(0) for part in PARTS), anchor)
    drawn = judge(*(by_pair[part][chosen].mean(1) for part in PARTS), anchor)
    one = next(iter(rows.values()))
    first = [int(np.flatnonzero(one.pairs == pair)[0]) for pair in np.unique(one.pairs)]
    faces, styles = ([ids[image] for image in first] for ids in (one.faces, one.styles))
    weights = of_others(faces, styles, draws, np.random.default_rng(seed))
    others = judge(*(weights @ by_pair[part] for part in PARTS), anchor)
    return Judgement(names, value, drawn, others)


def summary(rows: dict[str, Rows], judged: Judgement, anchors: Sequence[str], own: str = ACFUN) -> dict:
    """The line of JSON: what each method reached, and by how much ACFun is better at least."""
    methods = {
        name: {
            "j": _rounded(judged.j[index]),
            "copy_rate": _rounded(rows[name].mean("copied")),
            "face_rank1": _rounded(rows[name].mean(f"face_first{EARNED}")),
            "style_rank1": _rounded(rows[name].mean(f"style_first{EARNED}")),
            "faces_found": _rounded(rows[name].mean("found")),
            "seconds": _rounded(rows[name].mean("total_seconds"), 1),
        }
        for index, name in enumerate(judged.names)
    }
    rivals = [name for name in judged.names if name != own and name not in anchors]
    known = rivals if own in rows else []
    low = {name: _rounded(judged.advantage(own, name)[1]) for name in known}
    others = {name: _rounded(judged.advantage_for_others(own, name)[0]) for name in known}
    return {"methods": methods, "advantage_low95": low, "advantage_low95_for_others": others}


def _rounded(value: float, digits: int = 4) -> float:
    return round(float(value), digits)


def worst_groups(rows: Rows, groups: Sequence[dict[str, str]]) -> dict[str, tuple[str, float, float]]:
    """Kind of group -> the group with the lowest identity margin, its margin, and the mean of all.

    Args:
        groups: of each image's face, kind -> group.
    """
    found = {}
    for kind in sorted({kind for one in groups for kind in one}):
        labels = np.array([one.get(kind, "") for one in groups])
        means = {
            label: float(rows.values["identity"][labels == label].mean()) for label in sorted(set(labels)) if label
        }
        if len(means) > 1:
            worst = min(means, key=means.get)
            found[kind] = worst, means[worst], rows.mean("identity")
    return found
