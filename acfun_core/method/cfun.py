"""CFun, the concrete side of a style (eq. 3).

``CFun(h) = gamma(sigma(h)) * h + beta(sigma(h))`` with sigma the standard deviation of each channel over H, W.

Our reading, made so that one learning rate serves every width from 64 to 1280 channels:

* sigma is normalised across channels without parameters. Raw sigma is positive everywhere, so that all weights of a row
  move the same way and learn less (docs/stability.md, "eq. 3 to the letter").
* The maps are scaled by the number of their inputs (:mod:`acfun_core.method.steering`), which takes the width out of a step.
* beta is in units of the mean sigma of h: then ``CFun(k h) = k CFun(h)`` and blocks with large activations need no
  larger weights.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..config import AdapterConfig
from .steering import REFERENCE_CHANNELS, steering_map

EPSILON = 1e-6
STATISTICS = {"none": (), "std": ("std",), "mean": ("mean",), "mean_std": ("std", "mean")}


def channel_sigma(h: Tensor) -> Tensor:
    """Standard deviation over H, W. ``h`` (B, C, H, W) -> (B, C) in float32; finite gradient for constant channels."""
    return (h.float().var(dim=(2, 3), correction=0) + EPSILON**2).sqrt()


def normalise_sigma(sigma: Tensor) -> Tensor:
    """Zero mean and unit variance across channels, without parameters. (B, C) -> (B, C)."""
    centred = sigma - sigma.mean(dim=1, keepdim=True)
    return centred / (centred.square().mean(dim=1, keepdim=True) + EPSILON**2).sqrt()


class CFun(nn.Module):
    """Affine map of one ResBlock's features, steered by their own statistics. Identity at the start.

    ``gamma(s) = 1 + W_g s' + b_g`` and ``beta(s) = mean(s) (W_b s' + b_b)`` with s' the normalised statistics.

    Args:
        form, stats, rank: as in :class:`~acfun_core.config.AdapterConfig`.
    """

    def __init__(self, channels: int, form: str = "full", stats: str = "std", rank: int = 16):
        super().__init__()
        self.channels = channels
        self.statistics = STATISTICS[stats]
        # Without a statistic the maps have one input, the constant 1.
        self.features = max(1, len(self.statistics) * channels)
        self.gamma = steering_map(form, self.features, channels, rank)
        self.beta = steering_map(form, self.features, channels, rank)

    def steer(self, h: Tensor, sigma: Tensor) -> Tensor:
        """Input of the maps, (B, features): the normalised statistics, or a constant."""
        if not self.statistics:
            steer = torch.ones_like(sigma[:, :1])
        else:
            values = {"std": lambda: sigma, "mean": lambda: h.float().mean(dim=(2, 3))}
            steer = torch.cat([normalise_sigma(values[name]()) for name in self.statistics], dim=1)
        return steer * (REFERENCE_CHANNELS / self.features)

    def maps(self, mean: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor]:
        """``gamma - 1`` and beta (B, C) of eq. 3 from the statistics of each channel (B, C), as :meth:`delta` takes them."""
        if not self.statistics:
            steer = torch.ones_like(sigma[:, :1])
        else:
            values = {"std": sigma, "mean": mean}
            widths = sigma.shape[1:]
            # The same as normalise_sigma, in one kernel.
            parts = [F.layer_norm(values[name], widths, eps=EPSILON**2) for name in self.statistics]
            steer = torch.cat(parts, dim=1) if len(parts) > 1 else parts[0]
        steer = steer * (REFERENCE_CHANNELS / self.features)
        return self.gamma(steer), sigma.mean(dim=1, keepdim=True) * self.beta(steer)

    def delta(self, h: Tensor) -> Tensor:
        """``CFun(h) - h``, shape and dtype of h (B, C, H, W)."""
        sigma = channel_sigma(h)
        steer = self.steer(h, sigma)
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
    """One :class:`CFun` per block, by canonical name. Without a config: full maps on the standard deviation."""

    def __init__(self, channels: dict[str, int], config: AdapterConfig | None = None):
        super().__init__()
        self.channels = dict(channels)
        kind = (config.form, config.stats, config.rank) if config else ()
        self.blocks = nn.ModuleDict({block_key(name): CFun(width, *kind) for name, width in channels.items()})

    def __getitem__(self, name: str) -> CFun:
        return self.blocks[block_key(name)]

    def names(self) -> list[str]:
        return list(self.channels)
