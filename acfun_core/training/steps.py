"""One optimizer step: what it draws, what it computes, and on a device that works behind its host, all of it as one graph.

A graph of kernels (CUDA calls it so) is written down once and then run as a whole: five thousand launches a step, for which a
card would wait, become one. It holds no Python, so whatever decides by a number on the host would decide the same for ever. So
the first steps run as usual, one after the other; then a step is written down, run, and compared with the same step run as
usual. Where they differ, or the device cannot write it down, the training goes on as usual and says so.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from ..config import TrainConfig
from ..host import Base
from ..method.applied import block_transforms
from ..strengths import Strengths
from ..unet.injection import injected
from .accelerator import Accelerator
from .alignment_loss import alignment_terms, weighted
from .material import Material
from .readout import numbers_of
from .state import Running
from .targets import PairNoise

Say = Callable[[str], None]

WARM_UP = 3
"""Steps before the one that is written down: libraries choose their kernels in them, and AdamW makes its moments."""

COMPARED = 2
"""So many steps are run both ways; each draws other timesteps and noise."""

TOLERANCE, WAY_APART = 1e-2, 5e-2
"""How far the losses and the norm of the gradients may differ, as a share, and the way that the weights go in the step. Half
precision rounds at 1e-3; AdamW's first steps are as long for a tiny gradient as for a large one and carry that on."""


@dataclass(frozen=True)
class Drawn:
    """What one step learns from, on the device.

    Attributes:
        latents: (2, 4, h, w). masks: (2, 1, h, w) or None. t, noise, source: as :class:`~.targets.PairNoise`.
    """

    latents: Tensor
    masks: Tensor | None
    t: Tensor
    noise: Tensor
    source: Tensor | None

    def clone(self) -> Drawn:
        """The same values in places of their own."""
        return Drawn(**{name: None if part is None else part.clone() for name, part in self._parts()})

    def take(self, other: Drawn) -> None:
        """Put the values of another draw into these places."""
        for name, part in self._parts():
            if part is not None:
                part.copy_(getattr(other, name))

    def _parts(self) -> list[tuple[str, Tensor | None]]:
        return [(field.name, getattr(self, field.name)) for field in fields(self)]


class Steps:
    """Steps that are launched kernel by kernel.

    Args:
        latents: (2, 4, h, w) clean latents of style and face on the device.
        accelerator: that of the device, if it has one.
        say: is told in a sentence what a step cannot do.
    """

    def __init__(
        self,
        base: Base,
        running: Running,
        config: TrainConfig,
        latents: Tensor,
        material: Material,
        accelerator: Accelerator | None = None,
        say: Say = lambda sentence: None,
    ):
        self.base, self.running, self.config = base, running, config
        self.latents, self.material = latents, material
        self.accelerator, self.say = accelerator, say
        self._transforms = block_transforms([(running.adapter, Strengths())])
        self._repeatable = accelerator is not None

    def __call__(self, number: int) -> Tensor:
        """Ask for step ``number`` (from 1). -> its numbers (5,) on the device, good until the next step."""
        self.running.optimiser.set_rate(number)
        return self._compute(self._draw())

    def _draw(self) -> Drawn:
        to_device = None if self.accelerator is None else self.accelerator.to_device
        pair, masks = self.material.step(self.latents, self.running.generator)
        draw = PairNoise.draw(pair, self.base.schedule, self.running.generator, self.config, to_device)
        return Drawn(pair, masks, draw.t, draw.noise, draw.source)

    def _compute(self, drawn: Drawn) -> Tensor:
        if not self._repeatable:
            return self._kernels(drawn)
        try:
            with self.accelerator.repeatable():
                return self._kernels(drawn)
        except RuntimeError as error:
            if "deterministic" not in str(error):
                raise
            self._repeatable = False
            self.say(f"The same seed may give another last digit each time on this device: {_first_line(error)}")
            return self._kernels(drawn)

    def _kernels(self, drawn: Drawn) -> Tensor:
        """Everything of a step that the device does; no number is read."""
        base, running, config = self.base, self.running, self.config
        draw = PairNoise(drawn.t, drawn.noise, drawn.source)
        # The hooks stay on over the backward pass, which is what gradient checkpointing inside a ResBlock needs.
        with injected(base.sites, self._transforms):
            context = running.adapter.condition(base.text)
            given = base.predict, base.schedule, drawn.latents, context, draw, config, drawn.masks
            terms = alignment_terms(*given, prediction=base.prediction)
            norm, scale = running.optimiser.update(weighted(terms, config))
        return numbers_of(terms, norm, scale)


