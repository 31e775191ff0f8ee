"""Train the image encoder further, with the text transformer frozen: its states stay what the UNet learns.

CLIP's contrastive loss against the frozen text side (only its projection and the scale move), and a linear reading of the
medium from the mean patch token, so that the tokens that AFun attends to carry style. May run beside the UNet's training.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file

from . import captions, data
from .common import Checkpoint, Clock, Ema, arguments, learning_rate, save_weights, status
from .judges import MEDIA
from .tokenizer import CLIPTokenizer, encode
from .train_encoders import SHORT, Pair, caption_top1, contrastive, pixels

PENULTIMATE = -2


class Student(torch.nn.Module):
    """The pair of encoders and the reading of the medium, which is dropped afterwards."""

    def __init__(self, cfg, tokenizer) -> None:
        super().__init__()
        self.pair = Pair(cfg, tokenizer)
        self.medium = torch.nn.Linear(cfg.width, len(MEDIA))

    def forward(self, ids: torch.Tensor, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Similarities [images, texts] and scores of the media [images, len(MEDIA)]."""
        text = F.normalize(self.pair.text(ids).text_embeds, dim=-1)
        seen = self.pair.image(images, output_hidden_states=True)
        image = F.normalize(seen.image_embeds, dim=-1)
        tokens = F.layer_norm(seen.hidden_states[PENULTIMATE][:, 1:], (self.medium.in_features,))
        return self.pair.scale.exp().clamp(max=100) * image @ text.t(), self.medium(tokens.mean(1))


def medium_index(records: list[dict]) -> np.ndarray:
    """Index in MEDIA, -1 for real art, whose medium is not known."""
    return np.array([MEDIA.index(r["medium"]) if r["medium"] in MEDIA else -1 for r in records])


def main() -> None:
    args = arguments(__doc__)
    cfg = args.cfg.image_encoder
    images, records = data.load(args.run)
    chosen = np.array([i for i, r in enumerate(records) if not r["heldout"] and r["portrait"]])
    media = medium_index(records)
    tokenizer = CLIPTokenizer.from_pretrained(args.run / "tokenizer")
    torch.manual_seed(args.cfg.seed)
    student = Student(args.cfg.encoders, tokenizer).to(args.device)
    student.pair.text.load_state_dict(load_file(args.run / "text_encoder.safetensors"))
    student.pair.image.load_state_dict(load_file(args.run / "image_encoder.safetensors"))
    student.pair.text.text_model.requires_grad_(False)
    trained = [p for p in student.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=cfg.lr, betas=(0.9, 0.98), weight_decay=0.05)
    ema, clock, step = Ema(student, 0.995), Clock(args.minutes or cfg.minutes), 0
    checkpoint = Checkpoint(args.run / "image_encoder_state.pt", student, optimizer, ema, clock)
    step = checkpoint.resume()
    rng = np.random.default_rng(args.cfg.seed + step)
    average = Student(args.cfg.encoders, tokenizer)

    def report() -> None:
        average.load_state_dict(ema.state)
        top1 = caption_top1(average.pair, tokenizer, args.run, args.cfg, groups=3)
        status(args.run, f"image encoder: step {step}, {clock.spent / 60:.1f} min, caption_top1 {top1:.3f}")
        save_weights(args.run / "text_encoder.safetensors", average.pair.text.state_dict())
        save_weights(args.run / "image_encoder.safetensors", average.pair.image.state_dict())
        checkpoint.save(step)

    last, progress = clock.spent, clock.tick()
    while progress < 1:
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(cfg.lr, step, cfg.warmup, progress)
        batch = np.sort(rng.choice(chosen, cfg.batch, replace=False))
        texts = [captions.caption(records[i], rng, full=rng.random() < 0.5) for i in batch]
        same = torch.from_numpy(np.equal.outer(texts, texts).astype(np.float32)).to(args.device)
        ids = encode(tokenizer, texts)[:, :SHORT].to(args.device)
        x = pixels(images[batch], args.cfg.encoders.image_size, args.cfg, rng).to(args.device)
        similarity, scores = student(ids, x)
        known = torch.from_numpy(media[batch]).to(args.device)
        loss = contrastive(similarity, same) + cfg.medium * F.cross_entropy(scores, known, ignore_index=-1)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        ema.update(student)
        step, progress = step + 1, clock.tick()
        if step % 20 == 0:
            print(f"step {step} loss {loss.item():.3f} {clock.spent:.0f} s", flush=True)
        if clock.spent - last > 360:
            last = clock.spent
            report()
    report()
    status(args.run, "image encoder: finished")


if __name__ == "__main__":
    main()
