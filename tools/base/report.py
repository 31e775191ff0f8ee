"""Measure the exported base; print a table and, as the last line, one JSON object.

    python -m tools.base.report --data FOLDER --run FOLDER [--workers 2] [--samples 64]

The data's folder is described in `pictures/album.py`; the measures need the packages of `tools/measure/requirements.txt` too.
No part of the base has seen the held-out sitters and artists, who are called unseen here. Samples and decoded pictures are kept
in the run folder, and a report goes on with what is there; there too `sheet_report.png` shows the standard samples and
`nearest.png` the eight nearest to a training sitter by each face encoder, above that sitter.
"""

from __future__ import annotations

import json
import sys
import time

import numpy as np
import torch

from tools.measure import style
from tools.measure.faces import FaceFinder
from tools.measure.pictures import share, unexplained_chroma

from . import likeness
from .classifiers import LinearJudge, NetJudge, accuracy, medium_judge, sex_judge
from .common import arguments, sheet, to_tensor
from .draw import OPTIONS, decode, drawn, exported, native_side
from .gallery import MEDIA, SEXES, Gallery, Shown, decoded, in_media, sitter
from .report_table import table
from .sampling import Wanted, asked, contexts, sample
from .tokenizer import CLIPTokenizer
from .traits import Traits

WITHOUT_COLOUR = 3.0
"""Chroma beside lightness (:func:`unexplained_chroma`) below which a photo counts as grey or toned."""


def psnr(pictures: np.ndarray, back: np.ndarray) -> float:
    """Mean over the pictures of the PSNR in dB, uint8 [n, s, s, 3] both."""
    errors = np.square(pictures.astype(np.float32) - back).mean((1, 2, 3))
    return float((10 * np.log10(255**2 / errors)).mean())


def autoencoder_figures(gallery: Gallery, back: tuple[Shown, Shown, Shown]) -> dict:
    """What the autoencoder keeps of pictures that no training saw, and of the people on them."""
    others, further, art = back
    unseen, photo = others.column("heldout"), others.column("medium") == "photo"
    photos, decoded_photos = (shown.where(unseen & photo) for shown in (gallery.others, others))
    drawings, decoded_drawings = (
        gallery.others.where(unseen & ~photo) + gallery.further,
        others.where(unseen & ~photo) + further,
    )
    return {
        "psnr": {
            "photos": psnr(photos.pictures, decoded_photos.pictures),
            "art": psnr(gallery.art.pictures, art.pictures),
            "media": psnr(drawings.pictures, decoded_drawings.pictures),
        },
        "person_kept": likeness.survives(
            likeness.embeddings(photos.pictures), likeness.embeddings(decoded_photos.pictures)
        ),
    }


def taught(judge: NetJudge | LinearJudge, key: str, shown: Shown, unseen: Shown) -> dict:
    """Train a judge of what the records call `key` on `shown`, and check it on `unseen`."""
    learnt, wanted = (np.array([judge.classes.index(name) for name in s.column(key)]) for s in (shown, unseen))
    return accuracy(judge.fit(shown.pictures, learnt)(unseen.pictures), wanted, judge.classes)


def content_figures(images: np.ndarray, gallery: Gallery, back: tuple[Shown, Shown, Shown]) -> dict:
    """Face, sex and medium of the standard samples against their captions, and how well the judges know them.

    The judges learn from seen people, as they are, in media, and as the autoencoder gives them back; they are checked on unseen
    people, only as given back, which is what samples can look like at best.
    """
    others, further, _ = back
    unseen = others.column("heldout")
    seen = gallery.others.where(~unseen)
    people = seen.where(seen.column("medium") == "photo")
    shown = gallery.photos.where(~gallery.photos.column("heldout")) + in_media(people, 2) + others.where(~unseen)
    sex, medium, check = sex_judge(), medium_judge(), others.where(unseen) + further
    judges = {"sex": taught(sex, "gender", shown, check), "medium": taught(medium, "medium", shown, check)}
    find, grid = FaceFinder(), asked(len(images))
    found = np.array([find(image) is not None for image in images])
    right = {
        "face": found,
        "sex": sex(images) == [SEXES.index(g.sex) for g in grid],
        "medium": medium(images) == [MEDIA.index(g.medium) if g.medium else -1 for g in grid],
    }
    asked_for = np.array([g.medium or "painting" for g in grid])
    by = {
        name: {key: float(marks[asked_for == name].mean()) for key, marks in right.items()}
        for name in (*MEDIA, "painting")
        if (asked_for == name).any()
    }
    drawings = (asked_for != "photo") & (asked_for != "painting")
    return {
        "judges": judges,
        "face_photos": share(found[asked_for == "photo"]),
        "face_all_but_stained_glass": share(found[asked_for != "stained glass"]),
        "sex": share(right["sex"]),
        "medium": share(right["medium"][drawings]),
        "by_medium": by,
    }


