"""The pack's three ways to draw as users get them: ``instant``, ``keep_person``, ``follow_text``.

``keep_person:branch=0.3`` has an option of the training, the strengths, the transfer or the drawing changed.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from torch import Tensor

from acfun_core.backends.transferring import Transfer
from acfun_core.config import TransferConfig
from acfun_core.method.adapter import StyleAdapter
from acfun_core.options import default_of, options_of
from acfun_core.presets import PRESETS, Preset
from acfun_core.strengths import Strengths

from ..lists import Pair
from ..workbench import Workbench
from .acfun import PASSES_A_STEP, ACFun


def differing(config: Any) -> dict[str, Any]:
    """The fields of a config that are not its defaults."""
    if config is None:
        return {}
    return {
        name: getattr(config, name)
        for name in options_of(config)
        if getattr(config, name) != default_of(type(config), name)
    }


class ByPreset(ACFun):
    """One of :data:`~acfun_core.presets.PRESETS`.

    Args:
        name: of the preset. options: as :class:`ACFun` takes them, and fields of TransferConfig.
    """

    def __init__(self, name: str, options: dict[str, Any] | None = None):
        self.preset: Preset = PRESETS[name]
        self.kind, self.heading, self.state_kind = name, self.preset.title, f"{name}_state"
        self.trained, self.style_only = self.preset.train is not None, self.preset.style_only
        self.chosen = {
            **differing(self.preset.train),
            **differing(self.preset.strengths),
            "cfg": self.preset.draw.cfg,
        }
        # The budget of the table may ask for fewer.
        self.chosen.pop("steps", None)
        options, names = dict(options or {}), set(options_of(TransferConfig))
        taken = {key: options[key] for key in options if key in names}
        super().__init__({key: value for key, value in options.items() if key not in names})
        self.transfer = dataclasses.replace(self.preset.transfer, **taken)
        if taken:
            text = ",".join(f"{key}={value:g}" for key, value in taken.items())
            self.name = f"{self.name},{text}" if ":" in self.name else f"{self.name}:{text}"
            self.title = f"{self.heading} ({self.name.partition(':')[2]})"

    @property
    def passes_a_step(self) -> int:
        return 1 if self.style_only else PASSES_A_STEP

    def _steps(self, bench: Workbench) -> int:
        """The preset's own number, or the budget if that is less."""
        return min(self.preset.train.steps, bench.planned_steps(self.passes_a_step))

    def train(self, bench: Workbench, pair: Pair) -> StyleAdapter:
        if self.style_only:
            return self._learned(bench, pair.style, pair.style, self.preset.prompt)
        return self._learned(bench, pair.style, pair.face, pair.description)

    def sample(self, bench: Workbench, pair: Pair, state: StyleAdapter, seed: int) -> Tensor:
        """Without a turn the seed has no say: everything follows from the two pictures."""
        steps = self.drawing.get("sampler_steps", bench.settings.sampler_steps)
        transfer = Transfer(bench.references(pair, steps), self.transfer)
        members = [(state, Strengths(**self.strengths))] if self.trained else []
        words = {"person": pair.face.person, "words": pair.style.words}
        text = self.drawing.get("text", self._text(pair)).format(**words)
        latent = bench.base.sample(
            text,
            self.drawing.get("negative", ""),
            members=members,
            seed=seed,
            steps=steps,
            cfg=self.drawing["cfg"],
            transfer=transfer,
        )
        return bench.decode(latent)

    def _text(self, pair: Pair) -> str:
        """What a user of the preset would write."""
        if not self.trained:
            return pair.plain_text
        return self.preset.prompt if self.style_only else pair.description
