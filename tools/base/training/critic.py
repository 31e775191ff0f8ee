"""A critic that teaches the decoder texture: it sees a picture beside its latents and says drawn or decoded.

A mean error is lowest where an uncertain stroke is blurred away. The critic punishes what never occurs beside such latents,
blur above all. Hinge losses (Lim and Ye 2017), spectral norm (Miyato et al. 2018), and the weight that balances both
gradients at the decoder's last layer (Esser et al. 2021, equation 7).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm


class Critic(nn.Module):
    """Scores of patches: pixels [n, 3, h, w] and latents [n, 4, h / 8, w / 8] -> [n, 1, h / 8, w / 8]."""

    def __init__(self, widths: tuple[int, int, int] = (32, 64, 128)) -> None:
        super().__init__()
        inputs = (3, *widths[:-1])
        self.down = nn.ModuleList(spectral_norm(nn.Conv2d(i, o, 4, 2, 1)) for i, o in zip(inputs, widths))
        self.beside = spectral_norm(nn.Conv2d(widths[-1] + 4, widths[-1], 3, 1, 1))
        self.score = spectral_norm(nn.Conv2d(widths[-1], 1, 1))

    def forward(self, x: Tensor, z: Tensor) -> tuple[Tensor, list[Tensor]]:
        """The scores, and the features on the way."""
        features = []
        for layer in self.down:
            x = F.leaky_relu(layer(x), 0.2)
            features.append(x)
        x = F.leaky_relu(self.beside(torch.cat([x, z], 1)), 0.2)
        return self.score(x), [*features, x]


def critic_loss(critic: Critic, real: Tensor, decoded: Tensor, z: Tensor) -> Tensor:
    """Hinge: real patches above 1, decoded ones below -1."""
    return F.relu(1 - critic(real, z)[0]).mean() + F.relu(1 + critic(decoded.detach(), z)[0]).mean()


def deceit(critic: Critic, real: Tensor, decoded: Tensor, z: Tensor) -> Tensor:
    """What the decoder minimises: low scores, and features that differ from the real picture's."""
    critic.requires_grad_(False)
    scores, features = critic(decoded, z)
    with torch.no_grad():
        wanted = critic(real, z)[1]
    critic.requires_grad_(True)
    return sum((a - b).abs().mean() for a, b in zip(features, wanted)) - scores.mean()


def balance(error: Tensor, deceit: Tensor, last: Tensor) -> Tensor:
    """Factor that makes the deceit's gradient at the decoder's last layer as long as the error's."""
    (of_error,) = torch.autograd.grad(error, last, retain_graph=True)
    (of_deceit,) = torch.autograd.grad(deceit, last, retain_graph=True)
    return (of_error.norm() / (of_deceit.norm() + 1e-6)).clamp(max=1e3)
