"""Whether samples are copies of training sitters, and whether they vary as the data does."""

from __future__ import annotations

import cv2
import numpy as np

from tools.measure.faces import FaceFinder, encoders


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


def small(pictures: np.ndarray) -> np.ndarray:
    """Rows of the pictures at 32 px, [n, 3072] in 0..1."""
    return (
        np.stack([cv2.resize(p, (32, 32), interpolation=cv2.INTER_AREA).ravel() for p in pictures]).astype(np.float32)
        / 255
    )


def figures(images: np.ndarray, photos: np.ndarray, training: np.ndarray) -> dict:
    """Copies and variety of samples.

    A sample counts as a copy where its face lies nearer to a training face than 99 % of the sitters lie to the one
    most like them. Variety is the spread of the samples captioned as photos over that of the training photos, by each
    face encoder and by the pictures at 32 px; `variety` is the lowest of the three.

    Args:
        images: uint8 [n, s, s, 3] samples; `photos` bool [n] marks those captioned as photos.
        training: uint8 [m, s, s, 3] photos of the training sitters, one each.
    """
    seen, sitters = embeddings(training)
    found, samples = embeddings(images)
    copies, variety = {}, {"pixels": spread(small(images[photos])) / spread(small(training))}
    for name, vectors in sitters.items():
        limit = float(np.quantile(nearest_of_others(vectors), 0.99))
        nearest = (samples[name] @ vectors.T).max(1) if found.any() else np.zeros(0)
        copies[name] = {
            "limit": limit,
            "nearest": float(nearest.max(initial=-1.0)),
            "nearest_99": float(np.quantile(nearest, 0.99)) if len(nearest) else -1.0,
            "share": float((nearest > limit).mean()) if len(nearest) else 0.0,
        }
        drawn = samples[name][photos[found]]
        variety[name] = spread(drawn) / spread(vectors) if len(drawn) > 1 else 0.0
    return {"copies": copies, "variety_by": variety, "variety": min(variety.values())}
