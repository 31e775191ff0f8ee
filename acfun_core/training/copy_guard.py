"""The copy guard: looks at what an adapter draws while it learns, keeps the best one, and stops before it only copies.

An ideal denoiser under the loss of eq. 4 answers each noise with one of the two training pictures. So from time to time a few
latents are drawn from fixed noises, and each is fitted by both pictures and a constant a channel (by each style picture, where
there are several),

    z = a z_s + b z_f + c,    R^2 = 1 - |residual|^2 / |z - mean|^2

R^2 is 1 for a copy of either picture and for any blend of both. Two portraits that are framed alike share some of it from the
start, so the limit lies well above what the first look finds.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..chance import generator
from ..config import TrainConfig
from ..diffusion.sampling import draw, even_levels
from ..host import Base
from ..images import explained_share, is_copy
from ..method.adapter import StyleAdapter, TrainingRecord
from ..method.applied import applied
from .alignment_loss import measure_adapter, pairs_of, weighted

SAMPLES, SAMPLER_STEPS, LOSS_DRAWS = 2, 8, 4
"""What one look costs: two latents in eight steps, and both loss terms at four timesteps; about ten training steps."""

LOOKS_ABOVE_LIMIT = 2
"""So many looks in a row above the limit end the training; one may be chance."""


def largest_explained(drawn: Tensor, latents: Tensor) -> float:
    """Largest R^2 of any drawn latent (N, 4, h, w) fitted by a style picture, the face and a constant a channel, 0 to 1.

    Args:
        latents: (K + 1, 4, h, w) of the style pictures and, last, the face. Each style picture is tried with the face; all
            at once would explain more of anything.
    """
    pairs = [_centred(pair).flatten(1).T for pair in pairs_of(latents)]
    return max(explained_share(z, pair).item() for z in _centred(drawn).flatten(1) for pair in pairs)


def notice_of_copies(record: TrainingRecord) -> str | None:
    """What to say of a training in which no look was below the limit: the guard had nothing to put in the copy's place."""
    if not record.looks or record.kept_step is not None:
        return None
    return (
        "The copy guard found nothing but copies: this adapter draws one. Train fewer steps, let the guard look earlier, or "
        "raise its limit."
    )


def _centred(latents: Tensor) -> Tensor:
    latents = latents.detach().double().cpu()
    return latents - latents.mean(dim=(2, 3), keepdim=True)


@dataclass(frozen=True)
class Look:
    """One look: after which step, the copied share, and the weighted loss on fixed noises."""

    step: int
    copy: float
    loss: float


class CopyGuard:
    """Watches one training.

    Args:
        latents: (K + 1, 4, h, w) clean latents of the style pictures and, last, the face, on the base's device.

    Attributes:
        looks: all so far, in order.
        best: the best one below the limit, with the adapter's tensors at that step.
    """

    def __init__(self, base: Base, latents: Tensor, config: TrainConfig):
        self.base, self.latents, self.config = base, latents, config
        self.noise = torch.randn((SAMPLES, *latents.shape[1:]), generator=generator(config.seed)).to(latents)
        self.looks: list[Look] = []
        self.best: tuple[Look, dict[str, Tensor]] | None = None

    def due(self, step: int) -> bool:
        """Whether to look after this step; the last one always counts."""
        return self.config.due(step, self.config.copy_guard_every)

    def look(self, adapter: StyleAdapter, step: int) -> Look:
        """Draw and measure; the adapter is kept as it is if it is the best below the limit so far."""
        loss = weighted(measure_adapter(self.base, adapter, self.latents, LOSS_DRAWS), self.config)
        look = Look(step, largest_explained(self._draw(adapter), self.latents), loss)
        self.looks.append(look)
        if not self._copies(look) and (self.best is None or look.loss < self.best[0].loss):
            state = {key: value.detach().cpu().clone() for key, value in adapter.state_dict().items()}
            self.best = look, state
        return look

    @property
    def must_stop(self) -> bool:
        """Whether the last looks were all above the limit."""
        last = self.looks[-LOOKS_ABOVE_LIMIT:]
        return len(last) == LOOKS_ABOVE_LIMIT and all(map(self._copies, last))

    def restore_best(self, adapter: StyleAdapter, step: int) -> int | None:
        """Put the best adapter back in place after the last step. -> its step, or None if no look was below the limit."""
        if self.config.copy_guard_every > 0 and not any(look.step == step for look in self.looks):
            # Stopped between two looks: what is there now may be the best.
            self.look(adapter, step)
        if self.best is None:
            return None
        look, state = self.best
        adapter.load_state_dict(state)
        return look.step

    def _copies(self, look: Look) -> bool:
        return is_copy(look.copy, self.config.copy_limit)

    @torch.no_grad()
    def _draw(self, adapter: StyleAdapter) -> Tensor:
        """Latents drawn without guidance, (N, 4, h, w)."""
        levels = even_levels(self.base.schedule, SAMPLER_STEPS)
        with applied(self.base, adapter) as context:
            drawn = [
                draw(self.base.predict_noise, levels, noise[None], context, context, cfg=1.0) for noise in self.noise
            ]
        return torch.cat(drawn)
