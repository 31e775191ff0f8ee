"""DDIM (Song et al. 2021) over chosen noise levels: from noise to a picture, and from a picture to its noise.

With ``x = z_t / a_t`` and ``sigma = s_t / a_t``, eq. 12 with eta 0 is an Euler step, ``x' = x + (sigma' - sigma) eps``.
The command line's portraits, previews, the copy guard, a photo's noise and the benchmarks all go through :func:`sample` and
:func:`invert`, with a predictor of one form, :data:`Predict`; in ComfyUI the host's own samplers draw the portraits.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from .schedule import NoiseSchedule, share_done

PredictNoise = Callable[[Tensor, Tensor, Tensor], Tensor]
"""DM, the UNet: z_t (B, 4, h, w), t (B,), context (B, T, width) -> predicted noise (B, 4, h, w) in float32."""

PredictVelocity = Callable[[Tensor, Tensor, Tensor], Tensor]
"""The same with the velocity v in place of the noise, of a base that was trained to predict it."""

Predict = Callable[[Tensor, int], Tensor]
"""x = z_t / a_t (B, 4, h, w) and the index of a noise level -> eps (B, 4, h, w)."""

Correct = Callable[[Tensor], Tensor]
"""Predicted clean latent (B, 4, h, w) -> the one to go to."""

OnSample = Callable[[int, int], None]
"""Called after each step with its number from 1 and the number of steps."""


@dataclass(frozen=True)
class Levels:
    """The noise levels that a sampling visits.

    Attributes:
        sigmas: (N + 1,) falling, float32, 0 at the end.
        timesteps: (N,) whole timesteps that the UNet is told.
        done: for each of the N levels the share of the sampling that is over, 0 at pure noise, 1 at the picture.
    """

    sigmas: Tensor
    timesteps: Tensor
    done: tuple[float, ...]

    def __len__(self) -> int:
        return len(self.timesteps)

    def noisiest(self, noise: Tensor) -> Tensor:
        """Unit noise (B, 4, h, w) as x at the first level; undone by :meth:`z_t` of level 0."""
        return noise * (1 + self.sigmas[0].square()).sqrt().to(noise)

    def z_t(self, x: Tensor, index: int) -> Tensor:
        """What the UNet sees of x (B, 4, h, w) at a level."""
        return x / (1 + self.sigmas[index].square()).sqrt().to(x)

    def noise_of(self, v: Tensor, z_t: Tensor, index: int) -> Tensor:
        """The noise that a velocity at a level means, ``a v + s z_t`` with ``a = 1 / sqrt(1 + sigma^2)``, ``s = sigma a``."""
        sigma = self.sigmas[index]
        return (v + sigma.to(z_t) * z_t) / (1 + sigma.square()).sqrt().to(z_t)


def normal_levels(schedule: NoiseSchedule, steps: int, denoise: float = 1.0, trailing: bool = False) -> Levels:
    """Those of ComfyUI's scheduler ``normal``: evenly spread over the timesteps, sigma log-linear between whole ones.

    Args:
        denoise: above 0, to 1; below 1 the last levels of a longer sampling, as ComfyUI's ``denoise`` takes them.
        trailing: those of ComfyUI's ``sgm_uniform``, which leave out the first timestep. diffusers' ``timestep_spacing``
            ``trailing`` takes the nearest whole timesteps.
    """
    whole = max(steps, int(steps / denoise))
    t = torch.linspace(len(schedule) - 1, 0, whole + trailing)[:whole]
    logs, share = schedule.log_sigmas, t.frac()
    between = (1 - share) * logs[t.floor().long()] + share * logs[t.ceil().long()]
    sigmas = torch.cat([between.exp(), torch.zeros(1)])[-steps - 1 :]
    told = torch.stack([nearest_timestep(schedule, sigma) for sigma in sigmas[:-1]])
    return Levels(sigmas, told, tuple(share_done(one, len(schedule)) for one in t[-steps:].tolist()))


def even_levels(schedule: NoiseSchedule, steps: int) -> Levels:
    """Whole timesteps, evenly spread from the last one and never the first: few steps, as previews take, spend none on it."""
    t = torch.linspace(len(schedule) - 1, 0, steps + 1).round().long()[:-1]
    sigmas = torch.cat([schedule.sigma(t), torch.zeros(1)])
    return Levels(sigmas, t, tuple(share_done(one, len(schedule)) for one in t.tolist()))


def nearest_timestep(schedule: NoiseSchedule, sigma: Tensor) -> Tensor:
    """The timestep whose noise level is closest to ``sigma`` (), in the logarithm. -> () whole number."""
    return (sigma.log() - schedule.log_sigmas).abs().argmin()


def starting_noise(seed: int, batch: int, height: int, width: int) -> Tensor:
    """(batch, 4, height / 8, width / 8) unit noise. Drawn on the CPU, so that a seed means the same on every device."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(batch, 4, height // 8, width // 8, generator=generator)


