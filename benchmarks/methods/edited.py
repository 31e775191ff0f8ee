"""Any method with a changed text: what is drawn for ``a smiling woman`` by what was learned from the plain description."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from torch import Tensor

from ..lists import Pair
from ..workbench import Workbench
from .base import Method, State

EDITS = {"smiling": "smiling {}", "glasses": "{} with glasses"}
"""Name -> how it is said of a person."""


class Edited(Method):
    """Shares the trainings of the method inside."""

    def __init__(self, inner: Method, edit: str):
        self.inner, self.edit = inner, edit
        self.name, self.title = f"{inner.name}+{edit}", f"{inner.title}, {edit}"
        self.trained, self.style_only, self.anchor = inner.trained, inner.style_only, inner.anchor

    @property
    def state_name(self) -> str:
        return self.inner.state_name

    def train(self, bench: Workbench, pair: Pair) -> State:
        return self.inner.train(bench, pair)

    def sample(self, bench: Workbench, pair: Pair, state: State, seed: int) -> Tensor:
        person = EDITS[self.edit].format(pair.face.person)
        changed = Pair(dataclasses.replace(pair.face, person=person), pair.style)
        return self.inner.sample(bench, changed, state, seed)

    def save(self, state: State, path: Path) -> None:
        self.inner.save(state, path)

    def load(self, path: Path) -> State:
        return self.inner.load(path)

    def close(self) -> None:
        self.inner.close()
