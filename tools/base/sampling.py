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

    def says(self, word: str) -> bool:
        return word in self.text.split()


WHO = {"male": "man", "female": "woman"}
PHOTOS = (
    "a photo of a {}",
    "a photo of an old {}",
    "a photo of a smiling {}",
    "a photo of a {} with glasses",
    "a photo of a {}",
    "a photo of a young {}",
    "a photo of a serious {}",
    "a photo of a smiling {} with glasses",
)
DRAWINGS = (
    *((f"a painting of a {{}} in {name} style", name) for name in media.MEDIA),
    ("a painting of a {}", None),
    ("a portrait painting of a {}", None),
)


def _turn(sexes: tuple[str, str]) -> list[Wanted]:
    """Every photo caption for both sexes, and as many in media, the sexes in turn."""
    photos = [Wanted(text.format(WHO[sex]), sex, "photo") for text in PHOTOS for sex in sexes]
    drawings = [
        Wanted(text.format(WHO[sexes[k % 2]]), sexes[k % 2], medium) for k, (text, medium) in enumerate(DRAWINGS)
    ]
    return photos + drawings


REPORT_GRID = [*_turn(("male", "female")), *_turn(("female", "male"))]
"""64 captions, half of them photos, the others every medium and plain paintings; both sexes equally often."""


def asked(count: int) -> list[Wanted]:
    """What `count` samples over the grid were asked for."""
    return [REPORT_GRID[k % len(REPORT_GRID)] for k in range(count)]


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
