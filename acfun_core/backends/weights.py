"""The parts of a Stable Diffusion 1.x base from files: a diffusers folder, or a single-file checkpoint.

Only safetensors files are read and nothing is ever downloaded.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor

from ..demo_base import base_key
from ..diffusion.schedule import NoiseSchedule
from ..errors import ACFunError
from ..storage.tensor_file import check_finite, checked_floats, opened, read_floats, stored
from .claims import check_claims
from .libraries import imported
from .scheduler import Told, schedule_from_config, settled

SD1_CONFIGS = Path(__file__).with_name("sd1")
"""diffusers' and transformers' settings of Stable Diffusion 1.x: a single-file checkpoint does not hold them."""

_TOKENIZER_FILES, _WHOLE_TOKENIZER = ("vocab.json", "merges.txt"), "tokenizer.json"
_LOCAL = {"local_files_only": True, "low_cpu_mem_usage": False}


@dataclass(frozen=True)
class Parts:
    """A base in memory, frozen, in evaluation mode, on the CPU.

    Attributes:
        unet: diffusers' ``UNet2DConditionModel``.
        vae: diffusers' ``AutoencoderKL`` or ``AutoencoderTiny``.
        text_encoder: transformers' ``CLIPTextModelWithProjection``.
        tokenizer: transformers' ``CLIPTokenizer``.
        schedule: what the UNet was trained on.
        key: names the weights, unless they are as wide as Stable Diffusion 1.x, whose checkpoints share their adapters.
        prediction: what the UNet predicts, one of :data:`~acfun_core.method.adapter.PREDICTIONS`.
        trailing: whether drawings leave out the first timestep (diffusers' ``timestep_spacing``).
    """

    unet: Any
    vae: Any
    text_encoder: Any
    tokenizer: Any
    schedule: NoiseSchedule
    key: str = ""
    prediction: str = "epsilon"
    trailing: bool = False


def load_parts(
    base: str | Path,
    tokenizer: str | Path | None = None,
    dtype: torch.dtype = torch.float32,
    told: Told | None = None,
) -> Parts:
    """Read a base.

    Args:
        base: a diffusers folder (``unet``, ``vae``, ``text_encoder``, ``tokenizer``, ``scheduler``), or a ``.safetensors``
            checkpoint.
        tokenizer: folder with ``vocab.json`` and ``merges.txt``; needed for a checkpoint, which does not hold them.
        dtype: of the UNet; text encoder and VAE are always float32.
        told: goes before what the files say.

    Raises:
        ACFunError: something is missing, cannot be read, or is not Stable Diffusion 1.x text-to-image that predicts noise or v.
    """
    base, told = Path(base), told or Told()
    if base.is_dir():
        parts = _from_folder(base, tokenizer, dtype, told)
    elif base.is_file():
        parts = _from_checkpoint(base, tokenizer, dtype, told)
    else:
        raise ACFunError(
            f"There is no base at {base}.",
            "a diffusers folder or a Stable Diffusion 1.x checkpoint (.safetensors)",
            "check the path",
        )
    for module in (parts.unet, parts.vae, parts.text_encoder):
        # The files' numbers were finite; in half precision large ones are not.
        if dtype == torch.float16:
            check_finite(base, module.state_dict(), "load the base in float32")
        module.eval().requires_grad_(False)
    return parts


# -- a diffusers folder ---------------------------------------------------------------------


def _from_folder(folder: Path, tokenizer: str | Path | None, dtype: torch.dtype, told: Told) -> Parts:
    for part in ("unet", "vae", "text_encoder"):
        if not (folder / part / "config.json").is_file():
            raise ACFunError(
                f"{folder} has no {part}/config.json.",
                "a diffusers folder with unet, vae, text_encoder, tokenizer and scheduler",
                "name the folder that holds model_index.json",
            )
    if (folder / "text_encoder_2").is_dir():
        raise _sdxl(folder)
    unet_config = read_json(folder / "unet" / "config.json")
    check_unet_config(folder, unet_config)
    scheduler = read_json(folder / "scheduler" / "scheduler_config.json")
    prediction, schedule = schedule_from_config(folder, scheduler, told)
    vae_class = read_json(folder / "vae" / "config.json").get("_class_name", "AutoencoderKL")
    if vae_class not in ("AutoencoderKL", "AutoencoderTiny"):
        raise ACFunError(
            f"The VAE of {folder} is a {vae_class}.", "AutoencoderKL or AutoencoderTiny", "use an SD 1.x base"
        )
    return Parts(
        _diffusers_model(folder, "unet", "UNet2DConditionModel", dtype),
        _diffusers_model(folder, "vae", vae_class, torch.float32),
        load_text_encoder(read_json(folder / "text_encoder" / "config.json"), read_weights(folder / "text_encoder")),
        load_tokenizer(Path(tokenizer) if tokenizer else folder / "tokenizer"),
        schedule,
        "" if has_sd1_text_width(unet_config) else base_key(folder),
        prediction,
        scheduler.get("timestep_spacing") == "trailing",
    )


def has_sd1_text_width(unet_config: Mapping) -> bool:
    """Whether a UNet listens to text of the width of Stable Diffusion 1.x."""
    return unet_config["cross_attention_dim"] == read_json(SD1_CONFIGS / "unet" / "config.json")["cross_attention_dim"]


def _sdxl(source: Path) -> ACFunError:
    return ACFunError(
        f"{source} is an SDXL base, with two text encoders.",
        "a Stable Diffusion 1.x base",
        "train and draw on SDXL in ComfyUI; its adapter file is the same kind, and info and export read it here",
    )


def _diffusers_model(folder: Path, part: str, class_name: str, dtype: torch.dtype) -> Any:
    file = weight_file(folder / part)
    # diffusion_pytorch_model.safetensors, or diffusion_pytorch_model.fp16.safetensors where fp16 is the "variant".
    _, _, variant = file.stem.partition(".")
    model_class = imported("diffusers", class_name)
    with opened(file) as content:
        shapes = {name: tensor.shape for name, tensor in stored(content).items()}
        check_claims(model_class.from_config, read_json(folder / part / "config.json"), shapes, part)
        _check_floats(content, file, part)
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


def _check_floats(file: Any, path: Path, part: str, prefix: str = "") -> None:
    """Raise before diffusers reads a part that is damaged: it would load numbers that are not finite as they are."""
    for _ in checked_floats(file, path, part, prefix):
        pass


def read_json(path: Path) -> dict:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    # Brackets in brackets without end exhaust Python's stack.
    except (OSError, ValueError, RecursionError) as error:
        raise ACFunError(f"{path} cannot be read: {error}.", "a JSON file", "copy the folder again") from error
    if not isinstance(content, dict):
        raise ACFunError(f"{path} holds no settings.", "a JSON object", "copy the folder again")
    return content


def weight_file(folder: Path) -> Path:
    """The safetensors file of one part; the plain one where there are half-precision variants too."""
    files = sorted(folder.glob("*.safetensors"), key=lambda path: (path.name.count("."), path.name))
    if not files:
        raise ACFunError(
            f"{folder} holds no .safetensors file.",
            "weights as safetensors (pickled .bin and .ckpt files are not read)",
            "get the safetensors version of this base",
        )
    return files[0]


def read_weights(path: Path) -> dict[str, Tensor]:
    """All tensors of a file, or of the weight file of a folder."""
    return read_floats(weight_file(path) if path.is_dir() else path, "model")


def check_unet_config(source: Path, config: Mapping) -> None:
    """Raise unless a UNet takes 4 latent channels and one text condition."""
    if config.get("in_channels", 4) != 4:
        raise ACFunError(
            f"The UNet of {source} takes {config['in_channels']} channels: an inpainting or editing variant.",
            "a text-to-image UNet with 4 latent channels",
            "name a plain Stable Diffusion 1.x base",
        )
    more = config.get("addition_embed_type") is not None or not isinstance(config.get("cross_attention_dim"), int)
    # Stable Diffusion 2.x is built alike but for these projections, and has another text encoder.
    if more or config.get("use_linear_projection"):
        raise ACFunError(
            f"The UNet of {source} is not Stable Diffusion 1.x.",
            "one text encoder and no further conditions",
            "name a Stable Diffusion 1.x base; on 2.x and SDXL train and draw in ComfyUI",
        )


def load_tokenizer(folder: Path) -> Any:
    """CLIP's tokenizer from a folder as any version of transformers saves it: vocab.json and merges.txt, or tokenizer.json."""
    missing = [name for name in _TOKENIZER_FILES if not (folder / name).is_file()]
    if missing and not (folder / _WHOLE_TOKENIZER).is_file():
        raise ACFunError(
            f"The tokenizer folder {folder} lacks {' and '.join(missing)}, and there is no {_WHOLE_TOKENIZER}.",
            f"CLIP's vocab.json and merges.txt, or {_WHOLE_TOKENIZER}",
            "name the tokenizer folder of any Stable Diffusion 1.x diffusers folder, or comfy/sd1_tokenizer of a ComfyUI",
        )
    try:
        tokenizer = imported("transformers", "CLIPTokenizer").from_pretrained(str(folder), local_files_only=True)
    # The tokenizers library raises plain Exceptions over files that are not its own.
    except Exception as error:
        raise ACFunError(
            f"The tokenizer in {folder} cannot be read: {str(error).strip()[:200]}.",
            "CLIP's tokenizer as transformers saves it",
            "copy the folder again",
        ) from error
    # Long prompts are cut into sections here, so there is no length to warn of.
    tokenizer.model_max_length = 2**31 - 1
    return tokenizer


def load_text_encoder(config: Mapping, weights: Mapping[str, Tensor]) -> Any:
    """transformers' text model from settings and weights, float32."""
    settings = {
        key: value for key, value in config.items() if key not in ("dtype", "torch_dtype", "transformers_version")
    }
    model_class, config_class = (
        imported("transformers", name) for name in ("CLIPTextModelWithProjection", "CLIPTextConfig")
    )
    shapes = {name: tensor.shape for name, tensor in weights.items()}
    check_claims(lambda given: model_class(config_class(**given)), settings, shapes, "text encoder")
    model = model_class(config_class(**settings))
    load_strictly(
        model, prefixed(weights, "text_model.", "text_projection."), "text encoder", ("text_projection.weight",)
    )
    return model


def prefixed(weights: Mapping[str, Tensor], prefix: str, beside: str) -> dict[str, Tensor]:
    """Weights under the names of transformers' models with a projection; files may name them from the transformer on.

    Args:
        prefix: what the transformer's names begin with, such as ``text_model.``; ``beside``: the projection's.
    """
    if any(key.startswith(prefix) for key in weights):
        return dict(weights)
    return {key if key.startswith(beside) else prefix + key: value for key, value in weights.items()}


def load_strictly(
    model: torch.nn.Module, weights: Mapping[str, Tensor], role: str, optional: tuple[str, ...] = ()
) -> None:
    """Put weights into a model, or say what does not fit. Buffers of positions come and go with versions and are ignored."""
    weights = {key: value.float() for key, value in weights.items() if not key.endswith("position_ids")}
    try:
        missing, unexpected = model.load_state_dict(weights, strict=False)
    except RuntimeError as error:
        raise ACFunError(
            f"The {role} does not fit its settings: {str(error)[:300]}.",
            "weights and config.json of one model",
            "copy both again",
        ) from error
    missing = [key for key in missing if key not in optional and not key.endswith("position_ids")]
    if missing or unexpected:
        raise ACFunError(
            f"The {role} does not fit: {len(missing)} weights are missing ({', '.join(missing[:2])} ...), "
            f"{len(unexpected)} are unknown ({', '.join(unexpected[:2])} ...).",
            "a CLIP model in transformers' layout",
            "name another file",
        )


# -- a single-file checkpoint ---------------------------------------------------------------

_UNET_INPUT = "model.diffusion_model.input_blocks.0.0.weight"
_UNET_TEXT = "model.diffusion_model.input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight"
_TEXT_PREFIX = "cond_stage_model.transformer."
_SDXL_TEXT_PREFIX = "conditioner.embedders.1."
_PREFIXES = {"unet": "model.diffusion_model.", "vae": "first_stage_model."}
_V_PREDICTION, _ZERO_SNR = "v_pred", "ztsnr"
"""Names of empty tensors by which a checkpoint says so, as ComfyUI saves and reads them."""


def _from_checkpoint(path: Path, tokenizer: str | Path | None, dtype: torch.dtype, told: Told) -> Parts:
    if path.suffix != ".safetensors":
        raise ACFunError(
            f"{path.name} is not a .safetensors file.",
            "a safetensors checkpoint (pickled .ckpt files are not read)",
            "get the safetensors version of this base",
        )
    _check_checkpoint(path, read_json(SD1_CONFIGS / "unet" / "config.json"))
    if tokenizer is None:
        raise ACFunError(
            f"The checkpoint {path.name} holds no tokenizer.",
            "a tokenizer folder with vocab.json and merges.txt beside it",
            "add --tokenizer FOLDER: tokenizer/ of any Stable Diffusion 1.x diffusers folder, or ComfyUI's comfy/sd1_tokenizer",
        )
    words = load_tokenizer(Path(tokenizer))
    with opened(path) as file:
        for part, prefix in _PREFIXES.items():
            _check_floats(file, path, part, prefix)
        keys = set(file.keys())
    prediction, zero_snr = settled(path, told, "v" if _V_PREDICTION in keys else "epsilon", _ZERO_SNR in keys)
    return Parts(
        _from_single_file(path, "unet", "UNet2DConditionModel", dtype),
        _from_single_file(path, "vae", "AutoencoderKL", torch.float32),
        load_text_encoder(read_json(SD1_CONFIGS / "text_encoder" / "config.json"), _tensors_under(path, _TEXT_PREFIX)),
        words,
        NoiseSchedule.stable_diffusion(zero_snr=zero_snr),
        prediction=prediction,
    )


def _check_checkpoint(path: Path, unet_config: Mapping) -> None:
    """Raise unless the names and shapes in a checkpoint are those of Stable Diffusion 1.x."""
    width, text_width = unet_config["block_out_channels"][0], unet_config["cross_attention_dim"]
    with opened(path, "a whole checkpoint") as file:
        parts = stored(file)
    keys, shapes = set(parts), {key: parts[key].shape for key in (_UNET_INPUT, _UNET_TEXT) if key in parts}
    if any(key.startswith(_SDXL_TEXT_PREFIX) for key in keys):
        raise _sdxl(path)
    fix = "name a whole Stable Diffusion 1.x checkpoint (UNet, VAE and CLIP in one file)"
    if len(shapes) < 2:
        raise ACFunError(f"{path.name} holds no Stable Diffusion UNet.", "a checkpoint in the original layout", fix)
    for prefix, part in ((_PREFIXES["vae"], "VAE"), (_TEXT_PREFIX, "CLIP text encoder")):
        if not any(key.startswith(prefix) for key in keys):
            raise ACFunError(f"{path.name} holds no {part} ({prefix}...).", "a Stable Diffusion 1.x checkpoint", fix)
    channels, have_text = shapes[_UNET_INPUT][1], shapes[_UNET_TEXT][1]
    if shapes[_UNET_INPUT][0] != width or channels != 4 or have_text != text_width:
        raise ACFunError(
            f"The UNet in {path.name} takes {channels} channels and text {have_text} wide.",
            f"4 channels and text {text_width} wide, as Stable Diffusion 1.x",
            fix,
        )


def _from_single_file(path: Path, part: str, class_name: str, dtype: torch.dtype) -> Any:
    model_class = imported("diffusers", class_name)
    try:
        model = model_class.from_single_file(
            str(path), config=str(SD1_CONFIGS), subfolder=part, torch_dtype=dtype, **_LOCAL
        )
    except (OSError, ValueError, RuntimeError, KeyError, SafetensorError) as error:
        raise ACFunError(
            f"The {part} in {path.name} cannot be loaded: {str(error)[:300]}.",
            "a Stable Diffusion 1.x checkpoint",
            "copy the file again or name another",
        ) from error
    # diffusers would leave weights that are missing at random and go on.
    want, have = sum(value.numel() for value in model.state_dict().values()), _numbers_under(path, _PREFIXES[part])
    if have < want:
        raise ACFunError(
            f"The {part} in {path.name} is not whole: {have} of {want} numbers are there.",
            "a whole Stable Diffusion 1.x checkpoint",
            "copy the file again or name another",
        )
    return model


def _numbers_under(path: Path, prefix: str) -> int:
    """How many numbers the tensors of one part hold, by their shapes alone."""
    with opened(path) as file:
        return sum(math.prod(part.shape) for key, part in stored(file).items() if key.startswith(prefix))


def _tensors_under(path: Path, prefix: str) -> dict[str, Tensor]:
    with opened(path) as file:
        return {key.removeprefix(prefix): tensor for key, tensor in checked_floats(file, path, "text encoder", prefix)}
