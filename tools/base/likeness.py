"""Whether samples are copies of training sitters, and whether they vary as the data does."""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np

from tools.measure.faces import FaceFinder, encoders


class Sitters(NamedTuple):
    """Unit vectors of one face encoder, [n, 128], and the sitters' sexes, [n]."""

    vectors: np.ndarray
    sexes: np.ndarray


def embeddings(pictures: np.ndarray) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Which pictures show a face, bool [n], and for those the unit vectors of each face encoder, [m, 128]."""
    find, encode = FaceFinder(), encoders()
    faces = [find(picture) for picture in pictures]
    shown = [(p, f) for p, f in zip(pictures, faces) if f is not None]
    return np.array([f is not None for f in faces]), {
        name: np.stack([encoder(p, f) for p, f in shown]) if shown else np.zeros((0, 128), np.float32)
        for name, encoder in encode.items()
    }


def nearest_of_others(vectors: np.ndarray) -> np.ndarray:
    """Cosine of each row to the nearest other row, [n]."""
    cosines = vectors @ vectors.T
    np.fill_diagonal(cosines, -1)
    return cosines.max(1)


def spread(vectors: np.ndarray) -> float:
    """Mean distance (root of the mean square) over all pairs of rows."""
    centred = vectors - vectors.mean(0)
    return float(np.sqrt(2 * (centred**2).sum(1).mean() * len(vectors) / max(len(vectors) - 1, 1)))


def nearness(samples: np.ndarray, sitters: np.ndarray) -> tuple[float, float]:
    """Cosines of the samples to the nearest sitter: the median and the 99th percentile."""
    middle, high = np.quantile((samples @ sitters.T).max(1), (0.5, 0.99))
    return float(middle), float(high)


def against_unseen(samples: np.ndarray, seen: Sitters, unseen: Sitters, draws: int = 500) -> dict:
    """Do samples lie nearer to the sitters of the training than to sitters that it never saw?

    A base that remembers sitters draws faces nearer to those. Faces of generated pictures vary less than photos do and lie
    nearer to everybody for that alone: the comparison with unseen sitters leaves this out.

    Returns:
        ``unseen``: median and 99th percentile of the cosines to the nearest unseen sitter; ``seen``: for both the 2.5th and
        97.5th percentile over draws of as many training sitters of each sex.
    """
    rng, found = np.random.default_rng(0), []
    sexes, counts = np.unique(unseen.sexes, return_counts=True)
    for _ in range(draws):
        chosen = [
            rng.choice(np.flatnonzero(seen.sexes == sex), count, replace=False) for sex, count in zip(sexes, counts)
        ]
        found.append(nearness(samples, seen.vectors[np.concatenate(chosen)]))
    low, high = np.quantile(np.array(found), (0.025, 0.975), axis=0)
    median, top = nearness(samples, unseen.vectors)
    return {
        "median": {"unseen": median, "seen_low": float(low[0]), "seen_high": float(high[0])},
        "nearest_99": {"unseen": top, "seen_low": float(low[1]), "seen_high": float(high[1])},
    }


def small(pictures: np.ndarray) -> np.ndarray:
    """Rows of the pictures at 32 px, [n, 3072] in 0..1."""
    return (
        np.stack([cv2.resize(p, (32, 32), interpolation=cv2.INTER_AREA).ravel() for p in pictures]).astype(np.float32)
        / 255
    )


class Photos(NamedTuple):
    """uint8 [n, s, s, 3], one photo a sitter, and the sitters' sexes, [n]."""

    pictures: np.ndarray
    sexes: np.ndarray


def copied(samples: np.ndarray, sitters: np.ndarray) -> dict:
    """How near samples lie to sitters, by the unit vectors of one encoder.

    A sample counts as a copy where its face lies nearer to a training face than 99 % of the sitters lie to the one most
    like them.
    """
    limit = float(np.quantile(nearest_of_others(sitters), 0.99))
    nearest = (samples @ sitters.T).max(1)
    return {
        "limit": limit,
        "nearest": float(nearest.max(initial=-1.0)),
        "nearest_99": float(np.quantile(nearest, 0.99)) if len(nearest) else -1.0,
        "share": float((nearest > limit).mean()) if len(nearest) else 0.0,
    }


def figures(images: np.ndarray, photos: np.ndarray, training: Photos, decoded: np.ndarray, unseen: Photos) -> dict:
    """Copies and variety of samples.

    Copies: see :func:`copied`. `copies` are counted against the training photos, `copies_decoded` against what the
    autoencoder makes of them, which is all that the UNet has seen and all that a sample can repeat. Variety is the spread
    of the samples captioned as photos over that of the training photos, by each face encoder and by the pictures at 32 px;
    `variety` is the lowest of the three. `remembered`: see :func:`against_unseen`.

    Args:
        images: uint8 [n, s, s, 3] samples; `photos` bool [n] marks those captioned as photos.
        decoded: the training photos as the autoencoder gives them back, as many as those.
    """
    seen, sitters = embeddings(training.pictures)
    _, as_decoded = embeddings(decoded)
    new, strangers = embeddings(unseen.pictures)
    found, samples = embeddings(images)
    copies, copies_decoded, remembered = {}, {}, {}
    variety = {"pixels": spread(small(images[photos])) / spread(small(training.pictures))}
    for name, vectors in sitters.items():
        copies[name] = copied(samples[name], vectors)
        copies_decoded[name] = copied(samples[name], as_decoded[name])
        if found.any():
            known = Sitters(vectors, training.sexes[seen])
            remembered[name] = against_unseen(samples[name], known, Sitters(strangers[name], unseen.sexes[new]))
        drawn = samples[name][photos[found]]
        variety[name] = spread(drawn) / spread(vectors) if len(drawn) > 1 else 0.0
    copies = {"copies": copies, "copies_decoded": copies_decoded, "remembered": remembered}
    return {**copies, "variety_by": variety, "variety": min(variety.values())}
