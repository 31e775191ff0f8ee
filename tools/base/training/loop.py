"""One loop for every stage: a clock, a learning rate that follows it, averaged weights, and a state to go on from.

    for _ in loop:
        loop.learn(loss of a batch)

The loop ends when the stage's time is up. It writes its state every few minutes, so that a killed command loses no more.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from ..common import status

LEAST = 2
"""Steps that a stage makes however little time it has."""
SAY_EVERY = 15.0
"""Seconds between two lines about the loss."""


def learning_rate(peak: float, step: int, warmup: int, progress: float, floor: float = 0.02) -> float:
    """Linear warm-up by steps, cosine decay by progress in 0..1 down to `floor` times the peak."""
    cosine = floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * progress))
    return peak * min(1.0, (step + 1) / warmup) * cosine


def peaks(parameters, peak: float, constant: bool = False) -> dict:
    """A parameter group of the optimizer; `peak` is the learning rate at its highest, which a `constant` group keeps."""
    return {"params": list(parameters), "lr": peak, "peak": peak, "constant": constant}


class Loop:
    """The steps of one stage.

    Args:
        run: folder that keeps the state (`state_NAME.pt`) and the log.
        seconds: time that is left for the stage, whatever it spent before it was killed.
        model: all that is trained. averaged: the part whose moving average is the result, and whose gradient is clipped.
        cfg: `warmup`, `ema` and maybe `floor` of the stage.
        beside: further things with `state_dict` and `load_state_dict` that a resumed stage needs.
    """

    def __init__(
        self,
        run: Path,
        name: str,
        seconds: float,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        cfg,
        averaged: nn.Module | None = None,
        save_every: float = 120.0,
        beside: dict | None = None,
    ) -> None:
        self.run, self.name, self.model, self.optimizer, self.cfg = run, name, model, optimizer, cfg
        self.averaged = model if averaged is None else averaged
        self.average = AveragedModel(self.averaged, multi_avg_fn=self._move)
        self.kept = {"model": model, "optimizer": optimizer, "average": self.average, **(beside or {})}
        self.path, self.save_every = run / f"state_{name}.pt", save_every
        self.step, self.spent, self.loss = 0, 0.0, None
        if self.path.exists():
            state = torch.load(self.path, weights_only=True)
            self.step, self.spent = state["step"], state["spent"]
            for key, part in self.kept.items():
                part.load_state_dict(state[key])
            status(run, f"{name}: goes on at step {self.step}")
        self.seconds, self.began = self.spent + seconds, time.monotonic()

    def __iter__(self) -> Iterator[float]:
        """Yields how much of the time is over, in 0..1."""
        last = saved = time.monotonic()
        before, first = self.spent, self.step
        self.spent += last - self.began
        while (progress := min(1.0, self.spent / max(self.seconds, 1e-3))) < 1 or self.step < first + LEAST:
            for group in self.optimizer.param_groups:
                if not group["constant"]:
                    floor = getattr(self.cfg, "floor", 0.02)
                    group["lr"] = learning_rate(group["peak"], self.step, self.cfg.warmup, progress, floor)
            yield progress
            now = time.monotonic()
            self.step, self.spent = self.step + 1, before + now - self.began
            if now - last > SAY_EVERY:
                last = now
                print(f"{self.name}: step {self.step}, loss {self.loss:.4f}, {self.spent:.0f} s", flush=True)
            if now - saved > self.save_every:
                self.save()
                saved = time.monotonic()
        status(self.run, f"{self.name}: {self.step} steps, loss {self.loss:.4f}, {self.spent / 60:.1f} min")

    def learn(self, loss: Tensor) -> None:
        """One step of the optimizer and of the average."""
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self.averaged.parameters(), 1.0)
        self.optimizer.step()
        self.average.update_parameters(self.averaged)
        loss = loss.detach()
        self.loss = loss if self.loss is None else self.loss.lerp(loss, 0.02)

    @torch.no_grad()
    def _move(self, averaged: list[Tensor], now: list[Tensor], _) -> None:
        """Exponential moving average with a short memory early in the run. The count that is passed waits for the device."""
        kept = min(self.cfg.ema, (1 + self.step) / (10 + self.step))
        torch._foreach_lerp_(averaged, now, 1 - kept)

    def save(self) -> None:
        """Write the state under a temporary name, then rename: a kill leaves the old one intact."""
        temporary = self.path.with_suffix(".tmp")
        state = {key: part.state_dict() for key, part in self.kept.items()}
        torch.save({**state, "step": self.step, "spent": self.spent}, temporary)
        os.replace(temporary, self.path)

    def finish(self) -> None:
        """The trained part takes its averaged weights."""
        self.averaged.load_state_dict(self.average.module.state_dict())
