"""Quick simulations of art media: uint8 RGB in, uint8 RGB out, seeded by a numpy generator.

Each medium changes colour, edge and texture together, so that its word in a caption means something
visible. Sizes are relative to the picture's side; all take well under 0.2 s at 256 px.
"""

from __future__ import annotations

import cv2
import numpy as np
from scipy.spatial import Delaunay, cKDTree

# name -> colours from dark to light, RGB
PALETTES = {
    "blue and orange": [(18, 32, 74), (38, 92, 156), (226, 122, 42), (250, 208, 140)],
    "red and black": [(20, 14, 16), (110, 20, 28), (206, 40, 42), (244, 226, 208)],
    "green and yellow": [(16, 48, 36), (48, 116, 72), (176, 186, 60), (246, 236, 156)],
    "purple and pink": [(40, 18, 66), (106, 48, 138), (222, 96, 160), (252, 212, 226)],
    "brown": [(36, 22, 14), (98, 62, 36), (176, 128, 82), (242, 222, 190)],
    "blue": [(10, 24, 60), (30, 78, 148), (104, 164, 214), (228, 242, 250)],
    "teal and red": [(12, 44, 52), (24, 122, 124), (220, 78, 66), (248, 224, 196)],
    "gold and brown": [(44, 24, 10), (132, 78, 24), (214, 160, 48), (252, 236, 176)],
    "gray": [(24, 24, 26), (92, 92, 96), (164, 164, 166), (240, 240, 238)],
    "pink and green": [(24, 60, 52), (86, 148, 110), (240, 140, 160), (252, 232, 224)],
}


def _gray(image: np.ndarray, contrast: bool = True) -> np.ndarray:
    """float32 luminance in 0..1, with local contrast evened out."""
    gray = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    if contrast:
        gray = cv2.createCLAHE(2.0, (4, 4)).apply(gray)
    return gray.astype(np.float32) / 255


def _noise(shape, rng, sigma: float) -> np.ndarray:
    """Smooth float32 noise, zero mean, unit deviation."""
    noise = cv2.GaussianBlur(rng.standard_normal(shape).astype(np.float32), (0, 0), sigma)
    return noise / (noise.std() + 1e-6)


def _smooth(image: np.ndarray, passes: int = 2) -> np.ndarray:
    for _ in range(passes):
        image = cv2.bilateralFilter(image, 7, 40, 7)
    return image


def _palette(rng) -> tuple[str, np.ndarray]:
    name = list(PALETTES)[rng.integers(len(PALETTES))]
    return name, np.array(PALETTES[name], np.float32)


def _map(gray: np.ndarray, colours: np.ndarray) -> np.ndarray:
    """Gradient map of 0..1 luminance through the palette: float32 [h, w, 3] in 0..255."""
    place = np.linspace(0, 1, len(colours))
    return np.stack([np.interp(gray, place, colours[:, c]) for c in range(3)], -1).astype(np.float32)


def _tint(image: np.ndarray, rng, chance: float = 0.6) -> tuple[np.ndarray, dict]:
    """With some chance pull the picture's colours towards a palette."""
    if rng.random() > chance:
        return image.astype(np.float32), {}
    name, colours = _palette(rng)
    mixed = 0.3 * image.astype(np.float32) + 0.7 * _map(_gray(image), colours)
    return mixed, {"palette": name}


def _vivid(image: np.ndarray, gain: float) -> np.ndarray:
    gray = image.mean(-1, keepdims=True)
    return gray + gain * (image - gray)


def _clip(image: np.ndarray) -> np.ndarray:
    return np.clip(image, 0, 255).astype(np.uint8)


def _paper(gray: np.ndarray, rng) -> tuple[np.ndarray, dict]:
    """0..1 ink coverage (0 = full ink) on white or tinted paper."""
    papers = [(250, 249, 244), (238, 226, 198), (222, 214, 204)]
    inks = [(22, 22, 26), (22, 22, 26), (70, 36, 18), (24, 38, 90)]
    paper, ink = np.array(papers[rng.integers(3)], np.float32), np.array(inks[rng.integers(4)], np.float32)
    return _clip(ink + gray[..., None] * (paper - ink)), {}


def _ring(shape: tuple[int, int], rng) -> np.ndarray:
    """Distance from the middle, uneven as by hand: 0 there, 0.9 at the middle of a side."""
    height, width = shape
    ys, xs = np.mgrid[0:height, 0:width].astype(np.float32)
    ring = np.hypot((xs - width / 2) / (width * 0.56), (ys - height / 2) / (height * 0.56))
    return ring + 0.05 * _noise(shape, rng, 6)


