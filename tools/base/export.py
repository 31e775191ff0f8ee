"""The four networks' weights: in a run's folder, as a base in diffusers' layout, and as a parcel.

    python -m tools.base.export --from PARCEL --export FOLDER

turns a parcel into a base. A parcel is what a machine gives back that lets few and small files out: all networks' tensors in
half precision (`unet.conv_in.weight`, ...), in shards of at most 16 MB, and the tokenizer's two files.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from huggingface_hub import split_torch_state_dict_into_shards
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from . import models
from .common import arguments, save_weights
from .tokenizer import CLIPTokenizer, settle

SHARD = 16_000_000
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


def fresh(cfg, tokenizer: CLIPTokenizer) -> dict[str, nn.Module]:
    """The four networks with random weights."""
    return {
        "vae": models.autoencoder(),
        "text_encoder": models.text_encoder(cfg.encoders, tokenizer),
        "image_encoder": models.image_encoder(cfg.encoders),
        "unet": models.unet(cfg.unet, cfg.encoders.width, cfg.image_size // 8),
    }


def _given(folder: Path) -> dict[str, dict[str, Tensor]]:
    """Tensors of each network in a base or a parcel."""
    parts = {path.name: list(path.glob("*.safetensors")) for path in folder.iterdir() if path.is_dir()}
    found = {
        name: {k: v for file in files for k, v in load_file(file).items()} for name, files in parts.items() if files
    }
    for file in folder.glob("*.safetensors"):
        for key, value in load_file(file).items():
            name, _, rest = key.partition(".")
            found.setdefault(name, {})[rest] = value
    return found


def load_given(folder: Path, networks: dict[str, nn.Module]) -> set[str]:
    """Read the weights of a base or a parcel into the networks. -> the names of those that are there.

    Raises:
        SystemExit: the folder holds none, or weights of other sizes than the config's.
    """
    found = _given(folder) if folder.is_dir() else {}
    known = found.keys() & networks.keys()
    if not known:
        raise SystemExit(f"{folder} holds no weights: name a base (unet/, vae/, ...) or a parcel with --from.")
    for name in known:
        try:
            networks[name].load_state_dict(found[name])
        except RuntimeError as error:
            raise SystemExit(f"{name} in {folder} does not have the sizes that the config gives: {error}") from error
    return set(known)


def load_run(run: Path, networks: dict[str, nn.Module]) -> set[str]:
    """Read what a run has kept. -> the names of those that are there."""
    known = {name for name in networks if (run / f"{name}.safetensors").exists()}
    for name in known:
        networks[name].load_state_dict(load_file(run / f"{name}.safetensors"))
    return known


def save_run(run: Path, networks: dict[str, nn.Module]) -> None:
    for name, network in networks.items():
        save_weights(run / f"{name}.safetensors", network.state_dict())


def write_parcel(networks: dict[str, nn.Module], tokenizer: Path, out: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    tensors = {
        f"{name}.{k}": v.half().cpu().contiguous() for name, n in networks.items() for k, v in n.state_dict().items()
    }
    split = split_torch_state_dict_into_shards(
        tensors, filename_pattern="weights{suffix}.safetensors", max_shard_size=SHARD
    )
    for file, keys in split.filename_to_tensors.items():
        save_file({key: tensors[key] for key in keys}, out / file)
    for name in ("vocab.json", "merges.txt"):
        shutil.copy(tokenizer / name, out / name)


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


def write_base(networks: dict[str, nn.Module], tokenizer: Path, out: Path) -> None:
    """The folder of a StableDiffusionPipeline, in half precision, one file a network."""
    for name, network in networks.items():
        network.half().save_pretrained(out / name, safe_serialization=True)
        config = json.loads((out / name / "config.json").read_text())
        for key in ("transformers_version", "_name_or_path"):  # they say nothing about the weights
            config.pop(key, None)
        (out / name / "config.json").write_text(json.dumps(config, indent=2) + "\n")
        if name == "image_encoder":
            size = image_processor(network.config.image_size)
            (out / "feature_extractor").mkdir(exist_ok=True)
            (out / "feature_extractor" / "preprocessor_config.json").write_text(json.dumps(size, indent=2) + "\n")
    models.scheduler().save_pretrained(out / "scheduler")
    settle(tokenizer, out / "tokenizer")
    (out / "model_index.json").write_text(json.dumps(PIPELINE, indent=2) + "\n")


def main() -> None:
    args = arguments(__doc__, {"--from": {"dest": "given", "type": Path, "required": True, "help": "the parcel"}})
    settle(args.given, args.export / "tokenizer")
    networks = fresh(args.cfg, CLIPTokenizer.from_pretrained(args.export / "tokenizer"))
    known = load_given(args.given, networks)
    write_base({name: networks[name] for name in known}, args.export / "tokenizer", args.export)


if __name__ == "__main__":
    main()
