"""The parts of a base from files: a diffusers folder, or a single-file checkpoint (:mod:`~acfun_core.backends.checkpoint`).

Only safetensors files are read and nothing is ever downloaded.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError

from ..demo_base import base_key
from ..errors import ACFunError
from ..storage.tensor_file import check_finite, opened, stored
from .checkpoint import check_floats, from_checkpoint
from .claims import check_claims
from .clip import load_text_encoder, load_tokenizer, read_json, read_weights, weight_file
from .families import SDXL, TEXT_TO_IMAGE, Family, Parts, family_of
from .libraries import imported
from .scheduler import Told, schedule_from_config

_LOCAL = {"local_files_only": True, "low_cpu_mem_usage": False}


def load_parts(
    base: str | Path,
    tokenizer: str | Path | None = None,
    dtype: torch.dtype = torch.float32,
    told: Told | None = None,
) -> Parts:
    """Read a base.

    Args:
        base: a diffusers folder (``unet``, ``vae``, ``text_encoder``, ``tokenizer``, ``scheduler``; of SDXL also
            ``text_encoder_2`` and ``tokenizer_2``), or a ``.safetensors`` checkpoint.
        tokenizer: folder with ``vocab.json`` and ``merges.txt``; needed for a checkpoint, which does not hold them.
        dtype: of the UNet, and in float16 of SDXL's text encoders, which in float32 take 3.3 GB; other text encoders and the
            VAE are always float32.
        told: goes before what the files say.

    Raises:
        ACFunError: something is missing, cannot be read, or is not a text-to-image base of Stable Diffusion 1.x, 2.x or SDXL
            that predicts noise or v.
    """
    base, told = Path(base), told or Told()
    if base.is_dir():
        parts = _from_folder(base, tokenizer, dtype, told)
    elif base.is_file():
        parts = from_checkpoint(base, tokenizer, dtype, told)
    else:
        raise ACFunError(
            f"There is no base at {base}.", "a diffusers folder or a checkpoint (.safetensors)", "check the path"
        )
    # Steps of S*'s row would be lost in bfloat16's rounding.
    if parts.family is SDXL and dtype != torch.bfloat16:
        parts = replace(parts, text_encoders=tuple(encoder.to(dtype) for encoder in parts.text_encoders))
    for module in (parts.unet, parts.vae, *parts.text_encoders):
        # The files' numbers were finite; in half precision large ones are not.
        if dtype == torch.float16:
            check_finite(base, module.state_dict(), "load the base in float32")
        module.eval().requires_grad_(False)
    return parts


def _from_folder(folder: Path, tokenizer: str | Path | None, dtype: torch.dtype, told: Told) -> Parts:
    _check_there(folder, "unet")
    unet_config = read_json(folder / "unet" / "config.json")
    family = family_of(folder, unet_config)
    for part in ("vae", *(reading.part for reading in family.readings)):
        _check_there(folder, part, family)
    scheduler = read_json(folder / "scheduler" / "scheduler_config.json")
    prediction, schedule = schedule_from_config(folder, scheduler, told)
    vae_class = read_json(folder / "vae" / "config.json").get("_class_name", "AutoencoderKL")
    if vae_class not in ("AutoencoderKL", "AutoencoderTiny"):
        raise ACFunError(
            f"The VAE of {folder} is a {vae_class}.", "AutoencoderKL or AutoencoderTiny", f"name {TEXT_TO_IMAGE}"
        )
    return Parts(
        _diffusers_model(folder, "unet", "UNet2DConditionModel", dtype),
        _diffusers_model(folder, "vae", vae_class, torch.float32),
        tuple(
            load_text_encoder(
                read_json(folder / reading.part / "config.json"), read_weights(folder / reading.part), reading.pools
            )
            for reading in family.readings
        ),
        _tokenizers(folder, family, tokenizer),
        schedule,
        family,
        "" if unet_config["cross_attention_dim"] == family.width else base_key(folder),
        prediction,
        scheduler.get("timestep_spacing") == "trailing",
    )


def _check_there(folder: Path, part: str, family: Family | None = None) -> None:
    if not (folder / part / "config.json").is_file():
        needed = ", ".join(reading.part for reading in family.readings) if family else "text_encoder"
        raise ACFunError(
            f"{folder} has no {part}/config.json.",
            f"a diffusers folder with unet, vae, {needed}, tokenizer and scheduler"
            + (f", as {family.title} has them" if family else ""),
            "name the folder that holds model_index.json",
        )


def _tokenizers(folder: Path, family: Family, tokenizer: str | Path | None) -> tuple[Any, ...]:
    """One for each text encoder: all that CLIP's models have numbers the words alike, unless words were added to one."""
    if tokenizer:
        return (load_tokenizer(Path(tokenizer)),) * len(family.readings)
    return tuple(load_tokenizer(folder / reading.words) for reading in family.readings)


def _diffusers_model(folder: Path, part: str, class_name: str, dtype: torch.dtype) -> Any:
    file = weight_file(folder / part)
    # diffusion_pytorch_model.safetensors, or diffusion_pytorch_model.fp16.safetensors where fp16 is the "variant".
    _, _, variant = file.stem.partition(".")
    model_class = imported("diffusers", class_name)
    with opened(file) as content:
        shapes: Mapping[str, tuple[int, ...]] = {name: tensor.shape for name, tensor in stored(content).items()}
        check_claims(model_class.from_config, read_json(folder / part / "config.json"), shapes, part)
        check_floats(content, file, part)
    settings = {"torch_dtype": dtype, "variant": variant or None, "use_safetensors": True, "output_loading_info": True}
    try:
        model, loading = model_class.from_pretrained(str(folder), subfolder=part, **settings, **_LOCAL)
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise ACFunError(
            f"{folder / part} cannot be loaded: {str(error)[:300]}.", f"a whole {class_name}", "copy the folder again"
        ) from error
    # diffusers would leave these at random and go on.
    missing = list(loading["missing_keys"])
    if missing:
        raise ACFunError(
            f"{file} lacks {len(missing)} weights ({', '.join(missing[:2])} ...).",
            f"a whole {class_name}",
            "copy the folder again",
        )
    return model
