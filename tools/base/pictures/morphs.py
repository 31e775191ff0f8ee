"""Faces between two sitters: the hair and clothes of one, a face part of the way to the other's in shape and skin.

Both faces are warped to points between theirs, piecewise linearly over the triangles of those points (as in Benson and Perrett
1993), and blended inside the oval of the face.
"""

from __future__ import annotations

import cv2
import numpy as np
from scipy.interpolate import LinearNDInterpolator
from scipy.spatial import Delaunay

from .album import Portrait

NOSE_TIP, RIGHT_EYE, LEFT_EYE = 4, 33, 263
"""Points of the mesh: the tip of the nose and the outer corners of the sitter's eyes."""


def yaw(points: np.ndarray) -> float:
    """How far the head is turned: the nose's way off the middle of the eyes over their distance."""
    middle, apart = (points[RIGHT_EYE, 0] + points[LEFT_EYE, 0]) / 2, points[LEFT_EYE, 0] - points[RIGHT_EYE, 0]
    return float((points[NOSE_TIP, 0] - middle) / (apart + 1e-3))


def similarity(points: np.ndarray, target: np.ndarray) -> np.ndarray:
    """The turn, scale and shift, float [2, 3], that lays points [n, 2] over the target's with the least squared error."""
    middle, to = points.mean(0, dtype=float), target.mean(0, dtype=float)
    of, onto = (points - middle) @ (1, 1j), (target - to) @ (1, 1j)
    factor = np.vdot(of, onto) / np.vdot(of, of)
    turn = np.array([[factor.real, -factor.imag], [factor.imag, factor.real]])
    return np.column_stack([turn, to - turn @ middle])


def moved(points: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Points [n, 2] under an affine map [2, 3]."""
    return (points @ matrix[:, :2].T + matrix[:, 2]).astype(np.float32)


def warp(image: np.ndarray, points: np.ndarray, mesh: Delaunay) -> np.ndarray:
    """The picture with its `points` moved to those of `mesh`: float32 [h, w, 3]. The way of each pixel is found on a grid half
    as fine, where it is as smooth."""
    height, width = image.shape[:2]
    ys, xs = np.mgrid[0:height, 0:width].astype(np.float32)
    way = LinearNDInterpolator(mesh, points - mesh.points, fill_value=0)(xs[::2, ::2], ys[::2, ::2]).astype(np.float32)
    way = cv2.resize(way, (width, height), interpolation=cv2.INTER_LINEAR)
    out = cv2.remap(image, xs + way[..., 0], ys + way[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)
    return out.astype(np.float32)


def still(oval: np.ndarray, side: int) -> np.ndarray:
    """Points that stay: the rim of the picture, and a ring around the face where it lies inside."""
    steps = np.linspace(0, side - 1, 7)
    rim = [(x, y) for x in steps for y in steps if {x, y} & {steps[0], steps[-1]}]
    ring = oval.mean(0) + 1.75 * (oval - oval.mean(0))
    return np.concatenate([rim, ring[((ring > 2) & (ring < side - 3)).all(1)]]).astype(np.float32)


def like(image: np.ndarray, other: np.ndarray, where: np.ndarray) -> np.ndarray:
    """The picture with the other's mean colour, and about its contrast, over the pixels `where`."""
    mine, theirs = image[where], other[where]
    gain = np.clip(theirs.std(0) / (mine.std(0) + 1e-3), 0.75, 1.33)
    return (image - mine.mean(0)) * gain + theirs.mean(0)


def morph(a: Portrait, b: Portrait, oval: np.ndarray, shape: float, skin: float) -> Portrait:
    """`a` with a face that is `shape` of the way to `b`'s form and `skin` of the way to its surface, both in 0..1.

    Both portraits need points. The record is `a`'s, and the points are those of the new face.
    """
    side = len(a.image)
    onto_a = similarity(b.points, a.points)
    points = (1 - shape) * a.points + shape * moved(b.points, onto_a)
    fixed = still(a.points[oval], side)
    mesh = Delaunay(np.concatenate([points, fixed]))
    own = warp(a.image, np.concatenate([a.points, fixed]), mesh)
    back = cv2.invertAffineTransform(onto_a)
    other = warp(b.image, np.concatenate([b.points, moved(fixed, back)]), mesh)
    face, middle = points[oval], points[oval].mean(0)
    mask = np.zeros((side, side), np.float32)
    cv2.fillPoly(mask, [(middle + 0.93 * (face - middle)).astype(np.int32)], 1.0)
    inside = mask > 0.5
    mask = cv2.GaussianBlur(mask, (0, 0), 7)[..., None]
    image = own + skin * mask * (like(other, own, inside) - own)
    return Portrait(np.clip(image, 0, 255).astype(np.uint8), a.record, points.astype(np.float32))
