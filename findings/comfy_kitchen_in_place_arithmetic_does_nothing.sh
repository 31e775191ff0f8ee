#!/usr/bin/env bash
# comfy-kitchen 0.2.31: in-place arithmetic on a QuantizedTensor changes nothing and says nothing.
#
# Source: https://pypi.org/project/comfy-kitchen/0.2.31/ with torch 2.13.0 on a CPU.
# What happens: a QuantizedTensor stands for a weight kept in 8 bits with a scale (ComfyUI 0.33 makes one of every layer of a scaled
# fp8 or int8 checkpoint). Arithmetic that gives a new tensor (q * 2) works on the values it stands for. The in-place forms (mul_, add_,
# zero_) return the QuantizedTensor as if they had worked, and its values are what they were: they act on a decoded copy that is
# thrown away. copy_ from a plain tensor raises, as one would wish of the others. Two ways to ask for its size disagree as well:
# nbytes counts the 8-bit values, numel() * element_size() counts what they stand for.
# Why it matters: code that scales, clears or merges weights in place (weight decay, merges, "reset this layer") leaves such a layer
# untouched, and memory is counted four times too large or not according to the question.
# Seen: "mul_: unchanged, add_: unchanged, zero_: unchanged, q * 2: 2 times; nbytes 4096, numel * element_size 16384", for both layouts.
# Fails if: an in-place form changes the values or raises, or the two sizes agree.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check torch==2.13.0 torchvision==0.28.0 numpy packaging
"$folder/venv/bin/pip" install -q --disable-pip-version-check --no-deps comfy-kitchen==0.2.31
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
import torch
from comfy_kitchen.tensor import QuantizedTensor

weight = torch.randn(64, 64, generator=torch.Generator().manual_seed(0))
for layout in ("TensorWiseINT8Layout", "TensorCoreFP8Layout"):
    kept = QuantizedTensor.from_float(weight, layout)
    values = kept.dequantize().clone()
    told = []
    for name, change in (("mul_", lambda t: t.mul_(2)), ("add_", lambda t: t.add_(1)), ("zero_", lambda t: t.zero_())):
        changed = kept.clone()
        assert change(changed) is changed or isinstance(change(changed), QuantizedTensor)
        assert torch.equal(changed.dequantize(), values), f"{name} changes the values now"
        told.append(f"{name}: unchanged")
    assert torch.equal(kept * 2, values * 2)
    sizes = kept.nbytes, kept.numel() * kept.element_size()
    print(f"{layout}: {', '.join(told)}, q * 2: 2 times; nbytes {sizes[0]}, numel * element_size {sizes[1]}")
    assert sizes[0] != sizes[1], "both sizes agree now"
PYTHON
