"""Whether samples are copies of training sitters, and whether a person survives the autoencoder."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from tools.measure.faces import FaceFinder, encoders

DRAWS = 500
"""Of the bootstraps. All intervals are 95 %."""


class Faces(NamedTuple):
    """Which pictures show a face, bool [n], and for those the unit vectors of each face encoder, [m, 128]."""

    found: np.ndarray
    vectors: dict[str, np.ndarray]


def embeddings(pictures: np.ndarray) -> Faces:
    """Faces of uint8 [n, s, s, 3]."""
    find, encode = FaceFinder(), encoders()
    faces = [find(picture) for picture in pictures]
    shown = [(p, f) for p, f in zip(pictures, faces) if f is not None]
    return Faces(
        np.array([f is not None for f in faces], bool),
        {
            name: np.stack([encoder(p, f) for p, f in shown]) if shown else np.zeros((0, 128), np.float32)
            for name, encoder in encode.items()
        },
    )


def to_nearest(
    vectors: np.ndarray, sitters: np.ndarray, own: np.ndarray | None = None, names: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Cosine of each row to the nearest sitter, [n], and which one that is, [n].

    Args:
        own: who is on each row's picture, [n], and `names` on each sitter's, [m]: nobody is compared with herself.
    """
    cosines = vectors @ sitters.T
    if own is not None:
        cosines[own[:, None] == names[None]] = -1
    return cosines.max(1), cosines.argmax(1)


def top(values: np.ndarray, weights: np.ndarray) -> float:
    """The weighted 99th percentile."""
    return float(np.quantile(values, 0.99, weights=weights, method="inverted_cdf"))


def interval(values: np.ndarray, weights: np.ndarray, people: np.ndarray) -> tuple[float, float]:
    """95 % interval of :func:`top` over draws of `people`, [n], each with all that is theirs."""
    names, person = np.unique(people, return_inverse=True)
    rng = np.random.default_rng(0)
    times = rng.multinomial(len(names), np.full(len(names), 1 / len(names)), size=DRAWS)
    low, high = np.quantile([top(values, weights * drawn[person]) for drawn in times], (0.025, 0.975))
    return float(low), float(high)


def beside_others(samples: np.ndarray, others: np.ndarray, groups: np.ndarray, people: np.ndarray) -> dict:
    """Do samples lie nearer to the training's sitters than pictures of other people, made alike, do?

    A base that remembers sitters draws faces nearer to those than strangers' faces are. Pictures in a medium, or softened by
    the autoencoder, lie nearer to everybody for that alone; so the strangers' are in the same media and went through it too.

    Args:
        samples: cosines to the nearest sitter, [m]; `others`: the same of pictures of other people, each without the sitter
            herself among the sitters, [n].
        groups: what of `others` counts alike whatever its number (sex and medium, as the captions have them), [n].
        people: who is on each of `others`, [n].

    Returns:
        99th percentiles of both with their intervals, the largest of both, and whether the samples' percentile is not above the
        interval of the others.
    """
    _, group, count = np.unique(groups, return_inverse=True, return_counts=True)
    even, alike = np.ones(len(samples)), 1 / count[group]
    low, high = interval(others, alike, people)
    high_99 = top(samples, even)
    return {
        "samples_99": high_99,
        "samples_95%": interval(samples, even, np.arange(len(samples))),
        "others_99": top(others, alike),
        "others_95%": (low, high),
        "samples_nearest": float(samples.max()),
        "others_nearest": float(others.max()),
        "samples": len(samples),
        "others": len(others),
        "no_nearer": high_99 <= high,
    }


def margins(vectors: np.ndarray, photos: np.ndarray) -> np.ndarray:
    """Identity margin of each row of `vectors`: its cosine to its own row of `photos` minus the mean to all others, [n]."""
    cosines = vectors @ photos.T
    own = np.diagonal(cosines)
    return own - (cosines.sum(1) - own) / (len(photos) - 1)


def survives(photos: Faces, decoded: Faces) -> dict:
    """How much of a person the autoencoder leaves, by each encoder.

    The identity margin of the decoded photos, over that of the photos themselves (whose cosine to their own is 1). A decoded
    photo in which no face is found has no margin. Intervals are over draws of people.
    """
    out = {}
    has = decoded.found[photos.found]
    rows = photos.found[decoded.found]
    for name, own in photos.vectors.items():
        back = np.zeros_like(own)
        back[has] = decoded.vectors[name][rows]
        before, after = margins(own, own), np.where(has, margins(back, own), 0.0)
        rng = np.random.default_rng(0)
        drawn = rng.integers(len(own), size=(DRAWS, len(own)))
        low, high = np.quantile(after[drawn].mean(1) / before[drawn].mean(1), (0.025, 0.975))
        out[name] = {
            "value": float(after.mean() / before.mean()),
            "low": float(low),
            "high": float(high),
            "of": len(own),
        }
    return out
