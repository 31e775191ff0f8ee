"""Learning one adapter: AFun and CFun together, one optimizer, both images in every step."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import Tensor

from ..config import AdapterConfig, Strengths, TrainConfig
from ..host import Base
from ..method.adapter import StyleAdapter, TrainingRecord
from ..method.mixing import block_transforms
from ..unet.blocks import channels_to_train
from ..unet.injection import injected
from .alignment_loss import alignment_terms, measure_adapter
from .copy_guard import CopyGuard
from .material import Material
from .optimiser import Optimiser
from .targets import FACE, STYLE, PairNoise


@dataclass(frozen=True)
class StepReport:
    """Handed to ``on_step`` after each optimizer step. ``step`` counts from 1; losses are unweighted.

    ``readouts`` are further numbers of this step by name, such as ``copy`` after a look of the copy guard.
    """

    step: int
    steps: int
    style_loss: float
    face_loss: float
    adapter: StyleAdapter
    readouts: Mapping[str, float] = field(default_factory=dict)


OnStep = Callable[[StepReport], bool | None]
"""Sees every step; a true answer ends the training there and keeps what was learned."""


@contextmanager
def seeded(seed: int, device: torch.device) -> Iterator[torch.Generator]:
    """A CPU generator for timesteps and noise; torch's own (dropout, initialisation) is seeded inside and restored after."""
    with torch.random.fork_rng([device] if device.type == "cuda" else [], enabled=True):
        torch.manual_seed(seed % 2**63)
        yield torch.Generator().manual_seed(seed % 2**63)


def train_adapter(
    base: Base,
    latents: Tensor,
    style_tokens: Tensor,
    adapter_config: AdapterConfig,
    config: TrainConfig,
    on_step: OnStep | None = None,
    material: Material | None = None,
) -> StyleAdapter:
    """Learn an adapter from one style image and one face photo.

    Args:
        latents: (2, 4, h, w) clean latents of style and face as the UNet sees them.
        style_tokens: (N, image_width) CLIP tokens of the style image.
        on_step: called after every step. A true answer ends the training there, whatever it raises ends it without an adapter;
            both leave the base as it was.
        material: variants of the style picture and masks of the loss terms, if any.

    Returns:
        The adapter on ``base.device``, in float32, ready for inference.

    Raises:
        ACFunError: the loss or a gradient became non-finite, or the material does not fit the settings.
    """
    channels = channels_to_train(base.sites, adapter_config.blocks, adapter_config.place)
    latents = latents.to(base.device, torch.float32)
    material = (material or Material()).to(base.device)
    material.check(config, latents)
    with seeded(config.seed, base.device) as generator:
        adapter = StyleAdapter(adapter_config, base.text.initial_row, style_tokens, channels, base.family)
        adapter = adapter.to(base.device).train()
        optimiser = Optimiser(adapter, config)
        record = TrainingRecord(settings=config.as_dict(), resolution=(latents.shape[2] * 8, latents.shape[3] * 8))
        record.before = measure_adapter(base, adapter, latents)
        guard = CopyGuard(base, latents, config)
        transforms = block_transforms([(adapter, Strengths())])
        for step in range(1, config.steps + 1):
            pair, masks = material.step(latents, generator)
            draw = PairNoise.draw(pair, base.schedule, generator, config)
            # The hooks stay on over the backward pass, which is what gradient checkpointing inside a ResBlock needs.
            with injected(base.sites, transforms):
                context = adapter.condition(base.text)
                terms = alignment_terms(base.predict_noise, base.schedule, pair, context, draw, config, masks)
                loss = config.style_weight * terms[STYLE] + config.face_weight * terms[FACE]
                record.skipped_steps += not optimiser.step(loss, step)
            record.style_loss.append(terms[STYLE].item())
            record.face_loss.append(terms[FACE].item())
            readouts = {"copy": guard.look(adapter, step).copy} if guard.due(step) else {}
            report = StepReport(step, config.steps, record.style_loss[-1], record.face_loss[-1], adapter, readouts)
            if on_step is not None and on_step(report) or guard.must_stop:
                break
        record.kept_step = guard.restore_best(adapter, step)
        record.looks = [[look.step, look.copy, look.loss] for look in guard.looks]
        adapter.settle(base.text)
        record.after = measure_adapter(base, adapter, latents)
    adapter.record = record
    return adapter.requires_grad_(False)
