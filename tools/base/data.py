"""Prepare the pictures: align portraits by their eyes, simulate media, write one array and one list.

Reads a folder with `manifest.jsonl` (one JSON object a line: file, kind `photo` or `art`, face
landmarks, attributes) and writes to the run folder `images.npy` (uint8 [n, s, s, 3], s = image size
plus margin) and `records.jsonl` (one object a picture, in the same order).
"""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path

import cv2
import numpy as np

from . import media
from .common import arguments, status

MIN_ART_EYES = 18.0  # pixels between the eyes below which a painted face is too small to enlarge
SMILE, SERIOUS = 0.925, 0.885  # mouth width over eye distance
GLASSES = 1.95


def held_out(record: dict) -> bool:
    """One sitter or artist in ten, by a fixed hash of the name."""
    if record["kind"] == "photo":
        name = re.sub(r"^(house|senate)-", "", Path(record["file"]).stem)
    else:
        name = record["artist"]
        name = record["file"] if name == "Unknown" else name
    return hashlib.sha256(name.encode()).digest()[0] % 10 == 0


def align(
    image: np.ndarray, landmarks: list, side: int, eye_distance: float, eye_center: tuple[float, float]
) -> np.ndarray:
    """Rotate, scale and shift so that the eyes' middle lies at `eye_center` (in 0..1 of `side`)
    and the eyes are `eye_distance * side` apart. Missing border is mirrored."""
    left, right = np.asarray(landmarks[0], float), np.asarray(landmarks[1], float)
    middle, delta = (left + right) / 2, right - left
    scale = eye_distance * side / max(float(np.hypot(*delta)), 1e-3)
    angle = np.arctan2(delta[1], delta[0])
    cos, sin = np.cos(angle) * scale, np.sin(angle) * scale
    matrix = np.array([[cos, sin, 0.0], [-sin, cos, 0.0]])
    matrix[:, 2] = np.asarray(eye_center) * side - matrix[:, :2] @ middle
    if scale < 0.7:  # warpAffine does not low-pass
        image = cv2.GaussianBlur(image, (0, 0), 0.45 / scale)
    return cv2.warpAffine(image, matrix, (side, side), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT_101)


def square(image: np.ndarray, side: int) -> np.ndarray:
    """Central square (upper part of tall pictures), resized."""
    height, width = image.shape[:2]
    edge = min(height, width)
    top, left = (height - edge) // 4, (width - edge) // 2
    return cv2.resize(image[top : top + edge, left : left + edge], (side, side), interpolation=cv2.INTER_AREA)


def glasses_score(aligned: np.ndarray, eye: float, center: tuple[float, float]) -> float:
    """Strength of horizontal edges on the nose bridge and below the eyes, where frames run."""
    side = len(aligned)
    x, y, d = center[0] * side, center[1] * side, eye * side
    gray = cv2.cvtColor(aligned, cv2.COLOR_RGB2GRAY).astype(np.float32)

    def cut(image: np.ndarray, cx: float, cy: float, hw: float, hh: float) -> np.ndarray:
        return image[round(cy - hh) : round(cy + hh), round(cx - hw) : round(cx + hw)]

    gray = cv2.GaussianBlur(gray, (0, 0), 0.8) / (cut(gray, x, y + 0.24 * d, 0.9 * d, 1.07 * d).mean() + 1)
    edge = np.abs(cv2.Sobel(gray, cv2.CV_32F, 0, 1, ksize=3))
    rims = [cut(edge, x + s * d / 2, y + 0.43 * d, 0.23 * d, 0.19 * d).max(0).mean() for s in (-1, 1)]
    return float(cut(edge, x, y - 0.02 * d, 0.14 * d, 0.19 * d).max(0).mean() + 0.7 * np.mean(rims))


def background(aligned: np.ndarray) -> str:
    """Colour name of the upper corners, or nothing where they differ or are hard to name."""
    side = len(aligned) // 6
    corners = np.stack(
        [aligned[: 2 * side, :side].reshape(-1, 3).mean(0), aligned[: 2 * side, -side:].reshape(-1, 3).mean(0)]
    )
    if np.abs(corners[0] - corners[1]).max() > 70:
        return ""
    colour = corners.mean(0)
    low, high = colour.min(), colour.max()
    if high < 55:
        return "black"
    if low > 200:
        return "white"
    if high - low < 28:
        return "gray"
    hue = int(cv2.cvtColor(np.uint8([[colour]]), cv2.COLOR_RGB2HSV)[0, 0, 0]) * 2
    for limit, name in (
        (18, "red"),
        (48, "brown"),
        (75, "yellow"),
        (165, "green"),
        (260, "blue"),
        (330, "purple"),
        (361, "red"),
    ):
        if hue < limit:
            return name
    return ""