def colour_figures(images: np.ndarray, grid: list[Wanted], gallery: Gallery) -> dict:
    """Photo samples without colour; and how many of the data's photos, grey or toned and in colour, the limit gets right."""

    def grey(pictures: np.ndarray) -> np.ndarray:
        return np.array([unexplained_chroma(picture) < WITHOUT_COLOUR for picture in pictures])

    photos = np.array([g.medium == "photo" for g in grid])
    marks, texts = grey(images[photos]), np.array([g.text for g in grid])[photos]
    known = {"grey": grey(gallery.grey.pictures), "colour": ~grey(gallery.photos.pictures)}
    return {
        **{
            text: share(marks[texts == text])
            for text in ("a photo of a man", "a photo of an old man", "a photo of a woman")
        },
        "all photos": share(marks),
        "limit": {name: float(right.mean()) for name, right in known.items()},
    }


def copy_figures(
    images: np.ndarray, grid: list[Wanted], gallery: Gallery, others: Shown
) -> tuple[dict, list[np.ndarray]]:
    """:func:`likeness.beside_others` for photos and for media, by each face encoder; and the samples nearest to a sitter.

    The sitters are all whom a training has seen, in colour or grey; the others are people of both sexes, seen or not.

    Returns:
        the figures, and for each encoder the eight samples nearest to a sitter with that sitter: uint8 [2, 8, s, s, 3].
    """
    sitters = (gallery.photos + gallery.grey).where(
        ~np.concatenate([g.column("heldout") for g in (gallery.photos, gallery.grey)])
    )
    known, strangers, found = (likeness.embeddings(p) for p in (sitters.pictures, others.pictures, images))
    names, own = (np.array([sitter(r) for r in s.records]) for s in (sitters, others))
    groups = np.array([f"{r['gender']} {r['medium']}" for r in others.records])
    kinds = {"photos": others.column("medium") == "photo", "media": others.column("medium") != "photo"}
    asked_photo = np.array([g.medium == "photo" for g in grid])[found.found]
    out, looks = {}, []
    for name, vectors in known.vectors.items():
        here = names[known.found]
        near, which = likeness.to_nearest(found.vectors[name], vectors)
        far, _ = likeness.to_nearest(strangers.vectors[name], vectors, own[strangers.found], here)
        out[name] = {}
        for kind, of in kinds.items():
            mine, theirs = asked_photo == (kind == "photos"), of[strangers.found]
            out[name][kind] = likeness.beside_others(
                near[mine], far[theirs], groups[strangers.found][theirs], own[strangers.found][theirs]
            )
        first = np.argsort(-near)[:8]
        shown = np.flatnonzero(known.found)[which[first]]
        looks.append(np.stack([images[found.found][first], sitters.pictures[shown]]))
    return out, looks


@torch.no_grad()
def cost_figures(args) -> dict:
    """Size on disk, time to load, time of one picture."""
    start = time.perf_counter()
    parts = exported(args.export)
    tokenizer = CLIPTokenizer.from_pretrained(args.export / "tokenizer")
    loaded = time.perf_counter() - start
    side, cfg = native_side(args.export), args.cfg.sample
    start = time.perf_counter()
    context = contexts(parts["text_encoder"], tokenizer, ["a photo of a woman", ""])
    decode(parts["vae"], sample(parts["unet"], context[:1], context[1:], side, cfg.steps, cfg.cfg, 0))
    return {
        "seconds_per_picture": time.perf_counter() - start,
        "threads": torch.get_num_threads(),
        "load_seconds": loaded,
        "weights_mb": sum(f.stat().st_size for f in args.export.rglob("*.safetensors")) / 1e6,
        "image_size": 8 * side,
    }


def rounded(value):
    if isinstance(value, dict):
        return {k: rounded(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [rounded(v) for v in value]
    return round(value, 3) if isinstance(value, float) else value


def main() -> None:
    args = arguments(__doc__, OPTIONS)
    # Models that may be missing: now, and not after all samples are drawn.
    style.weights(), likeness.encoders()
    result = cost_figures(args)
    images, gallery = drawn(args), Gallery.of(args.data)
    back, grid = decoded(args, gallery), asked(len(images))
    standard = images[: args.cfg.sample.standard]
    sheet(args.run / "sheet_report.png", to_tensor(standard), 16)
    result.update(autoencoder_figures(gallery, back))
    result.update(content_figures(standard, gallery, back))
    result["without_colour"] = colour_figures(images, grid, gallery)
    plain = [k for k, g in enumerate(grid) if g.text in ("a painting of a man", "a painting of a woman")]
    find = FaceFinder()
    result["face_plain_painting"] = share(np.array([find(images[k]) is not None for k in plain]))
    result["traits"] = Traits(gallery, back[0], args.data).figures(images, grid)
    result["copies"], looks = copy_figures(images, grid, gallery, back[0])
    sheet(args.run / "nearest.png", to_tensor(np.concatenate([look.reshape(-1, *look.shape[2:]) for look in looks])), 8)
    result = rounded({"samples": len(images), "standard": len(standard), **result})
    print(table(result), file=sys.stderr)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
