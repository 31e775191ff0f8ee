"""ACFun as in the paper, trained on both pictures and drawn from pure noise: ``acfun`` with the settings that the sweeps chose,
``acfun:timestep_split=0.4,cfg=4`` with some of them changed, ``acfun_plain`` with the pack's defaults."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from pathlib import Path
from typing import Any

from torch import Tensor

from acfun_core.config import AdapterConfig, TrainConfig
from acfun_core.errors import ACFunError
from acfun_core.method.adapter import StyleAdapter
from acfun_core.storage import adapter_file
from acfun_core.strengths import Strengths

from ..lists import Image, Pair
from ..workbench import Workbench
from .base import Method, slug

CHOSEN: dict[str, Any] = {
    "learning_rate": 5e-4,
    "learning_rate_end": 0.0,
    "timestep_split": 0.6,
    "guidance": "cond",
}
"""Chosen on the tuning pairs (README.md here says from what). The pack's defaults otherwise."""
PASSES_A_STEP = 2
"""One style pass and one face pass; a term without a weight has none."""
_DRAWING = ("cfg", "sampler_steps", "negative", "text")
"""Options of the drawing that are no strengths. ``text`` (the prompt) and ``negative`` may hold {person} and {words}."""


def _names(config: type) -> set[str]:
    return {field.name for field in dataclasses.fields(config)}


def parse_options(text: str) -> dict[str, Any]:
    """``a=1,b=name`` -> options; values are numbers, true, false or words."""
    found = {}
    for part in filter(None, text.split(",")):
        name, equals, value = part.partition("=")
        if not equals:
            raise ACFunError(f"The option {part!r} has no value.", "name=value", "write name=value")
        try:
            found[name.strip()] = json.loads(value)
        except json.JSONDecodeError:
            found[name.strip()] = value.strip()
    return found


class ACFun(Method):
    """Trained on both pictures, drawn from pure noise.

    Args:
        options: fields of AdapterConfig, TrainConfig or Strengths (``use_blocks`` is the last one's ``blocks``), and ``cfg``,
            ``sampler_steps``, ``negative`` and ``text`` of the drawing, in place of :data:`CHOSEN`.
    """

    trained = True
    state_kind = "acfun"
    kind, heading = "acfun", "ACFun, from pure noise"
    chosen = CHOSEN

    def __init__(self, options: dict[str, Any] | None = None):
        options = dict(options or {})
        self.options = {**self.chosen, **options}
        self.adapter, self.config, self.strengths, self.drawing = {}, {}, {}, {}
        for name, value in self.options.items():
            self._place(name)[name.removeprefix("use_")] = value
        # Wrong names and values are said before anything is trained.
        AdapterConfig("S*", **self.adapter)
        TrainConfig(**self.config)
        Strengths(**self.strengths)
        text = ",".join(f"{name}={json.dumps(value)}" for name, value in options.items()).replace('"', "")
        self.name = f"{self.kind}:{text}" if text else self.kind
        self.title = f"{self.heading} ({text})" if text else self.heading

    def _place(self, name: str) -> dict:
        if name in _names(AdapterConfig):
            return self.adapter
        if name in _names(TrainConfig):
            return self.config
        if name.removeprefix("use_") in _names(Strengths):
            return self.strengths
        if name in _DRAWING:
            return self.drawing
        raise ACFunError(
            f"ACFun has no option {name!r}.",
            "a field of AdapterConfig, TrainConfig or Strengths, or " + ", ".join(_DRAWING),
            "see docs/options.md",
        )

    @property
    def state_name(self) -> str:
        """The options of the training alone: drawing options share its result. Changed defaults make it another one."""
        training = {**self.adapter, **self.config}
        whole = [
            dataclasses.asdict(AdapterConfig("S*", **self.adapter)),
            dataclasses.asdict(TrainConfig(**self.config)),
        ]
        mark = hashlib.sha256(json.dumps(whole, sort_keys=True).encode()).hexdigest()[:6]
        return slug(f"{self.state_kind}-{mark}" + "".join(f"_{key}={training[key]}" for key in sorted(training)))

    def train(self, bench: Workbench, pair: Pair) -> StyleAdapter:
        return self._learned(bench, pair.style, pair.face, pair.description)

    def sample(self, bench: Workbench, pair: Pair, state: StyleAdapter, seed: int) -> Tensor:
        return self._drawn(bench, pair, state, seed=seed, size=(bench.settings.side, bench.settings.side))

    def _steps(self, bench: Workbench) -> int:
        """As many as the budget holds."""
        return bench.planned_steps(PASSES_A_STEP)

    def _learned(self, bench: Workbench, style: Image, face: Image, text: str) -> StyleAdapter:
        over = bench.deadline()
        planned = {"steps": self._steps(bench), "seed": bench.settings.seed}
        config = TrainConfig(**{**planned, **self.config})
        return bench.base.train(
            style.pixels,
            face.pixels,
            AdapterConfig(text, **self.adapter),
            config,
            bench.settings.side,
            on_step=lambda report: over(),
        )

    def _drawn(self, bench: Workbench, pair: Pair, state: StyleAdapter, **start) -> Tensor:
        words = {"person": pair.face.person, "words": pair.style.words}
        latent = bench.base.sample(
            self.drawing.get("text", pair.description).format(**words),
            self.drawing.get("negative", "").format(**words),
            members=[(state, Strengths(**self.strengths))],
            steps=self.drawing.get("sampler_steps", bench.settings.sampler_steps),
            cfg=self.drawing.get("cfg", bench.settings.cfg),
            **start,
        )
        return bench.decode(latent)

    def save(self, state: StyleAdapter, path: Path) -> None:
        adapter_file.save(state, path, overwrite=True)

    def load(self, path: Path) -> StyleAdapter:
        return adapter_file.load(path)


class ACFunPlain(ACFun):
    """With the pack's defaults."""

    kind, heading = "acfun_plain", "ACFun, the pack's defaults, from pure noise"
    chosen: dict[str, Any] = {}
