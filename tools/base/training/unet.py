"""Train the UNet on latents: epsilon prediction, weighted at both ends of the noise, averaged weights, some empty captions."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .. import models
from ..common import sheet
from ..sampling import GRID, sample
from .loop import peaks
from .run import Run


def reads_text(name: str) -> bool:
    """Whether a weight of the UNet makes keys or values of the text."""
    return ".attn2.to_k" in name or ".attn2.to_v" in name


def groups(unet: nn.Module, cfg) -> list[dict]:
    """Parameter groups of the optimizer; `text_rate`: how much faster the UNet learns to listen, for words that have moved."""
    listening = [p for name, p in unet.named_parameters() if reads_text(name)]
    rest = [p for name, p in unet.named_parameters() if not reads_text(name)]
    return [peaks(rest, cfg.lr), peaks(listening, cfg.lr * cfg.text_rate)]


def steps_of_noise(count: int, cfg, device: str) -> Tensor:
    """Times at which noise is added, [count]: even over 0..999, but a part `late` of them from `late_from` on, where a sample's
    colour and composition are settled."""
    low = torch.where(torch.rand(count, device=device) < cfg.late, cfg.late_from, 0)
    return (low + torch.rand(count, device=device) * (1000 - low)).long().clamp(max=999)


def loss_weights(snr: Tensor, gamma: float, most: float) -> Tensor:
    """Weights of the epsilon loss by signal-to-noise ratio, [n]: min(SNR, gamma) / SNR (Hang et al. 2023) times
    min(1 + 1 / SNR, most).

    1 + 1 / SNR makes the epsilon loss that of the velocity. Without it an error of the clean latent at pure noise counts 0.005
    of what it is, and a sample's colour and composition, which are settled there, are hardly learned.
    """
    return snr.clamp(max=gamma) / snr * (1 + 1 / snr).clamp(max=most)


def diffusion_loss(unet, z: Tensor, context: Tensor, t: Tensor, alphas: Tensor, cfg) -> Tensor:
    """Epsilon loss, weighted by :func:`loss_weights`."""
    a = alphas[t].view(-1, 1, 1, 1)
    noise = torch.randn_like(z)
    predicted = unet(a.sqrt() * z + (1 - a).sqrt() * noise, t, context, return_dict=False)[0]
    snr = (a / (1 - a)).flatten()
    errors = (predicted.float() - noise).square().mean(dim=(1, 2, 3))
    return (errors * loss_weights(snr, cfg.min_snr, cfg.most_weight)).mean()


def how_to_compile(seconds: float, cuda: bool, cfg) -> str:
    """`whole`, `blocks` or nothing, by the time that is left for the UNet.

    To compile the whole UNet took 114 s on an H100: it has to save more than that, so it waits for a budget of which an eighth
    is as much (`compile_whole_from`). Its attention blocks are one class, which diffusers compiles once for each width; what
    that takes and saves is not measured yet. On a CPU nothing is compiled.
    """
    if not cuda or seconds < cfg.compile_blocks_from:
        return ""
    return "whole" if seconds >= cfg.compile_whole_from else "blocks"


@torch.no_grad()
def draw_sheet(run: Run, unet: nn.Module) -> None:
    """Samples of some captions, from the same noise each time."""
    text, vae, cfg = run.networks["text_encoder"], run.networks["vae"], run.cfg.sample
    texts = GRID if run.cuda else GRID[:2]
    context = text(run.words([*texts, ""]).to(run.device)).last_hidden_state
    with run.autocast():
        z = sample(unet, context[:-1], context[-1:], unet.config.sample_size, cfg.steps, cfg.cfg, seed=1)
        sheet(run.folder / "sheet_unet.png", torch.cat([vae.decode(v).sample for v in z.split(1)]), 4)


def train(run: Run) -> None:
    cfg, unet, text = run.cfg.unet, run.networks["unet"], run.networks["text_encoder"]
    unet.train().requires_grad_(True)
    feed = run.latents()
    optimizer = torch.optim.AdamW(groups(unet, cfg), betas=(0.9, 0.99), weight_decay=0.01, fused=True)
    # A CPU takes longer to encode a picture than to learn from it, so the latents outlive a kill there.
    loop = run.loop("unet", unet, optimizer, cfg, beside={} if run.cuda else {"latents": feed.ring})
    feed.fill(run.cfg.supply.first)
    alphas = models.scheduler().alphas_cumprod.to(run.device)
    empty = run.words([""])[0].to(run.device)
    how = how_to_compile(loop.seconds - loop.spent, run.cuda, cfg)
    if how == "blocks":
        unet.compile_repeated_blocks()
    elif how == "whole":
        unet.compile()
    for _ in loop:
        z, words, _ = feed.draw(cfg.batch)
        words = torch.where(torch.rand(len(words), 1, device=words.device) < cfg.caption_dropout, empty, words)
        z = z.float().contiguous(memory_format=torch.channels_last)
        with run.autocast():
            with torch.no_grad():
                context = text(words).last_hidden_state
            t = steps_of_noise(len(z), cfg, run.device)
            loss = diffusion_loss(unet, z, context, t, alphas, cfg)
        loop.learn(loss)
    loop.finish()
    unet.eval().requires_grad_(False)
    run.say(f"unet: {loop.step * cfg.batch} samples from {feed.ring.added} pictures")
    run.finish("unet", loop)
    draw_sheet(run, loop.average.module.eval())
