"""How different two pictures look: features of a network that was trained to see, instead of pixels.

SqueezeNet 1.1 up to its fifth fire module (the weights that tools/measure/style.py reads), each place's features at unit length
as in LPIPS (Zhang et al. 2018), without its learnt weights.
"""

from __future__ import annotations

import torch
from torch import Tensor

from tools.measure.style import MEAN_BGR, features


def _unit(x: Tensor) -> Tensor:
    return x * (x.square().sum(1, keepdim=True) + 1e-6).rsqrt()


def seen(x: Tensor) -> list[Tensor]:
    """Features at unit length of pictures [n, 3, h, w] in -1..1."""
    bgr = (x.float() + 1).mul(127.5).flip(1) - torch.tensor(MEAN_BGR, device=x.device).view(3, 1, 1)
    return [_unit(layer) for layer in features(bgr).values()]


def perceptual(y: Tensor, x: Tensor) -> Tensor:
    """Mean squared distance of the features, summed over the layers; `x` is the target."""
    with torch.no_grad():
        wanted = seen(x)
    return sum((a - b).square().sum(1).mean() for a, b in zip(seen(y), wanted))
