"""What a UNet makes of photo and style picture, and how a portrait's pass takes it over.

All of it is outputs of modules: the projections to queries, keys and values of the decoder's self-attention (StyleID, Chung et
al. 2024), and the residual branches of the last ResBlocks, the place of CFun. So the same hooks serve ComfyUI's and diffusers'
layout, whatever other patches compute between them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..block_names import part_of
from ..config import TransferConfig
from ..errors import ACFunError
from ..unet.blocks import ResBlockSite
from ..unet.injection import Transform, hooked
from .matching import branch_swap

ATTENTION_LEVELS = 2
"""The finest levels whose self-attention reads the style picture: in Stable Diffusion 1.x those of 64 and 32 places a side, as
in StyleID. Coarser ones carry what the picture shows."""
BRANCHES = 2
"""ResBlocks at the end of the decoder whose branches are swapped: strokes are finer than any attention."""

GROUND_ASKS = 0.6
"""Share of the photo's queries that is left out where the ground is the style picture's: they would draw the photo's again."""

Rows = Mapping[nn.Module, Tensor]
"""Module -> its output for photos and, in the last row, the style picture."""


@dataclass(frozen=True)
class Taps:
    """The modules whose outputs are taken over.

    Attributes:
        queries, contents: linear layers to queries, and to keys and values, of self-attentions; output (B, N, width).
        branches: residual branches; output (B, C, H, W).
    """

    queries: tuple[nn.Module, ...]
    contents: tuple[nn.Module, ...]
    branches: tuple[nn.Module, ...]

    @classmethod
    def of(cls, sites: Mapping[str, ResBlockSite]) -> Taps:
        """Those of a UNet whose ResBlocks :func:`~acfun_core.unet.blocks.find_sites` found.

        Raises:
            ACFunError: its decoder has no self-attention.
        """
        decoder = {name: site for name, site in sites.items() if part_of(name) == "decoder"}
        levels = sorted({level_of(name) for name, site in decoder.items() if site.has("attention")})[:ATTENTION_LEVELS]
        attentions = [
            block.attn1
            for name, site in decoder.items()
            if level_of(name) in levels and site.has("attention")
            for block in site.at("attention").transformer_blocks
        ]
        if not attentions:
            raise ACFunError(
                "The UNet's decoder has no self-attention.", "a Stable Diffusion UNet", "connect another MODEL"
            )
        return cls(
            tuple(attention.to_q for attention in attentions),
            tuple(layer for attention in attentions for layer in (attention.to_k, attention.to_v)),
            tuple(site.module for site in list(decoder.values())[-BRANCHES:]),
        )

    def __iter__(self) -> Iterator[nn.Module]:
        return iter((*self.queries, *self.contents, *self.branches))


def level_of(name: str) -> int:
    """``dec.1.0`` -> 1."""
    return int(name.split(".")[1])


@contextmanager
def recorded(taps: Iterable[nn.Module]) -> Iterator[dict[nn.Module, Tensor]]:
    """While active, keeps what the modules put out in a dict, which the block may use afterwards."""
    found: dict[nn.Module, Tensor] = {}

    def keeping(module: nn.Module) -> Transform:
        def keep(output: Tensor) -> Tensor:
            found[module] = output
            return output

        return keep

    with hooked((module, keeping(module)) for module in taps):
        yield found


def takes(
    taps: Taps, rows: Rows, config: TransferConfig, done: float, around: Tensor
) -> list[tuple[nn.Module, Transform]]:
    """Which module of a portrait's pass takes over what of the reference's pass at the same noise level.

    Args:
        done: share of the sampling that is over, 0 to 1.
        around: (h, w) share of the style picture's ground at each place of the latent (:meth:`References.around`).
    """
    found: list[tuple[nn.Module, Transform]] = []
    if done >= config.keys_start:
        found += [(module, _asking(rows[module], config, around)) for module in taps.queries]
        found += [(module, _reading(rows[module])) for module in taps.contents]
    if config.branch:
        found += [(module, _swapping(rows[module], config.branch)) for module in taps.branches]
    return found


def _asking(rows: Tensor, config: TransferConfig, around: Tensor) -> Transform:
    """Queries (B, N, width), mixed with the photos', less around the head, at the sharpness."""
    photos = rows[:-1]
    keep = config.keep * (1 - GROUND_ASKS * places(around, photos.shape[1]).to(photos))

    def transform(queries: Tensor) -> Tensor:
        if len(queries) % len(photos) or queries.shape[1:] != photos.shape[1:]:
            raise ACFunError(
                f"Self-attention asks at {tuple(queries.shape)} places, the photos have {tuple(photos.shape)}.",
                "portraits that are drawn whole, all of a pass at once",
                "take off the patch that cuts pictures into tiles, such as HyperTile",
            )
        # All pictures with the prompt, then all without: each finds its own photo.
        kept = photos.to(queries).repeat(len(queries) // len(photos), 1, 1)
        return config.sharpness * torch.lerp(queries, kept, keep.to(queries))

    return transform


def places(around: Tensor, count: int) -> Tensor:
    """(h, w) -> (count, 1): the same at the places of a coarser level."""
    height, width = around.shape
    scale = math.sqrt(count / (height * width))
    size = round(height * scale), round(width * scale)
    return F.interpolate(around[None, None], size=size, mode="area").flatten()[:, None]


def _reading(rows: Tensor) -> Transform:
    """Keys or values (B, N, width): the style picture's in place of the portrait's own."""
    return lambda own: rows[-1:].to(own).expand(len(own), -1, -1)


def _swapping(rows: Tensor, share: float) -> Transform:
    return lambda h: branch_swap(h, rows[-1:].to(h), share)
