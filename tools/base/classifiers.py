"""Classifiers that judge samples: what they learn from and what they are checked on are pictures of different people.

Sex: a small convolutional network that sees the whole picture at 64 px with colours and brightness shaken, so that hair,
features and dress count and the medium does not. Medium: a linear reading of texture statistics (tools/measure/style.py),
which do not say where anything is. Glasses and smile: a linear reading of the same network's features around the eyes and
around the mouth, where the face finder's landmarks have them.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tools.measure.faces import Face, crop_face
from tools.measure.style import layers, statistics

from .common import to_tensor
from .gallery import MEDIA, SEXES

Views = Callable[[np.ndarray, np.random.Generator | None], Tensor]
"""Pictures uint8 [n, s, s, 3] -> network input; varied with a generator, plain without."""


def strided(widths: tuple[int, ...]) -> list[nn.Module]:
    """Convolutions that halve the picture once for each width."""
    layers, last = [], 3
    for width in widths:
        layers += [nn.Conv2d(last, width, 3, 2, 1), nn.GroupNorm(8, width), nn.SiLU()]
        last = width
    return layers


class NetJudge:
    """A classifier over `classes`. `fit` is deterministic for a seed and a number of threads."""

    def __init__(self, classes: tuple[str, ...], views: Views, net: nn.Module, rate: float = 2e-3) -> None:
        self.classes, self.views, self.net, self.rate = classes, views, net, rate

    def fit(
        self, pictures: np.ndarray, labels: np.ndarray, steps: int = 900, batch: int = 48, seed: int = 0
    ) -> NetJudge:
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
        """Index in `classes` for each picture: int [n]."""
        parts = [pictures[start : start + 64] for start in range(0, len(pictures), 64)]
        return torch.cat([self.net(self.views(part, None)).argmax(1) for part in parts]).numpy()


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


class LinearJudge:
    """A multinomial logistic regression on fixed features; exact, so that nothing depends on a seed.

    Args:
        features: one picture uint8 [s, s, 3] -> [d]. decay: weight of the squared weights beside the mean log loss.
    """

    def __init__(self, classes: tuple[str, ...], features: Callable[[np.ndarray], np.ndarray], decay: float = 1e-3):
        self.classes, self.features, self.decay = classes, features, decay

    def fit(self, pictures: np.ndarray, labels: np.ndarray) -> LinearJudge:
        """`labels` int [n]. Every class counts alike, however many pictures of each there are."""
        found, wanted = self._read(pictures), torch.from_numpy(labels).long()
        self.mean, self.scale = found.mean(0), found.std(0) + 1e-3
        x = (found - self.mean) / self.scale
        share = 1 / torch.bincount(wanted, minlength=len(self.classes)).clamp(min=1).float()
        self.linear = nn.Linear(x.shape[1], len(self.classes))
        nn.init.zeros_(self.linear.weight), nn.init.zeros_(self.linear.bias)
        optimizer = torch.optim.LBFGS(self.linear.parameters(), max_iter=200, line_search_fn="strong_wolfe")

        def loss() -> Tensor:
            optimizer.zero_grad()
            error = F.cross_entropy(self.linear(x), wanted, weight=share)
            total = error + self.decay * self.linear.weight.square().sum()
            total.backward()
            return total

        optimizer.step(loss)
        return self

    @torch.no_grad()
    def __call__(self, pictures: np.ndarray) -> np.ndarray:
        """Index in `classes` for each picture: int [n]."""
        return self.linear((self._read(pictures) - self.mean) / self.scale).argmax(1).numpy()

    def _read(self, pictures: np.ndarray) -> Tensor:
        return torch.from_numpy(np.stack([self.features(picture) for picture in pictures])).float()


def sex_judge(seed: int = 0) -> NetJudge:
    torch.manual_seed(seed)
    net = nn.Sequential(*strided((24, 48, 96, 128)), nn.Flatten(), nn.Dropout(0.4), nn.Linear(128 * 16, len(SEXES)))
    return NetJudge(SEXES, whole_picture(), net)


def medium_judge() -> LinearJudge:
    """Needs the SqueezeNet file that tools/measure/style.py names."""
    return LinearJudge(MEDIA, statistics)


CROP = 224
"""Side of an upright face in :func:`around`."""
REGIONS = {"eyes": (24, 64, 176, 80), "mouth": (48, 144, 128, 64)}
"""Left, top, width and height in a face of :data:`CROP` px."""
GRIDS = {"fire3": (3, 6), "fire5": (2, 4)}
"""Rows and columns over which features of SqueezeNet's layers are averaged."""


def around(region: str, picture: np.ndarray, face: Face) -> np.ndarray:
    """What SqueezeNet sees in a region of :data:`REGIONS`, and roughly where, [d]. Needs the file of tools/measure/style.py."""
    left, top, width, height = REGIONS[region]
    crop = crop_face(picture, face.landmarks, CROP)[top : top + height, left : left + width]
    found = layers(crop)
    parts = [F.adaptive_avg_pool2d(found[name], grid).flatten() for name, grid in GRIDS.items()]
    return torch.log1p(torch.cat(parts)).numpy()


def as_it_is(features: np.ndarray) -> np.ndarray:
    """For a :class:`LinearJudge` of features that were taken before."""
    return features


def cross_validated(
    judge: LinearJudge,
    features: np.ndarray,
    labels: np.ndarray,
    people: np.ndarray,
    checked: np.ndarray,
    folds: int = 5,
) -> np.ndarray:
    """What the judge says of each row that `checked`, bool [n], marks, after learning from rows of other people: int [n], -1
    elsewhere.

    Args:
        features: [n, d]; `labels`: int [n]; `people`: who is on each, [n].
    """
    names, person = np.unique(people, return_inverse=True)
    fold = np.random.default_rng(0).permutation(len(names))[person] % folds
    said = np.full(len(labels), -1)
    for k in range(folds):
        asked = checked & (fold == k)
        if asked.any():
            said[asked] = judge.fit(features[fold != k], labels[fold != k])(features[asked])
    return said


def accuracy(said: np.ndarray, labels: np.ndarray, classes: tuple[str, ...]) -> dict:
    """Share of right answers for each class, and their mean: a judge that always says the commonest gets no credit for that."""
    shares = {name: float((said[labels == k] == k).mean()) for k, name in enumerate(classes) if (labels == k).any()}
    return {"pictures": len(labels), "balanced": float(np.mean(list(shares.values()))), "right": shares}