def attributes(aligned: np.ndarray, landmarks: list, eye: float, center: tuple[float, float]) -> dict:
    """Weak labels measured on an aligned photo; thresholds were set by looking at sorted sheets."""
    out = {}
    mouth, eyes = (float(np.hypot(*np.subtract(landmarks[a], landmarks[b]))) for a, b in ((3, 4), (0, 1)))
    if mouth / eyes > SMILE:
        out["mood"] = "smiling"
    elif mouth / eyes < SERIOUS:
        out["mood"] = "serious"
    if glasses_score(aligned, eye, center) > GLASSES:
        out["glasses"] = True
    if name := background(aligned):
        out["background"] = name
    return out


def prepare_one(data: Path, record: dict, cfg, rng: np.random.Generator) -> tuple[np.ndarray, dict]:
    image = cv2.imread(str(data / record["file"]))[:, :, ::-1]
    size, margin = cfg.image_size, cfg.align.margin
    side = size + margin
    # Placement is given for the central crop; the margin around it leaves room for jitter.
    eye = cfg.align.eye_distance * size / side
    center = tuple((c * size + margin / 2) / side for c in cfg.align.eye_center)
    face = record.get("face")
    eyes = float(np.hypot(*np.subtract(*face["landmarks"][:2]))) if face else 0.0
    out = {
        "file": record["file"],
        "kind": record["kind"],
        "medium": "photo" if record["kind"] == "photo" else "painting",
        "heldout": held_out(record),
        "portrait": bool(record["kind"] == "photo" or eyes >= MIN_ART_EYES),
    }
    out.update({k: record[k] for k in ("gender", "birth_year", "title", "artist", "year") if record.get(k)})
    if out["portrait"]:
        if record["kind"] == "art":  # loosely: paintings keep some of their own framing
            eye *= float(np.clip(eyes / (eye * side), 0.75, 1.0))
        aligned = align(image, face["landmarks"], side, eye, center)
        if record["kind"] == "photo":
            out.update(attributes(aligned, face["landmarks"], eye, center))
        return aligned, out
    return square(image, side), out


def manifest(folder: Path | None) -> list[dict]:
    """The records of `manifest.jsonl` in the data's folder."""
    if folder is None or not (folder / "manifest.jsonl").is_file():
        raise SystemExit(f"No manifest.jsonl in {folder}: name the folder of the training data with --data FOLDER.")
    return [json.loads(line) for line in (folder / "manifest.jsonl").read_text().splitlines() if line.strip()]


def prepare(args) -> None:
    """Write `images.npy` and `records.jsonl` into the run folder."""
    cfg, rng = args.cfg, np.random.default_rng(args.cfg.seed)
    cv2.setNumThreads(1)
    records = manifest(args.data)
    status(args.run, f"data: preparing {len(records)} pictures")
    images, out = [], []
    for record in records:
        image, entry = prepare_one(args.data, record, cfg, rng)
        images.append(image), out.append(entry)
    names = list(media.MEDIA)
    turn = 0
    for i, entry in enumerate(list(out)):
        if entry["kind"] != "photo":
            continue
        for _ in range(cfg.media_per_photo if names else 0):
            name = names[turn % len(names)]
            turn += 1
            picture, extra = media.render(name, images[i], rng)
            images.append(picture), out.append({**entry, "kind": "media", "medium": name, **extra})
    np.save(args.run / "images.npy", np.stack(images))
    (args.run / "records.jsonl").write_text("".join(json.dumps(r, ensure_ascii=False) + "\n" for r in out))
    status(args.run, f"data: {len(out)} pictures prepared, {sum(r['heldout'] for r in out)} held out")


def load(run: Path) -> tuple[np.ndarray, list[dict]]:
    """Prepared pictures (memory-mapped) and their records."""
    records = [json.loads(line) for line in (run / "records.jsonl").read_text().splitlines()]
    return np.load(run / "images.npy", mmap_mode="r"), records


def main() -> None:
    prepare(arguments(__doc__))


if __name__ == "__main__":
    main()
