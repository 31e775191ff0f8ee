"""Learning one adapter: AFun and CFun together, one optimizer, both images in every step."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import Tensor

from ..chance import generator
from ..config import AdapterConfig, TrainConfig
from ..host import Base
from ..method.adapter import StyleAdapter, TrainingRecord
from ..method.applied import block_transforms
from ..strengths import Strengths
from ..unet.blocks import channels_to_train
from ..unet.injection import injected
from .alignment_loss import alignment_terms, measure_adapter, weighted
from .copy_guard import CopyGuard
from .keeper import StateKeeper
from .material import Material
from .optimiser import Optimiser
from .state import Running, State, StateMisfit, restore
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
        draws = generator(seed)
        torch.manual_seed(draws.initial_seed())
        yield draws


def train_adapter(
    base: Base,
    latents: Tensor,
    style_tokens: Tensor,
    adapter_config: AdapterConfig,
    config: TrainConfig,
    on_step: OnStep | None = None,
    material: Material | None = None,
    keeper: StateKeeper | None = None,
) -> StyleAdapter:
    """Learn an adapter from one style image and one face photo.

    Args:
        latents: (2, 4, h, w) clean latents of style and face as the UNet sees them.
        style_tokens: (N, image_width) CLIP tokens of the style image.
        on_step: called after every step. A true answer ends the training there, whatever it raises ends it without an adapter;
            both leave the base as it was.
        material: variants of the style picture and masks of the loss terms, if any.
        keeper: writes the training's state now and then, and goes on where a killed one stopped.

    Returns:
        The adapter on ``base.device``, in float32, ready for inference.

    Raises:
        ACFunError: the loss or a gradient became non-finite, the material does not fit the settings, or the disk is too full.
    """
    latents = latents.to(base.device, torch.float32)
    material = (material or Material()).to(base.device)
    material.check(config, latents)
    session = _Session(base, latents, style_tokens, adapter_config, config, on_step, material, keeper)
    state = None if keeper is None else keeper.found(config.steps)
    try:
        return session.learn(state)
    except StateMisfit as misfit:
        keeper.say(f"{misfit} The training starts anew.")
        return session.learn(None)


@dataclass(frozen=True)
class _Session:
    """The inputs of one training, see :func:`train_adapter`."""

    base: Base
    latents: Tensor
    style_tokens: Tensor
    adapter_config: AdapterConfig
    config: TrainConfig
    on_step: OnStep | None
    material: Material
    keeper: StateKeeper | None

    def learn(self, state: State | None) -> StyleAdapter:
        """From the start, or from a state.

        Raises:
            StateMisfit: the state is of another training.
        """
        base, latents = self.base, self.latents
        with seeded(self.config.seed, base.device) as draws:
            running = self._begun(draws)
            adapter, guard, record = running.adapter, running.guard, running.record
            step = 0
            if state is not None:
                restore(running, state)
                step = self.keeper.resumed = state.step
                self.keeper.say(f"This training was done up to step {step} before. It goes on from there.")
                if guard.due(step) and not any(look.step == step for look in guard.looks):
                    guard.look(adapter, step)
            step = self._steps(running, step)
            record.kept_step = guard.restore_best(adapter, step)
            record.looks = [[look.step, look.copy, look.loss] for look in guard.looks]
            adapter.settle(base.text)
            record.after = measure_adapter(base, adapter, latents)
        adapter.record = record
        return adapter.requires_grad_(False)

    def _begun(self, draws: torch.Generator) -> Running:
        base, latents = self.base, self.latents
        channels = channels_to_train(base.sites, self.adapter_config.blocks, self.adapter_config.place)
        kind = base.family, base.key, base.prediction
        adapter = StyleAdapter(self.adapter_config, base.text.initial_row, self.style_tokens, channels, *kind)
        if self.keeper is not None:
            self.keeper.check_space(adapter, self.config.steps)
        adapter = adapter.to(base.device).train()
        optimiser = Optimiser(adapter, self.config)
        record = TrainingRecord(settings=self.config.as_dict(), resolution=(latents.shape[2] * 8, latents.shape[3] * 8))
        record.before = measure_adapter(base, adapter, latents)
        guard = CopyGuard(base, latents, self.config)
        return Running(adapter, optimiser, guard, record, draws, base.device)

    def _steps(self, running: Running, done: int) -> int:
        """All steps after ``done``, unless somebody ends the training. -> the last one."""
        adapter, guard, record, config = running.adapter, running.guard, running.record, self.config
        transforms = block_transforms([(adapter, Strengths())])
        while done < config.steps and not guard.must_stop:
            done += 1
            terms = self._step(running, done, transforms)
            record.style_loss.append(terms[STYLE].item())
            record.face_loss.append(terms[FACE].item())
            if self.keeper is not None:
                # Before the guard looks: at the last step it looks in any case, which a continued training would not do.
                self.keeper.offer(running, done, last=done == config.steps)
            readouts = {"copy": guard.look(adapter, done).copy} if guard.due(done) else {}
            report = StepReport(done, config.steps, record.style_loss[-1], record.face_loss[-1], adapter, readouts)
            if self.on_step is not None and self.on_step(report):
                break
        if self.keeper is not None and done < config.steps:
            self.keeper.offer(running, done, last=True)
        return done

    def _step(self, running: Running, number: int, transforms) -> Tensor:
        """One optimizer step. -> both terms of eq. 4, (2,)."""
        base, adapter, config = self.base, running.adapter, self.config
        pair, masks = self.material.step(self.latents, running.generator)
        draw = PairNoise.draw(pair, base.schedule, running.generator, config)
        # The hooks stay on over the backward pass, which is what gradient checkpointing inside a ResBlock needs.
        with injected(base.sites, transforms):
            context = adapter.condition(base.text)
            given = base.predict, base.schedule, pair, context, draw, config, masks
            terms = alignment_terms(*given, prediction=base.prediction)
            if not running.optimiser.step(weighted(terms, config), number):
                running.record.skipped_steps += 1
        return terms
