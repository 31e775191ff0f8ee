"""Train the autoencoder's decoder further, with the encoder frozen: the latents stay what the UNet learns.

A critic beside the pixel errors keeps edges and strokes sharp; its share is small, since a strong one draws lines of its own.
May run beside the UNet's training. A little noise on half of the latents makes the decoder forgive what a sampler leaves.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file

from . import data
from .common import (
    Checkpoint,
    Clock,
    Ema,
    Team,
    arguments,
    learning_rate,
    save_weights,
    sheet,
    status,
    to_tensor,
)
from .critic import Critic, balance, critic_loss, deceit
from .models import autoencoder
from .train_autoencoder import evaluate, validation
from .train_unet import cached_latents, views


class LatentCrops:
    """Pairs of latent crops and the pixels they were made from, out of the UNet's cached latents."""

    def __init__(self, args, vae, seed: int) -> None:
        cfg = args.cfg
        self.images, records = data.load(args.run)
        chosen = [i for i, r in enumerate(records) if r["portrait"] and not r["heldout"]]
        self.views = views(records, chosen, cfg.image_size, cfg.seed, cfg.align.margin)
        self.side, self.rng = cfg.image_size, np.random.default_rng(seed)
        self.latents = cached_latents(args, Team(0, 1), vae, cfg.image_size)[0]

    def batch(self, count: int, size: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Latents [count, 4, size / 8, size / 8] and pixels [count, 3, size, size]."""
        latents, pixels = [], []
        for k in self.rng.integers(len(self.views), size=count):
            i, y, x, mirrored = self.views[k]
            top, left = (int(v) for v in self.rng.integers(0, (self.side - size) // 8 + 1, 2))
            view = self.images[i, y : y + self.side, x : x + self.side]
            view = view[:, ::-1] if mirrored else view
            pixels.append(view[8 * top : 8 * top + size, 8 * left : 8 * left + size])
            latents.append(self.latents[k, :, top : top + size // 8, left : left + size // 8])
        return torch.stack(latents), to_tensor(np.stack(pixels))


def edges(x: torch.Tensor) -> list[torch.Tensor]:
    """Differences of neighbours across and down, at full and half size."""
    out = []
    for _ in range(2):
        out += [x[..., 1:] - x[..., :-1], x[..., 1:, :] - x[..., :-1, :]]
        x = F.avg_pool2d(x, 2)
    return out


def decoder_loss(y: torch.Tensor, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """L1 + 2 MSE + edges in 0..1 units, up to the rim: whole pictures have rims too. Also the MSE alone."""
    y, x = y / 2, x / 2
    mse = (y - x).square().mean()
    rim = sum((a - b).abs().mean() for a, b in zip(edges(y), edges(x)))
    return (y - x).abs().mean() + 2 * mse + 0.25 * rim, mse


def main() -> None:
    args = arguments(__doc__)
    cfg = args.cfg.decoder
    model = autoencoder()
    model.load_state_dict(load_file(args.run / "autoencoder.safetensors"))
    model.encoder.requires_grad_(False)
    crops = LatentCrops(args, model, args.cfg.seed)
    held = validation(args.run, args.cfg)
    decoder, critic = model.decoder.to(memory_format=torch.channels_last), Critic()
    both = torch.nn.ModuleDict({"decoder": decoder, "critic": critic})
    last_layer = decoder.layers[-1].weight
    optimizer = torch.optim.AdamW(both.parameters(), lr=cfg.lr, betas=(0.5, 0.99), weight_decay=0.0)
    ema, clock, step = Ema(decoder, 0.98), Clock(args.minutes or cfg.minutes), 0
    checkpoint = Checkpoint(args.run / "decoder_state.pt", both, optimizer, ema, clock)
    step = checkpoint.resume()
    torch.manual_seed(args.cfg.seed + step)
    crops.rng = np.random.default_rng(args.cfg.seed + step)
    average = autoencoder().eval()

    def report() -> None:
        average.load_state_dict({**model.state_dict(), **{f"decoder.{k}": v for k, v in ema.state.items()}})
        psnr, recon, _ = evaluate(average, held)
        status(args.run, f"decoder: step {step}, {clock.spent / 60:.1f} min, held-out portraits {psnr:.2f} dB")
        save_weights(args.run / "autoencoder.safetensors", average.state_dict())
        checkpoint.save(step)
        sheet(args.run / "sheet_decoder.png", torch.cat([held[:6], recon[:6]]), 6)

    last, progress = clock.spent, clock.tick()
    while progress < 1:
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(cfg.lr, step, cfg.warmup, progress)
        z, x = crops.batch(cfg.batch, cfg.crop)
        noise = torch.rand(len(z), 1, 1, 1).sub(0.5).clamp(min=0) * 2 * cfg.noise
        y = decoder((z + noise * torch.randn_like(z)).to(memory_format=torch.channels_last))
        error, mse = decoder_loss(y, x)
        lie = deceit(critic, x, y, z)
        trust = cfg.critic * min(1.0, step / cfg.critic_warmup)  # the critic must see something first
        loss = error + trust * balance(error, lie, last_layer) * lie
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        judged = critic_loss(critic, x, y, z)
        judged.backward()
        torch.nn.utils.clip_grad_norm_(decoder.parameters(), 1.0)
        torch.nn.utils.clip_grad_norm_(critic.parameters(), 1.0)
        optimizer.step()
        ema.update(decoder)
        step, progress = step + 1, clock.tick()
        if step % 50 == 0:
            print(
                f"step {step} error {error.item():.4f} critic {judged.item():.2f} "
                f"psnr {-10 * np.log10(mse.item()):.2f} {clock.spent:.0f} s",
                flush=True,
            )
        if clock.spent - last > 420:
            last = clock.spent
            report()
    report()
    status(args.run, "decoder: finished")


if __name__ == "__main__":
    main()
