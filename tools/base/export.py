"""Write the base as a diffusers pipeline folder in half precision.

Parts that are not trained yet are exported with their random initial weights, so that loaders can be
written against the final layout early.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import torch
from safetensors.torch import load_file

from . import models
from .common import arguments, status
from .tokenizer import CLIPTokenizer

PIPELINE = {
    "_class_name": "StableDiffusionPipeline",
    "feature_extractor": ["transformers", "CLIPImageProcessor"],
    "image_encoder": ["transformers", "CLIPVisionModelWithProjection"],
    "requires_safety_checker": False,
    "safety_checker": [None, None],
    "scheduler": ["diffusers", "DDIMScheduler"],
    "text_encoder": ["transformers", "CLIPTextModelWithProjection"],
    "tokenizer": ["transformers", "CLIPTokenizer"],
    "unet": ["diffusers", "UNet2DConditionModel"],
    "vae": ["diffusers", "AutoencoderTiny"],
}
MEAN, DEVIATION = [0.48145466, 0.4578275, 0.40821073], [0.26862954, 0.26130258, 0.27577711]


def load_parts(run: Path, cfg, tokenizer) -> dict[str, torch.nn.Module]:
    """The four networks with the run's trained weights where they exist, in evaluation mode."""
    parts = {
        "vae": models.autoencoder(),
        "text_encoder": models.text_encoder(cfg.encoders, tokenizer),
        "image_encoder": models.image_encoder(cfg.encoders),
        "unet": models.unet(cfg.unet, cfg.encoders.width, cfg.image_size // 8),
    }
    files = {"vae": "autoencoder", "text_encoder": "text_encoder", "image_encoder": "image_encoder", "unet": "unet"}
    for name, module in parts.items():
        path = run / f"{files[name]}.safetensors"
        if path.exists():
            module.load_state_dict(load_file(path))
        module.eval().requires_grad_(False)
    return parts


def image_processor(size: int) -> dict:
    return {
        "image_processor_type": "CLIPImageProcessor",
        "do_resize": True,
        "size": {"shortest_edge": size},
        "do_center_crop": True,
        "crop_size": {"height": size, "width": size},
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": MEAN,
        "image_std": DEVIATION,
        "do_convert_rgb": True,
        "resample": 3,
    }


def main() -> None:
    args = arguments(__doc__)
    tokenizer = CLIPTokenizer.from_pretrained(args.run / "tokenizer")
    for name, module in load_parts(args.run, args.cfg, tokenizer).items():
        module.half().save_pretrained(args.export / name, safe_serialization=True)
        for config in (args.export / name).glob("config.json"):  # library versions say nothing about the weights
            kept = {
                k: v
                for k, v in json.loads(config.read_text()).items()
                if k not in ("transformers_version", "_name_or_path")
            }
            config.write_text(json.dumps(kept, indent=2) + "\n")
    models.scheduler().save_pretrained(args.export / "scheduler")
    shutil.copytree(args.run / "tokenizer", args.export / "tokenizer", dirs_exist_ok=True)
    folder = args.export / "feature_extractor"
    folder.mkdir(exist_ok=True)
    (folder / "preprocessor_config.json").write_text(
        json.dumps(image_processor(args.cfg.encoders.image_size), indent=2) + "\n"
    )
    (args.export / "model_index.json").write_text(json.dumps(PIPELINE, indent=2) + "\n")
    size = sum(f.stat().st_size for f in args.export.rglob("*.safetensors")) / 1e6
    status(args.run, f"export: {size:.1f} MB of weights in {args.export.name}/")


if __name__ == "__main__":
    main()
