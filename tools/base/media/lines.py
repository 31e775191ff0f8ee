"""Media of lines and dots in one ink: pencil, ink, charcoal, woodcut, halftone."""

from __future__ import annotations

import cv2
import numpy as np

from .tools import any_palette, clip, gray_of, noise, on_paper


def pencil(image, rng):
    gray = gray_of(image)
    blur = cv2.GaussianBlur(1 - gray, (0, 0), image.shape[0] / 24)
    dodge = np.clip(gray / np.maximum(1 - blur, 0.05), 0, 1)
    height, width = gray.shape
    stroke = np.zeros((9, 9), np.float32)
    cv2.line(stroke, (0, 8), (8, 0), 1.0)
    grain = cv2.filter2D(rng.standard_normal((height, width)).astype(np.float32), -1, stroke / 9)
    shade = np.clip(gray * 1.15 + 0.16 + 0.3 * grain * (1 - gray), 0, 1)
    out = np.clip(0.55 * dodge**1.6 + 0.45 * shade, 0, 1)
    level = np.array([246, 245, 242], np.float32)
    return clip(40 + out[..., None] * (level - 40)), {}


def ink(image, rng):
    gray = cv2.GaussianBlur(gray_of(image), (0, 0), 0.8)
    fine, coarse = cv2.GaussianBlur(gray, (0, 0), 0.8), cv2.GaussianBlur(gray, (0, 0), 2.4)
    edge = fine - 0.97 * coarse
    line = np.where(edge > 0.0, 1.0, 1 + np.tanh(40 * edge))
    wash = 0.25 + 0.75 * (np.digitize(gray, [0.22, 0.45]) / 2.0)
    return on_paper(np.clip(np.minimum(line, wash), 0, 1).astype(np.float32), rng)


def charcoal(image, rng):
    """Broad dark smudges and grain on rough paper; no fine line."""
    gray = cv2.GaussianBlur(gray_of(image), (0, 0), 1.4)
    grain = 0.6 * noise(gray.shape, rng, 0.9) + 0.8 * noise(gray.shape, rng, 2.2)
    dark = np.clip(1.25 - 1.35 * gray, 0, 1) ** 1.3
    cover = 1 / (1 + np.exp(-7 * (dark - 0.40 + 0.08 * grain)))
    edge = cv2.GaussianBlur(gray, (0, 0), 1.0) - cv2.GaussianBlur(gray, (0, 0), 3.5)
    cover = np.maximum(cover, np.clip(-edge * 18, 0, 1) * (0.75 + 0.2 * grain))
    paper = np.array([(238, 232, 220), (214, 204, 186), (196, 196, 200)][rng.integers(3)], np.float32)
    return clip(paper + 4 * grain[..., None] - np.clip(cover, 0, 1)[..., None] * (paper - 30)), {}


def woodcut(image, rng):
    """Carved lines that follow a bent stripe pattern; their width carries the tone."""
    gray = cv2.GaussianBlur(gray_of(image), (0, 0), 1.2)
    height, width = gray.shape
    ys, xs = np.mgrid[0:height, 0:width].astype(np.float32)
    angle = rng.uniform(-0.5, 0.5)
    phase = (ys * np.cos(angle) + xs * np.sin(angle)) + 14 * gray + 2 * noise(gray.shape, rng, 8)
    stripe = 0.5 + 0.5 * np.sin(2 * np.pi * phase / 6.0)
    paper = 1 / (1 + np.exp(-14 * (gray * 1.5 - 0.25 - 0.6 * stripe)))
    name, colours = any_palette(rng)
    dark, light = colours[0] * 0.6, colours[-1]
    return clip(dark + paper[..., None] * (light - dark)), {"palette": name}


def halftone(image, rng):
    gray = np.clip(gray_of(image) * 1.1, 0, 1)
    ys, xs = np.mgrid[0 : gray.shape[0], 0 : gray.shape[1]].astype(np.float32)
    angle, pitch = np.pi / 4, 6.0
    u, v = (xs * np.cos(angle) + ys * np.sin(angle)), (-xs * np.sin(angle) + ys * np.cos(angle))
    screen = 0.5 + 0.25 * (np.cos(2 * np.pi * u / pitch) + np.cos(2 * np.pi * v / pitch))
    dots = 1 / (1 + np.exp(-12 * (cv2.GaussianBlur(gray, (0, 0), 1.2) - screen)))
    name, colours = any_palette(rng)
    dark, light = colours[rng.integers(0, 2)], colours[-1]
    return clip(dark + dots[..., None] * (light - dark)), {"palette": name}
