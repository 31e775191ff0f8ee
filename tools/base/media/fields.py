"""Media of flat fields: pop art, cartoon, mosaic, low poly, stained glass."""

from __future__ import annotations

import cv2
import numpy as np
from scipy.spatial import Delaunay

from .tools import any_palette, cells, clip, detail_points, gray_of, means, noise, smooth, tint, vivid


def pop_art(image, rng):
    gray = cv2.GaussianBlur(gray_of(smooth(image, 2)), (0, 0), 1.0)
    name, colours = any_palette(rng)
    colours = vivid(colours, 1.6).clip(0, 255)
    level = np.digitize(gray, [0.25, 0.48, 0.72])
    out = colours[level]
    edge = cv2.GaussianBlur(gray, (0, 0), 0.8) - cv2.GaussianBlur(gray, (0, 0), 2.0)
    return clip(cv2.GaussianBlur(out, (0, 0), 0.6) * (edge > -0.035)[..., None]), {"palette": name}


def cartoon(image, rng):
    """Flat colours in few steps and dark outlines."""
    source, extra = tint(clip(vivid(smooth(image, 3).astype(np.float32), 1.35)), rng, 0.35)
    source = cv2.medianBlur(clip(source), 7).astype(np.float32)
    gray = source.mean(-1, keepdims=True)
    steps = rng.integers(4, 7)
    level = (np.floor(gray / 256 * steps) + 0.5) / steps * 256
    flat = source * (level / np.maximum(gray, 8))
    g = cv2.GaussianBlur(gray_of(image, False), (0, 0), 1.0)
    edge = cv2.GaussianBlur(g, (0, 0), 1.0) - cv2.GaussianBlur(g, (0, 0), 2.6)
    line = np.clip(1 - np.clip(-edge - 0.008, 0, None) * 60, 0, 1)[..., None]
    line = cv2.GaussianBlur(line, (0, 0), 0.6)[..., None]
    return clip(np.clip(flat, 0, 255) * line + 18 * (1 - line)), extra


def mosaic(image, rng):
    source, extra = tint(clip(vivid(image.astype(np.float32), 1.5)), rng, 0.6)
    pitch = 5.0
    side = image.shape[0]
    grid = np.stack(np.meshgrid(np.arange(0, side, pitch), np.arange(0, side, pitch), indexing="ij"), -1).reshape(-1, 2)
    label = cells(image, grid + rng.uniform(-1.0, 1.0, grid.shape))
    colour = means(source, label)
    colour = colour + rng.normal(0, 6, (len(colour), 1))
    joint = (label != np.roll(label, 1, 0)) | (label != np.roll(label, 1, 1))
    out = colour[label]
    out[joint] = out[joint] * 0.65 + 12
    return clip(out), extra


def low_poly(image, rng):
    """Facets, each lit as if it leaned its own way."""
    source, extra = tint(clip(vivid(image.astype(np.float32), 1.3)), rng, 0.5)
    side = image.shape[0] - 1
    border = np.array(
        [(0, 0), (0, side), (side, 0), (side, side), (0, side / 2), (side / 2, 0), (side, side / 2), (side / 2, side)]
    )
    points = np.concatenate([detail_points(image, 420, rng), border])
    mesh = Delaunay(points)
    out = source.copy()
    for triangle in points[mesh.simplices]:
        y, x = np.clip(triangle.mean(0).round().astype(int), 1, side - 1)
        colour = source[y - 1 : y + 2, x - 1 : x + 2].mean((0, 1)) * rng.uniform(0.85, 1.25) + 12
        cv2.fillConvexPoly(out, triangle[:, ::-1].round().astype(np.int32), colour.tolist())
    return clip(out), extra


def stained_glass(image, rng):
    """Coloured panes between black leads, brighter towards their middle."""
    source, extra = tint(clip(vivid(image.astype(np.float32), 2.0) * 1.1), rng, 0.5)
    side = image.shape[0]
    points = np.concatenate([detail_points(image, 1000, rng), rng.uniform(0, side, (60, 2))])
    label = cells(image, points)
    colour = means(source, label) + rng.normal(0, 10, (label.max() + 1, 1))
    lead = ((label != np.roll(label, 1, 0)) | (label != np.roll(label, 1, 1))).astype(np.uint8)
    lead = cv2.dilate(lead, np.ones((2, 2), np.uint8))
    depth = cv2.distanceTransform(1 - lead, cv2.DIST_L2, 3)
    glow = 0.78 + 0.3 * np.clip(depth / 5, 0, 1)
    out = colour[label] * glow[..., None] + 5 * noise(label.shape, rng, 1.5)[..., None]
    soft = cv2.GaussianBlur(lead.astype(np.float32), (0, 0), 0.6)[..., None]
    return clip(out * (1 - soft) + 14 * soft), extra
