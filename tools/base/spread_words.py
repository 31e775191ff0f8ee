"""Move words apart that the text encoder says alike.

The contrastive training is short, and what its image side cannot tell apart its text side soon says with one voice. Oil,
mosaic, low poly and pointillism were a tenth to a fifth of the usual distance between two media from one another, and the
UNet, which hears the text side alone, drew all four as one; man and woman, old, smiling and glasses were no farther apart, and
naming them changed nothing. Here only the embeddings of such words move, until their captions are about as far apart as those
of two media; captions without these words stay as they are, bit for bit. Afterwards the UNet has to learn the new sounds.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations

import torch
import torch.nn.functional as F
from torch import Tensor

from . import captions, media
from .tokenizer import encode

NEAR, APART = 0.3, 0.5
"""Shares of the median distance between two media: below the first their words have to move, up to the second."""
SIMILAR = 0.7
"""Cosine of two media's embeddings, which the image encoder learns to meet, that is still allowed."""
SHORT = 24
"""Tokens that are compared: the encoder is causal, so that the first end token sums up what is before it."""
WHO = ("a man", "a smiling woman with glasses")
ATTRIBUTES = {"man", "woman", "old", "young", "smiling", "serious", "glasses"}
PEOPLE = [
    with_words
    for sex in ("man", "woman")
    for with_words in (
        *(
            captions.with_article(f"{words}{sex}")
            for words in ("", "old ", "young ", "smiling ", "serious ", "old smiling ")
        ),
        f"a {sex} with glasses",
        f"an old smiling {sex} with glasses",
    )
]
FORMS = ("a photo of {}", "a painting of {} in oil style", "a pencil drawing of {}")
"""Captions in which people are compared."""


def differing(first: str, second: str) -> set[str]:
    """Words that are in one text alone."""
    return set(first.split()) ^ set(second.split())


PAIRS = [
    (a, b)
    for a, b in combinations(PEOPLE, 2)
    if (words := differing(a, b) - {"a", "an", "with"}) <= ATTRIBUTES and len(words) < 3
]
"""People who differ in one attribute, or in two that exclude each other or change places."""


def said(text_encoder, tokenizer, texts: list[list[str]]) -> tuple[Tensor, Tensor]:
    """States that the UNet sees, and unit embeddings that the image encoder meets, of texts [forms, words].

    Returns:
        [forms, words, SHORT * width] and [forms, words, width].
    """
    seen = text_encoder(encode(tokenizer, [text for row in texts for text in row])[:, :SHORT])
    shape = len(texts), len(texts[0]), -1
    return seen.last_hidden_state.reshape(shape), F.normalize(seen.text_embeds, dim=-1).reshape(shape)


def of_media() -> list[list[str]]:
    """Captions of every medium: half of the phrases tell as much as all and take half the time."""
    forms = [form.replace("{who}", who) for form in sorted(set(captions.MEDIA_PHRASES))[::2] for who in WHO]
    return [[f.format(medium=name, noun=captions.NOUNS.get(name, "painting")) for name in media.MEDIA] for f in forms]


def of_people() -> list[list[str]]:
    return [[form.format(who) for who in PEOPLE] for form in FORMS]


def media_distances(text_encoder, tokenizer) -> Tensor:
    """Mean over the captions of the distance between two media's states, [media, media]."""
    states, _ = said(text_encoder, tokenizer, of_media())
    return torch.cdist(states, states).mean(0)


def pair_distances(states: Tensor) -> Tensor:
    """The same of :data:`PAIRS`, for every form: [forms, pairs]."""
    first, second = ([PEOPLE.index(pair[side]) for pair in PAIRS] for side in (0, 1))
    return (states[:, first] - states[:, second]).norm(dim=-1)


