"""The dtypes of weights, where a host leaves them as the file has them."""

from __future__ import annotations

from torch import Tensor, nn


def in_declared_dtypes(model: nn.Module) -> None:
    """Bring weights to the dtype that their layers were made for.

    With dynamic VRAM, ComfyUI leaves the weights of its linear layers in the dtype of the file, for the cast is part of
    streaming. In a model that does not stream, float32 weights would meet float16 activations. Quantised weights stay.
    """
    for layer in model.modules():
        for name, weight in layer._parameters.items():
            declared = getattr(layer, f"{name}_comfy_model_dtype", None)
            if declared is not None and weight is not None and weight.dtype != declared and type(weight.data) is Tensor:
                weight.data = weight.data.to(declared)
