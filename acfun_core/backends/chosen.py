"""A base as a user names it: where its files are, what they do not say, on which device and in which precision it computes."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from ..demo_base import DEMO_BASE
from ..errors import ACFunError

if TYPE_CHECKING:
    from .stable_diffusion import StableDiffusion

AUTO = "auto"
DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}

FIRST_WITH_HALF = 7
"""CUDA cards of this generation (compute capability) and later multiply faster in float16 than in float32."""


@dataclass(frozen=True)
class ChosenBase:
    """What is to be loaded; small, and the same for every process that is to load it.

    Attributes:
        base: a diffusers folder or a ``.safetensors`` checkpoint; None is the demo base.
        clip_vision, tokenizer: where the base does not bring them.
        prediction, zero_snr: as :class:`~acfun_core.backends.scheduler.Told`.
        device: ``auto`` or torch's name of one.
        dtype: of the UNet, one of :data:`DTYPES`, or ``auto``, see :func:`pick_dtype`.
    """

    base: Path | None = None
    clip_vision: Path | None = None
    tokenizer: Path | None = None
    prediction: str | None = None
    zero_snr: bool = False
    device: str = AUTO
    dtype: str = AUTO

    @property
    def path(self) -> Path:
        """Where its files are.

        Raises:
            ACFunError: none was named, and the demo base is not there.
        """
        if self.base is not None:
            return self.base
        if not (DEMO_BASE / "unet").is_dir():
            raise ACFunError(
                "No base was named, and there is no demo base beside this package.",
                "a diffusers folder or a checkpoint of Stable Diffusion",
                "add --base PATH",
            )
        return DEMO_BASE

    def load(self) -> StableDiffusion:
        """Read it into memory."""
        path, device = self.path, pick_device(self.device)
        keep_libraries_quiet()
        from .scheduler import Told
        from .stable_diffusion import StableDiffusion

        told, dtype = Told(self.prediction, self.zero_snr), pick_dtype(self.dtype, device)
        return StableDiffusion.load(path, self.clip_vision, self.tokenizer, device, dtype, told)


def pick_device(name: str) -> torch.device:
    """The device of a name.

    Raises:
        ACFunError: torch does not know it or cannot use it here.
    """
    if name == "auto":
        mps = getattr(torch.backends, "mps", None)
        return torch.device("cuda" if torch.cuda.is_available() else "mps" if mps and mps.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    # Which of these a missing device raises depends on the build of torch.
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise ACFunError(
            f"The device {name!r} cannot be used: {str(error).splitlines()[0]}.",
            "auto, cpu, cuda or mps",
            "use --device cpu",
        ) from error
    return device


def pick_dtype(name: str, device: torch.device) -> torch.dtype:
    """The precision of a name; ``auto`` is float16 on CUDA cards that are faster in it, else float32.

    Not bfloat16, whose range is larger and whose numbers are eight times as coarse: a training's losses stay nearer to
    float32's in float16, and small gradients are kept by the scale of the loss.
    """
    if name != AUTO:
        return DTYPES[name]
    fast = device.type == "cuda" and torch.cuda.get_device_capability(device)[0] >= FIRST_WITH_HALF
    return torch.float16 if fast else torch.float32


def keep_libraries_quiet() -> None:
    """No model hub, and only errors: standard error belongs to the progress bar."""
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    os.environ.setdefault("DIFFUSERS_VERBOSITY", "error")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
