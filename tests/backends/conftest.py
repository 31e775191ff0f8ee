"""The demo base on diffusers, and a small random one for what needs no weights of its own."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tools.comfy.launcher import define_torchvision_operators

# diffusers imports torchvision, whose compiled operators may not fit a CPU build of torch.
define_torchvision_operators()

from acfun_core.backends.pictures import read_picture  # noqa: E402
from acfun_core.backends.stable_diffusion import StableDiffusion  # noqa: E402
from acfun_core.command_line import sample, train  # noqa: E402
from acfun_core.config import AdapterConfig, TrainConfig  # noqa: E402
from acfun_core.method.adapter import StyleAdapter  # noqa: E402

from .acfun_command import TRAIN, Ended, acfun_here  # noqa: E402

REPO = Path(__file__).resolve().parents[2]
BASE = REPO / "base"
PROMPT = "a painting of a woman in S* style"
SIDE = 64  # of what is trained and drawn where nothing depends on what it looks like


@pytest.fixture(scope="session")
def base() -> StableDiffusion:
    """The demo base. Only read: every test leaves it as it was."""
    return StableDiffusion.load(BASE)


@pytest.fixture(scope="session")
def style() -> torch.Tensor:
    return read_picture(REPO / "pictures" / "style_woodblock.png", "style image")


@pytest.fixture(scope="session")
def face() -> torch.Tensor:
    return read_picture(REPO / "pictures" / "face_astronaut.png", "face photo")


@pytest.fixture(scope="session")
def adapter(base, style, face) -> StyleAdapter:
    """Three steps, so steep that they show."""
    config = TrainConfig(steps=3, learning_rate=3e-3, warmup_steps=0)
    return base.train(style, face, AdapterConfig(PROMPT), config, SIDE)


@pytest.fixture(scope="session")
def gentle(base, style, face) -> StyleAdapter:
    """Three steps of a usual size: the steep ones throw S* so far from its initial word that more of it changes nothing."""
    return base.train(
        style, face, AdapterConfig(PROMPT), TrainConfig(steps=3, learning_rate=3e-4, warmup_steps=0), SIDE
    )


@pytest.fixture(scope="session")
def trained(base, tmp_path_factory) -> tuple[Path, Ended]:
    """An adapter that the command line trained, and how the command ended."""
    path = tmp_path_factory.mktemp("trained") / "woodblock.safetensors"
    with pytest.MonkeyPatch.context() as context:
        load_once(base, context)
        return path, acfun_here(*TRAIN, "--steps", 3, "--out", path, "--json")


def load_once(base: StableDiffusion, monkeypatch: pytest.MonkeyPatch) -> None:
    for command in (sample, train):
        monkeypatch.setattr(command, "load_base", lambda arguments: base)


@pytest.fixture
def loaded(base, monkeypatch) -> None:
    """The base of the session in place of loading it anew, for commands that run in this process."""
    load_once(base, monkeypatch)
