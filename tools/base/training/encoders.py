"""Train the joint text-image encoder: CLIP's contrastive loss on the pictures and their captions.

First both sides learn. Later, when words have moved and the UNet listens, the text transformer is frozen and the image side
learns on (only the text's projection moves). Beside both, the medium is read from the mean patch token, so that the tokens that
AFun attends to carry style.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..export import DEVIATION, MEAN
from .loop import peaks
from .run import Run
from .supply import MEDIA

SHORT = 32
"""Tokens kept while training: the text model is causal, so what follows the first end token cannot matter."""
PENULTIMATE = -2


def looked_at(images: Tensor, size: int, vary: bool = False) -> Tensor:
    """Pictures uint8 [n, 3, s, s] -> normalised [n, 3, size, size], with `vary` a little recoloured."""
    x = F.interpolate(images.float().div(255), size, mode="bilinear", antialias=True)
    if vary:
        x = (x * torch.empty(len(x), 3, 1, 1, device=x.device).uniform_(0.9, 1.1)).clamp(0, 1)
    mean, deviation = (torch.tensor(v, device=x.device).view(3, 1, 1) for v in (MEAN, DEVIATION))
    return (x - mean) / deviation


class Student(nn.Module):
    """Both encoders, the scale of their cosines, and the reading of the medium, which is dropped afterwards."""

    def __init__(self, text: nn.Module, image: nn.Module) -> None:
        super().__init__()
        self.text, self.image = text, image
        self.scale = nn.Parameter(torch.tensor(2.66))
        self.medium = nn.Linear(image.config.hidden_size, len(MEDIA))

    def forward(self, ids: Tensor, images: Tensor) -> tuple[Tensor, Tensor]:
        """Similarities [images, texts] and scores of the media [images, len(MEDIA)]."""
        text = F.normalize(self.text(ids).text_embeds, dim=-1)
        seen = self.image(images, output_hidden_states=True)
        image = F.normalize(seen.image_embeds, dim=-1)
        tokens = F.layer_norm(seen.hidden_states[PENULTIMATE][:, 1:], (self.medium.in_features,))
        return self.scale.exp().clamp(max=100) * image @ text.t(), self.medium(tokens.mean(1))


def contrastive(similarity: Tensor, ids: Tensor) -> Tensor:
    """Symmetric cross-entropy; pictures with the same caption share their probability."""
    same = (ids[:, None] == ids[None]).all(-1).float()
    target = same / same.sum(1, keepdim=True)
    directions = (similarity, similarity.t())
    return 0.5 * sum(-(target * s.log_softmax(1)).sum(1).mean() for s in directions)


def train(run: Run, stage: str = "encoders", frozen: bool = False) -> None:
    """Both encoders, or with `frozen` all but the text transformer."""
    cfg, feed, size = getattr(run.cfg, stage), run.pictures, run.cfg.encoders.image_size
    feed.fill(run.cfg.supply.first)
    torch.manual_seed(run.cfg.seed)
    student = Student(run.networks["text_encoder"], run.networks["image_encoder"]).to(run.device).train()
    student.requires_grad_(True)
    student.text.text_model.requires_grad_(not frozen)
    trained = [p for p in student.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW([peaks(trained, cfg.lr)], betas=(0.9, 0.98), weight_decay=0.05)
    loop = run.loop(stage, student, optimizer, cfg)
    for _ in loop:
        images, words, named = feed.draw(cfg.batch)
        ids = words[:, :SHORT]
        similarity, scores = student(ids, looked_at(images, size, vary=True))
        read = F.cross_entropy(scores, named, ignore_index=-1) if (named >= 0).any() else 0.0
        loop.learn(contrastive(similarity, ids) + cfg.medium * read)
    loop.finish()
    student.eval().requires_grad_(False)
    run.finish(stage, loop)


def train_image_encoder(run: Run) -> None:
    train(run, "image_encoder", frozen=True)
