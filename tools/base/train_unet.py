"""Train the UNet on cached latents: first small pictures, then the native size.

May be stopped at any time: the averaged weights are written every few minutes.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file

from . import captions, data, models
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
from .export import load_parts
from .sampling import GRID, contexts, sample
from .tokenizer import CLIPTokenizer

VARIANTS = 4  # captions prepared for each picture


def views(
    records: list[dict], chosen: list[int], size: int, seed: int, margin: int
) -> list[tuple[int, int, int, bool]]:
    """(picture, y, x, mirrored) of the views to encode, jittered by up to 3 pixels.

    Photos and art, which are few, are seen both ways; encoding costs more than a training step, so
    that a simulated picture, of which every photo has several, is seen one way.
    """
    rng = np.random.default_rng(seed + size)
    out = []
    for i in chosen:
        one_way = records[i]["kind"] == "media"
        for mirrored in (bool(rng.random() < 0.5),) if one_way else (False, True):
            y, x = margin // 2 + rng.integers(-3, 4, 2)
            out.append((i, int(y), int(x), mirrored))
    return out


@torch.no_grad()
def encode_views(vae, images: np.ndarray, todo: list, side: int, size: int) -> torch.Tensor:
    """Latents [n, 4, size / 8, size / 8] of the views, in half precision."""
    out = []
    for start in range(0, len(todo), 8):
        crops = []
        for i, y, x, mirrored in todo[start : start + 8]:
            crop = images[i, y : y + side, x : x + side]
            crops.append(crop[:, ::-1] if mirrored else crop)
        pixels = to_tensor(np.stack(crops))
        if size != side:
            pixels = F.interpolate(pixels, size, mode="bilinear", antialias=True)
        out.append(vae.encode(pixels).latents.half())
    return torch.cat(out)


def cached_latents(args, team: Team, vae, size: int) -> tuple[torch.Tensor, np.ndarray]:
    """Latents of all training portraits at `size` px and the picture index of each; encoded once, shared by the workers."""
    images, records = data.load(args.run)
    chosen = [i for i, r in enumerate(records) if r["portrait"] and not r["heldout"]]
    todo = views(records, chosen, size, args.cfg.seed, args.cfg.align.margin)
    parts = sorted(args.run.glob(f"latents_{size}_*of*.safetensors"))
    if not parts or len(parts) != int(parts[0].stem.rpartition("of")[2]):
        mine = todo[team.rank :: team.count]
        save_weights(
            args.run / f"latents_{size}_{team.rank}of{team.count}.safetensors",
            {"z": encode_views(vae, images, mine, args.cfg.image_size, size)},
        )
        team.wait()
        parts = sorted(args.run.glob(f"latents_{size}_*of{team.count}.safetensors"))
    z = torch.empty(len(todo), 4, size // 8, size // 8)
    for k, part in enumerate(parts):
        z[k :: len(parts)] = load_file(part)["z"].float()
    return z, np.array([v[0] for v in todo])


class Batches:
    """Draws latents and contexts, a fixed share of each kind (photos, simulated media, real art), both sexes equally often."""

    def __init__(self, records: list[dict], text_encoder, tokenizer, cfg, seed: int, rng: np.random.Generator) -> None:
        words = np.random.default_rng(seed)
        self.records, self.cfg, self.rng = records, cfg, rng
        texts = [
            [captions.caption(r, words) for _ in range(VARIANTS)] if r["portrait"] else [""] * VARIANTS for r in records
        ]
        known = {text: k for k, text in enumerate(sorted({t for row in texts for t in row} | {""}))}
        self.table = contexts(text_encoder, tokenizer, list(known))
        self.empty = known[""]
        self.rows = np.array([[known[t] for t in row] for row in texts])

    def use(self, z: torch.Tensor, owner: np.ndarray, named: dict[str, float] | None = None) -> None:
        """Switch to these latents; `owner` is the picture each was made from, `named` are media with shares of their own."""
        self.z, self.owner, named = z, owner, named or {}
        kinds, sexes, media = (
            np.array([self.records[i].get(key, "") for i in owner]) for key in ("kind", "gender", "medium")
        )
        own = np.isin(media, list(named)) & (kinds == "media")
        left = 1 - sum(named.values())
        chosen = [(own & (media == name), share) for name, share in named.items()]
        chosen += [((kinds == kind) & ~own, share * left) for kind, share in vars(self.cfg.shares).items()]
        self.groups = []
        for those, share in chosen:
            parts = [np.flatnonzero(those & (sexes == sex)) for sex in sorted(set(sexes[those]))]
            self.groups += [(part, share / len(parts)) for part in parts]

    def draw(self, count: int) -> tuple[torch.Tensor, torch.Tensor]:
        rng = self.rng
        which = rng.choice(len(self.groups), count, p=[share for _, share in self.groups])
        chosen = np.array([self.groups[k][0][rng.integers(len(self.groups[k][0]))] for k in which])
        rows = self.rows[self.owner[chosen], rng.integers(VARIANTS, size=count)]
        rows[rng.random(count) < self.cfg.caption_dropout] = self.empty
        return self.z[chosen], self.table[rows]


def diffusion_loss(unet, z: torch.Tensor, context: torch.Tensor, alphas: torch.Tensor, gamma: float) -> torch.Tensor:
    """Epsilon loss with min-SNR weights: min(SNR, gamma) / SNR."""
    t = torch.randint(0, len(alphas), (len(z),), device=z.device)
    a = alphas[t].view(-1, 1, 1, 1)
    noise = torch.randn_like(z)
    predicted = unet(a.sqrt() * z + (1 - a).sqrt() * noise, t, context).sample
    snr = (a / (1 - a)).flatten()
    return ((predicted - noise).square().mean(dim=(1, 2, 3)) * snr.clamp(max=gamma) / snr).mean()


def learn(unet, optimizer, batch, alphas: torch.Tensor, gamma: float, team: Team, clock: Clock) -> tuple[float, float]:
    """One optimizer step on a batch of latents and contexts. -> its loss, and the share of the time that is spent."""
    loss = diffusion_loss(unet, *(part.to(alphas.device) for part in batch), alphas, gamma)
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    progress = team.average(unet, clock.tick())
    torch.nn.utils.clip_grad_norm_(unet.parameters(), 1.0)
    optimizer.step()
    return loss.item(), progress


def draw_sheet(path: Path, parts: dict, unet, tokenizer, size: int, steps: int, cfg: float, texts: list[str]) -> None:
    context = contexts(parts["text_encoder"], tokenizer, [*texts, ""])
    z = sample(unet, context[:-1], context[-1:], size, steps, cfg, seed=1)
    sheet(path, torch.cat([parts["vae"].decode(v).sample for v in z.split(4)]), 4)


def train(args, team: Team) -> None:
    cfg = args.cfg.unet
    tokenizer = CLIPTokenizer.from_pretrained(args.run / "tokenizer")
    parts = load_parts(args.run, args.cfg, tokenizer)
    _, records = data.load(args.run)
    torch.manual_seed(args.cfg.seed)
    unet = models.unet(cfg, args.cfg.encoders.width, args.cfg.image_size // 8).to(args.device)
    optimizer = torch.optim.AdamW(unet.parameters(), lr=cfg.lr, betas=(0.9, 0.99), weight_decay=0.01, fused=True)
    ema, clock, step = Ema(unet, cfg.ema), Clock(args.minutes or cfg.minutes), 0
    state = Checkpoint(args.run / "unet_state.pt", unet, optimizer, ema, clock)
    step = state.resume()
    seed = args.cfg.seed + 1000 * team.rank + step
    torch.manual_seed(seed)
    batches = Batches(records, parts["text_encoder"], tokenizer, cfg, args.cfg.seed, np.random.default_rng(seed))
    alphas = models.scheduler().alphas_cumprod.to(args.device)
    average, size = parts["unet"], 0
    if team.first:
        status(
            args.run,
            f"unet: start at step {step}, {unet.num_parameters() / 1e6:.1f} M parameters, {len(batches.table)} captions",
        )

    def checkpoint(with_sheet: bool) -> None:
        save_weights(args.run / "unet.safetensors", ema.state)
        state.save(step)
        line = f"unet: step {step}, {clock.spent / 60:.1f} min, {size} px, loss {running:.4f}"
        if with_sheet:
            average.load_state_dict(ema.state)
            random = torch.get_rng_state()
            draw_sheet(
                args.run / f"sheet_unet_{step:06d}.png",
                parts,
                average,
                tokenizer,
                size // 8,
                25,
                args.cfg.sample.cfg,
                GRID[:8],
            )
            torch.set_rng_state(random)
        status(args.run, line)

    running, progress, saved, drawn = 1.0, clock.tick(), clock.spent, clock.spent
    while progress < 1:
        wanted = 128 if progress < cfg.small_fraction else args.cfg.image_size
        if wanted != size:
            size = wanted
            batches.use(*cached_latents(args, team, parts["vae"], size))
            clock.tick()
        count = (cfg.batch if size == 128 else cfg.batch_large) // team.count
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(cfg.lr, step, cfg.warmup, progress)
        loss, progress = learn(unet, optimizer, batches.draw(count), alphas, cfg.min_snr, team, clock)
        step += 1
        running = 0.98 * running + 0.02 * loss
        if team.first:
            ema.update(unet)
            if step % 50 == 0:
                print(f"step {step} loss {running:.4f} {clock.spent:.0f} s", flush=True)
            if clock.spent - saved > 240:
                saved, with_sheet = clock.spent, clock.spent - drawn > 540
                drawn = clock.spent if with_sheet else drawn
                checkpoint(with_sheet)
    if team.first:
        checkpoint(True)
        status(args.run, "unet: finished")


def main() -> None:
    args = arguments(__doc__)
    launch(train, args)


if __name__ == "__main__":
    main()
