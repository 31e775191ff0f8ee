"""AdamW with warm-up, gradient clipping and loss scaling, so that half-precision bases train without vanishing gradients."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

from ..config import TrainConfig
from ..errors import ACFunError
from ..method.adapter import StyleAdapter
from .alignment_loss import weighted
from .readout import Outcome

INITIAL_SCALE = 512.0
"""The loss is a mean over all latent values: through a float16 UNet its gradient would fall below what float16 can hold.
A power of two, so that float32 bases learn bit for bit the same with and without it."""

STEPS_BETWEEN_GROWTHS, NEVER = 200, 2**31 - 1
"""How long a growing scale stays what it is, where nothing overflows."""


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
    """One optimizer over AFun and CFun together, each of whose steps the host decides on: an overflow is seen at once.

    Attributes:
        scale: of the loss.
    """

    def __init__(self, adapter: StyleAdapter, config: TrainConfig):
        self.config = config
        self.scale = INITIAL_SCALE
        shares = ((adapter.afun, 1.0), (adapter.cfun, width_factor(adapter.cfun.channels.values())))
        groups = [
            {"params": [parameter for parameter in module.parameters() if parameter.requires_grad], "share": share}
            for module, share in shares
        ]
        self.parameters = [parameter for group in groups for parameter in group["params"]]
        self.adamw = self._adamw([group for group in groups if group["params"]])

    def _adamw(self, groups: list[dict]) -> torch.optim.AdamW:
        return torch.optim.AdamW(groups, lr=self.config.learning_rate)

    def set_rate(self, number: int) -> None:
        """The learning rate of step ``number`` (from 1)."""
        rate = learning_rate_at(self.config, number, number / self.config.steps)
        for group in self.adamw.param_groups:
            group["lr"] = group["share"] * rate

    def update(self, loss: Tensor) -> tuple[Tensor, Tensor | float]:
        """Backward, clipping and AdamW's step, which is left out where gradients overflow: the scale is halved instead.

        Returns:
            The norm of all gradients () before clipping, not finite where they overflowed; the scale they were made with.

        Raises:
            ACFunError: a patch on the base overwrites what the gradients need.
        """
        scale = self.scale
        _backward(loss * scale)
        for parameter in self.parameters:
            if parameter.grad is not None:
                parameter.grad /= scale
        norm = torch.nn.utils.clip_grad_norm_(self.parameters, self.config.max_grad_norm)
        if math.isfinite(norm.item()):
            self.adamw.step()
        else:
            self.scale /= 2
        # Not at the next backward: until then they would lie beside everything that it needs.
        self.adamw.zero_grad(set_to_none=True)
        return norm.detach(), scale

    def moments(self) -> dict[str, Tensor]:
        """AdamW's memory of each parameter: ``0.exp_avg``, by the parameter's number."""
        state = self.adamw.state_dict()["state"]
        return {f"{index}.{name}": value for index, values in state.items() for name, value in values.items()}

    def restore_moments(self, tensors: Mapping[str, Tensor]) -> None:
        """The other way round."""
        moments: dict[int, dict[str, Tensor]] = {}
        for key, value in tensors.items():
            index, name = key.split(".")
            moments.setdefault(int(index), {})[name] = value
        self.adamw.load_state_dict({**self.adamw.state_dict(), "state": moments})

    def begin_anew(self) -> None:
        """Forget a step that broke off in the middle."""

    def scaling(self) -> dict[str, float]:
        """What the next scale depends on, as plain numbers."""
        return {"scale": self.scale}

    def restore_scaling(self, numbers: Mapping[str, float]) -> None:
        """The other way round, from any state that has a ``scale``."""
        self.scale = float(numbers["scale"])


class DeviceOptimiser(Optimiser):
    """The same with every decision on the device, which never waits for the host: fused AdamW, torch's own scaler of losses.

    Args:
        growing: the scale doubles after :data:`STEPS_BETWEEN_GROWTHS` steps without an overflow, as float16 wants it: small
            gradients vanish below its least number.
    """

    def __init__(self, adapter: StyleAdapter, config: TrainConfig, growing: bool = False):
        self._rates: list[Tensor] = []
        super().__init__(adapter, config)
        self._one = torch.ones((), device=self.parameters[0].device)
        self._interval = STEPS_BETWEEN_GROWTHS if growing else NEVER
        self.begin_anew()

    def begin_anew(self) -> None:
        factors = {"growth_factor": 2.0, "backoff_factor": 0.5, "growth_interval": self._interval}
        self._scaler = torch.amp.GradScaler(self._one.device.type, init_scale=INITIAL_SCALE, **factors)

    def _adamw(self, groups: list[dict]) -> torch.optim.AdamW:
        for group in groups:
            # A tensor, which a graph of kernels reads anew each time it runs.
            group["lr"] = torch.zeros((), device=group["params"][0].device)
        adamw = torch.optim.AdamW(groups, lr=self.config.learning_rate, fused=True, capturable=True)
        # torch would warn that steps are launched kernel by kernel, which the first ones are meant to be.
        adamw._warned_capturable_if_run_uncaptured = True
        return adamw

    def set_rate(self, number: int) -> None:
        rate = learning_rate_at(self.config, number, number / self.config.steps)
        for group in self.adamw.param_groups:
            group["lr"].fill_(group["share"] * rate)

    def update(self, loss: Tensor) -> tuple[Tensor, Tensor]:
        scale = self._scaler.scale(self._one)
        self.adamw.zero_grad(set_to_none=True)
        _backward(self._scaler.scale(loss))
        self._scaler.unscale_(self.adamw)
        norm = torch.nn.utils.clip_grad_norm_(self.parameters, self.config.max_grad_norm)
        self._scaler.step(self.adamw)
        self._scaler.update()
        return norm.detach(), scale

    def scaling(self) -> dict[str, float]:
        state = self._scaler.state_dict()
        return {"scale": state["scale"], "steps_at_scale": state["_growth_tracker"]}

    def restore_scaling(self, numbers: Mapping[str, float]) -> None:
        found = {"scale": float(numbers["scale"]), "_growth_tracker": int(numbers.get("steps_at_scale", 0))}
        self._scaler.load_state_dict({**self._scaler.state_dict(), **found})


def check_outcome(outcome: Outcome, config: TrainConfig) -> None:
    """Raise if a step was not finite, but for an overflow that a smaller scale can mend.

    Raises:
        ACFunError: the loss is not finite, or gradients overflow even without scaling.
    """
    loss = weighted((outcome.style_loss, outcome.face_loss), config)
    if not math.isfinite(loss) or (not math.isfinite(outcome.norm) and outcome.scale <= 1):
        raise ACFunError(
            f"Training became non-finite at step {outcome.step} (loss {loss:.4g}, gradient norm {outcome.norm:.4g}).",
            "finite numbers throughout",
            f"lower the learning rate (it is {config.learning_rate:g}) or use a base in float32",
        )


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
