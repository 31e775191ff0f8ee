"""What every method works with: the base, the sampler, the settings, and a count of UNet passes."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil
import torch
from torch import Tensor

from acfun_core.backends.pictures import to_pil
from acfun_core.backends.stable_diffusion import StableDiffusion
from acfun_core.backends.text import PromptSide
from acfun_core.config import PLACEHOLDER
from acfun_core.diffusion.sampling import Guided, guide, starting_noise
from acfun_core.embedded import NATIVE_SIDE
from acfun_core.errors import ACFunError
from acfun_core.images import square
from tools.base_key import base_key
from tools.comfy.launcher import define_torchvision_operators

from .diffusion import denoise_from
from .lists import Image

ROOT = Path(__file__).resolve().parents[1]
Context = Tensor | Callable[[float], Tensor]
"""(1, T, width), or what gives it for the share of the sampling that is done."""


@dataclass(frozen=True)
class Settings:
    """What all methods of a table share.

    Attributes:
        base: diffusers folder. side: of all pictures in pixels. sampler_steps, cfg: of the sampler.
        passes: UNet forward-backward passes of a trained method. seed: of the trainings.
        train_seconds: wall-clock time of a training instead of passes; 0 counts passes.
    """

    base: str = "base"
    side: int = NATIVE_SIDE
    sampler_steps: int = 40
    cfg: float = 3.0
    passes: int = 1000
    seed: int = 0
    train_seconds: float = 0.0

    def __post_init__(self):
        for name, low in (("side", 64), ("sampler_steps", 1), ("passes", 2)):
            if getattr(self, name) < low:
                raise ACFunError(f"{name} is {getattr(self, name)}.", f"at least {low}", "raise it")

    def as_dict(self) -> dict:
        """With the base named by its weights, not by its place."""
        return {**asdict(self), "base": base_key(base_folder(self.base))}

    @property
    def run(self) -> str:
        """Name of everything made with these settings; others never mix with it."""
        budget = f"time{self.train_seconds:g}" if self.train_seconds else f"passes{self.passes}"
        drawn = f"side{self.side}-steps{self.sampler_steps}-cfg{self.cfg:g}-seed{self.seed}"
        return f"{base_key(base_folder(self.base))}-{budget}-{drawn}"


def base_folder(base: str | Path) -> Path:
    """A relative name counts from the root of this repository."""
    return ROOT / base


class Workbench:
    """One base in one process."""

    def __init__(self, settings: Settings):
        self.settings = settings
        # diffusers imports torchvision, whose compiled operators may not fit a CPU build of torch.
        define_torchvision_operators()
        self.base = StableDiffusion.load(base_folder(settings.base))
        self.training_passes = self.other_passes = 0
        self.base.unet.register_forward_pre_hook(self._count)
        self._latents: dict[str, Tensor] = {}

    def _count(self, unet, inputs) -> None:
        if torch.is_grad_enabled():
            self.training_passes += len(inputs[0])
        else:
            self.other_passes += len(inputs[0])

    # -- pictures -----------------------------------------------------------------------

    def square(self, image: Image) -> Tensor:
        """What every method sees of a picture, (1, side, side, 3), values 0-1."""
        return square(image.pixels, self.settings.side)

    def latent(self, image: Image) -> Tensor:
        """(1, 4, h, w)."""
        if image.sha256 not in self._latents:
            self._latents[image.sha256] = self.base.encode(self.square(image))
        return self._latents[image.sha256]

    def decode(self, latent: Tensor) -> Tensor:
        """(1, 4, h, w) -> (side, side, 3), values 0-1."""
        return self.base.decode(latent)[0]

    def noise(self, seed: int) -> Tensor:
        """(1, 4, h, w), the same for a seed in every method."""
        return starting_noise(seed, 1, self.settings.side, self.settings.side)

    # -- text ---------------------------------------------------------------------------

    @torch.no_grad()
    def text(self, prompt: str, row: Tensor | None = None) -> Tensor:
        """Context (1, T, width). S* stands for ``row``, or for its plain initial word."""
        if row is None or PLACEHOLDER not in prompt:
            return self.base.text.encode(self.base.text.sections(prompt, styled=False))
        return PromptSide(self.base.text, prompt).encode(row)

    # -- sampling -----------------------------------------------------------------------

    def guided(self, context: Context, cfg: float | None = None) -> Guided:
        """The base's noise prediction under guidance; the negative prompt is empty."""
        cfg = self.settings.cfg if cfg is None else cfg
        negative = self.text("")

        def guided(z_t: Tensor, t: Tensor, done: float) -> Tensor:
            positive = context(done) if callable(context) else context
            if cfg == 1:
                return self.base.predict_noise(z_t, t.expand(len(z_t)), positive.expand(len(z_t), -1, -1))
            both = torch.cat([positive, negative])
            eps = self.base.predict_noise(z_t.repeat(2, 1, 1, 1), t.expand(2), both)
            return guide(eps[:1], eps[1:], cfg)

        return guided

    def draw(
        self,
        context: Context,
        seed: int,
        start: Tensor | None = None,
        denoise: float = 1.0,
        noise: Tensor | None = None,
        cfg: float | None = None,
    ) -> Tensor:
        """A picture (side, side, 3) from noise, the seed's unless given, or from a noised latent ``start``."""
        noise = self.noise(seed) if noise is None else noise
        start = torch.zeros_like(noise) if start is None else start
        guided = self.guided(context, cfg)
        steps = self.settings.sampler_steps
        return self.decode(denoise_from(guided, self.base.schedule, start, noise, steps, denoise))

    # -- budget -------------------------------------------------------------------------

    def steps(self, passes_a_step: int) -> Iterator[int]:
        """Numbers of training steps from 1 until the passes or the time of the settings are used up."""
        over = self.deadline()
        for number in range(1, self.planned_steps(passes_a_step) + 1):
            yield number
            if over():
                return

    def shares(self, passes_a_step: int) -> Iterator[float]:
        """As :meth:`steps`, but the share of the budget that is used up with each step, 0 to 1."""
        start, limit, planned = time.monotonic(), self.settings.train_seconds, self.planned_steps(passes_a_step)
        for number in self.steps(passes_a_step):
            yield min(1.0, (time.monotonic() - start) / limit) if limit else number / planned

    def deadline(self) -> Callable[[], bool]:
        """Tells whether the time of a training that starts now is over; never without a time limit."""
        start, limit = time.monotonic(), self.settings.train_seconds
        return lambda: bool(limit) and time.monotonic() - start >= limit

    def planned_steps(self, passes_a_step: int) -> int:
        """Training steps by passes; with a time limit, more than can be taken."""
        return 100_000 if self.settings.train_seconds else max(1, self.settings.passes // passes_a_step)


@contextlib.contextmanager
def peak_memory(every: float = 0.05) -> Iterator[list[float]]:
    """A list with one number: the largest resident memory of this process and its children in MB while the block ran."""
    process, peak, stop = psutil.Process(), [0.0], threading.Event()

    def look() -> None:
        total = process.memory_info().rss
        for child in process.children(recursive=True):
            # A child may end between the two questions.
            with contextlib.suppress(psutil.NoSuchProcess):
                total += child.memory_info().rss
        peak[0] = max(peak[0], total / 1e6)

    def watch() -> None:
        while not stop.wait(every):
            look()

    look()
    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield peak
    finally:
        stop.set()
        thread.join()
        look()


def save_picture(picture: Tensor, path: Path) -> None:
    """(side, side, 3) -> PNG; the file appears when it is whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(f".{time.monotonic_ns()}.partial")
    to_pil(picture).save(partial, "PNG")
    partial.replace(path)