def pencil(image, rng):
    gray = _gray(image)
    blur = cv2.GaussianBlur(1 - gray, (0, 0), image.shape[0] / 24)
    dodge = np.clip(gray / np.maximum(1 - blur, 0.05), 0, 1)
    height, width = gray.shape
    stroke = np.zeros((9, 9), np.float32)
    cv2.line(stroke, (0, 8), (8, 0), 1.0)
    grain = cv2.filter2D(rng.standard_normal((height, width)).astype(np.float32), -1, stroke / 9)
    shade = np.clip(gray * 1.15 + 0.16 + 0.3 * grain * (1 - gray), 0, 1)
    out = np.clip(0.55 * dodge**1.6 + 0.45 * shade, 0, 1)
    level = np.array([246, 245, 242], np.float32)
    return _clip(40 + out[..., None] * (level - 40)), {}


def ink(image, rng):
    gray = cv2.GaussianBlur(_gray(image), (0, 0), 0.8)
    fine, coarse = cv2.GaussianBlur(gray, (0, 0), 0.8), cv2.GaussianBlur(gray, (0, 0), 2.4)
    edge = fine - 0.97 * coarse
    line = np.where(edge > 0.0, 1.0, 1 + np.tanh(40 * edge))
    wash = 0.25 + 0.75 * (np.digitize(gray, [0.22, 0.45]) / 2.0)
    return _paper(np.clip(np.minimum(line, wash), 0, 1).astype(np.float32), rng)


def oil(image, rng):
    """Kuwahara filter: each pixel takes the mean of its calmest quadrant; impasto relief on top, umber ground at the edges, and
    the warm varnish of old pictures over all."""
    source, extra = _tint(_vivid(image.astype(np.float32), 1.4).clip(0, 255).astype(np.uint8), rng, 0.5)
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
    relief = cv2.Sobel(_noise(gray.shape, rng, 1.6) + out.mean(-1) / 40, cv2.CV_32F, 1, 1, ksize=3)
    out = out + 7 * np.tanh(relief)[..., None]
    shade = np.clip((_ring(gray.shape, rng) - 0.6) / 0.5, 0, 1)[..., None]
    ground = np.array([52, 34, 18], np.float32)
    return _clip((out + shade * (ground - out)) * np.array([0.98, 0.8, 0.48], np.float32)), extra


def watercolour(image, rng):
    source, extra = _tint(_smooth(image, 3), rng, 0.5)
    height, width = source.shape[:2]
    ys, xs = np.mgrid[0:height, 0:width].astype(np.float32)
    wobble = 1.5
    warped = cv2.remap(
        source,
        xs + wobble * _noise((height, width), rng, 5),
        ys + wobble * _noise((height, width), rng, 5),
        cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REFLECT,
    )
    flat = cv2.medianBlur(_clip(warped), 5).astype(np.float32)
    wash = 255 - (255 - flat) * (0.72 + 0.13 * _noise((height, width), rng, 9)[..., None])
    edge = (
        cv2.morphologyEx(_clip(flat), cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8))
        .astype(np.float32)
        .mean(-1, keepdims=True)
    )
    fade = np.clip((_ring((height, width), rng) - 0.85) / 0.2, 0, 1)[..., None]
    out = wash - 0.35 * edge
    return _clip(out * (1 - fade) + 250 * fade + 2.5 * _noise((height, width), rng, 0.8)[..., None]), extra


def woodcut(image, rng):
    """Carved lines that follow a bent stripe pattern; their width carries the tone."""
    gray = cv2.GaussianBlur(_gray(image), (0, 0), 1.2)
    height, width = gray.shape
    ys, xs = np.mgrid[0:height, 0:width].astype(np.float32)
    angle = rng.uniform(-0.5, 0.5)
    phase = (ys * np.cos(angle) + xs * np.sin(angle)) + 14 * gray + 2 * _noise(gray.shape, rng, 8)
    stripe = 0.5 + 0.5 * np.sin(2 * np.pi * phase / 6.0)
    paper = 1 / (1 + np.exp(-14 * (gray * 1.5 - 0.25 - 0.6 * stripe)))
    name, colours = _palette(rng)
    dark, light = colours[0] * 0.6, colours[-1]
    return _clip(dark + paper[..., None] * (light - dark)), {"palette": name}


def halftone(image, rng):
    gray = np.clip(_gray(image) * 1.1, 0, 1)
    ys, xs = np.mgrid[0 : gray.shape[0], 0 : gray.shape[1]].astype(np.float32)
    angle, pitch = np.pi / 4, 6.0
    u, v = (xs * np.cos(angle) + ys * np.sin(angle)), (-xs * np.sin(angle) + ys * np.cos(angle))
    screen = 0.5 + 0.25 * (np.cos(2 * np.pi * u / pitch) + np.cos(2 * np.pi * v / pitch))
    dots = 1 / (1 + np.exp(-12 * (cv2.GaussianBlur(gray, (0, 0), 1.2) - screen)))
    name, colours = _palette(rng)
    dark, light = colours[rng.integers(0, 2)], colours[-1]
    return _clip(dark + dots[..., None] * (light - dark)), {"palette": name}


