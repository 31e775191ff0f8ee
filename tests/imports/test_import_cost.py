"""Starting ComfyUI with the pack, as the registry serves it, loads no library and no weights that ComfyUI did not load."""

from __future__ import annotations

import zipfile

import pytest

from tools.registry import release

from .import_cost import measure

HEAVY = {
    "accelerate",
    "cv2",
    "diffusers",
    "huggingface_hub",
    "kornia",
    "matplotlib",
    "peft",
    "pyarrow",
    "ray",
    "scipy",
    "skimage",
    "sklearn",
    "tokenizers",
    "torchvision",
    "transformers",
}


@pytest.fixture(scope="module")
def cost(tmp_path_factory) -> dict:
    folder = tmp_path_factory.mktemp("packed")
    zipfile.ZipFile(release.build(folder / "acfun.zip")).extractall(folder / "acfun")
    return measure(folder / "acfun")


@pytest.mark.slow
def test_comfyui_can_load_what_was_packed(cost, client):
    served = [info for info in client.object_info().values() if info["python_module"].endswith(".ComfyUI-ACFun")]
    assert cost["nodes"] == len(served) >= 12


@pytest.mark.slow
def test_no_library_comes_with_the_import(cost):
    new = {name.partition(".")[0] for name in cost["modules"]}
    assert "acfun_pack" in new
    assert not new & HEAVY


@pytest.mark.slow
def test_no_backend_and_no_weights_are_touched(cost):
    assert not [name for name in cost["modules"] if ".backends" in name or ".command_line" in name]
    assert cost["weights_opened"] == []
