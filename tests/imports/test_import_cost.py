"""Starting ComfyUI with the pack loads no library and no weights that ComfyUI itself did not load."""

from __future__ import annotations

import pytest

from .import_cost import measure

HEAVY = {
    "accelerate",
    "cv2",
    "diffusers",
    "huggingface_hub",
    "kornia",
    "matplotlib",
    "peft",
    "scipy",
    "skimage",
    "sklearn",
    "tokenizers",
    "torchvision",
    "transformers",
}


@pytest.fixture(scope="module")
def cost() -> dict:
    return measure()


@pytest.mark.slow
def test_no_library_comes_with_the_import(cost):
    assert cost["nodes"] >= 12
    new = {name.partition(".")[0] for name in cost["modules"]}
    assert "acfun_pack" in new
    assert not new & HEAVY


@pytest.mark.slow
def test_no_backend_and_no_weights_are_touched(cost):
    assert not [name for name in cost["modules"] if ".backends" in name or ".command_line" in name]
    assert cost["weights_opened"] == []
