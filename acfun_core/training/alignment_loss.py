"""The Face and Style Imagery Alignment loss (eq. 4).

``style_weight |DM(a_t I_s + s_t eps, e_a) - eps|^2 + face_weight |DM(a_t I_f + s_t eps', e_a) - eps'|^2``

By default each image is noised by itself (``noisy_source=own``). With one shared noisy input, as eq. 4 can also be read, the
terms equal denoising toward the pixel blend of both images plus a constant: the superposition that the paper calls meaningless.
The other readings are in :mod:`acfun_core.training.targets`; the weights are named by role. On a base that predicts v, DM is
that prediction, and v stands in the place of eps.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ..config import TrainConfig
from ..diffusion.sampling import PredictNoise, PredictVelocity
from ..diffusion.schedule import NoiseSchedule
from ..host import Base
from ..method.adapter import StyleAdapter
from ..method.applied import applied
from .targets import FACE, STYLE, PairNoise, noise_between, timestep_weight


def alignment_terms(
    predict: PredictNoise | PredictVelocity,
    schedule: NoiseSchedule,
    latents: Tensor,
    context: Tensor,
    draw: PairNoise,
    config: TrainConfig | None = None,
    masks: Tensor | None = None,
    prediction: str = "epsilon",
) -> Tensor:
    """The two terms of eq. 4 before weighting.

    Args:
        predict: what the base itself predicts.
        latents: (2, 4, h, w) clean latents of the style image and the face photo.
        context: (1, T, width) the prompt with e_a, the same for both.
        config: its target and min-SNR weigh the timesteps; without one, the error of the noise as it is.
        masks: (2, 1, h, w) weight of each place in either term, 0 to 1; without them, 1 everywhere.
        prediction: which that is, ``epsilon`` or ``v``.

    Returns:
        (2,) mean squared errors of the style term and the face term; 0 for one that has no weight and its own noisy source.
    """
    if draw.source is None:
        target = draw.noise if prediction == "epsilon" else schedule.velocity(latents, draw.noise, draw.t)
        z_t = schedule.add_noise(latents, draw.noise, draw.t)
        rows = counting(config)
        predicted = predict(z_t[rows], draw.t[rows], context.expand(len(z_t[rows]), -1, -1))
        if len(predicted) < len(target):
            # A term without weight is not asked for; its error is said to be 0.
            predicted = torch.stack(
                [predicted[0], target[FACE]] if rows.start == STYLE else [target[STYLE], predicted[0]]
            )
    else:
        z_t = schedule.add_noise(draw.source, draw.noise[:1], draw.t[:1])
        if prediction == "epsilon":
            target = noise_between(z_t, latents, schedule, draw.t)
        else:
            target = schedule.velocity_between(z_t, latents, draw.t)
        # Both terms see the same input: one pass serves them.
        predicted = predict(z_t, draw.t[:1], context).expand_as(target)
    error = (predicted.float() - target.float()).square()
    terms = error.mean(dim=(1, 2, 3)) if masks is None else _masked_mean(error, masks)
    weight = timestep_weight(schedule, draw.t, config, prediction) if config else None
    return terms if weight is None else weight * terms


def counting(config: TrainConfig | None) -> slice:
    """Which of the two terms have a weight: a pass for one without would be half of a training's time."""
    if config is None or (config.style_weight and config.face_weight):
        return slice(STYLE, FACE + 1)
    return slice(STYLE, STYLE + 1) if config.style_weight else slice(FACE, FACE + 1)


def weighted(terms: Sequence[float] | Tensor, config: TrainConfig) -> float | Tensor:
    """The loss (eq. 4) from both terms (2,): each by the weight of its role."""
    return config.style_weight * terms[STYLE] + config.face_weight * terms[FACE]


def _masked_mean(error: Tensor, masks: Tensor) -> Tensor:
    """Mean of (B, C, h, w) over the places that masks (B, 1, h, w) weigh, (B,)."""
    weights = masks.to(error).expand_as(error)
    return (weights * error).sum(dim=(1, 2, 3)) / weights.sum(dim=(1, 2, 3))


@torch.no_grad()
def measure_alignment(
    predict: PredictNoise | PredictVelocity,
    schedule: NoiseSchedule,
    latents: Tensor,
    context: Tensor,
    draws: int = 10,
    seed: int = 12345,
    prediction: str = "epsilon",
) -> Tensor:
    """Both terms, (2,), averaged over fixed noises at timesteps spread evenly over the schedule."""
    generator = torch.Generator().manual_seed(seed)
    total = torch.zeros(2)
    for index in range(draws):
        t = torch.full((2,), int((index + 0.5) / draws * len(schedule)), device=latents.device)
        noise = torch.randn(latents.shape, generator=generator).to(latents)
        pair = PairNoise(t, noise)
        total += alignment_terms(predict, schedule, latents, context, pair, prediction=prediction).cpu()
    return total / draws


def pairs_of(latents: Tensor) -> list[Tensor]:
    """Latents (K + 1, 4, h, w) of K style pictures and, last, the face -> K pairs (2, 4, h, w)."""
    # One pair as it is: its layout in memory decides the last bits of a convolution.
    return [latents] if len(latents) == 2 else [torch.stack([style, latents[-1]]) for style in latents[:-1]]


@torch.no_grad()
def measure_adapter(base: Base, adapter: StyleAdapter, latents: Tensor, draws: int = 10) -> list[float]:
    """[style, face] terms of eq. 4 with this adapter on fixed timesteps and noises.

    Args:
        latents: (K + 1, 4, h, w) of the style pictures and, last, the face; the mean over the style pictures is taken, which
            share the draws.
    """
    pairs = pairs_of(latents)
    share = max(2, draws // len(pairs)) if len(pairs) > 1 else draws
    with applied(base, adapter) as context:
        given = [(base.predict, base.schedule, pair, context, share) for pair in pairs]
        found = [measure_alignment(*one, prediction=base.prediction) for one in given]
    return torch.stack(found).mean(dim=0).tolist()
