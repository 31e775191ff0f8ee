"""A small deterministic sampler, for previews while training. Portraits come from the host's own samplers."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from .schedule import NoiseSchedule


@torch.no_grad()
def ddim_sample(
    predict_noise: Callable[[Tensor, Tensor, Tensor], Tensor],
    schedule: NoiseSchedule,
    noise: Tensor,
    context: Tensor,
    empty: Tensor,
    steps: int = 10,
    cfg: float = 3.0,
) -> Tensor:
    """DDIM with classifier-free guidance (Song et al. 2021, eq. 12 with eta 0).

    Args:
        noise: (1, 4, h, w) start, unit variance.
        context, empty: (1, T, width) conditions with and without the prompt; with cfg 1 the second is not looked at.

    Returns:
        (1, 4, h, w) clean latent.
    """
    timesteps = torch.linspace(len(schedule) - 1, 0, steps + 1, device=noise.device).round().long()
    both = torch.cat([context, empty])
    z = noise
    for t, t_next in zip(timesteps[:-1], timesteps[1:]):
        if cfg == 1:
            eps = predict_noise(z, t[None], context)
        else:
            eps, eps_empty = predict_noise(z.expand(2, -1, -1, -1), t.expand(2), both).chunk(2)
            eps = eps_empty + cfg * (eps - eps_empty)
        z_0 = (z - schedule.s(t[None]) * eps) / schedule.a(t[None])
        z = schedule.add_noise(z_0, eps, t_next[None])
    return z_0
