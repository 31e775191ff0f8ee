"""What a base predicts and the noise schedule it was trained on, from its files and from what its user says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ..diffusion.schedule import NoiseSchedule
from ..errors import ACFunError

_PREDICTION_TYPES = {"epsilon": "epsilon", "v_prediction": "v"}
"""diffusers' names of what a base predicts."""


@dataclass(frozen=True)
class Told:
    """What the user says of a base whose files do not say it, as single-file checkpoints of Stable Diffusion 1.x often do not.

    Attributes:
        prediction: ``epsilon`` or ``v``; None leaves it to the files.
        zero_snr: the schedule ends at pure noise.
    """

    prediction: str | None = None
    zero_snr: bool = False


def schedule_from_config(source: Path, config: Mapping, told: Told) -> tuple[str, NoiseSchedule]:
    """What a base predicts, and its schedule, from diffusers' scheduler settings."""
    predicts = str(config.get("prediction_type", "epsilon"))
    if predicts not in _PREDICTION_TYPES:
        raise ACFunError(
            f"The base {source} predicts {predicts[:40]!r}.",
            "epsilon or v_prediction as its prediction_type",
            "name another base",
        )
    # What a file leaves out has diffusers' own default.
    kind = config.get("beta_schedule", "linear")
    if kind != "scaled_linear" or config.get("trained_betas") is not None:
        raise ACFunError(
            f"The base {source} has the noise schedule {kind!r}.",
            "scaled_linear, as Stable Diffusion's own",
            "name another base",
        )
    own = _PREDICTION_TYPES[predicts], config.get("rescale_betas_zero_snr")
    prediction, zero_snr = settled(source, told, *own)
    betas = config.get("beta_start", 0.0001), config.get("beta_end", 0.02)
    return prediction, NoiseSchedule.stable_diffusion(config.get("num_train_timesteps", 1000), *betas, zero_snr)


def settled(source: Path, told: Told, prediction: str, zero_snr: bool | None) -> tuple[str, bool]:
    """What a base predicts and whether its schedule ends at pure noise, from its user and from its files."""
    prediction, zero_snr = told.prediction or prediction, bool(told.zero_snr or zero_snr)
    if zero_snr and prediction == "epsilon":
        raise ACFunError(
            f"The base {source} has zero terminal SNR and predicts noise: at pure noise that says nothing of the picture.",
            "zero terminal SNR together with v-prediction",
            "add --prediction v if the base predicts v, or name another base",
        )
    return prediction, zero_snr