def pop_art(image, rng):
    gray = cv2.GaussianBlur(_gray(_smooth(image, 2)), (0, 0), 1.0)
    name, colours = _palette(rng)
    colours = _vivid(colours, 1.6).clip(0, 255)
    level = np.digitize(gray, [0.25, 0.48, 0.72])
    out = colours[level]
    edge = cv2.GaussianBlur(gray, (0, 0), 0.8) - cv2.GaussianBlur(gray, (0, 0), 2.0)
    return _clip(cv2.GaussianBlur(out, (0, 0), 0.6) * (edge > -0.035)[..., None]), {"palette": name}


def _cells(image: np.ndarray, points: np.ndarray) -> np.ndarray:
    height, width = image.shape[:2]
    ys, xs = np.mgrid[0:height, 0:width]
    return cKDTree(points).query(np.stack([ys, xs], -1).reshape(-1, 2))[1].reshape(height, width)


def _means(image: np.ndarray, label: np.ndarray) -> np.ndarray:
    count = np.maximum(np.bincount(label.ravel()), 1)
    return np.stack([np.bincount(label.ravel(), image[..., c].ravel().astype(float)) / count for c in range(3)], -1)


def _detail_points(image: np.ndarray, count: int, rng) -> np.ndarray:
    """Random points, denser where there are edges: float [count, 2] as (y, x)."""
    gray = _gray(image)
    weight = cv2.GaussianBlur(np.abs(cv2.Laplacian(gray, cv2.CV_32F)), (0, 0), 3) + 0.015
    chosen = rng.choice(gray.size, count, replace=False, p=(weight / weight.sum()).ravel())
    return np.stack(np.unravel_index(chosen, gray.shape), -1).astype(float)


def mosaic(image, rng):
    source, extra = _tint(_clip(_vivid(image.astype(np.float32), 1.5)), rng, 0.6)
    pitch = 5.0
    side = image.shape[0]
    grid = np.stack(np.meshgrid(np.arange(0, side, pitch), np.arange(0, side, pitch), indexing="ij"), -1).reshape(-1, 2)
    label = _cells(image, grid + rng.uniform(-1.0, 1.0, grid.shape))
    colour = _means(source, label)
    colour = colour + rng.normal(0, 6, (len(colour), 1))
    joint = (label != np.roll(label, 1, 0)) | (label != np.roll(label, 1, 1))
    out = colour[label]
    out[joint] = out[joint] * 0.65 + 12
    return _clip(out), extra


def low_poly(image, rng):
    """Facets, each lit as if it leaned its own way."""
    source, extra = _tint(_clip(_vivid(image.astype(np.float32), 1.3)), rng, 0.5)
    side = image.shape[0] - 1
    border = np.array(
        [(0, 0), (0, side), (side, 0), (side, side), (0, side / 2), (side / 2, 0), (side, side / 2), (side / 2, side)]
    )
    points = np.concatenate([_detail_points(image, 420, rng), border])
    mesh = Delaunay(points)
    out = source.copy()
    for triangle in points[mesh.simplices]:
        y, x = np.clip(triangle.mean(0).round().astype(int), 1, side - 1)
        colour = source[y - 1 : y + 2, x - 1 : x + 2].mean((0, 1)) * rng.uniform(0.85, 1.25) + 12
        cv2.fillConvexPoly(out, triangle[:, ::-1].round().astype(np.int32), colour.tolist())
    return _clip(out), extra


def pointillism(image, rng):
    """Dots of light, pure colours on white canvas, which shows between them."""
    source, extra = _tint(_clip(_vivid(image.astype(np.float32), 1.7)), rng, 0.5)
    source = 255 - 0.72 * (255 - source)
    out = np.full(source.shape, (252, 248, 238), np.float32)
    side = image.shape[0]
    count = int(side * side / 8)
    places = rng.integers(0, side, (count, 2))
    places = np.concatenate([places, _detail_points(image, count // 2, rng).astype(int)])
    for k, (y, x) in enumerate(places):
        colour = source[y, x] + rng.normal(0, 18, 3)
        cv2.circle(out, (int(x) * 4 + 2, int(y) * 4 + 2), 8 if k < count else 5, colour.tolist(), -1, cv2.LINE_AA, 2)
    return _clip(out), extra


MEDIA = {
    "pencil": pencil,
    "ink": ink,
    "oil": oil,
    "watercolor": watercolour,
    "woodcut": woodcut,
    "halftone": halftone,
    "pop art": pop_art,
    "mosaic": mosaic,
    "low poly": low_poly,
    "pointillism": pointillism,
}


def render(name: str, image: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, dict]:
    """One picture in the medium `name`; the dict may hold `palette`, the name of its colours."""
    return MEDIA[name](np.ascontiguousarray(image), rng)
