"""Move the words of media apart that the text encoder says alike.

The contrastive training is short, and what its image side cannot tell apart its text side soon says with one voice: oil,
mosaic, low poly and pointillism were a tenth to a fifth of the usual distance between two media from one another, and the UNet,
which hears the text side alone, drew all four as one. Here only the embeddings of such words move, until their captions
are about as far apart as those of other media; captions without these words stay as they are, bit for bit. Afterwards the UNet
and the image encoder have to learn the new sounds.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from safetensors.torch import load_file

from . import captions, media, models
from .common import arguments, save_weights, status
from .tokenizer import CLIPTokenizer, encode
from .train_encoders import SHORT

WHO = ("a man", "a smiling woman with glasses")
NEAR, APART = 0.3, 0.5
"""Shares of the median distance between two media: below the first their words have to move, up to the second."""
SIMILAR = 0.7
"""Cosine of two captions' embeddings, which the image encoder learns to meet, that is still allowed."""


def templates() -> list[str]:
    """Captions with a place for the medium: half of the phrases tell as much as all and take half the time."""
    return [phrase.replace("{who}", who) for phrase in sorted(set(captions.MEDIA_PHRASES))[::2] for who in WHO]


def said(text_encoder, tokenizer, names: tuple[str, ...]) -> tuple[torch.Tensor, torch.Tensor]:
    """States (templates, media, SHORT * width) that the UNet sees, and unit embeddings (templates, media, width)."""
    texts = [
        form.format(medium=name, noun=captions.NOUNS.get(name, "painting")) for form in templates() for name in names
    ]
    seen = text_encoder(encode(tokenizer, texts)[:, :SHORT])
    shape = len(templates()), len(names), -1
    return seen.last_hidden_state.reshape(shape), F.normalize(seen.text_embeds, dim=-1).reshape(shape)


def distances(states: torch.Tensor) -> torch.Tensor:
    """Mean over the templates of the distance between two media's captions, (media, media)."""
    return torch.cdist(states, states).mean(0)


def words_that_move(tokenizer, names: tuple[str, ...], near: torch.Tensor) -> list[int]:
    """Token ids of the names that are near to another one."""
    close = [name for name, row in zip(names, near) if row.any()]
    if not close:
        return []
    ids = {token for row in encode(tokenizer, close).tolist() for token in row}
    return sorted(ids - set(encode(tokenizer, [""])[0].tolist()))


def spread(text_encoder, tokenizer, steps: int = 200, rate: float = 0.01) -> tuple[float, float]:
    """Change the embeddings in place. -> the smallest distance of two media before and after, as shares of the median."""
    names = tuple(media.MEDIA)
    text_encoder.requires_grad_(False)
    off = ~torch.eye(len(names), dtype=torch.bool)
    with torch.no_grad():
        first = distances(said(text_encoder, tokenizer, names)[0])
    usual = first[off].median()
    near = (first < NEAR * usual) & off
    # Away from one another must not mean close to a third.
    watched = (near.any(0)[:, None] | near.any(0)) & off
    rows = text_encoder.get_input_embeddings().weight
    moving = words_that_move(tokenizer, names, near)
    mask = torch.zeros(len(rows), 1)
    mask[moving] = 1
    # Rows that are all but equal would all get the same gradient.
    with torch.no_grad():
        rows += 0.1 * mask * rows.std() * torch.randn(rows.shape, generator=torch.Generator().manual_seed(0))
    rows.requires_grad_(True)
    optimizer = torch.optim.Adam([rows], lr=rate)
    for _ in range(steps if moving else 0):
        states, embeds = said(text_encoder, tokenizer, names)
        short = F.relu(APART - torch.cdist(states, states)[:, watched] / usual)
        alike = F.relu((embeds @ embeds.transpose(1, 2))[:, watched] - SIMILAR)
        loss = short.square().mean() + alike.square().mean()
        if not loss.item():
            break
        optimizer.zero_grad()
        loss.backward()
        rows.grad *= mask
        optimizer.step()
    rows.requires_grad_(False)
    with torch.no_grad():
        last = distances(said(text_encoder, tokenizer, names)[0])
    return float(first[off].min() / usual), float(last[off].min() / usual)


def main() -> None:
    args = arguments(__doc__)
    tokenizer = CLIPTokenizer.from_pretrained(args.run / "tokenizer")
    text_encoder = models.text_encoder(args.cfg.encoders, tokenizer).eval()
    path = args.run / "text_encoder.safetensors"
    text_encoder.load_state_dict(load_file(path))
    before, after = spread(text_encoder, tokenizer)
    save_weights(path, text_encoder.state_dict())
    status(args.run, f"words: the nearest two media were {before:.2f} of the usual distance apart, now {after:.2f}")


if __name__ == "__main__":
    main()