def move(text_encoder, tokenizer, words: set[str], loss: Callable[[], Tensor], steps: int, rate: float) -> None:
    """Change the embeddings of these words in place until the loss is zero or the steps are done."""
    if not words:
        return
    edge = set(encode(tokenizer, [""])[0].tolist())
    moving = sorted({token for row in encode(tokenizer, sorted(words)).tolist() for token in row} - edge)
    rows = text_encoder.get_input_embeddings().weight
    mask = torch.zeros(len(rows), 1)
    mask[moving] = 1
    # Rows that are all but equal would all get the same gradient.
    with torch.no_grad():
        rows += 0.1 * mask * rows.std() * torch.randn(rows.shape, generator=torch.Generator().manual_seed(0))
    text_encoder.requires_grad_(False)
    rows.requires_grad_(True)
    optimizer = torch.optim.Adam([rows], lr=rate)
    for _ in range(steps):
        error = loss()
        if not error.item():
            break
        optimizer.zero_grad()
        error.backward()
        rows.grad *= mask
        optimizer.step()
    rows.requires_grad_(False)
    rows.grad = None


@torch.no_grad()
def usual_distance(text_encoder, tokenizer) -> Tensor:
    """Median distance of two media."""
    between = media_distances(text_encoder, tokenizer)
    return between[~torch.eye(len(between), dtype=torch.bool)].median()


def spread_media(text_encoder, tokenizer, steps: int = 200, rate: float = 0.01) -> tuple[float, float]:
    """Change the embeddings in place. -> the smallest distance of two media before and after, as shares of the median."""
    names = tuple(media.MEDIA)
    off = ~torch.eye(len(names), dtype=torch.bool)
    with torch.no_grad():
        first = media_distances(text_encoder, tokenizer)
    usual = first[off].median()
    near = (first < NEAR * usual) & off
    # Away from one another must not mean close to a third.
    watched = (near.any(0)[:, None] | near.any(0)) & off
    texts = of_media()

    def loss() -> Tensor:
        states, embeds = said(text_encoder, tokenizer, texts)
        short = F.relu(APART - torch.cdist(states, states)[:, watched] / usual)
        alike = F.relu((embeds @ embeds.transpose(1, 2))[:, watched] - SIMILAR)
        return short.square().mean() + alike.square().mean()

    move(text_encoder, tokenizer, {name for name, row in zip(names, near) if row.any()}, loss, steps, rate)
    with torch.no_grad():
        last = media_distances(text_encoder, tokenizer)
    return float(first[off].min() / usual), float(last[off].min() / usual)


def spread_attributes(text_encoder, tokenizer, steps: int = 200, rate: float = 0.01) -> tuple[float, float]:
    """The same for what captions say of people. Their embeddings, which the image encoder has learnt to meet, are held."""
    usual, texts = usual_distance(text_encoder, tokenizer), of_people()
    with torch.no_grad():
        states, held = said(text_encoder, tokenizer, texts)
    first = pair_distances(states).mean(0)
    close = [pair for pair, distance in zip(PAIRS, first) if distance < NEAR * usual]

    def loss() -> Tensor:
        states, embeds = said(text_encoder, tokenizer, texts)
        short = F.relu(1 - pair_distances(states) / (APART * usual)).square().mean()
        return short + 0.5 * (1 - (embeds * held).sum(-1)).mean()

    words = {word for pair in close for word in differing(*pair)} & ATTRIBUTES
    move(text_encoder, tokenizer, words, loss, steps, rate)
    with torch.no_grad():
        last = pair_distances(said(text_encoder, tokenizer, texts)[0]).mean(0)
    return float(first.min() / usual), float(last.min() / usual)


def train(run) -> None:
    """The stage `words`: on the CPU, where the comparisons are cheap enough."""
    text_encoder = run.networks["text_encoder"].cpu()
    for what, spread in (("media", spread_media), ("kinds of people", spread_attributes)):
        before, after = spread(text_encoder, run.tokenizer)
        run.say(f"words: the nearest two {what} were {before:.2f} of the usual distance apart, now {after:.2f}")
    text_encoder.to(run.device)
    run.finish("words")
