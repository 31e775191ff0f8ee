"""Measure the exported base; print one JSON line.

Needs the data (`--data`, prepared into `--run` if that was not done yet) and the packages of `tools/base/requirements.txt`
and `benchmarks/requirements.txt`. Every held-out sitter and artist is one that no part of the base has seen.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from tools.measure import style
from tools.measure.faces import FaceFinder

from . import data, likeness
from .common import arguments, load_config, sheet, to_tensor
from .draw import decode, drawn, exported
from .judges import MEDIA, SEXES, LinearJudge, NetJudge, medium_judge, sex_judge
from .sampling import REPORT_GRID, contexts, sample
from .tokenizer import CLIPTokenizer
from .train_autoencoder import evaluate
from .train_encoders import Pair, caption_top1, pixels
from .train_image_encoder import PENULTIMATE

PSNR_SIZE = 256


def psnr(vae, folder: Path, records: list[dict], kind: str) -> float:
    """Mean PSNR in dB at 256 px over the held-out pictures of a kind, taken anew from the data."""
    cfg = load_config(Path(__file__).with_name("config.json"))
    cfg.image_size = PSNR_SIZE
    pictures = [
        data.prepare_one(folder, r, cfg, np.random.default_rng(0))[0]
        for r in records
        if r["kind"] == kind and data.held_out(r)
    ]
    half = cfg.align.margin // 2
    return evaluate(vae, to_tensor(np.stack(pictures)[:, half:-half, half:-half]))[0]


@torch.no_grad()
def style_neighbours(image_encoder, prepared: np.ndarray, records: list[dict], cfg) -> float:
    """Share of held-out simulated pictures whose nearest neighbour, another sitter's, is in the same medium.

    Nearness is the cosine of the mean and deviation of the penultimate layer's patch tokens (those AFun attends to),
    standardised over the pictures.
    """
    held = [i for i, r in enumerate(records) if r["heldout"] and r["kind"] == "media"]
    x = pixels(prepared[held], cfg.encoders.image_size, cfg, None)
    layers = (image_encoder(part, output_hidden_states=True).hidden_states for part in x.split(32))
    tokens = torch.cat([layer[PENULTIMATE][:, 1:] for layer in layers])
    features = torch.cat([tokens.mean(1), tokens.std(1)], 1)
    features = F.normalize((features - features.mean(0)) / features.std(0), dim=1)
    near = features @ features.t()
    sitters = np.array([records[i]["file"] for i in held])
    near[torch.from_numpy(np.equal.outer(sitters, sitters))] = -2
    media = np.array([records[i]["medium"] for i in held])
    return float((media[near.argmax(1).numpy()] == media).mean())


@torch.no_grad()
def round_trip(vae, pictures: np.ndarray) -> np.ndarray:
    """The pictures as the autoencoder gives them back: what samples can look like at best."""
    return np.concatenate(
        [
            decode(vae, vae.encode(to_tensor(part)).latents)
            for part in np.array_split(pictures, max(1, len(pictures) // 4))
        ]
    )


@dataclass(frozen=True)
class Lessons:
    """What judges learn from and are checked on, each with its records.

    Seen sitters as they are and every fifth picture as the autoencoder gives it back; unseen ones only as given back.
    """

    shown: np.ndarray
    shown_records: list[dict]
    unseen: np.ndarray
    unseen_records: list[dict]

    @classmethod
    def of(cls, vae, pictures: np.ndarray, records: list[dict]) -> Lessons:
        unseen = np.flatnonzero([r["heldout"] for r in records])
        seen = np.flatnonzero([not r["heldout"] for r in records])
        back = seen[::5]
        return cls(
            np.concatenate([pictures[seen], round_trip(vae, pictures[back])]),
            [records[i] for i in (*seen, *back)],
            round_trip(vae, pictures[unseen]),
            [records[i] for i in unseen],
        )


def judged(judge: NetJudge | LinearJudge, key: str, lessons: Lessons) -> dict:
    """Train a judge of what the records call `key`, and check it."""
    shown, unseen = (
        np.array([judge.classes.index(r[key]) for r in records])
        for records in (lessons.shown_records, lessons.unseen_records)
    )
    right = judge.fit(lessons.shown, shown)(lessons.unseen) == unseen
    return {"pictures": len(unseen), "right": float(right.mean())}


def sample_figures(images: np.ndarray, sex: NetJudge, medium: LinearJudge) -> dict:
    """What is in the samples, against their captions."""
    find = FaceFinder()
    found = np.array([find(image) is not None for image in images])
    grid = [REPORT_GRID[k % len(REPORT_GRID)] for k in range(len(images))]
    sexes = np.array([SEXES.index(g.sex) for g in grid])
    named = np.array([g.medium is not None for g in grid])
    wanted = np.array([MEDIA.index(g.medium) if g.medium else -1 for g in grid])
    sex_ok, medium_ok = sex(images) == sexes, medium(images) == wanted
    by = {}
    for name in (*MEDIA, None):
        here = np.array([g.medium == name for g in grid])
        by[name or "painting"] = {
            "faces": float(found[here].mean()),
            "sex": float(sex_ok[here].mean()),
            **({"medium": float(medium_ok[here].mean())} if name else {}),
        }
    return {
        "samples": len(images),
        "faces_found": float(found.mean()),
        "sex_right": float(sex_ok.mean()),
        "medium_right": float(medium_ok[named].mean()),
        "by_medium": by,
    }


def photos_of(pictures: np.ndarray, records: list[dict], heldout: bool) -> likeness.Photos:
    """The photos of the training's sitters, or of those kept unseen."""
    chosen = [i for i, r in enumerate(records) if r["kind"] == "photo" and r["heldout"] == heldout]
    return likeness.Photos(pictures[chosen], np.array([records[i]["gender"] for i in chosen]))


