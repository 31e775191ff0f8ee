"""What every method works with: the base, the sampler, the settings, and a count of UNet passes."""

from __future__ import annotations

import contextlib
import json
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
from acfun_core.diffusion.sampling import Levels, Predict, guided, normal_levels, sample, starting_noise
from acfun_core.errors import ACFunError
from acfun_core.images import square
from acfun_core.transfer.references import References
from tools.base_key import base_key
from tools.comfy.launcher import define_torchvision_operators

from .lists import Image, Pair

ROOT = Path(__file__).resolve().parents[1]
Context = Tensor | Callable[[float], Tensor]
"""(1, T, width), or what gives it for the share of the sampling that is done."""


@dataclass(frozen=True)
class Settings:
    """What all methods of a table share.

    Attributes:
        base: diffusers folder. side: of all pictures in pixels; 0 is what the base was made for. sampler_steps, cfg: of the
            sampler.
        passes: UNet forward-backward passes of a trained method. seed: of the trainings.
        train_seconds: wall-clock time of a training instead of passes; 0 counts passes.
    """

    base: str = "base"
    side: int = 0
    sampler_steps: int = 40
    cfg: float = 3.0
    passes: int = 1000
    seed: int = 0
    train_seconds: float = 0.0

    def __post_init__(self):
        if not self.side:
            unet = json.loads((base_folder(self.base) / "unet" / "config.json").read_text(encoding="utf-8"))
            object.__setattr__(self, "side", 8 * unet["sample_size"])
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
        self._ways: dict[tuple[str, int], Tensor] = {}

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

    def levels(self, denoise: float = 1.0) -> Levels:
        """The noise levels of every method; below 1 the last of a longer sampling, as ComfyUI's ``denoise``."""
        return normal_levels(self.base.schedule, self.settings.sampler_steps, denoise)

    def predictor(self, levels: Levels, context: Context, cfg: float | None = None) -> Predict:
        """The base's noise prediction under guidance; the negative prompt is empty."""
        negative = self.text("")

        def conditions(index: int) -> tuple[Tensor, Tensor]:
            return (context(levels.done[index]) if callable(context) else context), negative

        return guided(self.base.predict_noise, levels, conditions, self.settings.cfg if cfg is None else cfg)

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
        levels = self.levels(denoise)
        x = levels.noisiest(noise) if denoise >= 1 else start + levels.sigmas[0] * noise
        return self.decode(sample(self.predictor(levels, context, cfg), levels.sigmas, x))

    def references(self, pair: Pair, steps: int) -> References:
        """Photo and style picture of a pair on their way to noise; each picture's way is found once."""
        ways = torch.cat([self._way(image, steps) for image in (pair.face, pair.style)], 1)
        return References(self.base.levels(steps).sigmas, ways)

    def _way(self, image: Image, steps: int) -> Tensor:
        """(N + 1, 1, 4, h, w)."""
        if (image.sha256, steps) not in self._ways:
            self._ways[image.sha256, steps] = self.base.way_to_noise(image.pixels, steps, self.settings.side)
        return self._ways[image.sha256, steps]

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
