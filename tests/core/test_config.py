"""Settings say what is wrong with them."""

import math
import subprocess
import sys
from pathlib import Path

import pytest

from acfun_core.config import AdapterConfig, TrainConfig
from acfun_core.errors import ACFunError
from acfun_core.strengths import Strengths


@pytest.mark.parametrize("text", ["", "   ", None, "a painting of a woman", "S* in S* style"])
def test_description_needs_the_placeholder_once(text):
    with pytest.raises(ACFunError, match="S\\*|empty"):
        AdapterConfig(text)


@pytest.mark.parametrize(
    "settings",
    [
        {"steps": 0},
        {"steps": -5},
        {"steps": 2.5},
        {"learning_rate": math.nan},
        {"learning_rate": 0.0},
        {"learning_rate": math.inf},
        {"style_weight": math.nan},
        {"style_weight": -1.0},
        {"style_weight": 0.0, "face_weight": 0.0},
        {"seed": -1},
        {"warmup_steps": -1},
        {"max_grad_norm": 0.0},
    ],
)
def test_training_settings(settings):
    with pytest.raises(ACFunError, match="Expected:.*To fix it:"):
        TrainConfig(**settings)


@pytest.mark.parametrize("settings", [{"abstract": -0.1}, {"encoder": 2.1}, {"decoder": math.nan}])
def test_strengths(settings):
    with pytest.raises(ACFunError, match="0 to 2"):
        Strengths(**settings)


def test_bad_adapter_options():
    for options in ({"layers": 0}, {"dropout": math.nan}, {"blocks": "some"}):
        with pytest.raises(ACFunError):
            AdapterConfig("a painting in S* style", **options)


def test_the_core_imports_without_comfyui():
    modules = sorted(path.stem for path in (Path(__file__).parents[2] / "acfun_core").glob("[!_]*.py"))
    code = "import sys; " + "; ".join(f"import acfun_core.{name}" for name in modules)
    hosts = ("comfy", "nodes", "folder_paths", "diffusers")
    code += f"; assert not [name for name in sys.modules if name.split('.')[0] in {hosts}]"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[2])
