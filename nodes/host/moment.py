"""Where in the sampling one call of the UNet is: how far by its noise level, and which rows carry the prompt."""

from __future__ import annotations

import math
import uuid
from dataclasses import dataclass
from functools import lru_cache

import comfy.model_patcher
import torch
from torch import Tensor

from ...acfun_core.unet.windows import Moment

KEY = "acfun_sampling"
"""In the transformer options, what :func:`note_sampling` found."""

SHARES = 1000
"""At so many shares the host's ``percent_to_sigma`` is asked: at the whole timesteps of a schedule with a thousand of them."""


@dataclass(frozen=True)
class Sampling:
    """The sampling that runs.

    Attributes:
        model_sampling: the noise levels as they are now; another node may have patched them before or after the adapter.
        prompts: the host's ids of the conditionings that guidance leads to. What it leads away from is not among them, nor
            are conditionings that patches bring for passes of their own, as *PerpNeg* does for its empty prompt.
    """

    model_sampling: object
    prompts: frozenset


def note_sampling(executor, x, sigma, model_options=None, seed=None):
    """PREDICT_NOISE wrapper: tells the calls of the UNet inside which sampling they are in.

    Guiders order their passes as they like, and some ask for one pass alone: a pass is known by the name under which its
    conditioning was given to the guider, not by its place.
    """
    guider = executor.class_obj
    prompts = (cond["uuid"] for name, conds in guider.conds.items() if "negative" not in name for cond in conds or ())
    options = comfy.model_patcher.create_model_options_clone(model_options or {})
    options.setdefault("transformer_options", {})[KEY] = Sampling(guider.inner_model.model_sampling, frozenset(prompts))
    return executor(x, sigma, options, seed)


def as_in_sampling(model_sampling, sigma: Tensor) -> dict:
    """Transformer options of a training's call, in which all pictures are in one pass and that has the prompt.

    Args:
        sigma: (B,) noise level of each picture.
    """
    prompt = uuid.uuid4()
    said = Sampling(model_sampling, frozenset([prompt]))
    return {KEY: said, "sigmas": sigma, "cond_or_uncond": [0], "uuids": [prompt]}


def moment_of(options: dict, rows: int) -> Moment:
    """The moment of one UNet call, from its transformer options; empty where the call is not part of a sampling.

    Args:
        rows: how many the batch has: the pictures of each pass, one pass after the other.
    """
    sampling, passes, sigmas = (options.get(name) for name in (KEY, "uuids", "sigmas"))
    if sampling is None or sigmas is None or not passes or rows % len(passes):
        return Moment()
    pictures = rows // len(passes)
    conditioned = torch.tensor([one in sampling.prompts for one in passes for _ in range(pictures)])
    done = share_done_at(sampling.model_sampling, sigmas).expand(pictures).repeat(len(passes))
    return Moment(done, conditioned, pictures)


def share_done_at(model_sampling, sigma: Tensor) -> Tensor:
    """The share of the sampling that is over at noise levels (B,), as the host's start_percent and end_percent count it.

    The inverse of ``percent_to_sigma``, log-linear between its values as the host's schedules are: it holds for every kind of
    schedule, while timesteps count to 1000, to 50 or not at all. No value is read, for which a GPU would have to wait.
    """
    levels = _log_levels(model_sampling).to(sigma.device)
    # Rising, as a sorted search wants them. A sampler may begin above the largest level, and ends at 0.
    rising, wanted = -levels, -sigma.float().clamp(min=1e-12).log()
    after = torch.searchsorted(rising, wanted.contiguous()).clamp(1, SHARES - 1)
    low, high = rising[after - 1], rising[after]
    between = ((wanted - low) / (high - low).clamp(min=1e-12)).clamp(0, 1)
    return (after - 1 + between) / (SHARES - 1)


@lru_cache(maxsize=4)
def _log_levels(model_sampling) -> Tensor:
    """Logarithm of the noise level at each of :data:`SHARES` shares, (SHARES,), falling."""
    # At the very ends percent_to_sigma answers with what is beyond all levels.
    first, last = float(model_sampling.sigma_max), float(model_sampling.sigma_min)
    inside = [float(model_sampling.percent_to_sigma(place / (SHARES - 1))) for place in range(1, SHARES - 1)]
    return torch.tensor([math.log(level) for level in (first, *inside, last)])