@torch.no_grad()
def sample(
    predict: Predict,
    sigmas: Tensor,
    x: Tensor,
    on_sample: OnSample | None = None,
    correct: Correct | None = None,
) -> Tensor:
    """From noise to a picture.

    Args:
        sigmas: (N + 1,) falling noise levels, the last one 0.
        x: (B, 4, h, w) at the first level.
        correct: changes the clean latent that each step predicts, as ComfyUI's post-cfg functions do.

    Returns:
        (B, 4, h, w) clean latent.
    """
    steps = len(sigmas) - 1
    for index in range(steps):
        sigma, following = sigmas[index], sigmas[index + 1]
        eps = predict(x, index)
        if correct is not None:
            # The same step of Euler's method, toward another end.
            eps = (x - correct(x - sigma.to(x) * eps)) / sigma.to(x)
        x = x + (following - sigma).to(x) * eps
        if on_sample is not None:
            on_sample(index + 1, steps)
    return x


@torch.no_grad()
def invert(
    predict: Predict,
    sigmas: Tensor,
    latent: Tensor,
    on_sample: OnSample | None = None,
    prediction: str = "epsilon",
) -> list[Tensor]:
    """From a picture to the noise that :func:`sample` would draw it from (section 4.3): the same steps backwards.

    The noise is asked for at the level that is gone to, which the latent of the level before stands in for. A portrait that
    starts from a photo's own noise keeps the sitter without a training on the photo, so that an adapter that learned a style
    alone serves any face.

    A base that predicts v is asked at the level that is left, which the latent is of. The noise it means is ``a v + s z_t``,
    nearly its input where there is much noise: a latent of a lower level, scaled as one of a higher level, would give too
    little of it at every step, and next to none on the way to zero SNR, where levels are far apart.

    Args:
        predict: the base's noise prediction, without guidance.
        sigmas: (N + 1,) falling noise levels, the last one 0.
        latent: (B, 4, h, w) clean latent.
        prediction: what the base predicts by itself, ``epsilon`` or ``v``.

    Returns:
        x at each of the N + 1 levels, from the noisiest to the clean latent.
    """
    steps = len(sigmas) - 1
    found = [latent]
    for index in reversed(range(steps)):
        x = found[0]
        # The clean latent has no level of its own.
        asked = min(index + 1, steps - 1) if prediction == "v" else index
        found.insert(0, x + (sigmas[index] - sigmas[index + 1]).to(x) * predict(x, asked))
        if on_sample is not None:
            on_sample(steps - index, steps)
    return found


def guided(
    predict_noise: PredictNoise,
    levels: Levels,
    conditions: Callable[[int], tuple[Tensor, Tensor]],
    cfg: float,
    prediction: str = "epsilon",
) -> Predict:
    """Classifier-free guidance, ``eps_negative + cfg (eps_positive - eps_negative)``, both in one pass of the UNet.

    Args:
        predict_noise: where ``prediction`` is ``v``, it answers with the velocity, of which the level makes noise: between
            whole timesteps, :meth:`NoiseSchedule.noise_of` would be of another level.
        conditions: index of a level -> contexts (1 or B, T, width) with and without the prompt; with cfg 1 the second is not
            looked at.
    """

    def predict(x: Tensor, index: int) -> Tensor:
        z_t, t = levels.z_t(x, index), levels.timesteps[index].to(x.device)
        positive, negative = (one.expand(len(x), -1, -1) for one in same_length(*conditions(index)))
        if cfg == 1:
            predicted = predict_noise(z_t, t.expand(len(x)), positive)
        else:
            both = predict_noise(z_t.repeat(2, 1, 1, 1), t.expand(2 * len(x)), torch.cat([positive, negative]))
            predicted = torch.lerp(both[len(x) :], both[: len(x)], cfg)
        return levels.noise_of(predicted, z_t, index) if prediction == "v" else predicted

    return predict


def same_length(positive: Tensor, negative: Tensor) -> tuple[Tensor, Tensor]:
    """Repeat the tokens of two conditions (B, T, width) to one length. Attention to repeated tokens is the same attention."""
    length = math.lcm(positive.shape[1], negative.shape[1])
    return tuple(condition.repeat(1, length // condition.shape[1], 1) for condition in (positive, negative))


def draw(
    predict_noise: PredictNoise, levels: Levels, noise: Tensor, positive: Tensor, negative: Tensor, cfg: float
) -> Tensor:
    """A clean latent (B, 4, h, w) from unit noise under one pair of contexts (1, T, width)."""
    return sample(
        guided(predict_noise, levels, lambda index: (positive, negative), cfg), levels.sigmas, levels.noisiest(noise)
    )
