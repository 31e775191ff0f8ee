"""DDIM sampling with classifier-free guidance, and the captions that sheets and report go over."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from . import media, models
from .tokenizer import encode

GRID = [
    "a photo of a man",
    "a photo of a woman",
    "a photo of an old man",
    "a photo of a smiling woman with glasses",
    "a painting of a man",
    "a painting of a woman",
    "a painting of a woman in oil style",
    "a pencil drawing of a man",
    "a painting of a woman in pop art style",
    "a painting of a man in watercolor style",
    "an ink drawing of a woman",
    "a painting of a man in mosaic style",
    "a woodcut print of a woman",
    "a halftone print of a man",
    "a painting of a woman in pointillism style",
    "a painting of a man in low poly style",
]


@dataclass(frozen=True)
class Wanted:
    """A caption and what it asks for; `medium` is None where the caption leaves it open."""

    text: str
    sex: str
    medium: str | None


def _wanted(sex: str) -> list[Wanted]:
    who = {"male": "man", "female": "woman"}[sex]
    photos = (
        f"a photo of a {who}",
        f"a photo of an old {who}",
        f"a photo of a smiling {who}",
        f"a photo of a {who} with glasses",
    )
    paintings = (f"a painting of a {who}", f"a portrait painting of a {who}")
    return [
        *(Wanted(text, sex, "photo") for text in photos),
        *(Wanted(f"a painting of a {who} in {name} style", sex, name) for name in media.MEDIA),
        *(Wanted(text, sex, None) for text in paintings),
    ]


REPORT_GRID = [w for pair in zip(_wanted("male"), _wanted("female")) for w in pair]
"""32 captions: photos, every medium and plain paintings of both sexes."""


@torch.no_grad()
def contexts(text_encoder, tokenizer, texts: list[str]) -> torch.Tensor:
    """Hidden states after the final norm, [n, 77, width], as the UNet sees them."""
    ids = encode(tokenizer, texts)
    return torch.cat([text_encoder(part).last_hidden_state for part in ids.split(64)])


@torch.no_grad()
def sample(
    unet, context: torch.Tensor, empty: torch.Tensor, size: int, steps: int, cfg: float, seed: int
) -> torch.Tensor:
    """Latents [n, 4, size, size] for contexts [n, 77, w]; `empty` [1, 77, w] is the unconditional context."""
    scheduler = models.scheduler()
    scheduler.set_timesteps(steps)
    x = torch.randn(len(context), 4, size, size, generator=torch.Generator().manual_seed(seed)).to(context)
    both = torch.cat([empty.expand_as(context), context])
    for t in scheduler.timesteps:
        free, bound = unet(torch.cat([x, x]), t, both).sample.chunk(2)
        x = scheduler.step(free + cfg * (bound - free), t, x).prev_sample
    return x
