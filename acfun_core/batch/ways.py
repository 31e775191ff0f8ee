"""What a preset and the overrides of a row come to: how its style is learned and its portrait drawn."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from ..config import AdapterConfig, DrawConfig, TrainConfig, TransferConfig, check_prompt
from ..errors import ACFunError
from ..images import check_side
from ..options import options_of
from ..presets import Preset, preset, scaled
from ..strengths import Strengths

LEARNING = {"train": TrainConfig, "adapter": AdapterConfig, "strength": Strengths}
"""Groups of overrides, and whose fields they name, that have a say only where something is learned."""
GROUPS = {**LEARNING, "draw": DrawConfig, "transfer": TransferConfig}
"""All of them: ``train.steps`` and ``draw.steps`` are not the same."""
TEXTS = ("prompt", "negative")
"""Overrides that are no field of a config, and texts."""
NOT_CHOSEN = ("adapter.compact", "draw.seed", "draw.batch", "draw.palette_hold", "transfer.calm")
"""Set by the export, by ``seeds``, and by nobody: each portrait is drawn alone, and presets have a palette of their own."""
DEFAULT_PRESET = "keep_person"


@dataclass(frozen=True)
class Way:
    """How one row is trained and drawn.

    Attributes:
        learns: ``style``: one training a style, which serves every face; ``pair``: one a style and face; empty: none.
        kind, training: of the adapter; of no meaning where nothing is learned.
        strengths, drawing, transfer: of the portrait, which is drawn beside the photo and the style picture.
        prompt, negative: what is drawn.
        resolution: side in pixels of training and portrait; None is the base's own.
    """

    learns: str
    kind: AdapterConfig
    training: TrainConfig
    strengths: Strengths
    drawing: DrawConfig
    transfer: TransferConfig
    prompt: str
    negative: str = ""
    resolution: int | None = None

    @property
    def seed_counts(self) -> bool:
        """Whether another seed gives another portrait: it does where the photo's noise is turned toward the seed's."""
        return self.transfer.turn > 0


@lru_cache(maxsize=1)
def known_overrides() -> tuple[str, ...]:
    """All names that an override may have, in order."""
    fields = [f"{group}.{name}" for group, config in GROUPS.items() for name in options_of(config)]
    return (*(name for name in fields if name not in NOT_CHOSEN), *TEXTS, "resolution")


def way_of(name: str, overrides: Mapping[str, Any], seed: int = 0) -> Way:
    """The way of one row.

    Args:
        name: of a preset.
        overrides: names of :func:`known_overrides` -> values. Strengths are multiplied with the preset's, as everywhere.
        seed: of the drawing.

    Raises:
        ACFunError: there is no such preset or override, or a value is not allowed or has no say.
    """
    return _way_of(name, tuple(sorted(overrides.items())), seed)


@lru_cache(maxsize=4096)
def _way_of(name: str, overrides: tuple[tuple[str, Any], ...], seed: int) -> Way:
    chosen = preset(name)
    values: dict[str, dict[str, Any]] = {group: {} for group in GROUPS}
    others: dict[str, Any] = {}
    for option, value in overrides:
        _check_option(option, name, chosen)
        group, dot, field = option.partition(".")
        if dot:
            values[group][field] = value
        else:
            others[option] = value
    training = dataclasses.replace(chosen.train or TrainConfig(), **values["train"])
    # Not learned from, where nothing is learned; it must only be a description.
    text = chosen.prompt if chosen.train else "S*"
    kind = AdapterConfig(**{"description": text, **values["adapter"]})
    way = Way(
        learns="" if chosen.train is None else "pair" if training.face_weight > 0 else "style",
        kind=_as_declared(kind),
        training=_as_declared(training),
        strengths=_as_declared(scaled(Strengths(**values["strength"]), chosen.strengths)),
        drawing=_as_declared(dataclasses.replace(chosen.draw, seed=seed, **values["draw"])),
        transfer=_as_declared(dataclasses.replace(chosen.transfer, **values["transfer"])),
        **{"prompt": kind.description if chosen.train else chosen.prompt, **others},
    )
    _check(way)
    return way


def _check_option(option: str, name: str, chosen: Preset) -> None:
    if option not in known_overrides():
        near = [known for known in known_overrides() if known.rpartition(".")[2] == option.rpartition(".")[2]]
        raise ACFunError(
            f"There is no option {option!r}.",
            "a name such as train.steps, adapter.blocks, strength.encoder, draw.cfg, prompt, negative or resolution",
            f"write {' or '.join(near)}" if near else "see docs/options.md",
        )
    if chosen.train is None and option.partition(".")[0] in LEARNING:
        raise ACFunError(
            f"The preset {name} learns nothing, and {option} has no say.", "options of the drawing", "leave it out"
        )


def _check(way: Way) -> None:
    """Raise what no single option's declaration says."""
    for name in TEXTS:
        if not isinstance(getattr(way, name), str):
            raise ACFunError(f"The {name} is {getattr(way, name)!r}.", "a text", "put it in quotes")
    if way.learns:
        check_prompt(way.prompt)
    if way.resolution is not None:
        check_side("resolution", way.resolution, 64)


def _as_declared(config: Any) -> Any:
    """A config whose numbers are floats where it means floats: 1 and 1.0 are to have one key."""
    numbers = {
        name: float(getattr(config, name))
        for name, option in options_of(config).items()
        if option.kind == "number" and isinstance(getattr(config, name), int)
    }
    return dataclasses.replace(config, **numbers) if numbers else config
