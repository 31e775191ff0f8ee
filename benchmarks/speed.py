"""``make bench``: how fast a training step and a drawing are on this machine, beside what others need. One JSON line a row.

Every row has its ratios first, then what they are made of. On the CPU the base is the demo base at its own 256 pixels; on
CUDA it is Stable Diffusion 1.5 in its full size with random weights at 512 pixels, unless ``--base`` names another: how long it
takes does not depend on what the weights mean. What runs side by side takes turns.

* ``bare pass``: forward and backward of the UNet alone, style and face in one batch, to its latent and its text.
* ``training step``: of this project, as ``acfun train`` calls it.
* ``sampling``: with an adapter and without.
* ``DreamBooth-LoRA step``: what diffusers' script of that name computes in a step on the same two pictures, with rank 8.
* ``TrainLoraNode``: ComfyUI's own trainer against this project's node, each in a server of its own, on the demo base.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from tools.comfy.launcher import define_torchvision_operators

ROOT = Path(__file__).resolve().parents[1]
PROMPT = "a painting of a woman in S* style"
RANK, LEARNING_RATE = 8, 1e-4
WARM_UP = 4


class Clock:
    """Milliseconds and memory of what runs on one device.

    On a machine that others use, too, the processor's own time says more than the wall's: on the CPU both are told.
    """

    def __init__(self, device: torch.device):
        self.cuda = device.type == "cuda"

    def finish(self) -> None:
        if self.cuda:
            torch.cuda.synchronize()

    def ms(self, call: Callable[[], object]) -> tuple[float, float]:
        """(wall, processor) of one call."""
        self.finish()
        wall, processor = time.perf_counter(), time.process_time()
        call()
        self.finish()
        return 1e3 * (time.perf_counter() - wall), 1e3 * (time.process_time() - processor)

    @contextmanager
    def peak(self, told: dict) -> Iterator[None]:
        """Adds the largest memory of what runs inside: the card's, or the process's."""
        if self.cuda:
            torch.cuda.reset_peak_memory_stats()
        else:
            forget_peak("self")
        yield
        if self.cuda:
            told["peak_mb"] = torch.cuda.max_memory_allocated() / 1e6
            told["reserved_mb"] = torch.cuda.max_memory_reserved() / 1e6
        else:
            told["peak_mb"] = peak_mb("self")


def forget_peak(process: int | str) -> None:
    """From now on :func:`peak_mb` tells of what comes; Linux alone can."""
    try:
        Path(f"/proc/{process}/clear_refs").write_text("5")
    except OSError:
        pass


def peak_mb(process: int | str) -> float | None:
    """The largest memory of a process so far, in MB."""
    status = Path(f"/proc/{process}/status")
    lines = status.read_text().splitlines() if status.is_file() else []
    found = [int(line.split()[1]) / 1e3 for line in lines if line.startswith("VmHWM")]
    return found[0] if found else None


class Bench:
    """One base on one device, and the rows that are measured on it."""

    def __init__(self, options: argparse.Namespace):
        from acfun_core.backends.chosen import pick_device, pick_dtype

        self.options = options
        self.device = pick_device(options.device)
        self.clock = Clock(self.device)
        self.dtype = pick_dtype(options.dtype, self.device)
        self._began = time.monotonic()
        self.ms: dict[str, float] = {}

    @property
    def left(self) -> float:
        return self.options.limit - (time.monotonic() - self._began)

    @cached_property
    def base(self):
        from acfun_core.backends.stable_diffusion import StableDiffusion

        folder = self.options.base or (None if self.clock.cuda else ROOT / "base")
        if folder is None:
            return self._random_base()
        return StableDiffusion.load(folder, device=self.device, dtype=self.dtype)

    def _random_base(self):
        from .random_bases import random_stable_diffusion

        return random_stable_diffusion(self.device, self.dtype)

    @cached_property
    def side(self) -> int:
        return self.options.side or self.base.native_side

    @cached_property
    def pictures(self) -> tuple[Tensor, Tensor]:
        draws = torch.Generator().manual_seed(1)
        return tuple(torch.rand(1, self.side, self.side, 3, generator=draws) for _ in range(2))

    def times(self, calls: dict[str, Callable[[], object]], repeats: int) -> dict[str, dict[str, float]]:
        """Medians of calls that take turns, each warmed up once."""
        for call in calls.values():
            call()
        taken: dict[str, list[tuple[float, float]]] = {name: [] for name in calls}
        for turn in range(repeats):
            for name in sorted(calls, reverse=turn % 2 == 1):
                taken[name].append(self.clock.ms(calls[name]))
        found = {}
        for name, both in taken.items():
            wall, processor = (statistics.median(column) for column in zip(*both))
            found[name] = {"ms": wall} if self.clock.cuda else {"ms": wall, "processor_ms": processor}
        return found

    # -- the rows -----------------------------------------------------------------------

    def bare_pass(self) -> dict:
        told: dict = {}
        call = self._bare()
        with self.clock.peak(told):
            told |= self.times({"bare": call}, self.options.repeats)["bare"]
        if self.clock.cuda:
            told["ms_as_a_graph"] = self._as_a_graph(call)
        self.ms["bare"] = told.get("ms_as_a_graph", told.get("processor_ms", told["ms"]))
        return told

    def _bare(self) -> Callable[[], None]:
        unet, size = self.base.unet, self.side // 8
        draws = torch.Generator().manual_seed(2)
        z = torch.randn(2, 4, size, size, generator=draws).to(self.device, self.dtype).requires_grad_()
        width = unet.config.cross_attention_dim
        context = torch.randn(1, 77, width, generator=draws).to(self.device, self.dtype).requires_grad_()
        t = torch.full((2,), 500, device=self.device)

        def call() -> None:
            z.grad = context.grad = None
            predicted = unet(z, t, encoder_hidden_states=context.expand(2, -1, -1)).sample
            (512 * predicted.float().square().mean()).backward()

        return call

    def _as_a_graph(self, call: Callable[[], None]) -> float:
        from acfun_core.training.accelerator import Cuda

        cuda = Cuda(self.device)
        with cuda.aside():
            for _ in range(3):
                call()
        graph = cuda.graph()
        with cuda.capturing(graph):
            call()
        return self.times({"graph": graph.replay}, 3 * self.options.repeats)["graph"]["ms"]

    def training_step(self) -> dict:
        from acfun_core.config import AdapterConfig, TrainConfig

        stamps, processor, said = [], [], []

        def on_step(report) -> None:
            stamps.append(time.perf_counter())
            processor.append(time.process_time())

        told: dict = {}
        steps = WARM_UP + 2 + self.options.steps
        with self.clock.peak(told):
            start = time.perf_counter()
            self.adapter = self.base.train(
                *self.pictures, AdapterConfig(PROMPT), TrainConfig(steps=steps), self.side, on_step, say=said.append
            )
            self.clock.finish()
            whole = time.perf_counter() - start
        # The first steps warm up, write down and compare.
        each = [1e3 * (b - a) for a, b in zip(stamps[WARM_UP + 1 :], stamps[WARM_UP + 2 :])]
        own = [1e3 * (b - a) for a, b in zip(processor[WARM_UP + 1 :], processor[WARM_UP + 2 :])]
        wall = statistics.mean(each) if self.clock.cuda else statistics.median(each)
        before = max(0.0, whole - (stamps[-1] - stamps[0]))
        taken = {"ms": wall} if self.clock.cuda else {"ms": wall, "processor_ms": statistics.median(own)}
        self.ms["step"] = wall if self.clock.cuda else taken["processor_ms"]
        record = self.adapter.record
        further = {"seconds_for_500": before + 0.5 * wall, "skipped_steps": record.skipped_steps, "said": said}
        return {"times_the_bare_pass": self.ms["step"] / self.ms["bare"], **taken, **further, **told}

    def sampling(self) -> dict:
        from acfun_core.strengths import Strengths

        members, settings = [(self.adapter, Strengths())], {"steps": 20, "cfg": 5.0, "size": (self.side, self.side)}
        found = self.times(
            {
                "on": lambda: self.base.sample(PROMPT, members=members, **settings),
                "off": lambda: self.base.sample(PROMPT, **settings),
            },
            max(1, self.options.repeats // 3),
        )
        by = "ms" if self.clock.cuda else "processor_ms"
        return {"on_to_off": found["on"][by] / found["off"][by], "steps": settings["steps"], **found}

    def dreambooth_lora(self) -> dict:
        from .methods.lora import fresh_factors, with_lora

        unet, size = self.base.unet, self.side // 8
        factors = fresh_factors(unet, RANK, 0)
        state = {name: value.to(self.device).requires_grad_() for name, value in factors.items()}
        adamw = torch.optim.AdamW(state.values(), lr=LEARNING_RATE)
        scaler = torch.amp.GradScaler(self.device.type, enabled=self.dtype == torch.float16)
        latents = torch.randn(2, 4, size, size, generator=torch.Generator().manual_seed(3)).to(self.device)
        with torch.no_grad():
            context = self.base.text.encode(self.base.text.sections(PROMPT, styled=False)).expand(2, -1, -1)
        schedule = self.base.schedule

        def step() -> None:
            noise = torch.randn_like(latents)
            t = torch.randint(len(schedule), (2,), device=self.device)
            z_t = schedule.add_noise(latents, noise, t)
            # As in the script: factors in float32, products in half precision.
            with torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32):
                predicted = unet(z_t.to(self.dtype), t, encoder_hidden_states=context.to(self.dtype)).sample
            loss = F.mse_loss(predicted.float(), noise)
            scaler.scale(loss).backward()
            scaler.unscale_(adamw)
            torch.nn.utils.clip_grad_norm_(state.values(), 1.0)
            scaler.step(adamw)
            scaler.update()
            adamw.zero_grad()

        told: dict = {}
        with with_lora(unet, state), self.clock.peak(told):
            found = self.times({"step": step}, self.options.repeats)["step"]
        own = found.get("processor_ms", found["ms"])
        return {"times_faster_is_ours": own / self.ms["step"], **found, **told}

    def nodes(self) -> dict:
        # A card that was lent may have torch, diffusers and transformers, and no more.
        from .speed_of_nodes import nodes_row

        return nodes_row(self.clock.cuda, self.options.node_steps)


ROWS = {
    "bare pass": Bench.bare_pass,
    "training step": Bench.training_step,
    "sampling": Bench.sampling,
    "DreamBooth-LoRA step": Bench.dreambooth_lora,
    "TrainLoraNode": Bench.nodes,
}


def rounded(value):
    if isinstance(value, dict):
        return {key: rounded(one) for key, one in value.items()}
    if isinstance(value, list):
        return [rounded(one) for one in value]
    return float(f"{value:.4g}") if isinstance(value, float) else value


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda")
    parser.add_argument("--dtype", default="auto", help="as for acfun train")
    parser.add_argument("--base", type=Path, help="another base, as for acfun train")
    parser.add_argument("--side", type=int, help="in pixels; the base's own if nothing is said")
    parser.add_argument("--steps", type=int, default=20, help="training steps that count (%(default)s)")
    parser.add_argument("--node-steps", type=int, default=20, help="of either node (%(default)s)")
    parser.add_argument("--repeats", type=int, default=9, help="of everything shorter (%(default)s)")
    parser.add_argument("--limit", type=float, default=1e9, help="seconds after which no further row begins")
    parser.add_argument("--only", choices=list(ROWS), nargs="*", help="these rows, and what they compare with")
    parser.add_argument("--out", type=Path, help="the lines are added to this file, too")
    options = parser.parse_args(arguments)
    define_torchvision_operators()
    bench = Bench(options)
    failed = False
    for name, row in ROWS.items():
        # The first two are what others compare with.
        if (
            options.only
            and name not in options.only
            and not (name in list(ROWS)[:2] and set(options.only) - {"TrainLoraNode"})
        ):
            continue
        start = time.monotonic()
        if bench.left <= 0:
            told = {"left_out": "no time"}
        else:
            try:
                told = row(bench)
            # A row that cannot be measured here must not cost the others.
            except Exception as error:
                told, failed = {"failed": f"{type(error).__name__}: {str(error)[:300]}"}, True
        where = {"device": str(bench.device), "dtype": str(bench.dtype).removeprefix("torch.")}
        where |= {"torch": torch.__version__, "threads": torch.get_num_threads(), "load": os.getloadavg()[0]}
        if bench.clock.cuda:
            where["card"] = torch.cuda.get_device_name(bench.device)
        line = json.dumps(rounded({"row": name, **told, **where, "seconds": time.monotonic() - start}))
        print(line, flush=True)
        if options.out:
            with options.out.open("a", encoding="utf-8") as file:
                file.write(line + "\n")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
