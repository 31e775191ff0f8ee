"""Learning one adapter: AFun and CFun together, one optimizer, both images in every step."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import Tensor

from ..chance import generator
from ..config import AdapterConfig, TrainConfig
from ..host import Base
from ..method.adapter import StyleAdapter, TrainingRecord
from ..unet.blocks import channels_to_train
from .accelerator import Accelerator, accelerator_of
from .alignment_loss import measure_adapter
from .copy_guard import CopyGuard
from .keeper import StateKeeper
from .material import Material
from .optimiser import DeviceOptimiser, Optimiser, check_outcome
from .readout import Outcome, Readout
from .state import Running, State
from .steps import GraphedSteps, Say, Steps


@dataclass(frozen=True)
class StepReport:
    """Handed to ``on_step`` after each optimizer step. ``step`` counts from 1; losses are unweighted.

    On a device that works behind its host, ``adapter`` has learned from the next step, too
    (:data:`~acfun_core.training.readout.STEPS_AHEAD`). ``readouts`` are further numbers of this step by name, such as ``copy``
    after a look of the copy guard.
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
    say: Say = lambda sentence: None,
    accelerator: Accelerator | None = None,
) -> StyleAdapter:
    """Learn an adapter from one style image and one face photo.

    Args:
        latents: (2, 4, h, w) clean latents of style and face as the UNet sees them.
        style_tokens: (N, image_width) CLIP tokens of the style image, or (K, N, image_width) of several.
        on_step: called after every step. A true answer ends the training there, whatever it raises ends it without an adapter;
            both leave the base as it was.
        material: further style pictures, variants and masks of the loss terms, if any.
        keeper: writes the training's state now and then, and goes on where a killed one stopped.
        say: is told in a sentence what this base and device cannot do.
        accelerator: that of the base's device; the one that torch has, unless another is given.

    Returns:
        The adapter on ``base.device``, in float32, ready for inference.

    Raises:
        ACFunError: the loss or a gradient became non-finite, the material does not fit the settings, or the disk is too full.
    """
    latents = latents.to(base.device, torch.float32)
    material = (material or Material()).to(base.device)
    material.check(config, latents)
    accelerator = accelerator or accelerator_of(base.device)
    given = adapter_config, config, on_step, material, keeper, say, accelerator
    session = _Session(base, latents, style_tokens, *given)
    return session.learn(None) if keeper is None else keeper.learned(config.steps, session.learn)


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
    say: Say
    accelerator: Accelerator | None

    def learn(self, state: State | None) -> StyleAdapter:
        """From the start, or from a state.

        Raises:
            StateMisfit: the state is of another training.
        """
        base, latents = self.base, self.latents
        with seeded(self.config.seed, base.device) as draws:
            running = self._begun(draws)
            adapter, guard, record = running.adapter, running.guard, running.record
            step = 0 if self.keeper is None else self.keeper.restore(running, state)
            if step and guard.due(step) and not any(look.step == step for look in guard.looks):
                guard.look(adapter, step)
            step = self._steps(running, step)
            record.kept_step = guard.restore_best(adapter, step)
            record.looks = [[look.step, look.copy, look.loss] for look in guard.looks]
            adapter.settle(base.text)
            record.after = measure_adapter(base, adapter, self.material.pictures(latents))
        adapter.record = record
        return adapter.requires_grad_(False)

    def _begun(self, draws: torch.Generator) -> Running:
        base, latents = self.base, self.latents
        channels = channels_to_train(base.sites, self.adapter_config.blocks, self.adapter_config.place)
        kind = base.family, base.key, base.prediction
        adapter = StyleAdapter(self.adapter_config, base.text.initial_row, self.style_tokens, channels, *kind)
        if self.material.start_row is not None:
            with torch.no_grad():
                adapter.afun.row.copy_(self.material.start_row)
        if self.keeper is not None:
            self.keeper.check_space(adapter, self.config.steps)
        adapter = adapter.to(base.device).train()
        if self.accelerator is None:
            optimiser = Optimiser(adapter, self.config)
        else:
            optimiser = DeviceOptimiser(adapter, self.config, growing=base.dtype == torch.float16)
        record = TrainingRecord(settings=self.config.as_dict(), resolution=(latents.shape[2] * 8, latents.shape[3] * 8))
        pictures = self.material.pictures(latents)
        record.before = measure_adapter(base, adapter, pictures)
        guard = CopyGuard(base, pictures, self.config)
        return Running(adapter, optimiser, guard, record, draws, base.device)

    def _steps(self, running: Running, done: int) -> int:
        """All steps after ``done``, unless somebody ends the training. -> the last one."""
        guard, config, keeper = running.guard, self.config, self.keeper
        step, readout = self._asking(running), Readout(self.accelerator)
        stopped = False
        while done < config.steps and not guard.must_stop and not stopped:
            done += 1
            readout.put(done, step(done))
            last = done == config.steps
            # What these do needs the losses of all steps so far, and the adapter as it is after this one.
            writes = keeper is not None and keeper.due(running, last)
            everything = last or writes or guard.due(done)
            outcomes = [self._noted(running, outcome) for outcome in readout.arrived(everything)]
            if writes:
                # Before the guard looks: at the last step it looks in any case, which a continued training would not do.
                keeper.write(running, done, last)
            looks = {done: {"copy": guard.look(running.adapter, done).copy}} if guard.due(done) else {}
            stopped = self._told(running, outcomes, looks)
        for outcome in readout.arrived(everything=True):
            self._noted(running, outcome)
        if keeper is not None and done < config.steps and keeper.due(running, last=True):
            keeper.write(running, done, last=True)
        return done

    def _asking(self, running: Running) -> Steps:
        given = self.base, running, self.config, self.latents, self.material, self.accelerator, self.say
        if self.accelerator is None:
            return Steps(*given)
        if self.base.not_as_a_graph:
            self.say(f"Each step is launched kernel by kernel, not as one CUDA graph: {self.base.not_as_a_graph}")
            return Steps(*given)
        return GraphedSteps(*given)

    def _noted(self, running: Running, outcome: Outcome) -> Outcome:
        """A step that is done, in the record.

        Raises:
            ACFunError: it was not finite.
        """
        check_outcome(outcome, self.config)
        record = running.record
        record.style_loss.append(outcome.style_loss)
        record.face_loss.append(outcome.face_loss)
        record.skipped_steps += outcome.skipped
        return outcome

    def _told(self, running: Running, outcomes: Iterable[Outcome], readouts: Mapping[int, Mapping[str, float]]) -> bool:
        """Tell of steps that are done, each with what was found after it. -> whether the training is to end."""
        if self.on_step is None:
            return False
        for outcome in outcomes:
            losses = outcome.style_loss, outcome.face_loss
            further = readouts.get(outcome.step, {})
            if self.on_step(StepReport(outcome.step, self.config.steps, *losses, running.adapter, further)):
                return True
        return False
