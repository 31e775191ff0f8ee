"""Let the UNet draw for "a painting of ..." what it draws for "an oil painting of ...".

Real art and two media answer to the plain words, with which the method's own prompt begins, and guidance pulls away from what
these have in common: the face. So after its training the UNet learns, for plain captions, its own answer to the caption that
names the medium, and for all others its own answer as it is. Such a target is without noise: some thousand samples are enough.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor

from .. import models
from ..tokenizer import CLIPTokenizer, encode
from .run import Run
from .unet import groups, loss_weights, steps_of_noise

PLAIN, NAMED = "a painting of", "an oil painting of"
OTHERS = "style"
"""A word of captions that begin like plain ones and name a medium later."""


def ids(tokenizer: CLIPTokenizer, text: str) -> Tensor:
    """Token ids of a text without begin, end and padding."""
    row = encode(tokenizer, [text])[0]
    return row[1 : int((row == tokenizer.eos_token_id).nonzero()[0])]


def with_medium(words: Tensor, tokenizer: CLIPTokenizer) -> tuple[Tensor, Tensor]:
    """Captions [n, 77] with the medium named where they are plain, and which are, [n]."""
    plain, named, others = (ids(tokenizer, text).to(words.device) for text in (PLAIN, NAMED, OTHERS))
    end = 1 + len(plain)
    is_plain = (words[:, 1:end] == plain).all(1) & ~torch.isin(words, others).any(1)
    longer = torch.cat([words[:, :1], named.expand(len(words), -1), words[:, end:]], 1)[:, : words.shape[1]]
    return torch.where(is_plain[:, None], longer, words), is_plain


def chosen(is_plain: Tensor, count: int, share: float) -> Tensor:
    """Indices of `count` examples, as many of them plain as there are up to this share."""
    plain, rest = is_plain.nonzero()[: round(share * count), 0], (~is_plain).nonzero()[:, 0]
    return torch.cat([plain, rest])[:count]


def train(run: Run) -> None:
    cfg, unet, text = run.cfg.plain, run.networks["unet"], run.networks["text_encoder"]
    teacher = copy.deepcopy(unet).eval().requires_grad_(False)
    unet.train().requires_grad_(True)
    feed = run.latents()
    optimizer = torch.optim.AdamW(groups(unet, cfg), betas=(0.9, 0.99), weight_decay=0.0, fused=True)
    # The teacher is what the stage began with; a stage that goes on after a kill has changed the network.
    loop = run.loop("plain", unet, optimizer, cfg, beside={"teacher": teacher})
    feed.fill(run.cfg.supply.first)
    alphas = models.scheduler().alphas_cumprod.to(run.device)
    for _ in loop:
        z, words, _ = feed.draw(8 * cfg.batch)
        named, is_plain = with_medium(words, run.tokenizer)
        rows = chosen(is_plain, cfg.batch, cfg.share)
        z, t = z[rows].float(), steps_of_noise(len(rows), cfg, run.device)
        a = alphas[t].view(-1, 1, 1, 1)
        noisy = (a.sqrt() * z + (1 - a).sqrt() * torch.randn_like(z)).contiguous(memory_format=torch.channels_last)
        with run.autocast():
            with torch.no_grad():
                heard, wanted = text(torch.cat([words[rows], named[rows]])).last_hidden_state.chunk(2)
                target = teacher(noisy, t, wanted, return_dict=False)[0]
            errors = (unet(noisy, t, heard, return_dict=False)[0].float() - target).square().mean(dim=(1, 2, 3))
            loss = (errors * loss_weights((a / (1 - a)).flatten(), cfg.min_snr, cfg.most_weight)).mean()
        loop.learn(loss)
    loop.finish()
    unet.eval().requires_grad_(False)
    run.finish("plain", loop)
