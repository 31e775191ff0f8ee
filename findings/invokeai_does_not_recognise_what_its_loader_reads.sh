#!/usr/bin/env bash
# InvokeAI 6.14.2 does not recognise a textual inversion as diffusers saves it, although its own loader reads the file.
#
# Source: https://pypi.org/project/InvokeAI/6.14.2/ (backend/model_manager/configs/textual_inversion.py, _get_base_or_raise),
# and https://pypi.org/project/diffusers/0.40.0/, the version it asks for.
# What happens: examples/textual_inversion/textual_inversion.py of diffusers saves {token: weight[first : last + 1]}, one tensor
# of (vectors, 768) for Stable Diffusion 1.x. To learn the kind of base, InvokeAI takes the last axis of tensors that are called
# emb_params, clip_g or string_to_param, and the first axis of a tensor under any other name: the number of vectors, where 768
# is wanted. The file is imported as an unknown model. The same row as a flat tensor of (768,), or under the name emb_params,
# is recognised. Its loader and that of diffusers read all three alike.
# Why it matters: what the best-known training script writes cannot be used there, and the message speaks of a token dimension
# of 1. Programs that write embeddings are safe with emb_params and two axes.
# Seen: "as diffusers saves it: unrecognized token dimension 1; flat: sd-1 embedding; emb_params: sd-1 embedding; read by both
# loaders: all".
# Fails if: the first is recognised, one of the others is not, or a loader does not read one of them.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3.11 -m venv "$folder/venv"
pip=("$folder/venv/bin/pip" install -q --disable-pip-version-check)
"${pip[@]}" torch==2.13.0 torchvision==0.28.0 numpy==1.26.4 transformers==5.5.4 gguf==0.19.0 onnxruntime==1.19.2 picklescan==1.0.5 \
  blake3==1.0.11 deprecated==1.3.1 einops==0.8.2 psutil==7.2.2 pydantic==2.14.4 pydantic-settings==2.16.3 pyyaml==6.0.4 \
  pillow==13.0.0 safetensors==0.8.0 importlib_metadata==10.2.0 httpx==0.28.1 pyparsing==3.3.3
# These ask for torch as they know it; it is there.
"${pip[@]}" --no-deps invokeai==6.14.2 diffusers==0.40.0 compel==2.4.0 spandrel==0.4.2 bitsandbytes==0.50.2 accelerate==1.15.0
cd "$folder"
INVOKEAI_ROOT="$folder" "$folder/venv/bin/python" - <<'PYTHON' 2>err || { cat err >&2; exit 1; }
import importlib.util
from pathlib import Path
from types import SimpleNamespace

import torch

# A torch for CPUs alone cannot load torchvision's operators, which nothing here calls; torchvision wants them declared.
(place,) = importlib.util.find_spec("torchvision").submodule_search_locations
try:
    torch.ops.load_library(str(next(Path(place).glob("_C*.so"))))
except OSError:
    declared = torch.library.Library("torchvision", "FRAGMENT")
    for name in ("nms", "qnms"):
        declared.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")

from diffusers.loaders.textual_inversion import TextualInversionLoaderMixin, load_textual_inversion_state_dicts
from invokeai.backend.model_manager.configs.factory import ModelConfigFactory
from invokeai.backend.textual_inversion import TextualInversionModelRaw
from safetensors.torch import save_file

row = torch.randn(1, 768)
files = {"as diffusers saves it": {"<cat>": row}, "flat": {"<cat>": row[0]}, "emb_params": {"emb_params": row}}
tokenizer = SimpleNamespace(get_vocab=dict)
said = {}
for number, (kind, tensors) in enumerate(files.items()):
    path = Path(f"{number}.safetensors").resolve()
    save_file(tensors, path, metadata={"format": "pt"})
    found = ModelConfigFactory.from_model_on_disk(path, allow_unknown=False)
    config = found.config
    said[kind] = f"{config.base.value} {config.type.value}" if config else str(found.details["TI_File_SD1_Config"])
    state = load_textual_inversion_state_dicts([str(path)])
    _, (by_diffusers,) = TextualInversionLoaderMixin._retrieve_tokens_and_embeddings([None], state, tokenizer)
    by_invokeai = TextualInversionModelRaw.from_checkpoint(path).embedding
    assert torch.equal(by_diffusers.reshape(1, -1), row) and torch.equal(by_invokeai, row), f"{kind}: read otherwise now"
print("; ".join(f"{kind}: {what}" for kind, what in said.items()), "; read by both loaders: all", sep="")
assert said["flat"] == said["emb_params"] == "sd-1 embedding", "one of the others is not recognised now"
assert said["as diffusers saves it"] == "unrecognized token dimension 1", "it is recognised now"
PYTHON