class GraphedSteps(Steps):
    """Steps that run as one graph, after some that do not."""

    def __init__(self, *given, **further):
        super().__init__(*given, **further)
        self._asked = self._compared = 0
        self._replay: Callable[[], None] | None = None
        self._refused = False

    def __call__(self, number: int) -> Tensor:
        self.running.optimiser.set_rate(number)
        drawn = self._draw()
        self._asked += 1
        if self._refused:
            return self._compute(drawn)
        if self._asked <= WARM_UP:
            return self._warm_up(drawn)
        if self._compared < COMPARED:
            return self._both_ways(drawn)
        return self._run(drawn)

    def _warm_up(self, drawn: Drawn) -> Tensor:
        with self.accelerator.waits() as waits, self.accelerator.aside():
            numbers = self._compute(drawn)
        # The first steps make what later ones find.
        if waits and self._asked == WARM_UP:
            self._refuse(waits[0])
        return numbers

    def _refuse(self, why: str) -> None:
        self._refused, self._replay = True, None
        self._graph = self._places = self._numbers = None
        self.accelerator.release()
        self.say(f"Each step is launched kernel by kernel, not as one CUDA graph: {why}")

    def _run(self, drawn: Drawn) -> Tensor:
        self._places.take(drawn)
        self._replay()
        return self._numbers

    def _both_ways(self, drawn: Drawn) -> Tensor:
        """A step as usual and then as a graph, from the same start; what the graph made stays if it is the same."""
        before = _Snapshot(self.running)
        usual = self._compute(drawn).clone()
        after = _Snapshot(self.running)
        before.restore()
        try:
            if self._replay is None:
                self._write_down(drawn)
                # Where writing down has moved the state of chance, the step must begin where the other did.
                before.restore()
            numbers = self._run(drawn)
            differs = after.differs(before, usual, numbers)
        except RuntimeError as error:
            differs = _first_line(error)
            self.accelerator.recover()
        if not differs:
            self._compared += 1
            # The graph has gradients of its own; what the launched step leaves would lie there to the end.
            self.running.optimiser.adamw.zero_grad(set_to_none=True)
            self.accelerator.release()
            return numbers
        self.running.optimiser.begin_anew()
        after.restore()
        self._refuse(differs)
        return usual

    def _write_down(self, drawn: Drawn) -> None:
        self.accelerator.release()
        self._places = drawn.clone()
        self._graph = self.accelerator.graph()
        strict = self.accelerator.repeatable() if self._repeatable else nullcontext()
        with strict, self.accelerator.capturing(self._graph):
            self._numbers = self._kernels(self._places)
        self._replay = self._graph.replay


class _Snapshot:
    """Everything a step changes, on the host: on the device it would be as much again as the training takes."""

    def __init__(self, running: Running):
        self._running = running
        self._tensors = {name: tensor.detach().to("cpu", copy=True) for name, tensor in _changed(running).items()}
        self._scaling = running.optimiser.scaling()
        self._chance = running.chance()

    def restore(self) -> None:
        with torch.no_grad():
            for name, tensor in _changed(self._running).items():
                tensor.copy_(self._tensors[name])
        self._running.optimiser.restore_scaling(self._scaling)
        self._running.restore_chance(self._chance)

    def differs(self, before: _Snapshot, usual: Tensor, numbers: Tensor) -> str:
        """Why what the training is now is not this, which was taken after the same step run as usual; "" if it is.

        Args:
            before: taken before the step. usual, numbers: of the step run as usual, and now.
        """
        far = _share(numbers.cpu().double(), usual.cpu().double())
        # Where the weights lie: a card has compared all of them before the host has the first.
        way = apart = torch.zeros((), device=numbers.device)
        for name, tensor in _weights(self._running).items():
            was, wanted = (one.to(tensor.device) for one in (before._tensors[name], self._tensors[name]))
            way = way + (wanted - was).square().sum()
            apart = apart + (tensor.detach() - wanted).square().sum()
        if not far <= TOLERANCE:
            return f"its losses would be {far:.1%} off."
        if not bool(apart <= WAY_APART**2 * way):
            return "what it learned would be other weights."
        return ""


def _weights(running: Running) -> Mapping[str, Tensor]:
    return {f"adapter.{name}": value for name, value in running.adapter.named_parameters()}


def _changed(running: Running) -> Mapping[str, Tensor]:
    return {**_weights(running), **{f"adamw.{name}": value for name, value in running.optimiser.moments().items()}}


def _share(now: Tensor, wanted: Tensor) -> float:
    """The largest difference of two small tensors as a share of each value; two that are not finite are the same."""
    apart = torch.where(now == wanted, 0.0, (now - wanted).abs() / wanted.abs().clamp(min=1e-12))
    both = ~now.isfinite() & ~wanted.isfinite()
    return torch.where(both, 0.0, apart).max().item()


def _first_line(error: BaseException) -> str:
    return f"{(str(error).strip().splitlines() or [type(error).__name__])[0][:200].rstrip('.')}."
