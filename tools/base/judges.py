"""Two classifiers that judge samples, trained on the data's training part and checked on its held-out part.

Sex: a small convolutional network that sees the whole picture at 64 px with colours and brightness shaken, so that hair,
features and dress count and the medium does not. Medium: one that sees random crops at full size, so that texture and
colour count and the sitter does not.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from . import media
from .common import to_tensor

SEXES = ("male", "female")
MEDIA = ("photo", *media.MEDIA)
Views = Callable[[np.ndarray, np.random.Generator | None], Tensor]
"""Pictures uint8 [n, s, s, 3] -> network input; varied with a generator, plain without."""


def strided(widths: tuple[int, ...]) -> list[nn.Module]:
    """Convolutions that halve the picture once for each width."""
    layers, last = [], 3
    for width in widths:
        layers += [nn.Conv2d(last, width, 3, 2, 1), nn.GroupNorm(8, width), nn.SiLU()]
        last = width
    return layers


class Judge:
    """A classifier over `classes`. `fit` is deterministic for a seed and a number of threads."""

    def __init__(self, classes: tuple[str, ...], views: Views, net: nn.Module, looks: int, rate: float = 2e-3) -> None:
        self.classes, self.views, self.net, self.looks, self.rate = classes, views, net, looks, rate

    def fit(self, pictures: np.ndarray, labels: np.ndarray, steps: int, batch: int = 48, seed: int = 0) -> Judge:
        """`labels` int [n]. Every class is drawn equally often, however many pictures of each there are."""
        rng = np.random.default_rng(seed)
        members = [np.flatnonzero(labels == k) for k in range(len(self.classes))]
        optimizer = torch.optim.AdamW(self.net.parameters(), lr=self.rate, weight_decay=0.1)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, self.rate, total_steps=steps)
        self.net.train()
        for _ in range(steps):
            drawn = rng.integers(len(self.classes), size=batch)
            chosen = np.array([rng.choice(members[k]) for k in drawn])
            scores = self.net(self.views(pictures[chosen], rng))
            loss = F.cross_entropy(scores, torch.from_numpy(drawn), label_smoothing=0.1)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step(), schedule.step()
        self.net.eval()
        return self

    @torch.no_grad()
    def __call__(self, pictures: np.ndarray) -> np.ndarray:
        """Index in `classes` for each picture, by the mean over `looks` fixed views: int [n]."""
        rng = np.random.default_rng(1)
        total = 0
        for _ in range(self.looks):
            total = total + torch.cat(
                [
                    self.net(self.views(pictures[start : start + 64], rng if self.looks > 1 else None)).log_softmax(1)
                    for start in range(0, len(pictures), 64)
                ]
            )
        return total.argmax(1).numpy()


def whole_picture(side: int = 64, room: int = 8) -> Views:
    """The picture at `side` px; varied: shifted by up to `room` px, mirrored, colours and brightness shaken."""

    def views(pictures: np.ndarray, rng: np.random.Generator | None) -> Tensor:
        x = F.interpolate(to_tensor(pictures), side + room, mode="area")
        if rng is None:
            return x[:, :, room // 2 : room // 2 + side, room // 2 : room // 2 + side]
        top, left = rng.integers(0, room + 1, 2)
        x = x[:, :, top : top + side, left : left + side]
        x = x.flip(-1) if rng.random() < 0.5 else x
        colour, gain, shift = (
            torch.from_numpy(rng.uniform(low, high, (len(x), 1, 1, 1)).astype(np.float32))
            for low, high in ((0.0, 1.0), (0.6, 1.3), (-0.2, 0.2))
        )
        gray = x.mean(1, keepdim=True)
        return (gray + (x - gray) * colour) * gain + shift

    return views


def crops(side: int = 96) -> Views:
    """A random part of the picture at full size, mirrored half the time."""

    def views(pictures: np.ndarray, rng: np.random.Generator | None) -> Tensor:
        rng = rng or np.random.default_rng(0)
        corners = rng.integers(0, pictures.shape[1] - side + 1, (len(pictures), 2))
        x = to_tensor(np.stack([p[y : y + side, x : x + side] for p, (y, x) in zip(pictures, corners)]))
        return x.flip(-1) if rng.random() < 0.5 else x

    return views


def sex_judge(seed: int = 0) -> Judge:
    torch.manual_seed(seed)
    net = nn.Sequential(*strided((24, 48, 96, 128)), nn.Flatten(), nn.Dropout(0.4), nn.Linear(128 * 16, len(SEXES)))
    return Judge(SEXES, whole_picture(), net, looks=1)


def medium_judge(seed: int = 0) -> Judge:
    torch.manual_seed(seed)
    pool = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.2), nn.Linear(128, len(MEDIA))]
    return Judge(MEDIA, crops(), nn.Sequential(*strided((32, 64, 96, 128)), *pool), looks=8)
