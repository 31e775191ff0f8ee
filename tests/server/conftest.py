"""The demo base on the core's side, for tests that hold the server against it."""

from __future__ import annotations

import pytest

from acfun_core.backends.stable_diffusion import StableDiffusion
from tools import parity


@pytest.fixture(scope="session")
def base() -> StableDiffusion:
    """Only read: every test leaves it as it was."""
    return parity.load_base()
