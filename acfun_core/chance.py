"""Chance that a seed decides, alike on every device."""

from __future__ import annotations

import torch


def generator(seed: int) -> torch.Generator:
    """A random generator on the CPU for a seed from 0 to 2^64 - 1; the two halves of this range give the same numbers."""
    return torch.Generator().manual_seed(seed % 2**63)
