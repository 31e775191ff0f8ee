"""Train the autoencoder (TAESD layout: 64 channels, factor 8, 4 latents near unit variance)."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import AutoencoderTiny

from . import data
from .common import (
    Checkpoint,
    Clock,
    Ema,
    Team,
    arguments,
    launch,
    learning_rate,
    save_weights,
    sheet,
    status,
    to_tensor,
)
from .models import autoencoder

CHROMA_DEVIATION = 0.25  # of a colour difference in -1..1 units over the training pictures, about
BINOMIAL = torch.tensor([[1.0, 2.0, 1.0], [2.0, 4.0, 2.0], [1.0, 2.0, 1.0]]) / 16


def _pass_through(conv: torch.nn.Conv2d, generator: torch.Generator) -> None:
    """Channels pass on unmixed, every other one smoothed, plus a little noise."""
    conv.weight.copy_(0.01 * torch.randn(conv.weight.shape, generator=generator))
    for k in range(conv.out_channels):
        if k % 4 < 2:
            conv.weight[k, k] += BINOMIAL
        else:
            conv.weight[k, k, 1, 1] += 1


@torch.no_grad()
def _initialise(model: AutoencoderTiny, images: torch.Tensor, generator: torch.Generator) -> None:
    """Start near a plain code: blocks pass their input on, latents hold lightness, one detail and two
    colour differences, and the last layer is fitted by least squares.

    With the default initialisation the deep ReLU stack passes on little but a constant and lightness,
    and a training of an hour of CPU time never found colour.
    """
    for module in model.modules():
        if type(module).__name__ == "AutoencoderTinyBlock":
            for conv in (module.conv[0], module.conv[2]):
                torch.nn.init.kaiming_normal_(conv.weight, nonlinearity="relu", generator=generator), conv.bias.zero_()
            module.conv[4].weight.zero_(), module.conv[4].bias.zero_()
    first, *middle, last = [m for m in model.encoder.layers if isinstance(m, torch.nn.Conv2d)]
    kernels = torch.randn(27, 3, 3, 3, generator=generator)
    kernels -= kernels.mean(dim=(1, 2, 3), keepdim=True)
    kernels /= kernels.flatten(1).norm(dim=1).view(-1, 1, 1, 1)
    first.weight.zero_(), first.bias.zero_()
    for k in range(3):  # the picture and its negative: ReLU then loses nothing
        first.weight[k, k, 1, 1], first.weight[3 + k, k, 1, 1] = 1, -1
        first.bias[3 + k] = 1
    for k, (channel, sign) in enumerate(((0, 1), (0, -1), (2, 1), (2, -1))):
        first.weight[6 + k, channel, 1, 1], first.weight[6 + k, 1, 1, 1] = 2 * sign, -2 * sign
    first.weight[10:37], first.weight[37:64] = kernels, -kernels
    last.weight.zero_(), last.bias.zero_()
    last.weight[0, :3, 1, 1] = 1
    last.weight[1, 10:37, 1, 1] = torch.randn(27, generator=generator)
    last.weight[1, 37:64] = -last.weight[1, 10:37]
    last.weight[2, 6], last.weight[2, 7], last.weight[3, 8], last.weight[3, 9] = (s * BINOMIAL for s in (1, -1, 1, -1))
    for conv in middle:
        _pass_through(conv, generator)
    first, *middle, last = [m for m in model.decoder.layers if isinstance(m, torch.nn.Conv2d)]
    axes = torch.cat([torch.eye(4), F.normalize(torch.randn(28, 4, generator=generator), dim=1)])
    first.weight.mul_(0.1), first.bias.zero_()
    first.weight[:, :, 1, 1] = torch.stack([axes, -axes], 1).flatten(0, 1)
    for conv in middle:
        _pass_through(conv, generator)
    latent = model.encode(images).latents
    scale = 1 / latent.std(dim=(0, 2, 3))
    encoder_last = model.encoder.layers[-1]
    encoder_last.weight.mul_(scale.view(-1, 1, 1, 1)), encoder_last.bias.copy_(-latent.mean(dim=(0, 2, 3)) * scale)
    features = torch.nn.Sequential(*model.decoder.layers[:-1])(torch.tanh(model.encode(images).latents / 3) * 3)
    design = torch.cat(
        [features.permute(0, 2, 3, 1).reshape(-1, 64), torch.ones(features[:, 0].numel(), 1)], 1
    ).double()
    target = images.permute(0, 2, 3, 1).reshape(-1, 3).add(1).div(2).double()
    solution = torch.linalg.solve(
        design.T @ design + 1e-3 * len(design) * torch.eye(65).double(), design.T @ target
    ).float()
    last.weight.zero_()
    last.weight[:, :, 1, 1] = solution[:64].T
    last.bias.copy_(solution[64])


def build(sample: torch.Tensor | None = None, seed: int = 0) -> AutoencoderTiny:
    """The untrained model; with `sample` ([n, 3, h, w] in -1..1) initialised on these pictures."""
    model = autoencoder()
    if sample is not None:
        _initialise(model, sample, torch.Generator().manual_seed(seed))
    return model.to(memory_format=torch.channels_last)


class Crops:
    """Random crops of the training pictures; a quarter of them at half size for coarser content."""

    def __init__(self, run, seed: int) -> None:
        images, records = data.load(run)
        self.images = images[[i for i, r in enumerate(records) if not r["heldout"]]]
        self.rng = np.random.default_rng(seed)

    def batch(self, count: int, size: int) -> torch.Tensor:
        out = np.empty((count, size, size, 3), np.uint8)
        for k in range(count):
            image = self.images[self.rng.integers(len(self.images))]
            if self.rng.random() < 0.15:
                image = image[::2, ::2]
            y, x = self.rng.integers(0, image.shape[0] - size + 1, 2)
            crop = image[y : y + size, x : x + size]
            out[k] = crop[:, ::-1] if self.rng.random() < 0.5 else crop
        return to_tensor(out)


class Moments:
    """Pulls the latents' running mean to 0 and variance to 1. A single crop may be far from both:
    only the running error is pushed back, through the current batch."""

    def __init__(self) -> None:
        self.mean, self.square = torch.zeros(4), torch.ones(4)

    def penalty(self, z: torch.Tensor) -> torch.Tensor:
        mean, square = z.mean(dim=(0, 2, 3)), z.square().mean(dim=(0, 2, 3))
        self.mean.lerp_(mean.detach().cpu(), 0.05), self.square.lerp_(square.detach().cpu(), 0.05)
        return (self.mean.to(z) * mean + (self.square.to(z) - 1) * square).mean()


def chroma(x: torch.Tensor) -> torch.Tensor:
    """Two colour differences, averaged over the 8x8 pixels of a latent: [n, 2, h / 8, w / 8]."""
    red, green, blue = F.avg_pool2d(x, 8).unbind(1)
    return torch.stack([red - green, blue - green], 1) / CHROMA_DEVIATION


def loss_of(model, x: torch.Tensor, moments: Moments, cfg, guide: float) -> tuple[torch.Tensor, torch.Tensor]:
    """L1 + 2 MSE in 0..1 units, colour, and the latents' penalty; also the MSE alone.

    Lightness alone explains most of the error, and a short training that starts with it never finds
    colour. So two latents are first pulled towards the picture's colour differences (`guide`).
    """
    z = model.encode(x).latents
    y = model.decode(z).sample
    difference = (y - x) / 2
    mse = difference.square().mean()
    colour = F.avg_pool2d(difference - difference.mean(1, keepdim=True), 4).abs().mean()
    loss = difference.abs().mean() + 2 * mse + cfg.colour * colour + cfg.latent_penalty * moments.penalty(z)
    return loss + guide * F.smooth_l1_loss(z[:, 2:], chroma(x).clamp(-2.5, 2.5)), mse


@torch.no_grad()
def evaluate(model, images: torch.Tensor) -> tuple[float, torch.Tensor, torch.Tensor]:
    """Mean PSNR in dB over the pictures, reconstructions, latents."""
    z = torch.cat([model.encode(x).latents for x in images.split(8)])
    y = torch.cat([model.decode(v).sample.clamp(-1, 1) for v in z.split(8)])
    mse = ((y - images) / 2).square().mean(dim=(1, 2, 3))
    return float((-10 * mse.log10()).mean()), y, z


def validation(run, cfg, count: int = 16) -> torch.Tensor:
    """Held-out photos, central crop: [count, 3, size, size]."""
    images, records = data.load(run)
    chosen = [i for i, r in enumerate(records) if r["heldout"] and r["kind"] == "photo"][:count]
    half = cfg.align.margin // 2
    return to_tensor(images[chosen][:, half : half + cfg.image_size, half : half + cfg.image_size])


def train(args, team: Team) -> None:
    cfg, base = args.cfg.autoencoder, args.cfg.seed + 1000 * team.rank
    crops, held = Crops(args.run, base), validation(args.run, args.cfg).to(args.device)
    torch.manual_seed(args.cfg.seed)
    model = build(Crops(args.run, args.cfg.seed).batch(32, 64)).to(args.device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=cfg.lr, betas=(0.9, 0.99), weight_decay=0.0)
    ema, clock, step = Ema(model, 0.995), Clock(args.minutes or cfg.minutes), 0
    checkpoint = Checkpoint(args.run / "autoencoder_state.pt", model, optimizer, ema, clock)
    step = checkpoint.resume()
    crops.rng = np.random.default_rng(base + step)
    if team.first:
        status(
            args.run,
            f"autoencoder: start at step {step}, {sum(p.numel() for p in model.parameters()) / 1e6:.2f} M parameters",
        )
    average, moments = build().to(args.device).eval(), Moments()

    def report() -> None:
        average.load_state_dict(ema.state)
        psnr, recon, z = evaluate(average, held)
        status(
            args.run,
            f"autoencoder: step {step}, {clock.spent / 60:.1f} min, held-out portraits {psnr:.2f} dB, latent sd {z.std():.2f}",
        )
        save_weights(args.run / "autoencoder.safetensors", ema.state)
        checkpoint.save(step)
        sheet(args.run / "sheet_autoencoder.png", torch.cat([held[:6], recon[:6]]), 6)

    last, progress = clock.spent, clock.tick()
    while progress < 1:
        size = cfg.late_crop if progress > cfg.late_from else cfg.crop
        count = max(1, round(cfg.batch / team.count * (cfg.crop / size) ** 2))
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(cfg.lr, step, cfg.warmup, progress)
        loss, mse = loss_of(
            model,
            crops.batch(count, size).to(args.device, memory_format=torch.channels_last),
            moments,
            cfg,
            cfg.guide * max(0.0, 1 - progress / cfg.guide_until),
        )
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        progress = team.average(model, clock.tick())
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        ema.update(model)
        step += 1
        if team.first and step % 50 == 0:
            print(
                f"step {step} loss {loss.item():.4f} psnr {-10 * np.log10(mse.item()):.2f} {clock.spent:.0f} s",
                flush=True,
            )
        if team.first and clock.spent - last > 180:
            last = clock.spent
            report()
    if team.first:
        report()
        status(args.run, "autoencoder: finished")


def main() -> None:
    args = arguments(__doc__)
    launch(train, args)


if __name__ == "__main__":
    main()
