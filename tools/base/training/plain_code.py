"""Where an autoencoder from nothing starts: near a plain code.

Blocks pass their input on; latents hold lightness, one detail and two colour differences; the last layer is fitted by least
squares. With the default initialisation the deep ReLU stack passes on little but a constant and lightness, and a training of an
hour of CPU time never found colour.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from diffusers import AutoencoderTiny
from torch import Tensor, nn

BINOMIAL = torch.tensor([[1.0, 2.0, 1.0], [2.0, 4.0, 2.0], [1.0, 2.0, 1.0]]) / 16


def _pass_through(conv: nn.Conv2d, generator: torch.Generator) -> None:
    """Channels pass on unmixed, every other one smoothed, plus a little noise."""
    conv.weight.copy_(0.01 * torch.randn(conv.weight.shape, generator=generator))
    for k in range(conv.out_channels):
        if k % 4 < 2:
            conv.weight[k, k] += BINOMIAL
        else:
            conv.weight[k, k, 1, 1] += 1


def _start_encoder(encoder: nn.Module, generator: torch.Generator) -> None:
    first, *middle, last = [m for m in encoder.layers if isinstance(m, nn.Conv2d)]
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


def _start_decoder(decoder: nn.Module, generator: torch.Generator) -> None:
    first, *middle, _ = [m for m in decoder.layers if isinstance(m, nn.Conv2d)]
    axes = torch.cat([torch.eye(4), F.normalize(torch.randn(28, 4, generator=generator), dim=1)])
    first.weight.mul_(0.1), first.bias.zero_()
    first.weight[:, :, 1, 1] = torch.stack([axes, -axes], 1).flatten(0, 1)
    for conv in middle:
        _pass_through(conv, generator)


def _fit_last(decoder: nn.Module, latents: Tensor, images: Tensor) -> None:
    """The decoder's last layer by least squares (in double precision, a little ridge)."""
    last = decoder.layers[-1]
    features = nn.Sequential(*decoder.layers[:-1])(torch.tanh(latents / 3) * 3)
    rows = torch.cat([features.permute(0, 2, 3, 1).reshape(-1, 64), torch.ones(features[:, 0].numel(), 1)], 1).double()
    wanted = images.permute(0, 2, 3, 1).reshape(-1, 3).add(1).div(2).double()
    ridge = 1e-3 * len(rows) * torch.eye(65).double()
    solution = torch.linalg.solve(rows.T @ rows + ridge, rows.T @ wanted).float()
    last.weight.zero_()
    last.weight[:, :, 1, 1] = solution[:64].T
    last.bias.copy_(solution[64])


@torch.no_grad()
def start(model: AutoencoderTiny, images: Tensor, seed: int) -> None:
    """Initialise the model in place, on a CPU, for pictures like these, [n, 3, h, w] in -1..1."""
    generator = torch.Generator().manual_seed(seed)
    for module in model.modules():
        if type(module).__name__ == "AutoencoderTinyBlock":
            for conv in (module.conv[0], module.conv[2]):
                nn.init.kaiming_normal_(conv.weight, nonlinearity="relu", generator=generator), conv.bias.zero_()
            module.conv[4].weight.zero_(), module.conv[4].bias.zero_()
    _start_encoder(model.encoder, generator)
    _start_decoder(model.decoder, generator)
    latents = model.encode(images).latents
    scale = 1 / latents.std(dim=(0, 2, 3))
    last = model.encoder.layers[-1]
    last.weight.mul_(scale.view(-1, 1, 1, 1)), last.bias.copy_(-latents.mean(dim=(0, 2, 3)) * scale)
    _fit_last(model.decoder, model.encode(images).latents, images)