def media_of(pictures: np.ndarray, records: list[dict]) -> likeness.Drawn:
    """The simulated media among pictures of unseen sitters."""
    chosen = [i for i, r in enumerate(records) if r["kind"] == "media"]
    names, groups = zip(*((records[i]["file"], f"{records[i]['gender']} {records[i]['medium']}") for i in chosen))
    return likeness.Drawn(pictures[chosen], np.array(names), np.array(groups))


def rounded(value):
    if isinstance(value, dict):
        return {k: rounded(v) for k, v in value.items()}
    return round(value, 3) if isinstance(value, float) else value


def main() -> None:
    args = arguments(__doc__)
    cfg = args.cfg
    # Models that may be missing: now, and not after all samples are drawn.
    style.weights(), FaceFinder()
    if not (args.run / "images.npy").exists():
        data.prepare(args)
    start = time.perf_counter()
    parts = exported(args.export)
    tokenizer = CLIPTokenizer.from_pretrained(args.export / "tokenizer")
    result = {"image_size": cfg.image_size, "load_seconds": time.perf_counter() - start}
    manifest = data.manifest(args.data)
    result["psnr_portraits"], result["psnr_art"] = (
        psnr(parts["vae"], args.data, manifest, k) for k in ("photo", "art")
    )
    prepared, records = data.load(args.run)
    pair = Pair(cfg.encoders, tokenizer)
    pair.text, pair.image = parts["text_encoder"], parts["image_encoder"]
    result["caption_top1"] = caption_top1(pair, tokenizer, args.run, cfg, groups=10)
    result["style_nn"] = style_neighbours(parts["image_encoder"], prepared, records, cfg)

    start = time.perf_counter()
    context = contexts(parts["text_encoder"], tokenizer, ["a photo of a woman", ""])
    decode(parts["vae"], sample(parts["unet"], context[:1], context[1:], cfg.image_size // 8, 40, cfg.sample.cfg, 0))
    result["seconds_per_picture"] = time.perf_counter() - start

    images = drawn(args)
    sheet(args.run / "sheet_report.png", to_tensor(images), len(REPORT_GRID))
    known = [i for i, r in enumerate(records) if r["kind"] in ("photo", "media")]
    half = cfg.align.margin // 2
    pictures, known = prepared[known][:, half:-half, half:-half], [records[i] for i in known]
    sex, medium, lessons = sex_judge(), medium_judge(), Lessons.of(parts["vae"], pictures, known)
    result["judges"] = {"sex": judged(sex, "gender", lessons), "medium": judged(medium, "medium", lessons)}
    result.update(sample_figures(images, sex, medium))
    training, unseen = (photos_of(pictures, known, heldout) for heldout in (False, True))
    drawn_photos = np.array([REPORT_GRID[k % len(REPORT_GRID)].medium == "photo" for k in range(len(images))])
    decoded = round_trip(parts["vae"], training.pictures)
    media = media_of(lessons.unseen, lessons.unseen_records)
    result.update(likeness.figures(images, drawn_photos, training, decoded, unseen, media))
    result["weights_mb"] = sum(f.stat().st_size for f in args.export.rglob("*.safetensors")) / 1e6
    print(json.dumps(rounded(result)))


if __name__ == "__main__":
    main()
