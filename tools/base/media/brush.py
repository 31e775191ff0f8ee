"""Media of brush and colour: oil, impasto, watercolour, pointillism."""

from __future__ import annotations

import cv2
import numpy as np

from .tools import clip, detail_points, gray_of, noise, ring, smooth, tint, vivid


def oil(image, rng):
    """Kuwahara filter: each pixel takes the mean of its calmest quadrant; impasto relief on top, umber ground at the edges, and
    the warm varnish of old pictures over all."""
    source, extra = tint(vivid(image.astype(np.float32), 1.4).clip(0, 255).astype(np.uint8), rng, 0.5)
    size = 7
    gray = source.mean(-1)
    mean, square = cv2.blur(source, (size, size)), cv2.blur(gray * gray, (size, size))
    variance = square - cv2.blur(gray, (size, size)) ** 2
    reach = size // 2
    shifts = [(dy, dx) for dy in (-reach, reach) for dx in (-reach, reach)]
    variances = np.stack([np.roll(variance, s, (0, 1)) for s in shifts])
    best = variances.argmin(0)
    out = np.zeros_like(source)
    for k, shift in enumerate(shifts):
        out[best == k] = np.roll(mean, shift, (0, 1))[best == k]
    relief = cv2.Sobel(noise(gray.shape, rng, 1.6) + out.mean(-1) / 40, cv2.CV_32F, 1, 1, ksize=3)
    out = out + 7 * np.tanh(relief)[..., None]
    shade = np.clip((ring(gray.shape, rng) - 0.6) / 0.5, 0, 1)[..., None]
    ground = np.array([52, 34, 18], np.float32)
    return clip((out + shade * (ground - out)) * np.array([0.98, 0.8, 0.48], np.float32)), extra


def along_contours(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Angle of the contour at each pixel, by the structure tensor, uneven as by hand: float [h, w] in radians."""
    gray = cv2.GaussianBlur(gray_of(image, False), (0, 0), 2.5)
    gx, gy = cv2.Sobel(gray, cv2.CV_32F, 1, 0), cv2.Sobel(gray, cv2.CV_32F, 0, 1)
    xx, yy, xy = (cv2.GaussianBlur(v, (0, 0), 4) for v in (gx * gx, gy * gy, gx * gy))
    return 0.5 * np.arctan2(2 * xy, xx - yy) + np.pi / 2 + 0.25 * noise(gray.shape, rng, 10)


def impasto(image, rng):
    """Thick short strokes along the contours, large ones below and small ones on top, lit from above."""
    source, extra = tint(clip(vivid(image.astype(np.float32), 1.6)), rng, 0.4)
    side, angle = image.shape[0], along_contours(image, rng)
    canvas = cv2.GaussianBlur(source, (0, 0), 4)
    height = np.zeros(angle.shape, np.float32)
    for length, width, count in ((15, 6, 1100), (9, 4, 1700), (6, 2, 1400)):
        places = rng.integers(0, side, (2, count)).T
        if width < 6:
            places = detail_points(image, count, rng).astype(int)
        jitter = rng.normal(0, 11, (count, 3)) + rng.normal(0, 9, (count, 1))
        rise = rng.uniform(0.3, 1, count)
        for k, (y, x) in enumerate(places):
            dx, dy = np.cos(angle[y, x]) * length / 2, np.sin(angle[y, x]) * length / 2
            ends = (int(x - dx), int(y - dy)), (int(x + dx), int(y + dy))
            cv2.line(canvas, *ends, (source[y, x] + jitter[k]).tolist(), width, cv2.LINE_AA)
            cv2.line(height, *ends, float(rise[k]), width, cv2.LINE_AA)
    height = cv2.GaussianBlur(height, (0, 0), 0.7)
    light = cv2.Sobel(height, cv2.CV_32F, 0, 1) + 0.5 * cv2.Sobel(height, cv2.CV_32F, 1, 0)
    return clip(canvas - 12 * np.tanh(light)[..., None]), extra


def watercolour(image, rng):
    source, extra = tint(smooth(image, 3), rng, 0.5)
    height, width = source.shape[:2]
    ys, xs = np.mgrid[0:height, 0:width].astype(np.float32)
    wobble = 1.5
    warped = cv2.remap(
        source,
        xs + wobble * noise((height, width), rng, 5),
        ys + wobble * noise((height, width), rng, 5),
        cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REFLECT,
    )
    flat = cv2.medianBlur(clip(warped), 5).astype(np.float32)
    wash = 255 - (255 - flat) * (0.72 + 0.13 * noise((height, width), rng, 9)[..., None])
    edge = (
        cv2.morphologyEx(clip(flat), cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8))
        .astype(np.float32)
        .mean(-1, keepdims=True)
    )
    fade = np.clip((ring((height, width), rng) - 0.85) / 0.2, 0, 1)[..., None]
    out = wash - 0.35 * edge
    return clip(out * (1 - fade) + 250 * fade + 2.5 * noise((height, width), rng, 0.8)[..., None]), extra


def pointillism(image, rng):
    """Dots of light, pure colours on white canvas, which shows between them."""
    source, extra = tint(clip(vivid(image.astype(np.float32), 1.7)), rng, 0.5)
    source = 255 - 0.72 * (255 - source)
    out = np.full(source.shape, (252, 248, 238), np.float32)
    side = image.shape[0]
    count = int(side * side / 8)
    places = rng.integers(0, side, (count, 2))
    places = np.concatenate([places, detail_points(image, count // 2, rng).astype(int)])
    for k, (y, x) in enumerate(places):
        colour = source[y, x] + rng.normal(0, 18, 3)
        cv2.circle(out, (int(x) * 4 + 2, int(y) * 4 + 2), 8 if k < count else 5, colour.tolist(), -1, cv2.LINE_AA, 2)
    return clip(out), extra
