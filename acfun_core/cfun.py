"""CFun, the concrete side of a style (eq. 3).

``CFun(h) = gamma(sigma(h)) * h + beta(sigma(h))`` with sigma the standard deviation of each channel over H, W.

Our reading, made so that one learning rate serves every width from 64 to 1280 channels:

* sigma is normalised across channels without parameters. Raw sigma is positive everywhere, so that all weights of a row
  move the same way and full maps diverge within three steps at Stable Diffusion's width.
* The maps are scaled by REFERENCE_CHANNELS / C. An AdamW step moves each weight by about the learning rate, so the output
  of a C-wide row moves by about C times that; the factor takes the C out.
* beta is in units of the mean sigma of h: then ``CFun(k h) = k CFun(h)`` and blocks with large activations need no
  larger weights.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

REFERENCE_CHANNELS = 1024
"""Part of the file format: with another value, saved weights would mean something else."""
EPSILON = 1e-6


def channel_sigma(h: Tensor) -> Tensor:
    """Standard deviation over H, W. ``h`` (B, C, H, W) -> (B, C) in float32; finite gradient for constant channels."""
    return (h.float().var(dim=(2, 3), correction=0) + EPSILON**2).sqrt()


def normalise_sigma(sigma: Tensor) -> Tensor:
    """Zero mean and unit variance across channels, without parameters. (B, C) -> (B, C)."""
    centred = sigma - sigma.mean(dim=1, keepdim=True)
    return centred / (centred.square().mean(dim=1, keepdim=True) + EPSILON**2).sqrt()


class CFun(nn.Module):
    """Affine map of the residual branch of one ResBlock, steered by its own sigma. Identity at the start.

    ``gamma(s) = 1 + W_g s' + b_g`` and ``beta(s) = mean(s) (W_b s' + b_b)`` with s' the normalised sigma.
    """

    def __init__(self, channels: int):
        super().__init__()
        self.channels = channels
        self.gamma = nn.Linear(channels, channels)
        self.beta = nn.Linear(channels, channels)
        for linear in (self.gamma, self.beta):
            nn.init.zeros_(linear.weight)
            nn.init.zeros_(linear.bias)

    def delta(self, h: Tensor) -> Tensor:
        """``CFun(h) - h``, shape and dtype of h (B, C, H, W)."""
        sigma = channel_sigma(h)
        steer = normalise_sigma(sigma) * (REFERENCE_CHANNELS / self.channels)
        gamma = self.gamma(steer)
        beta = sigma.mean(dim=1, keepdim=True) * self.beta(steer)
        return gamma.to(h.dtype)[:, :, None, None] * h + beta.to(h.dtype)[:, :, None, None]

    def forward(self, h: Tensor, strength: float | Tensor = 1.0) -> Tensor:
        """``h + strength * (CFun(h) - h)``; strength 1 is eq. 3. A tensor strength broadcasts over (B, C, H, W)."""
        return h + strength * self.delta(h)


def block_key(name: str) -> str:
    """Canonical block name -> key allowed in an ``nn.ModuleDict`` (no dots)."""
    return name.replace(".", "_")


class CFunStack(nn.Module):
    """One :class:`CFun` per block, by canonical name."""

    def __init__(self, channels: dict[str, int]):
        super().__init__()
        self.channels = dict(channels)
        self.blocks = nn.ModuleDict({block_key(name): CFun(width) for name, width in channels.items()})

    def __getitem__(self, name: str) -> CFun:
        return self.blocks[block_key(name)]

    def names(self) -> list[str]:
        return list(self.channels)


@torch.no_grad()
def largest_change(stack: CFunStack) -> float:
    """Largest absolute weight or bias of all maps: 0 means identity everywhere."""
    return max((parameter.abs().max().item() for parameter in stack.parameters()), default=0.0)
