"""CLIP's models and tokenizers from files, on transformers' classes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..errors import ACFunError
from ..storage.tensor_file import read_floats
from .claims import check_claims
from .libraries import imported

_TOKENIZER_FILES, _WHOLE_TOKENIZER = ("vocab.json", "merges.txt"), "tokenizer.json"


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


def load_tokenizer(folder: Path) -> Any:
    """CLIP's tokenizer from a folder as any version of transformers saves it: vocab.json and merges.txt, or tokenizer.json."""
    missing = [name for name in _TOKENIZER_FILES if not (folder / name).is_file()]
    if missing and not (folder / _WHOLE_TOKENIZER).is_file():
        raise ACFunError(
            f"The tokenizer folder {folder} lacks {' and '.join(missing)}, and there is no {_WHOLE_TOKENIZER}.",
            f"CLIP's vocab.json and merges.txt, or {_WHOLE_TOKENIZER}",
            "name the tokenizer folder of any Stable Diffusion diffusers folder, or comfy/sd1_tokenizer of a ComfyUI",
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


def load_text_encoder(config: Mapping, weights: Mapping[str, Tensor], pools: bool = False) -> Any:
    """transformers' text model from settings and weights, float32.

    Args:
        pools: whether its projection is used, so that it must be there.
    """
    settings = {
        key: value for key, value in config.items() if key not in ("dtype", "torch_dtype", "transformers_version")
    }
    model_class, config_class = (
        imported("transformers", name) for name in ("CLIPTextModelWithProjection", "CLIPTextConfig")
    )
    shapes = {name: tensor.shape for name, tensor in weights.items()}
    check_claims(lambda given: model_class(config_class(**given)), settings, shapes, "text encoder")
    model = model_class(config_class(**settings))
    optional = () if pools else ("text_projection.weight",)
    load_strictly(model, prefixed(weights, "text_model.", "text_projection."), "text encoder", optional)
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
