"""A base in its full size with random weights, run for a few steps: seconds and peak memory of each phase, one JSON line each.

    python -m benchmarks.full_size --family sdxl --side 512 --train-steps 2 --draw-steps 2 --checkpointing on off

It is what ``acfun train`` and ``acfun sample`` run: :class:`~acfun_core.backends.stable_diffusion.StableDiffusion` on
diffusers' classes, with CFun and AFun. How long that takes and what it needs does not depend on what the weights mean. The
first line is :mod:`benchmarks.memory`'s sum for the same side and precision, which the others can be held against; where it
does not fit into what is free, nothing is built.

On a card it takes ``--device cuda --side 1024 --dtype float16 --train-steps 20``. On a CPU, CLIP vision is dropped once it has
seen the style picture. A picture is encoded once, whatever asks for it, and the ten passes before and after a training that
tell its record how well it fits are left out: on a CPU they would take longer than the steps.

The memory of a CPU is what the process holds. With ``MALLOC_MMAP_THRESHOLD_=262144`` before the command, glibc gives every
large tensor memory of its own and hands it back once it is freed; without it, pieces that are free again may be counted.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property

import psutil
import torch
from torch import Tensor

from acfun_core.backends.chosen import pick_device, pick_dtype
from acfun_core.backends.families import KNOWN
from acfun_core.backends.stable_diffusion import StableDiffusion
from acfun_core.config import AdapterConfig, TrainConfig
from acfun_core.errors import ACFunError
from acfun_core.strengths import Strengths
from acfun_core.training import loop
from acfun_core.training.memory import CHECKPOINTING, free_memory, kept_bytes
from tools.comfy.launcher import define_torchvision_operators

from .memory import GIB, gib, nbytes, parts
from .random_bases import random_part, random_parts, settings_of
from .speed import PROMPT, rounded
from .workbench import peak_memory

SPARE = 1.5
"""Gigabytes (2^30) that stay free for the rest of the machine. A process that takes the last is ended without a word."""


@contextmanager
def measured(device: torch.device, told: dict) -> Iterator[None]:
    """Adds seconds, and gigabytes of what runs inside: before, at its peak, and how far the peak is above what was there."""
    start, processor = time.perf_counter(), time.process_time()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device) / GIB
        yield
        torch.cuda.synchronize(device)
        peak = torch.cuda.max_memory_allocated(device) / GIB
        told["reserved_gib"] = torch.cuda.max_memory_reserved(device) / GIB
    else:
        before = psutil.Process().memory_info().rss / GIB
        with peak_memory() as megabytes:
            yield
        peak = megabytes[0] * 1e6 / GIB
        told["processor_seconds"] = time.process_time() - processor
    told |= {"seconds": time.perf_counter() - start, "before_gib": before, "peak_gib": peak, "above_gib": peak - before}


def check_room(needed: float, device: torch.device) -> None:
    """Raise unless so many gigabytes, and :data:`SPARE`, are free."""
    free = free_memory(device)
    if free is not None and free / GIB < needed + SPARE:
        raise ACFunError(
            f"This needs about {needed:.1f} GB on {device}, and {free / GIB:.1f} GB are free.",
            f"{needed + SPARE:.1f} GB",
            "end other programs, or choose a smaller --side, --pictures 1, --checkpointing on, or on a card --dtype float16",
        )


@contextmanager
def watched(base: StableDiffusion) -> Iterator[None]:
    """While active, a pass ends with an error before it takes the last memory of the machine; a card says so by itself."""

    def look(module, inputs) -> None:
        free = free_memory(base.device)
        if free is not None and free / GIB < SPARE:
            raise ACFunError(f"Only {free / GIB:.1f} GB are still free.", f"{SPARE} GB", "end other programs")

    layers = [] if base.device.type == "cuda" else [*base.unet.modules(), *base.vae.modules()]
    handles = [one.register_forward_pre_hook(look) for one in layers if isinstance(one, torch.nn.Conv2d)]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def steps_alone() -> Iterator[None]:
    """While active, nothing is measured before and after a training for its record."""
    ours, loop.measure_adapter = loop.measure_adapter, lambda *given, **named: [0.0, 0.0]
    try:
        yield
    finally:
        loop.measure_adapter = ours


def once(encode: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """The same for the same values, without computing it again."""
    known: dict[str, Tensor] = {}

    def found(pictures: Tensor) -> Tensor:
        key = hashlib.sha256(pictures.contiguous().numpy().tobytes()).hexdigest() + str(tuple(pictures.shape))
        if key not in known:
            known[key] = encode(pictures)
        return known[key]

    return found


class FullSize:
    """One base with random weights, and the phases that are measured on it.

    Args:
        settings: as :func:`~benchmarks.random_bases.settings_of`, for another size than the full one.
    """

    def __init__(self, options: argparse.Namespace, settings: dict[str, dict] | None = None):
        self.options = options
        self.family = next(one for one in KNOWN if one.name == options.family)
        self.settings = settings or settings_of(self.family)
        self.device = pick_device(options.device)
        self.dtype = pick_dtype(options.dtype, self.device)
        self.adapter = None

    def where(self) -> dict:
        """What of, and on what, a row was measured."""
        found = {"family": self.family.name, "side": self.options.side, "pictures": self.options.pictures}
        found |= {"device": str(self.device), "dtype": str(self.dtype).removeprefix("torch.")}
        found |= {"torch": torch.__version__, "threads": torch.get_num_threads()}
        if self.device.type == "cuda":
            found["card"] = torch.cuda.get_device_name(self.device)
        return found

    @cached_property
    def pictures(self) -> tuple[Tensor, Tensor]:
        """Style and face, (1, side, side, 3) each, values 0-1."""
        draws = torch.Generator().manual_seed(1)
        return tuple(torch.rand(1, self.options.side, self.options.side, 3, generator=draws) for _ in range(2))

    @property
    def config(self) -> TrainConfig:
        return TrainConfig(steps=self.options.train_steps, face_weight=1.0 if self.options.pictures == 2 else 0.0)

    def rows(self) -> Iterator[dict]:
        """The phases in the order in which a user meets them."""
        yield self.computed()
        yield self.build()
        with watched(self.base):
            yield self.see()
            yield self.encode()
            if self.options.train_steps:
                yield self.auto()
                yield from map(self.train, self.options.checkpointing)
            if self.options.draw_steps:
                yield self.draw()
                yield self.decode()

    def computed(self) -> dict:
        """What the parts add up to, and whether that fits."""
        given = self.family, self.options.side, self.options.pictures, self.dtype, self.settings
        sizes = gib(parts(*given))
        vision = nbytes(self._vision(torch.device("meta"))) / GIB
        how = "without" if self.options.train_steps and "off" in self.options.checkpointing else "with"
        seeing = vision + sum(sizes[name] for name in ("UNet", "text encoders", "VAE"))
        check_room(max(seeing, sizes[f"sum {how} checkpointing"]), self.device)
        return {"row": "computed", "gib": sizes}

    def _vision(self, device: torch.device) -> torch.nn.Module:
        return random_part("image_encoder", self.settings["image_encoder"], device, torch.float32)

    def build(self) -> dict:
        told: dict = {}
        with measured(self.device, told):
            found = random_parts(self.family, self.settings, self.device, self.dtype)
            self.base = StableDiffusion(found, None, self.device)
        modules = {"unet": self.base.unet, "text": torch.nn.ModuleList(self.base.text.models), "vae": self.base.vae}
        return {"row": "build", "weights_gib": {name: nbytes(one) / GIB for name, one in modules.items()}, **told}

    def see(self) -> dict:
        """CLIP vision, which the training sends away before it begins."""
        told: dict = {}
        vision = self.base._image_encoder = self._vision(torch.device("cpu"))
        self.base.style_tokens = once(self.base.style_tokens)
        with measured(self.device, told):
            tokens = self.base.style_tokens(self.pictures[0])
        if self.device.type == "cpu":
            self.base._image_encoder = torch.nn.Identity()
        return {"row": "style tokens", "tokens": list(tokens.shape), "weights_gib": nbytes(vision) / GIB, **told}

    def encode(self) -> dict:
        told: dict = {}
        self.base.encode = once(self.base.encode)
        with measured(self.device, told):
            latents = self.base.encode(torch.cat(self.pictures))
        return {"row": "encode both pictures", "finite": bool(latents.isfinite().all()), **told}

    def auto(self) -> dict:
        """What ``--checkpointing auto`` would go by, from two small passes."""
        told: dict = {}
        size = (self.options.side // 8,) * 2
        with measured(self.device, told):
            kept = kept_bytes(self.base.core_base(PROMPT), self.options.pictures, size)
        return {"row": "kept, as the training finds it", "kept_gib": kept / GIB, **told}

    def train(self, checkpointing: str) -> dict:
        told, said, self.adapter = {}, [], None
        with steps_alone(), measured(self.device, told):
            pace = Pace()
            self.adapter = self.base.train(
                *self.pictures,
                AdapterConfig(PROMPT),
                self.config,
                self.options.side,
                pace.stamp,
                say=said.append,
                checkpointing=checkpointing,
            )
        record = self.adapter.record
        losses = [[style, face] for style, face in zip(record.style_loss, record.face_loss)]
        made = {"adapter_mb": nbytes(self.adapter) / 1e6, "losses": losses, "skipped_steps": record.skipped_steps}
        return {"row": "train", "checkpointing": checkpointing, **pace.told(self.device), **told, **made, "said": said}

    def draw(self) -> dict:
        members = [] if self.adapter is None else [(self.adapter, Strengths())]
        told: dict = {}
        with measured(self.device, told):
            pace = Pace()
            self.latents = self.base.sample(
                PROMPT,
                members=members,
                steps=self.options.draw_steps,
                size=(self.options.side, self.options.side),
                on_sample=pace.stamp,
            )
        found = {"adapter": bool(members), "finite": bool(self.latents.isfinite().all())}
        return {"row": "draw", **pace.told(self.device), **told, **found}

    def decode(self) -> dict:
        told: dict = {}
        with measured(self.device, told):
            picture = self.base.decode(self.latents)
        return {"row": "decode", "picture": list(picture.shape), **told}


class Pace:
    """Seconds of each step by the clock, and by the processor's own: on a machine that others use, too, these say more."""

    def __init__(self):
        self._stamps: list[tuple[float, float]] = []
        self.stamp()

    def stamp(self, *given: object) -> None:
        self._stamps.append((time.perf_counter(), time.process_time()))

    def told(self, device: torch.device) -> dict:
        """Of each step, of which the first has what comes before it too, and their median without the first."""
        wall, processor = zip(*self._stamps)
        found = {"seconds": wall} if device.type == "cuda" else {"seconds": wall, "processor_seconds": processor}
        told = {}
        for name, stamps in found.items():
            each = [after - before for before, after in zip(stamps, stamps[1:])]
            told |= {f"{name}_a_step": statistics.median(each[1:] or each), f"{name}_of_each": each}
        return told


def options_of(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--family", choices=[one.name for one in KNOWN], default="sdxl")
    parser.add_argument("--side", type=int, default=512, help="in pixels (%(default)s)")
    parser.add_argument("--train-steps", type=int, default=2, help="0 for none (%(default)s)")
    parser.add_argument(
        "--draw-steps", type=int, default=2, help="with and without the prompt each; 0 for none (%(default)s)"
    )
    parser.add_argument("--checkpointing", choices=CHECKPOINTING, nargs="+", default=["on"], help="a training for each")
    parser.add_argument("--pictures", type=int, choices=(1, 2), default=2, help="a step: 1 learns the style alone")
    parser.add_argument("--dtype", default="float32", help="as for acfun train (%(default)s)")
    parser.add_argument("--device", default="cpu", help="auto, cpu or cuda (%(default)s)")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None, settings: dict[str, dict] | None = None) -> int:
    options = options_of(arguments)
    define_torchvision_operators()
    try:
        full = FullSize(options, settings)
        for row in full.rows():
            print(json.dumps(rounded({**row, **full.where()})), flush=True)
    except ACFunError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
