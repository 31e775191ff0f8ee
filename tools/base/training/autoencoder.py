"""Train the autoencoder (TAESD layout: 64 channels, factor 8, 4 latents near unit variance)."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from .. import media
from ..common import sheet
from ..pictures.album import Album
from . import plain_code
from .features import perceptual
from .loop import peaks
from .run import Run
from .supply import Feed, normal

CHROMA_DEVIATION = 0.25
"""Of a colour difference in -1..1 units over the training pictures, about."""
SMALL = 1 / 6
"""Part of the crops that are taken from pictures at half size, for coarser content."""


def crops(feed: Feed, count: int, size: int) -> Tensor:
    """Random crops on the latents' grid, [count, 3, size, size] in -1..1, those of one batch at one place."""
    images = feed.draw(count).images.float()
    few = round(SMALL * count)
    y, x = (8 * torch.randint(0, (images.shape[-1] - size) // 8 + 1, (2,))).tolist()
    small = F.interpolate(images[:few], images.shape[-1] // 2, mode="bilinear", antialias=True) if few else images[:0]
    small = small[..., : images.shape[-1] // 2, : images.shape[-1] // 2]
    at = min(y, small.shape[-1] - size), min(x, small.shape[-1] - size)
    small = small[..., at[0] : at[0] + size, at[1] : at[1] + size]
    return normal(torch.cat([small, images[few:, :, y : y + size, x : x + size]]))


def edges(x: Tensor) -> list[Tensor]:
    """Differences of neighbours across and down, at full and half size."""
    out = []
    for _ in range(2):
        out += [x[..., 1:] - x[..., :-1], x[..., 1:, :] - x[..., :-1, :]]
        x = F.avg_pool2d(x, 2)
    return out


def picture_loss(y: Tensor, x: Tensor, share: float) -> Tensor:
    """L1 + 2 MSE + edges + colour in 0..1 units, up to the rim, for whole pictures have rims; `share` times what is seen."""
    difference = (y - x) / 2
    rim = sum((a - b).abs().mean() for a, b in zip(edges(y / 2), edges(x / 2)))
    colour = F.avg_pool2d(difference - difference.mean(1, keepdim=True), 4).abs().mean()
    loss = difference.abs().mean() + 2 * difference.square().mean() + 0.25 * rim + 0.5 * colour
    return loss + share * perceptual(y, x) if share else loss


class Moments:
    """Pulls the latents' running mean to 0 and variance to 1. A single crop may be far from both: only the running error is
    pushed back, through the current batch."""

    def __init__(self, device: str) -> None:
        self.mean, self.square = torch.zeros(4, device=device), torch.ones(4, device=device)

    def penalty(self, z: Tensor) -> Tensor:
        mean, square = z.mean(dim=(0, 2, 3)), z.square().mean(dim=(0, 2, 3))
        self.mean.lerp_(mean.detach(), 0.05), self.square.lerp_(square.detach(), 0.05)
        return (self.mean * mean + (self.square - 1) * square).mean()


def chroma(x: Tensor) -> Tensor:
    """Two colour differences, averaged over the 8x8 pixels of a latent: [n, 2, h / 8, w / 8]."""
    red, green, blue = F.avg_pool2d(x, 8).unbind(1)
    return torch.stack([red - green, blue - green], 1) / CHROMA_DEVIATION


class Held:
    """Pictures that no training sees: photos, real art, and simulated media of the photos."""

    def __init__(self, run: Run) -> None:
        album, count, rng = Album(run.data, heldout=True), run.cfg.held.each, np.random.default_rng(0)
        photos = album.plain(album.photos[:count])
        names = list(media.MEDIA)
        drawn = [media.render(names[k % len(names)], photos[k % len(photos)], rng)[0] for k in range(count)]
        art = [*album.art, *album.other][:count]
        self.groups = {"photos": photos, "media": np.stack(drawn), **({"art": album.plain(art)} if art else {})}
        self.run = run

    @torch.no_grad()
    def check(self, name: str) -> None:
        """Say the mean PSNR of each group, and draw the first of each beside what the autoencoder makes of it."""
        vae, said, shown = self.run.networks["vae"].eval(), [], []
        for group, pictures in self.groups.items():
            x = torch.from_numpy(pictures).permute(0, 3, 1, 2).to(self.run.device)
            with self.run.autocast():
                y = torch.cat([vae.decode(vae.encode(normal(part)).latents).sample for part in x.split(8)])
            y, x = y.float().clamp(-1, 1), normal(x)
            errors = ((y - x) / 2).square().mean(dim=(1, 2, 3))
            said.append(f"{group} {float((-10 * errors.log10()).mean()):.2f} dB")
            shown += [x[:6], y[:6]]
        self.run.say(f"{name}: held-out {', '.join(said)}")
        sheet(self.run.folder / f"sheet_{name}.png", torch.cat(shown), len(shown[0]))


def train(run: Run) -> None:
    """The whole autoencoder. Whoever has latents of it needs new ones afterwards."""
    cfg, vae, feed = run.cfg.autoencoder, run.networks["vae"], run.pictures
    feed.fill(run.cfg.supply.first)
    if "vae" not in run.known:
        plain_code.start(
            vae.cpu(), normal(feed.ring.draw(min(32, len(feed.ring))).images[..., 64:192, 64:192].cpu()), run.cfg.seed
        )
        vae.to(run.device)
    vae.train().requires_grad_(True)
    optimizer = torch.optim.AdamW([peaks(vae.parameters(), cfg.lr)], betas=(0.9, 0.99), weight_decay=0.0)
    loop, moments = run.loop("autoencoder", vae, optimizer, cfg), Moments(run.device)
    for progress in loop:
        x = crops(feed, cfg.batch, cfg.crop)
        with run.autocast():
            z = vae.encode(x).latents
            y = vae.decode(z).sample.float()
        z = z.float()
        loss = picture_loss(y, x, cfg.perceptual) + cfg.latent_penalty * moments.penalty(z)
        if guide := cfg.guide * max(0.0, 1 - progress / cfg.guide_until):
            # Lightness alone explains most of the error, and a short training that starts with it never finds colour: so two
            # latents are first pulled towards the picture's colour differences.
            loss = loss + guide * F.smooth_l1_loss(z[:, 2:], chroma(x).clamp(-2.5, 2.5))
        loop.learn(loss)
    loop.finish()
    vae.eval().requires_grad_(False)
    Held(run).check("autoencoder")
    run.finish("autoencoder", loop)
