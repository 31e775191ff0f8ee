"""Each place of a portrait toward the place of the style picture that looks most like it.

Both swaps compare neighbourhoods of 3 x 3 places by a softmax over all places of the style picture, which is attention:
``softmax(q k^T) v`` with the neighbourhoods as queries and keys and the single places as values.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

SIDE = 3
"""Of a neighbourhood. Single places find less of a stroke; 5 x 5 finds a little more in twice the time."""
BRANCH_SHARPNESS = 20.0
"""Factor of the cosine between two neighbourhoods of features."""
LATENT_SHARPNESS = 2 / 3
"""Factor of the squared distance between two neighbourhoods of a latent."""
FRAME_SHARPNESS = 2.0
"""The same between two frames of a film, which are more alike than a photo and a style picture."""
MOST_SCORES = 2**24
"""Scores that are held at once, 64 MB in float32: a picture of 1024 px would ask for a gigabyte."""


def branch_swap(h: Tensor, style: Tensor, share: float) -> Tensor:
    """Features of a residual branch go toward the style picture's own at the same noise level.

    Args:
        h: (B, C, H, W). style: (1, C, H', W') the same branch's of the style picture.
        share: 0-1 of the way.
    """
    queries, keys = (F.normalize(neighbourhoods(normal(x)), dim=-1) for x in (h, style))
    return torch.lerp(h, read(BRANCH_SHARPNESS * queries, keys, style, h.shape), share)


def latent_swap(z_0: Tensor, style: Tensor, share: float) -> Tensor:
    """The clean latent that a step predicts goes toward the style picture's, which is read mirrored as well.

    Args:
        z_0: (B, 4, h, w). style: (1, 4, h', w') clean latent of the style picture.
        share: 0-1 of the way.
    """
    bank = torch.cat([style, style.flip(3)], 3)
    queries, keys = by_distance(neighbourhoods(normal(z_0)), neighbourhoods(normal(bank)), LATENT_SHARPNESS)
    return torch.lerp(z_0, read(queries, keys, bank, z_0.shape), share)


def calmed(z_0: Tensor, frames: Tensor, share: float) -> Tensor:
    """The clean latents of a film's frames go toward those of the frames before and after, at places where the film is alike.

    The film says which places belong together, since in a drawing that flickers they do not look alike: non-local means
    (Buades et al., 2005) along time, with the neighbourhoods of the film's own latents.

    Args:
        z_0: (B, 4, h, w). frames: (B, 4, h, w) clean latents of the film, in its order.
        share: 0-1 of the way.
    """
    film = neighbourhoods(normal(frames))
    moved = []
    for at, own in enumerate(z_0.split(1)):
        beside = [near for near in (at - 1, at + 1) if 0 <= near < len(z_0)]
        if not beside:
            return z_0
        queries, keys = by_distance(film[at][None], film[beside].flatten(0, 1)[None], FRAME_SHARPNESS)
        # One beside the other: places are read in one row, whatever their shape.
        values = torch.cat([z_0[near].flatten(1) for near in beside], 1)[None, :, None]
        moved.append(read(queries, keys, values, own.shape))
    return torch.lerp(z_0, torch.cat(moved), share)


def by_distance(queries: Tensor, keys: Tensor, sharpness: float) -> tuple[Tensor, Tensor]:
    """Queries and keys (.., d + 1) whose products are minus the squared distances of the given ones (.., d), times a factor."""
    # -|q - k|^2 = 2 q.k - |k|^2 - |q|^2, of which the last is the same for all places and falls out of the softmax.
    lengths = -sharpness * keys.square().sum(-1, keepdim=True)
    queries = torch.cat([2 * sharpness * queries, torch.ones_like(queries[..., :1])], -1)
    return queries, torch.cat([keys, lengths], -1)


def normal(x: Tensor) -> Tensor:
    """x (B, C, H, W) with mean 0 and deviation 1 in each channel: what is compared is form, not tone."""
    return (x - x.mean((2, 3), keepdim=True)) / (x.std((2, 3), keepdim=True) + 1e-5)


def neighbourhoods(x: Tensor) -> Tensor:
    """(B, C, H, W) -> (B, H W, C SIDE^2), zeros beyond the border."""
    return F.unfold(x, SIDE, padding=SIDE // 2).transpose(1, 2)


def read(queries: Tensor, keys: Tensor, values: Tensor, shape: torch.Size) -> Tensor:
    """For each query the values whose keys are alike.

    Args:
        queries: (B, H W, d). keys: (1, M, d). values: (1, C, H', W') with M places.
        shape: (B, C, H, W) of the answer.
    """
    places = values.flatten(2).transpose(1, 2)
    parts = queries.flatten(0, 1)[None].split(max(1, MOST_SCORES // keys.shape[1]), dim=1)
    found = torch.cat([F.scaled_dot_product_attention(part, keys, places, scale=1.0) for part in parts], 1)
    batch, channels, height, width = shape
    return found.view(batch, height * width, channels).transpose(1, 2).reshape(batch, channels, height, width)
