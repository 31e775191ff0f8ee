"""AdamW with warm-up, gradient clipping and loss scaling, so that half-precision bases train without vanishing gradients."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import Tensor

from ..config import TrainConfig
from ..errors import ACFunError
from ..method.adapter import StyleAdapter

INITIAL_SCALE = 512.0
"""The loss is a mean over all latent values: through a float16 UNet its gradient would fall below what float16 can hold.
A power of two, so that float32 bases learn bit for bit the same with and without it."""


NARROWEST_WIDTH = 64
"""Channels of the narrowest block, at which CFun's maps take the whole learning rate."""


def width_factor(channels: Iterable[int]) -> float:
    """Share of the learning rate that CFun's maps take on a base whose blocks have these channels; 1 without blocks.

    A step moves gamma and beta of every channel the way its gradient points. The prediction sums the channels before the
    UNet's last convolution, as many as the narrowest blocks have, with weights of about 1 / sqrt(C): it moves by sqrt(C).
    Measured on random UNets of 64, 128 and 320: without this the losses first fell as 1 : 1.4 : 2.1
    (`python -m benchmarks.stability`), with it as 1 : 1.2 : 1.3 (docs/stability.md). Narrower bases than 64, which only tests
    have, take no larger step.
    """
    narrowest = min(channels, default=NARROWEST_WIDTH)
    return min(1.0, (NARROWEST_WIDTH / narrowest) ** 0.5)


def learning_rate_at(config: TrainConfig, number: int, done: float) -> float:
    """Learning rate of step ``number`` (from 1): a linear rise, then half a cosine down to the end's share.

    Args:
        done: share of the training that is over with this step, 0 to 1.
    """
    rise = min(1.0, number / max(1, config.warmup_steps))
    fallen = 0.5 - 0.5 * math.cos(math.pi * min(1.0, done))
    return config.learning_rate * rise * (1.0 - (1.0 - config.learning_rate_end) * fallen)


class Optimiser:
    """One optimizer over AFun and CFun together."""

    def __init__(self, adapter: StyleAdapter, config: TrainConfig):
        self.config = config
        self.scale = INITIAL_SCALE
        shares = ((adapter.afun, 1.0), (adapter.cfun, width_factor(adapter.cfun.channels.values())))
        groups = [
            {"params": [parameter for parameter in module.parameters() if parameter.requires_grad], "share": share}
            for module, share in shares
        ]
        self.parameters = [parameter for group in groups for parameter in group["params"]]
        self.adamw = torch.optim.AdamW([group for group in groups if group["params"]], lr=config.learning_rate)

    def step(self, loss: Tensor, number: int) -> bool:
        """Take optimizer step ``number`` (from 1). -> False if it was left out to halve an overflowing loss scale.

        Raises:
            ACFunError: the loss is not finite, or gradients overflow even without scaling.
        """
        rate = learning_rate_at(self.config, number, number / self.config.steps)
        for group in self.adamw.param_groups:
            group["lr"] = group["share"] * rate
        self.adamw.zero_grad(set_to_none=True)
        _backward(loss * self.scale)
        for parameter in self.parameters:
            if parameter.grad is not None:
                parameter.grad /= self.scale
        norm = torch.nn.utils.clip_grad_norm_(self.parameters, self.config.max_grad_norm).item()
        if not math.isfinite(loss.item()) or (not math.isfinite(norm) and self.scale <= 1):
            raise ACFunError(
                f"Training became non-finite at step {number} (loss {loss.item():.4g}, gradient norm {norm:.4g}).",
                "finite numbers throughout",
                f"lower the learning rate (it is {self.config.learning_rate:g}) or use a base in float32",
            )
        if not math.isfinite(norm):
            self.scale /= 2
            return False
        self.adamw.step()
        return True


def _backward(loss: Tensor) -> None:
    """Gradients of the loss.

    Raises:
        ACFunError: something in the base overwrites values that the gradients need.
    """
    try:
        loss.backward()
    except RuntimeError as error:
        if "inplace operation" not in str(error):
            raise
        raise ACFunError(
            "A patch on the base overwrites values that training still needs, as FreeU does.",
            "a base whose patches leave their inputs as they are",
            "train on the MODEL without that patch, and put it on again for drawing",
        ) from error
