"""The maps inside CFun: from normalised statistics to gamma or beta, zero at the start.

An AdamW step moves each weight by about the learning rate, so a row with F inputs moves by about F times that. CFun scales its
inputs by REFERENCE_CHANNELS / F, which takes F out; the narrower forms below put back what they lack against a full row. So one
learning rate serves every form and every width.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

REFERENCE_CHANNELS = 1024
"""Part of the file format: with another value, saved weights would mean something else."""

DOWN_DAMPING = 8.0
"""A full step of both factors of a low-rank map at once would square; the inner one goes an eighth. Part of the file format."""


def steering_map(form: str, features: int, channels: int, rank: int) -> nn.Module:
    """A map (B, features) -> (B, channels) of the given form, zero at the start."""
    if form == "low_rank":
        return LowRank(features, channels, rank)
    if form == "per_channel":
        return PerChannel(features, channels)
    linear = nn.Linear(features, channels)
    nn.init.zeros_(linear.weight)
    nn.init.zeros_(linear.bias)
    return linear


class LowRank(nn.Module):
    """``W = U D`` with ``rank`` inner numbers."""

    def __init__(self, features: int, channels: int, rank: int):
        super().__init__()
        self.down = nn.Linear(features, rank, bias=False)
        self.up = nn.Linear(rank, channels)
        # Unit variance of the inner numbers for inputs scaled by REFERENCE_CHANNELS / features.
        nn.init.normal_(self.down.weight, std=DOWN_DAMPING * features**0.5 / REFERENCE_CHANNELS)
        nn.init.zeros_(self.up.weight)
        nn.init.zeros_(self.up.bias)

    @property
    def scale(self) -> float:
        """``forward(x) = scale * U D x + b``."""
        return REFERENCE_CHANNELS / (self.up.in_features * DOWN_DAMPING)

    def forward(self, steer: Tensor) -> Tensor:
        return self.up(self.down(steer) * self.scale)

    @classmethod
    @torch.no_grad()
    def nearest(cls, full: nn.Linear, rank: int) -> LowRank:
        """The best map of this rank in the least-squares sense (truncated SVD of the weight)."""
        narrow = cls(full.in_features, full.out_features, rank)
        u, s, v = torch.linalg.svd(full.weight.double(), full_matrices=False)
        # Half of each singular value to each side: both factors then suit half precision.
        half = (s[:rank] / narrow.scale).sqrt()
        for weight in (narrow.up.weight, narrow.down.weight):
            weight.zero_()
        narrow.up.weight[:, : len(half)] = (u[:, :rank] * half).float()
        narrow.down.weight[: len(half)] = (half[:, None] * v[:rank]).float()
        narrow.up.bias.copy_(full.bias)
        return narrow


class PerChannel(nn.Module):
    """Each channel steers itself: one weight a channel and statistic."""

    def __init__(self, features: int, channels: int):
        super().__init__()
        self.statistics = max(1, features // channels)
        self.scale = features / self.statistics
        self.weight = nn.Parameter(torch.zeros(self.statistics, channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, steer: Tensor) -> Tensor:
        """(B, features) -> (B, channels)."""
        steer = self.scale * steer.unflatten(1, (self.statistics, -1))
        return (self.weight * steer).sum(dim=1) + self.bias
