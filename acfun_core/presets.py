"""Three ways to draw a face in a style, each with all its settings.

Nodes, command line, workflows, demo and benchmark take them from here.

===============  ==========  =========================================================================================
name             is learned  how it is drawn
===============  ==========  =========================================================================================
``instant``      nothing     from the photo's noise, with features of the style picture (:mod:`acfun_core.transfer`)
``keep_person``  the style   the same, and CFun adds the strokes and the drawing that it learned
``follow_text``  nothing     from noise that is partly the photo's, under guidance: words decide, the medium's above all
===============  ==========  =========================================================================================

The paper's own form, trained on style and face and drawn from pure noise, is what nodes and command line do without a preset.
The settings were chosen on the benchmark's tuning pairs (benchmarks/settings.md).
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from .config import PLACEHOLDER, DrawConfig, TrainConfig, TransferConfig
from .errors import ACFunError
from .options import default_of
from .strengths import Strengths

CUSTOM = "custom"
"""In place of a preset's name: every setting as it is given."""


@dataclass(frozen=True)
class Preset:
    """One way to draw.

    Attributes:
        title: for people. doc: what it is good for, in a sentence.
        prompt: to draw with, an example. Presets with a training have :data:`~acfun_core.config.PLACEHOLDER` in it; the others
            may be drawn with an adapter too, and then need it as well.
        draw, transfer, strengths: of the drawing. A user's own strengths are multiplied with these.
        train: of the training, or None where nothing is learned. Its face weight is 0 where only the style is.
    """

    title: str
    doc: str
    prompt: str
    draw: DrawConfig
    transfer: TransferConfig
    strengths: Strengths = Strengths()
    train: TrainConfig | None = None

    @property
    def style_only(self) -> bool:
        """Whether one training serves all faces; its description is then :attr:`prompt`, which names nobody."""
        return self.train is not None and self.train.face_weight == 0


PRESETS = {
    "instant": Preset(
        "instant (no training)",
        "Nothing is learned: the person in the style's colours, light and strokes.",
        "a painting of a person",
        DrawConfig(cfg=1.0),
        TransferConfig(branch=0.25, latent=0.4, returned=0.2, background=1.0),
    ),
    "keep_person": Preset(
        "keep the person",
        "The style is learned, in one short training for all faces: its strokes and drawing on the person.",
        f"a painting in {PLACEHOLDER} style",
        DrawConfig(cfg=1.0),
        TransferConfig(branch=0.25, latent=0.3, returned=0.2, palette_mean=0.3, palette_deviation=0.2, background=1.0),
        Strengths(encoder=0.2, decoder=0.0),
        TrainConfig(
            steps=80,
            learning_rate=1e-3,
            learning_rate_end=0.1,
            style_weight=1.0,
            face_weight=0.0,
            timestep_split=0.5,
            style_crop=0.5,
            style_flip=True,
        ),
    ),
    "follow_text": Preset(
        "follow the text",
        "Nothing is learned, and words decide: medium, age, expression. The person is met more loosely.",
        "an oil painting of a person",
        DrawConfig(cfg=4.0),
        TransferConfig(keep=0.5, keys_start=0.2, latent=0.0, turn=0.3, background=0.7),
    ),
}


def preset(name: str) -> Preset:
    """A preset by name.

    Raises:
        ACFunError: there is none.
    """
    if name not in PRESETS:
        raise ACFunError(f"There is no preset {name!r}.", "one of " + ", ".join(PRESETS), "use keep_person")
    return PRESETS[name]


def training(name: str, seed: int, changed: dict | None = None) -> TrainConfig:
    """How a preset learns.

    Args:
        changed: fields that the user has set to something else than their defaults: they win.

    Raises:
        ACFunError: the preset learns nothing, or a value is out of range.
    """
    config = preset(name).train
    if config is None:
        raise ACFunError(
            f"The preset {name} learns nothing.",
            "a preset with a training: " + ", ".join(n for n, one in PRESETS.items() if one.train is not None),
            "draw without an adapter, or choose another preset",
        )
    known = {field: value for field, value in (changed or {}).items() if value != default_of(TrainConfig, field)}
    return dataclasses.replace(config, seed=seed, **known)


def scaled(own: Strengths, by: Strengths) -> Strengths:
    """A user's strengths times a preset's; windows, blocks and mask stay the user's, guidance is the stricter one's."""
    values = {name: getattr(own, name) * getattr(by, name) for name in ("abstract", "encoder", "decoder")}
    guidance = "cond" if "cond" in (own.guidance, by.guidance) else "both"
    return dataclasses.replace(own, guidance=guidance, **values)
