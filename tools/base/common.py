"""Settings, run folder, checkpoints and small helpers that every stage shares."""

from __future__ import annotations

import argparse
import json
import math
import os
import socket
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save_file

HERE = Path(__file__).resolve().parent
DEFAULT_EXPORT = HERE.parent.parent / "base"


def load_config(path: Path) -> SimpleNamespace:
    """The JSON config as nested attributes."""
    return json.loads(Path(path).read_text(), object_hook=lambda d: SimpleNamespace(**d))


def arguments(description: str) -> argparse.Namespace:
    """Command line of a stage; `cfg` holds the parsed config and `run` exists afterwards."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--data", type=Path, help="folder with manifest.jsonl and the pictures it names")
    parser.add_argument(
        "--run", type=Path, default=Path("out/base_run"), help="working folder: prepared data, checkpoints, sheets"
    )
    parser.add_argument("--config", type=Path, default=HERE / "config.json")
    parser.add_argument("--export", type=Path, default=DEFAULT_EXPORT, help="folder of the exported pipeline")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--workers", type=int, default=1, help="data-parallel processes, one thread each (CPU only)")
    parser.add_argument("--minutes", type=float, help="time budget of this stage; the learning rate decays to its end")
    args = parser.parse_args()
    args.cfg = load_config(args.config)
    args.run.mkdir(parents=True, exist_ok=True)
    torch.set_flush_denormal(True)
    torch.manual_seed(args.cfg.seed)
    return args


def status(run: Path, line: str) -> None:
    """Append one time-stamped line to STATUS.md in the run folder, and print it."""
    text = f"- {time.strftime('%H:%M:%S', time.gmtime())} UTC {line}"
    print(text, flush=True)
    with open(run / "STATUS.md", "a") as file:
        file.write(text + "\n")


def save_weights(path: Path, tensors: dict[str, torch.Tensor], metadata: dict[str, str] | None = None) -> None:
    """Write safetensors under a temporary name, then rename: a kill leaves the old file intact."""
    temporary = path.with_suffix(".tmp")
    save_file({k: v.detach().contiguous() for k, v in tensors.items()}, temporary, metadata=metadata)
    os.replace(temporary, path)


def save_state(path: Path, **state) -> None:
    """Trainer state for resuming (optimizer, step); read back with `weights_only=True`."""
    temporary = path.with_suffix(".tmp")
    torch.save(state, temporary)
    os.replace(temporary, path)


def load_state(path: Path) -> dict | None:
    return torch.load(path, weights_only=True) if path.exists() else None


class Team:
    """Data-parallel workers on one machine: gradients are averaged once a step.

    Two single-thread processes were faster on two CPU cores than one process with two threads,
    whose threads wait for each other at every layer.
    """

    def __init__(self, rank: int, count: int) -> None:
        self.rank, self.count, self.first = rank, count, rank == 0

    def wait(self) -> None:
        if self.count > 1:
            torch.distributed.barrier()

    def average(self, module: torch.nn.Module, progress: float) -> float:
        """Average the gradients in place; returns the workers' mean progress."""
        if self.count == 1:
            return progress
        gradients = [p.grad for p in module.parameters() if p.grad is not None]
        flat = torch.cat([g.flatten() for g in gradients] + [torch.tensor([progress])])
        torch.distributed.all_reduce(flat)
        flat /= self.count
        parts = flat[:-1].split([g.numel() for g in gradients])
        for gradient, part in zip(gradients, parts):
            gradient.copy_(part.view_as(gradient))
        return float(flat[-1])


def _worker(rank: int, train, args: argparse.Namespace, port: int) -> None:
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    torch.manual_seed(args.cfg.seed)
    torch.distributed.init_process_group(
        "gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=args.workers
    )
    train(args, Team(rank, args.workers))
    torch.distributed.destroy_process_group()


def launch(train, args: argparse.Namespace) -> None:
    """Run `train(args, team)` here, or in `--workers` processes."""
    if args.workers == 1:
        train(args, Team(0, 1))
        return
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    torch.multiprocessing.spawn(_worker, (train, args, port), nprocs=args.workers)


class Ema:
    """Exponential moving average of a module's state, with a short memory early in the run."""

    def __init__(self, module: torch.nn.Module, decay: float) -> None:
        self.decay, self.count = decay, 0
        self.state = {k: v.detach().clone() for k, v in module.state_dict().items()}

    @torch.no_grad()
    def update(self, module: torch.nn.Module) -> None:
        self.count += 1
        decay = min(self.decay, (1 + self.count) / (10 + self.count))
        for key, value in module.state_dict().items():
            if value.is_floating_point():
                self.state[key].lerp_(value, 1 - decay)
            else:
                self.state[key].copy_(value)


class Clock:
    """Progress of a stage in 0..1: by its time budget, so that the decay ends when time does."""

    def __init__(self, minutes: float, spent: float = 0.0) -> None:
        self.budget, self.spent, self.last = minutes * 60, spent, time.monotonic()

    def tick(self) -> float:
        now = time.monotonic()
        self.spent, self.last = self.spent + now - self.last, now
        return min(1.0, self.spent / self.budget)


class Checkpoint:
    """What a stage needs to go on after a kill: weights, optimizer, averaged weights, step and time spent."""

    def __init__(self, path: Path, model: torch.nn.Module, optimizer: torch.optim.Optimizer, ema: Ema, clock: Clock):
        self.path, self.model, self.optimizer, self.ema, self.clock = path, model, optimizer, ema, clock

    def resume(self) -> int:
        """Load what was saved, if anything was; returns the step to go on from."""
        state = load_state(self.path)
        if state is None:
            return 0
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.ema.state, self.ema.count, self.clock.spent = state["ema"], state["step"], state["spent"]
        return state["step"]

    def save(self, step: int) -> None:
        save_state(
            self.path,
            model=self.model.state_dict(),
            optimizer=self.optimizer.state_dict(),
            ema=self.ema.state,
            step=step,
            spent=self.clock.spent,
        )


def learning_rate(peak: float, step: int, warmup: int, progress: float, floor: float = 0.02) -> float:
    """Linear warm-up by steps, cosine decay by progress."""
    cosine = floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * progress))
    return peak * min(1.0, (step + 1) / warmup) * cosine


def to_tensor(images: np.ndarray) -> torch.Tensor:
    """uint8 [n, h, w, 3] -> float [n, 3, h, w] in -1..1."""
    return torch.from_numpy(np.ascontiguousarray(images)).permute(0, 3, 1, 2).float().div(127.5).sub(1)


def sheet(path: Path, images: torch.Tensor, columns: int) -> None:
    """Write float images [n, 3, h, w] in -1..1 as one PNG grid."""
    array = images.detach().float().clamp(-1, 1).add(1).mul(127.5).round().byte().permute(0, 2, 3, 1).cpu().numpy()
    rows = math.ceil(len(array) / columns)
    height, width = array.shape[1:3]
    canvas = np.full((rows * height, columns * width, 3), 255, np.uint8)
    for i, image in enumerate(array):
        y, x = divmod(i, columns)
        canvas[y * height : (y + 1) * height, x * width : (x + 1) * width] = image
    Image.fromarray(canvas).save(path)
