"""A UNet's ResBlocks by canonical name (:mod:`acfun_core.block_names`), found in ComfyUI's (ldm) and in diffusers' layout."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from torch import nn

from ..block_names import covers
from ..errors import ACFunError

RESIDUAL = "residual"


@dataclass(frozen=True)
class ResBlockSite:
    """One ResBlock that can carry CFun.

    Attributes:
        name: canonical block name.
        module: forward output is the residual branch h before the skip is added, shape (B, channels, H, W).
        channels: C.
        places: the modules whose output is h for the other places of CFun: ``output``, ``norm``, and ``attention`` if
            attention follows the block.
    """

    name: str
    module: nn.Module
    channels: int
    places: Mapping[str, nn.Module] = field(default_factory=dict)

    def at(self, place: str) -> nn.Module:
        """The module at a place of CFun."""
        return self.module if place == RESIDUAL else self.places[place]

    def has(self, place: str) -> bool:
        return place == RESIDUAL or place in self.places


def address(name: str, place: str = RESIDUAL) -> str:
    """Key of a block and a place of CFun in it: ``enc.0.0`` or ``enc.0.0@output``."""
    return name if place == RESIDUAL else f"{name}@{place}"


def module_at(sites: Mapping[str, ResBlockSite], key: str) -> nn.Module:
    """The module at an :func:`address`."""
    name, _, place = key.partition("@")
    return sites[name].at(place or RESIDUAL)


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
            "a Stable Diffusion UNet",
            "connect a Stable Diffusion MODEL",
        )
    return {site.name: site for site in found}


def channels_to_train(sites: Mapping[str, ResBlockSite], blocks: str, place: str = RESIDUAL) -> dict[str, int]:
    """Canonical name -> channels of the blocks that carry CFun.

    Raises:
        ACFunError: the selection is not empty but no block of it has this place.
    """
    chosen = [name for name in sites if covers(blocks, name)]
    channels = {name: sites[name].channels for name in chosen if sites[name].has(place)}
    if chosen and not channels:
        raise ACFunError(
            f"No ResBlock among {blocks} has the place {place}.",
            "blocks followed by attention" if place == "attention" else "a Stable Diffusion UNet",
            "choose other blocks or another place",
        )
    return channels


def misfits(sites: Mapping[str, ResBlockSite], channels: Mapping[str, int], place: str = RESIDUAL) -> list[str]:
    """Names of an adapter's blocks that a UNet lacks or has with other channels."""
    return [
        name
        for name, width in channels.items()
        if name not in sites or sites[name].channels != width or not sites[name].has(place)
    ]


def _is_ldm_resblock(module: nn.Module) -> bool:
    return hasattr(module, "in_layers") and hasattr(module, "out_layers")


def _ldm_site(name: str, block: nn.Module, attention: nn.Module | None) -> ResBlockSite:
    places = {"output": block, "norm": block.out_layers[0]}
    if attention is not None:
        places["attention"] = attention
    return ResBlockSite(name, block.out_layers, int(block.out_channels), places)


def _ldm_attention(children: list[nn.Module]) -> nn.Module | None:
    """The transformer after the ResBlock at the head of ``children``."""
    follows = children[1] if len(children) > 1 else None
    return follows if hasattr(follows, "transformer_blocks") else None


def _ldm_sites(unet: nn.Module) -> Iterator[ResBlockSite]:
    level = index = 0
    for block in unet.input_blocks:
        children = list(block)
        if children and _is_ldm_resblock(children[0]):
            yield _ldm_site(f"enc.{level}.{index}", children[0], _ldm_attention(children))
            index += 1
        elif type(children[0]).__name__ == "Downsample":
            level, index = level + 1, 0
    # Some small SDXL variants have no middle.
    middle = [] if unet.middle_block is None else list(unet.middle_block)
    for index, position in enumerate(p for p, child in enumerate(middle) if _is_ldm_resblock(child)):
        yield _ldm_site(f"mid.{index}", middle[position], _ldm_attention(middle[position:]))
    index = 0
    for block in unet.output_blocks:
        children = list(block)
        yield _ldm_site(f"dec.{level}.{index}", children[0], _ldm_attention(children))
        index += 1
        if type(children[-1]).__name__ == "Upsample":
            level, index = level - 1, 0


def _diffusers_sites(unet: nn.Module) -> Iterator[ResBlockSite]:
    def sites(name: str, block: nn.Module) -> Iterator[ResBlockSite]:
        attentions = list(getattr(block, "attentions", None) or ())
        for index, resnet in enumerate(block.resnets):
            places = {"output": resnet, "norm": resnet.norm2}
            if index < len(attentions) and attentions[index] is not None:
                places["attention"] = attentions[index]
            yield ResBlockSite(f"{name}.{index}", resnet.conv2, int(resnet.conv2.out_channels), places)

    top = len(unet.up_blocks) - 1
    for level, block in enumerate(unet.down_blocks):
        yield from sites(f"enc.{level}", block)
    if unet.mid_block is not None:
        yield from sites("mid", unet.mid_block)
    for position, block in enumerate(unet.up_blocks):
        yield from sites(f"dec.{top - position}", block)
