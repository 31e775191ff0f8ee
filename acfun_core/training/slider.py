"""Sliders: one feature of a face, such as a smile or its age, learned as CFun between two descriptions.

A slider learns to predict what the base would predict if it were led from one description toward the other (Gandikota et al.
2023, "Concept Sliders", there with low-rank weights):

    eps(z_t, less; CFun)  ->  eps(z_t, less) + push (eps(z_t, more) - eps(z_t, less))

The error is taken as a share of the change that is wanted: at high noise, where shapes such as an open mouth are decided, the
change is smaller, and plain squares would hardly count it.

Only words decide, no picture of the feature is needed; the photos are what is noised to z_t. An adapter holds what was learned,
with S* left as it was: strengths, windows, masks and mixing work as for a style, and a drawing costs no further pass.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

import torch
from torch import Tensor

from ..chance import generator
from ..config import PLACEHOLDER, AdapterConfig, TrainConfig
from ..errors import ACFunError
from ..host import Base
from ..images import square
from ..masks import check_mask_of
from ..method.adapter import Slider, StyleAdapter, TrainingRecord
from ..method.applied import block_transforms
from ..options import check_options, number, require, whole
from ..strengths import Strengths
from ..unet.blocks import channels_to_train
from ..unet.injection import injected
from .keeper import StateKeeper
from .loop import seeded
from .material import latent_mask
from .optimiser import Optimiser, check_outcome
from .readout import Outcome
from .state import Running, State

UnderText = Callable[[Tensor, Tensor], Tensor]
"""What the base predicts under one text, the noise or v: z_t (B, 4, h, w), t (B,) -> (B, 4, h, w)."""

SMALLEST = 1e-8
"""Mean square of a change below which it counts as this much."""

MEASURED = 10
"""Fixed timesteps, spread over the schedule, at which the error is taken before and after."""


@dataclass(frozen=True)
class SliderConfig:
    """How a slider is learned. Kept in the adapter file as a record."""

    steps: int = whole(150, 1, 10_000, "Training steps, each with three passes of the UNet.", label="Slider steps")
    learning_rate: float = number(1e-4, 1e-9, 1.0, "Step size of AdamW.", step=1e-6)
    push: float = number(
        4.0,
        0.1,
        20.0,
        "How far strength 1 goes, in differences between what the base draws for one description and for the other.",
        step=0.5,
    )
    seed: int = whole(0, 0, 2**64 - 1, "Seeds timesteps, noise and the choice of the photo.")

    def __post_init__(self):
        check_options(self)

    @property
    def training(self) -> TrainConfig:
        """What the optimiser takes of it."""
        rates = {"learning_rate": self.learning_rate, "learning_rate_end": 0.1}
        return TrainConfig(steps=self.steps, seed=self.seed, style_weight=1.0, face_weight=0.0, **rates)


@dataclass(frozen=True)
class Between:
    """Both descriptions, and what the base predicts under each."""

    slider: Slider
    more: UnderText
    less: UnderText


def check_slider(more: str, less: str) -> Slider:
    """Two descriptions that differ.

    Raises:
        ACFunError: one is empty, both are the same, or one holds S*.
    """
    slider = Slider((more or "").strip(), (less or "").strip())
    for name, text in slider._asdict().items():
        require(bool(text), f"The description '{name}' is empty.", "a short text", "write a photo of a smiling person")
        require(
            PLACEHOLDER not in text,
            f"The description '{name}' holds {PLACEHOLDER}: {text[:120]!r}.",
            "plain words: a slider is no style",
            f"leave {PLACEHOLDER} out",
        )
    require(
        slider.more != slider.less,
        f"Both descriptions are {slider.more[:120]!r}.",
        "two that differ in what the slider is to change",
        "write a photo of a smiling person, and a photo of a serious person",
    )
    return slider


def check_slider_mask(mask: Tensor | None, photos: Sequence[Tensor]) -> Tensor | None:
    """Masks (P, H, W) of P photos (1, H, W, 3), see :func:`~acfun_core.masks.check_mask_of`; None stays None.

    Raises:
        ACFunError: the photos are of different sizes, or a mask does not fit them.
    """
    if mask is None:
        return None
    if len({photo.shape for photo in photos}) > 1:
        raise ACFunError("The photos have different sizes, and there is a mask.", "photos of one size", "resize them")
    return check_mask_of(mask, torch.cat(list(photos)), "photo")


def where_wanted(mask: Tensor | None, resolution: int) -> Tensor | None:
    """Masks (P, H, W) of photos, 0 to 1, at the size of the latents of their middle squares: (P, 1, h, w), or None.

    Raises:
        ACFunError: a mask leaves almost nothing of the change.
    """
    if mask is None:
        return None
    squares = [square(one[None, ..., None], resolution)[..., 0] for one in mask]
    return torch.cat([latent_mask(one, resolution // 8, "photo mask") for one in squares])


def train_slider(
    base: Base,
    latents: Tensor,
    between: Between,
    config: SliderConfig,
    on_step: Callable[[int, float], bool | None] = lambda step, loss: None,
    where: Tensor | None = None,
    keeper: StateKeeper | None = None,
) -> StyleAdapter:
    """Learn a slider.

    Args:
        base: with any text that holds S*; its initial word is what stays.
        latents: (P, 4, h, w) clean latents of photos.
        between: predictions under both descriptions, differentiable in CFun.
        on_step: called after every step with its number from 1 and its error. A true answer ends the training there.
        where: (1 or P, 1, h, w) from :func:`where_wanted`; None is all of the change everywhere.
        keeper: writes the training's state now and then, and goes on where a killed one stopped.

    Returns:
        The adapter on ``base.device``, in float32, ready for inference.

    Raises:
        ACFunError: the error became non-finite, or the base predicts the same under both descriptions.
    """
    latents = latents.to(base.device, torch.float32)
    where = None if where is None else where.to(latents).expand(len(latents), -1, -1, -1)
    session = _Session(base, latents, between, config, on_step, where, keeper)
    return session.learn(None) if keeper is None else keeper.learned(config.steps, session.learn)


@dataclass(frozen=True)
class _Session:
    """The inputs of one training, see :func:`train_slider`."""

    base: Base
    latents: Tensor
    between: Between
    config: SliderConfig
    on_step: Callable[[int, float], bool | None]
    where: Tensor | None
    keeper: StateKeeper | None

    def learn(self, state: State | None) -> StyleAdapter:
        """From the start, or from a state.

        Raises:
            StateMisfit: the state is of another training.
        """
        base, slider = self.base, self.between.slider
        with seeded(self.config.seed, base.device) as draws:
            adapter = begun(base, slider)
            if self.keeper is not None:
                self.keeper.check_space(adapter, self.config.steps)
            adapter = adapter.to(base.device).train()
            lesson = _Lesson(base, adapter, self.latents, self.between, self.config.push, self.where)
            resolution = tuple(8 * side for side in self.latents.shape[-2:])
            record = TrainingRecord(settings=dataclasses.asdict(self.config), resolution=resolution)
            record.before = lesson.measure()
            # Before the first step nothing is changed, so the error is all of the change, unless there is next to none.
            if record.before[0] < 0.5:
                raise ACFunError(
                    f"The base draws the same for {slider.more[:80]!r} and {slider.less[:80]!r}.",
                    "descriptions in words that the base knows",
                    "describe it in other words",
                )
            optimiser = Optimiser(adapter, self.config.training)
            running = Running(adapter, optimiser, None, record, draws, base.device)
            done = 0 if self.keeper is None else self.keeper.restore(running, state)
            self._steps(running, lesson, done)
            _settle(adapter)
            record.after = lesson.measure()
        adapter.record = record
        return adapter.requires_grad_(False)

    def _steps(self, running: Running, lesson: _Lesson, done: int) -> None:
        """All steps after ``done``, unless somebody ends the training."""
        optimiser, record, config = running.optimiser, running.record, self.config.training
        for step in range(done + 1, config.steps + 1):
            optimiser.set_rate(step)
            wanted = lesson.wanted(*lesson.draw(running.generator))
            # Over the backward pass, too: gradient checkpointing computes the blocks again there.
            with lesson.changed():
                norm, scale = optimiser.update(loss := lesson.loss(*wanted))
            finite = bool(norm.isfinite())
            outcome = Outcome(step, loss.item(), 0.0, norm.item(), scale, not finite)
            check_outcome(outcome, config)
            record.style_loss.append(outcome.style_loss)
            record.face_loss.append(0.0)
            record.skipped_steps += outcome.skipped
            if self.keeper is not None and self.keeper.due(running):
                self.keeper.write(running, step)
            if self.on_step(step, outcome.style_loss):
                return


@torch.no_grad()
def _settle(adapter: StyleAdapter) -> None:
    """Ready for inference, as its file will hold it."""
    adapter.eval()
    for parameter in adapter.parameters():
        # Half precision, but for rows, which stay in float32.
        parameter.copy_(parameter.half().float())
    adapter.afun.row.copy_(adapter.afun.initial_row)


def begun(base: Base, slider: Slider) -> StyleAdapter:
    """A slider that changes nothing yet."""
    config = AdapterConfig(description=PLACEHOLDER, blocks="all", compact=True)
    channels = channels_to_train(base.sites, config.blocks, config.place)
    kind = base.family, base.key, base.prediction, slider
    row = base.text.initial_row
    adapter = StyleAdapter(config, row, torch.zeros(0, len(row)), channels, *kind)
    adapter.afun.requires_grad_(False)
    return adapter


class _Lesson:
    """What one slider learns from."""

    def __init__(
        self, base: Base, adapter: StyleAdapter, latents: Tensor, between: Between, push: float, where: Tensor | None
    ):
        self._base, self._latents, self._between = base, latents, between
        self._push, self._where = push, where
        self._transforms = block_transforms([(adapter, Strengths())])

    def draw(self, draws: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        """Number of a photo (1,), timestep (1,), noise (1, 4, h, w)."""
        photo = torch.randint(len(self._latents), (1,), generator=draws)
        t = torch.randint(len(self._base.schedule), (1,), generator=draws)
        return photo, t, torch.randn((1, *self._latents.shape[1:]), generator=draws)

    def changed(self) -> AbstractContextManager[None]:
        """While active, CFun changes what the base predicts."""
        return injected(self._base.sites, self._transforms)

    def loss(self, z_t: Tensor, t: Tensor, less: Tensor, change: Tensor) -> Tensor:
        """Error () of what the base predicts, as a share of the change that is wanted; differentiable in CFun.

        Args:
            z_t, t, less, change: from :meth:`wanted`.
        """
        error = (self._between.less(z_t, t).float() - less - change).square().mean()
        return error / change.square().mean().clamp(min=SMALLEST)

    @torch.no_grad()
    def wanted(self, photo: Tensor, t: Tensor, noise: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """z_t, t, what the base predicts under the second description, and the change that is wanted, in float32."""
        device = self._base.device
        photo, t, noise = photo.to(device), t.to(device), noise.to(device)
        z_t = self._base.schedule.add_noise(self._latents[photo], noise, t)
        less, more = self._between.less(z_t, t).float(), self._between.more(z_t, t).float()
        change = self._push * (more - less)
        return z_t, t, less, change if self._where is None else self._where[photo] * change

    @torch.no_grad()
    def measure(self) -> list[float]:
        """[error, 0] over fixed timesteps, noises and photos, as a record has it of style and face."""
        return [sum(map(self._measured, self._fixed())) / MEASURED, 0.0]

    def _measured(self, drawn: tuple[Tensor, Tensor, Tensor]) -> float:
        wanted = self.wanted(*drawn)
        with self.changed():
            return self.loss(*wanted).item()

    def _fixed(self) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        draws = generator(12345)
        for index in range(MEASURED):
            t = torch.tensor([int((index + 0.5) / MEASURED * len(self._base.schedule))])
            photo = torch.tensor([index % len(self._latents)])
            yield photo, t, torch.randn((1, *self._latents.shape[1:]), generator=draws)
