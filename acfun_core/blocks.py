"""Canonical names of a UNet's ResBlocks, the same for ComfyUI's (ldm) and diffusers' layout.

``enc.L.J``   ResBlock J of level L on the way down (level 0 is the finest)
``mid.J``     ResBlock J of the middle
``dec.L.J``   ResBlock J of level L on the way up

SD1.x has 8 + 2 + 12 of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import nn

from .errors import ACFunError


@dataclass(frozen=True)
class ResBlockSite:
    """One place for CFun: the module whose output is the residual branch h, before the skip is added.

    Attributes:
        name: canonical block name.
        module: forward output is h, shape (B, channels, H, W).
        channels: C.
    """

    name: str
    module: nn.Module
    channels: int


def find_sites(unet: nn.Module) -> dict[str, ResBlockSite]:
    """All ResBlocks of a UNet by canonical name, in order of execution.

    Raises:
        ACFunError: the module has neither ComfyUI's nor diffusers' SD1.x UNet layout.
    """
    if hasattr(unet, "input_blocks") and hasattr(unet, "output_blocks"):
        found = list(_ldm_sites(unet))
    elif hasattr(unet, "down_blocks") and hasattr(unet, "up_blocks"):
        found = list(_diffusers_sites(unet))
    else:
        found = []
    if not found:
        raise ACFunError(
            f"This model ({type(unet).__name__}) has no ResBlocks.",
            "a Stable Diffusion 1.x UNet",
            "connect a Stable Diffusion 1.x MODEL",
        )
    return {site.name: site for site in found}


def select(names: Iterator[str] | list[str], blocks: str) -> list[str]:
    """Keep the names that a ``blocks`` option of :class:`~acfun_core.config.AdapterConfig` covers."""
    prefixes = {
        "none": (),
        "encoder": ("enc.",),
        "decoder": ("dec.",),
        "both": ("enc.", "dec."),
        "all": ("enc.", "mid.", "dec."),
    }[blocks]
    return [name for name in names if name.startswith(prefixes)]


def _is_ldm_resblock(module: nn.Module) -> bool:
    return hasattr(module, "in_layers") and hasattr(module, "out_layers")


def _ldm_site(name: str, block: nn.Module) -> ResBlockSite:
    return ResBlockSite(name, block.out_layers, int(block.out_channels))


def _ldm_sites(unet: nn.Module) -> Iterator[ResBlockSite]:
    level = index = 0
    for block in unet.input_blocks:
        children = list(block)
        if children and _is_ldm_resblock(children[0]):
            yield _ldm_site(f"enc.{level}.{index}", children[0])
            index += 1
        elif type(children[0]).__name__ == "Downsample":
            level, index = level + 1, 0
    for index, block in enumerate(child for child in unet.middle_block if _is_ldm_resblock(child)):
        yield _ldm_site(f"mid.{index}", block)
    index = 0
    for block in unet.output_blocks:
        children = list(block)
        yield _ldm_site(f"dec.{level}.{index}", children[0])
        index += 1
        if type(children[-1]).__name__ == "Upsample":
            level, index = level - 1, 0


def _diffusers_sites(unet: nn.Module) -> Iterator[ResBlockSite]:
    def site(name: str, resnet: nn.Module) -> ResBlockSite:
        return ResBlockSite(name, resnet.conv2, int(resnet.conv2.out_channels))

    top = len(unet.up_blocks) - 1
    for level, block in enumerate(unet.down_blocks):
        yield from (site(f"enc.{level}.{index}", resnet) for index, resnet in enumerate(block.resnets))
    yield from (site(f"mid.{index}", resnet) for index, resnet in enumerate(unet.mid_block.resnets))
    for position, block in enumerate(unet.up_blocks):
        yield from (site(f"dec.{top - position}.{index}", resnet) for index, resnet in enumerate(block.resnets))


def channels_of(sites: dict[str, ResBlockSite]) -> dict[str, int]:
    """Canonical name -> number of channels."""
    return {name: site.channels for name, site in sites.items()}


def device_of(module: nn.Module) -> torch.device:
    """Device of a module's first parameter."""
    return next(module.parameters()).device
