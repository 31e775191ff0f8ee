"""Train the joint text-image encoder: CLIP's contrastive loss on the pictures and their captions."""

from __future__ import annotations

import json

import numpy as np
import torch
import torch.nn.functional as F

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
    status,
    to_tensor,
)
from .export import DEVIATION, MEAN
from .tokenizer import CLIPTokenizer, encode

SHORT = 32  # tokens kept while training: the model is causal, so what follows the first end token cannot matter


def pixels(images: np.ndarray, size: int, cfg, rng: np.random.Generator | None) -> torch.Tensor:
    """Prepared pictures, uint8 [n, s, s, 3] -> normalised [n, 3, size, size].

    With `rng` they are cut closer, moved, flipped and recoloured.
    """
    margin, side = cfg.align.margin, cfg.image_size
    out = []
    for image in images:
        cut = side if rng is None else int(rng.integers(round(0.8 * side), side + 1))
        room = side + margin - cut
        y, x = rng.integers(0, room + 1, 2) if rng is not None else (margin // 2, margin // 2)
        crop = image[y : y + cut, x : x + cut]
        crop = crop[:, ::-1] if rng is not None and rng.random() < 0.5 else crop
        out.append(F.interpolate(to_tensor(crop[None]), size, mode="bilinear", antialias=True))
    x = torch.cat(out).add(1).div(2)
    if rng is not None:
        gain = torch.from_numpy(rng.uniform(0.9, 1.1, (len(x), 3, 1, 1)).astype(np.float32))
        x = (x * gain).clamp(0, 1)
    return (x - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(DEVIATION).view(3, 1, 1)


class Pair(torch.nn.Module):
    def __init__(self, cfg, tokenizer) -> None:
        super().__init__()
        self.text, self.image = models.text_encoder(cfg, tokenizer), models.image_encoder(cfg)
        self.scale = torch.nn.Parameter(torch.tensor(2.66))

    def forward(self, ids: torch.Tensor, images: torch.Tensor) -> torch.Tensor:
        """Similarities [images, texts]."""
        text = F.normalize(self.text(ids).text_embeds, dim=-1)
        image = F.normalize(self.image(images).image_embeds, dim=-1)
        return self.scale.exp().clamp(max=100) * image @ text.t()


def contrastive(similarity: torch.Tensor, same: torch.Tensor) -> torch.Tensor:
    """Symmetric cross-entropy; pictures with the same caption share their probability."""
    target = same / same.sum(1, keepdim=True)
    directions = (similarity, similarity.t())
    return 0.5 * sum(-(target * s.log_softmax(1)).sum(1).mean() for s in directions)


@torch.no_grad()
def caption_top1(pair: Pair, tokenizer, run, cfg, groups: int = 40, choices: int = 20) -> float:
    """Share of held-out pictures whose own full caption ranks first among 20 different captions."""
    images, records = data.load(run)
    held = [i for i, r in enumerate(records) if r["heldout"] and r["portrait"]]
    rng = np.random.default_rng(7)
    texts = [captions.caption(records[i], rng, full=True) for i in held]
    pool = sorted(set(texts))
    ids = encode(tokenizer, pool)[:, :SHORT]
    x = pixels(images[held], cfg.encoders.image_size, cfg, None)
    pair.eval()
    scores = torch.cat([pair(ids, part) for part in x.split(32)])
    pair.train()
    right = total = 0
    for _ in range(groups):
        for row, text in enumerate(texts):
            own = pool.index(text)
            others = rng.choice([k for k in range(len(pool)) if k != own], min(choices, len(pool)) - 1, replace=False)
            right += bool(scores[row, own] > scores[row, torch.from_numpy(others)].max())
            total += 1
    return right / total


def train(args, team: Team) -> None:
    cfg, seed = args.cfg.encoders, args.cfg.seed + 1000 * team.rank
    images, records = data.load(args.run)
    chosen = np.array([i for i, r in enumerate(records) if not r["heldout"] and r["portrait"]])
    tokenizer = CLIPTokenizer.from_pretrained(args.run / "tokenizer")
    torch.manual_seed(args.cfg.seed)
    pair = Pair(cfg, tokenizer).to(args.device)
    optimizer = torch.optim.AdamW(pair.parameters(), lr=cfg.lr, betas=(0.9, 0.98), weight_decay=0.05)
    ema, clock, step = Ema(pair, 0.99), Clock(args.minutes or cfg.minutes), 0
    checkpoint = Checkpoint(args.run / "encoders_state.pt", pair, optimizer, ema, clock)
    step = checkpoint.resume()
    rng = np.random.default_rng(seed + step)
    average = Pair(cfg, tokenizer)
    if team.first:
        status(args.run, f"encoders: start at step {step}, {len(chosen)} pictures")

    def report() -> None:
        average.load_state_dict(ema.state)
        top1 = caption_top1(average, tokenizer, args.run, args.cfg, groups=3)
        status(args.run, f"encoders: step {step}, {clock.spent / 60:.1f} min, caption_top1 {top1:.3f}")
        save_weights(args.run / "text_encoder.safetensors", average.text.state_dict())
        save_weights(args.run / "image_encoder.safetensors", average.image.state_dict())
        (args.run / "encoders.json").write_text(
            json.dumps({"scale": float(ema.state["scale"].exp()), "caption_top1": top1})
        )
        checkpoint.save(step)

    last, progress = clock.spent, clock.tick()
    while progress < 1:
        batch = rng.choice(chosen, cfg.batch // team.count, replace=False)
        texts = [captions.caption(records[i], rng, full=rng.random() < 0.3) for i in batch]
        ids = encode(tokenizer, texts)[:, :SHORT]
        same = torch.from_numpy(np.equal.outer(texts, texts).astype(np.float32)).to(args.device)
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(cfg.lr, step, cfg.warmup, progress)
        similarity = pair(
            ids.to(args.device),
            pixels(images[np.sort(batch)][np.argsort(np.argsort(batch))], cfg.image_size, args.cfg, rng).to(
                args.device
            ),
        )
        loss = contrastive(similarity, same)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        progress = team.average(pair, clock.tick())
        torch.nn.utils.clip_grad_norm_(pair.parameters(), 1.0)
        optimizer.step()
        ema.update(pair)
        step += 1
        if team.first and step % 20 == 0:
            print(f"step {step} loss {loss.item():.3f} {clock.spent:.0f} s", flush=True)
        if team.first and clock.spent - last > 150:
            last = clock.spent
            report()
    if team.first:
        report()
        status(args.run, "encoders: finished")


def main() -> None:
    args = arguments(__doc__)
    launch(train, args)


if __name__ == "__main__":
    main()
