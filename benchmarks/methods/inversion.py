"""Methods that learn a word for the style: textual inversion, InST-like and DreamStyler-like. All see the style alone."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from acfun_core.backends.text import PromptSide
from acfun_core.config import AdapterConfig, TrainConfig
from acfun_core.method.adapter import StyleAdapter
from acfun_core.storage import adapter_file

from ..lists import Pair
from ..workbench import Workbench
from .base import Method, State, noise_error

BATCH = 2
"""Passes a step, as many as one step of ACFun."""
STYLE_TEXT = "a painting in S* style"


def train_rows(bench: Workbench, pair: Pair, stages: int, learning_rate: float) -> Tensor:
    """Embeddings of S* (stages, width), one for each equal part of the timesteps, from the most noise to the least."""
    side = PromptSide(bench.base.text, STYLE_TEXT)
    rows = side.initial_row.repeat(stages, 1).requires_grad_()
    optimiser = torch.optim.AdamW([rows], lr=learning_rate, weight_decay=0.0)
    generator = torch.Generator().manual_seed(bench.settings.seed)
    latents = bench.latent(pair.style).expand(BATCH, -1, -1, -1)
    count = len(bench.base.schedule)
    for step in bench.steps(BATCH):
        stage = (step - 1) % stages
        low, high = (round(count * (1 - (stage + part) / stages)) for part in (1, 0))
        t = torch.randint(low, high, (BATCH,), generator=generator)
        loss = noise_error(bench, latents, side.encode(rows[stage]), generator, t)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return rows.detach()


class TextualInversion(Method):
    """One learned word (Gal et al. 2022), then img2img from the photo."""

    trained = style_only = True

    def __init__(self, denoise: float = 0.6, learning_rate: float = 5e-3):
        self.denoise, self.learning_rate = denoise, learning_rate
        self.name, self.title = "textual_inversion", f"textual inversion + img2img {denoise:g}"

    def train(self, bench: Workbench, pair: Pair) -> State:
        return {"rows": train_rows(bench, pair, 1, self.learning_rate)}

    def sample(self, bench: Workbench, pair: Pair, state: State, seed: int) -> Tensor:
        context = bench.text(pair.description, state["rows"][0])
        return bench.draw(context, seed, bench.latent(pair.face), self.denoise)


class StageTokens(Method):
    """DreamStyler-like (Ahn et al. 2024): a word of its own for each of six stages of the denoising, and the photo's structure
    by img2img at a higher level of noise than textual inversion needs."""

    trained = style_only = True
    name, title = "stage_tokens", "DreamStyler-like stage tokens"

    def __init__(self, stages: int = 6, denoise: float = 0.7, learning_rate: float = 5e-3):
        self.stages, self.denoise, self.learning_rate = stages, denoise, learning_rate

    def train(self, bench: Workbench, pair: Pair) -> State:
        return {"rows": train_rows(bench, pair, self.stages, self.learning_rate)}

    def sample(self, bench: Workbench, pair: Pair, state: State, seed: int) -> Tensor:
        contexts = [bench.text(pair.description, row) for row in state["rows"]]

        def at(done: float) -> Tensor:
            return contexts[min(self.stages - 1, int(done * self.stages))]

        return bench.draw(at, seed, bench.latent(pair.face), self.denoise)


class AttentionInversion(Method):
    """InST-like (Zhang et al. 2023): attention from the style's CLIP tokens to the word, and the photo's own noise.

    The attention is AFun without CFun, taught by the style picture alone. Instead of chance, the noise added to the photo is
    what the base sees in the noised photo (stochastic inversion).
    """

    trained = style_only = True
    name, title = "attention_inversion", "InST-like attention inversion"

    def __init__(self, denoise: float = 0.7):
        self.denoise = denoise

    def train(self, bench: Workbench, pair: Pair) -> StyleAdapter:
        # Both terms of the loss get the style picture.
        config = TrainConfig(
            steps=bench.planned_steps(BATCH), style_weight=1.0, face_weight=1.0, seed=bench.settings.seed
        )
        adapter_config = AdapterConfig(STYLE_TEXT, blocks="none")
        style, over = pair.style.pixels, bench.deadline()
        return bench.base.train(
            style, style, adapter_config, config, bench.settings.side, on_step=lambda report: over()
        )

    @torch.no_grad()
    def sample(self, bench: Workbench, pair: Pair, state: StyleAdapter, seed: int) -> Tensor:
        context = bench.text(pair.description, state.row())
        schedule, face = bench.base.schedule, bench.latent(pair.face)
        t = torch.tensor([round(self.denoise * (len(schedule) - 1))])
        noised = schedule.add_noise(face, bench.noise(seed), t)
        seen = bench.base.predict_noise(noised, t, context)
        return bench.draw(context, seed, face, self.denoise, noise=seen)

    def save(self, state: StyleAdapter, path: Path) -> None:
        adapter_file.save(state, path, overwrite=True)

    def load(self, path: Path) -> StyleAdapter:
        return adapter_file.load(path)
