"""Train the autoencoder's decoder further, with the encoder frozen: the latents stay what the UNet learns.

A critic beside the pixel errors keeps edges and strokes sharp; its share is small, since a strong one draws lines of its own.
A little noise on half of the latents makes the decoder forgive what a sampler leaves.
"""

from __future__ import annotations

import torch

from .autoencoder import Held, crops, picture_loss
from .critic import Critic, balance, critic_loss, deceit
from .loop import peaks
from .run import Run


def train(run: Run) -> None:
    cfg, vae, feed = run.cfg.decoder, run.networks["vae"], run.pictures
    feed.fill(run.cfg.supply.first)
    decoder = vae.decoder.train().requires_grad_(True)
    critic = Critic(tuple(cfg.widths)).to(run.device, memory_format=torch.channels_last)
    both, last = torch.nn.ModuleDict({"decoder": decoder, "critic": critic}), decoder.layers[-1].weight
    groups = [peaks(decoder.parameters(), cfg.lr), peaks(critic.parameters(), cfg.critic_lr, constant=True)]
    optimizer = torch.optim.AdamW(groups, betas=(0.5, 0.99), weight_decay=0.0)
    loop = run.loop("decoder", both, optimizer, cfg, averaged=decoder)
    for _ in loop:
        x = crops(feed, cfg.batch, cfg.crop)
        with run.autocast():
            with torch.no_grad():
                z = vae.encode(x).latents
            noise = 2 * cfg.noise * torch.rand(len(z), 1, 1, 1, device=z.device).sub(0.5).clamp(min=0)
            y = decoder(z + noise * torch.randn_like(z))
            lie = deceit(critic, x, y, z)
        error = picture_loss(y.float(), x, cfg.perceptual)
        trust = cfg.critic * min(1.0, loop.step / cfg.critic_warmup)  # the critic must see something first
        loss = error + trust * balance(error, lie, last) * lie
        with run.autocast():
            judged = critic_loss(critic, x, y, z)
        loop.learn(loss + judged)
    loop.finish()
    vae.eval().requires_grad_(False)
    Held(run).check("decoder")
    run.finish("decoder", loop)
