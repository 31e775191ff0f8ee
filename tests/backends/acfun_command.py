"""The command ``acfun`` for tests, in this process, and the arguments of a small training."""

from __future__ import annotations

import contextlib
import io
import json
import os
import sys
from dataclasses import dataclass

from acfun_core.command_line import main
from tools.comfy.graphs import PROMPT
from tools.comfy.install import REPO

RUNNER = (sys.executable, "-m", "acfun_core")
STYLE, FACE = REPO / "pictures" / "style_woodblock.png", REPO / "pictures" / "face_astronaut.png"
POINTS = "200,219,311,220,253,283,204,325,306,326"
"""Where both have eyes, nose and corners of the mouth."""
TRAIN = [
    "train",
    "--style",
    STYLE,
    "--face",
    FACE,
    "--description",
    PROMPT,
    "--resolution",
    64,
    "--learning-rate",
    3e-3,
]


@dataclass
class Ended:
    code: int
    out: str
    err: str

    @property
    def result(self) -> dict:
        """The one JSON object on standard output."""
        return json.loads(self.out)


def offline() -> dict[str, str]:
    """The environment without what would let a library reach a network by accident."""
    return {**os.environ, "http_proxy": "http://127.0.0.1:9", "https_proxy": "http://127.0.0.1:9"}


def acfun_here(*arguments) -> Ended:
    """In this process: starting another and its imports take longer than a small training."""
    with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(io.StringIO()) as err:
        code = main(list(map(str, arguments)))
    return Ended(code, out.getvalue(), err.getvalue())
