"""Teach a trained UNet words that have moved: more of their media, and a higher learning rate where the UNet reads the text.

For a run whose words were moved apart (`spread_words`) after `train_unet`; in a run from nothing they are apart before it, and
`python -m tools.base` leaves this out. May be stopped at any time and goes on from its own checkpoint.
"""

from __future__ import annotations

import numpy as np
import torch

from . import data, models
from .common import (
    Checkpoint,
    Clock,
    Ema,
    Team,
    arguments,
    launch,
    learning_rate,
    load_state,
    save_weights,
    status,
)
from .export import load_parts
from .tokenizer import CLIPTokenizer
from .train_unet import Batches, cached_latents, learn

SAVE_EVERY = 200.0  # seconds


def reads_text(name: str) -> bool:
    """Whether a weight of the UNet makes keys or values of the text."""
    return ".attn2.to_k" in name or ".attn2.to_v" in name


def groups(unet, cfg) -> list[dict]:
    """Parameter groups of the optimizer; `peak` is the learning rate at its highest."""
    text = [p for name, p in unet.named_parameters() if reads_text(name)]
    rest = [p for name, p in unet.named_parameters() if not reads_text(name)]
    return [{"params": rest, "peak": cfg.lr}, {"params": text, "peak": cfg.text_lr}]


def train(args, team: Team) -> None:
    cfg, unet_cfg = args.cfg.relearn, args.cfg.unet
    start = load_state(args.run / "unet_state.pt")
    if start is None:
        raise SystemExit(f"{args.run} holds no trained UNet: run tools.base.train_unet first")
    tokenizer = CLIPTokenizer.from_pretrained(args.run / "tokenizer")
    parts = load_parts(args.run, args.cfg, tokenizer)
    _, records = data.load(args.run)
    unet = models.unet(unet_cfg, args.cfg.encoders.width, args.cfg.image_size // 8).to(args.device)
    unet.load_state_dict(start["model"])
    optimizer = torch.optim.AdamW(groups(unet, cfg), betas=(0.9, 0.99), weight_decay=0.01, fused=True)
    ema, clock = Ema(unet, cfg.ema), Clock(args.minutes or cfg.minutes)
    state = Checkpoint(args.run / "relearn_state.pt", unet, optimizer, ema, clock)
    step = state.resume()
    seed = args.cfg.seed + 1000 * team.rank + start["step"] + step
    torch.manual_seed(seed)
    batches = Batches(records, parts["text_encoder"], tokenizer, unet_cfg, args.cfg.seed, np.random.default_rng(seed))
    batches.use(*cached_latents(args, team, parts["vae"], args.cfg.image_size), dict.fromkeys(cfg.media, cfg.share))
    alphas = models.scheduler().alphas_cumprod.to(args.device)

    def checkpoint() -> None:
        save_weights(args.run / "unet.safetensors", ema.state)
        state.save(step)
        status(args.run, f"relearn: step {step}, {clock.spent / 60:.1f} min, loss {running:.4f}")

    running, progress, saved = 1.0, clock.tick(), clock.spent
    while progress < 1:
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(group["peak"], step, cfg.warmup, progress, floor=0.1)
        batch = batches.draw(unet_cfg.batch_large // team.count)
        loss, progress = learn(unet, optimizer, batch, alphas, unet_cfg.min_snr, team, clock)
        step += 1
        running = 0.98 * running + 0.02 * loss
        if team.first:
            ema.update(unet)
            if clock.spent - saved > SAVE_EVERY:
                saved = clock.spent
                checkpoint()
    if team.first:
        checkpoint()
        status(args.run, "relearn: finished")


if __name__ == "__main__":
    launch(train, arguments(__doc__))
