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


class Drawn(NamedTuple):
    """Simulated media of unseen people as the autoencoder gives them back.

    `pictures` uint8 [n, s, s, 3]; `names` [n] of the people; `groups` [n], sex and medium in one word.
    """

    pictures: np.ndarray
    names: np.ndarray
    groups: np.ndarray


def beside_others(samples: np.ndarray, others: np.ndarray, groups: np.ndarray, names: np.ndarray, limit: float) -> dict:
    """Do samples lie nearer to the training's sitters than pictures of other people, made and encoded alike, do?

    :func:`copied` compares samples with photos. A woodcut of a stranger is no photo, and a picture through the autoencoder
    is softer than one: this asks what such pictures of real strangers have.

    Args:
        samples: cosines to the nearest sitter, [m]; `others`: the same of other people's pictures, [n].
        groups: what of `others` counts alike whatever its number (sex and medium, as the captions have them), [n].
        names: the people in `others`, [n]; the interval is over draws of people.
        limit: that of :func:`copied`.

    Returns:
        99th percentiles and the shares above the limit of both, and the 2.5th and 97.5th percentile of the others' 99th.
    """
    _, group, count = np.unique(groups, return_inverse=True, return_counts=True)
    weights = 1 / count[group]

    def top(times: np.ndarray) -> float:
        return float(np.quantile(others, 0.99, weights=weights * times, method="inverted_cdf"))

    people, person = np.unique(names, return_inverse=True)
    rng = np.random.default_rng(0)
    draws = rng.multinomial(len(people), np.full(len(people), 1 / len(people)), size=500)
    low, high = np.quantile([top(drawn[person]) for drawn in draws], (0.025, 0.975))
    return {
        "samples_99": float(np.quantile(samples, 0.99)),
        "others_99": top(np.ones(len(others))),
        "others_low": float(low),
        "others_high": float(high),
        "samples_share": float((samples > limit).mean()),
        "others_share": float(weights[others > limit].sum() / weights.sum()),
    }


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


def figures(
    images: np.ndarray, photos: np.ndarray, training: Photos, decoded: np.ndarray, unseen: Photos, media: Drawn
) -> dict:
    """Copies and variety of samples.

    Copies: see :func:`copied`. `copies` are counted against the training photos, `copies_decoded` against what the
    autoencoder makes of them, which is all that the UNet has seen and all that a sample can repeat. Variety is the spread
    of the samples captioned as photos over that of the training photos, by each face encoder and by the pictures at 32 px;
    `variety` is the lowest of the three. `remembered`: see :func:`against_unseen`. `beside_others`: see
    :func:`beside_others`, for samples captioned as photos beside the decoded photos of all other sitters, and for those in
    media beside the decoded media of unseen people.

    Args:
        images: uint8 [n, s, s, 3] samples; `photos` bool [n] marks those captioned as photos.
        decoded: the training photos as the autoencoder gives them back, as many as those.
    """
    seen, sitters = embeddings(training.pictures)
    same, as_decoded = embeddings(decoded)
    new, strangers = embeddings(unseen.pictures)
    shown, in_media = embeddings(media.pictures)
    found, samples = embeddings(images)
    photo = photos[found]
    own = (np.cumsum(seen) - 1)[same & seen]
    result = {"copies": {}, "copies_decoded": {}, "remembered": {}, "beside_others": {}}
    variety = {"pixels": spread(small(images[photos])) / spread(small(training.pictures))}
    for name, vectors in sitters.items():
        result["copies"][name] = copied(samples[name], vectors)
        result["copies_decoded"][name] = copied(samples[name], as_decoded[name])
        drawn = samples[name][photo]
        variety[name] = spread(drawn) / spread(vectors) if len(drawn) > 1 else 0.0
        if not photo.any() or photo.all():
            continue
        known = Sitters(vectors, training.sexes[seen])
        result["remembered"][name] = against_unseen(samples[name], known, Sitters(strangers[name], unseen.sexes[new]))
        limit, nearest = result["copies"][name]["limit"], (samples[name] @ vectors.T).max(1)
        others = as_decoded[name][seen[same]] @ vectors.T
        others[np.arange(len(own)), own] = -1
        drawings = (in_media[name] @ vectors.T).max(1)
        result["beside_others"][name] = {
            "photo": beside_others(nearest[photo], others.max(1), training.sexes[same & seen], own, limit),
            "media": beside_others(nearest[~photo], drawings, media.groups[shown], media.names[shown], limit),
        }
    return {**result, "variety_by": variety, "variety": min(variety.values())}
