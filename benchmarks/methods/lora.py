"""Low-rank adaptation of the UNet's attention under the loss of eq. 4: ACFun's loss and settings with another adapter."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from acfun_core.config import TrainConfig
from acfun_core.strengths import Strengths
from acfun_core.training.alignment_loss import alignment_terms
from acfun_core.training.optimiser import learning_rate_at
from acfun_core.training.targets import FACE, STYLE, PairNoise

from ..lists import Pair
from ..workbench import Workbench
from .acfun import ACFun
from .base import Method, State

PROJECTIONS = ("to_q", "to_k", "to_v", "to_out.0")


def attention_maps(unet: nn.Module) -> dict[str, nn.Linear]:
    """The linear maps of all attention layers by name."""
    return {
        name: module
        for name, module in unet.named_modules()
        if isinstance(module, nn.Linear) and name.endswith(tuple(f".{end}" for end in PROJECTIONS))
    }


def fresh_factors(unet: nn.Module, rank: int, seed: int) -> State:
    """Name -> factors: ``down`` random (rank, in), ``up`` zero (out, rank)."""
    generator = torch.Generator().manual_seed(seed)
    state = {}
    for name, linear in attention_maps(unet).items():
        down = torch.randn(rank, linear.in_features, generator=generator) / rank
        state[f"{name}.down"], state[f"{name}.up"] = down, torch.zeros(linear.out_features, rank)
    return state


@contextlib.contextmanager
def with_lora(unet: nn.Module, state: State, first_only: bool = False) -> Iterator[None]:
    """While active, each attention map gives ``W x + up down x``, or only for a batch's first: the one with the prompt."""
    handles = []
    try:
        for name, linear in attention_maps(unet).items():
            down, up = state[f"{name}.down"], state[f"{name}.up"]
            handles.append(linear.register_forward_hook(_adding(down, up, first_only)))
        yield
    finally:
        for handle in handles:
            handle.remove()


def _adding(down: Tensor, up: Tensor, first_only: bool):
    def add(module: nn.Module, inputs: tuple[Tensor], output: Tensor) -> Tensor:
        change = F.linear(F.linear(inputs[0], down), up)
        if first_only:
            change = torch.cat([change[:1], torch.zeros_like(change[1:])])
        return output + change

    return add


class LoRA(Method):
    """Both pictures, eq. 4, plain text, from pure noise: what is left of ACFun, its settings too, without AFun and CFun."""

    trained = True
    name, title = "lora_our_loss", "LoRA with our loss"

    def __init__(self, rank: int = 16, learning_rate: float = 1e-3):
        self.rank, self.learning_rate = rank, learning_rate

    def train(self, bench: Workbench, pair: Pair) -> State:
        state = {key: value.requires_grad_() for key, value in fresh_factors(bench.base.unet, self.rank, 0).items()}
        optimiser = torch.optim.AdamW(state.values(), lr=self.learning_rate)
        settings = {"learning_rate": self.learning_rate, "seed": bench.settings.seed}
        config = TrainConfig(**{**ACFun().config, **settings})
        generator = torch.Generator().manual_seed(bench.settings.seed)
        latents = torch.cat([bench.latent(pair.style), bench.latent(pair.face)])
        context, schedule = bench.text(pair.description), bench.base.schedule
        with with_lora(bench.base.unet, state):
            for number, done in enumerate(bench.shares(2), 1):
                optimiser.param_groups[0]["lr"] = learning_rate_at(config, number, done)
                draw = PairNoise.draw(latents, schedule, generator, config)
                terms = alignment_terms(bench.base.predict_noise, schedule, latents, context, draw, config)
                loss = config.style_weight * terms[STYLE] + config.face_weight * terms[FACE]
                optimiser.zero_grad()
                loss.backward()
                torch.nn.utils.clip_grad_norm_(state.values(), config.max_grad_norm)
                optimiser.step()
        return {key: value.detach() for key, value in state.items()}

    def sample(self, bench: Workbench, pair: Pair, state: State, seed: int) -> Tensor:
        with with_lora(bench.base.unet, state, first_only=Strengths(**ACFun().strengths).guidance == "cond"):
            return bench.draw(bench.text(pair.description), seed)
