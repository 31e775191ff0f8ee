"""Folders of adapters, detectors and pictures: the user's default stays first, links are followed, names from Windows are
understood, and a picture that was deleted stays away."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from types import ModuleType

import pytest

from tools.comfy.install import REPO, ensure_comfy


@pytest.fixture
def host(monkeypatch, tmp_path):
    """ComfyUI's own folder_paths, fresh, with the pack's nodes/host/files.py on it and nothing else of either."""
    comfy = ensure_comfy()
    monkeypatch.syspath_prepend(str(comfy))
    monkeypatch.setattr(sys, "argv", ["main.py"])
    for name in ("folder_paths", "acfun_alone.nodes.host.files"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    for name in ("acfun_alone", "acfun_alone.nodes", "acfun_alone.nodes.host"):
        package = ModuleType(name)
        package.__path__ = [str(REPO.joinpath(*name.split(".")[1:]))]
        monkeypatch.setitem(sys.modules, name, package)
    paths = importlib.import_module("folder_paths")
    monkeypatch.setattr(paths, "models_dir", str(tmp_path / "models"))
    yield paths, importlib.import_module("acfun_alone.nodes.host.files")
    sys.modules.pop("folder_paths", None)
    sys.modules.pop("acfun_alone.nodes.host.files", None)


def read_extra_paths(file) -> None:
    """As ComfyUI's start does."""
    spec = importlib.util.spec_from_file_location("extra_config_alone", ensure_comfy() / "utils" / "extra_config.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.load_extra_path_config(str(file))


@pytest.mark.parametrize("is_default", [True, False])
def test_a_default_of_the_users_was_displaced_by_the_pack(host, monkeypatch, tmp_path, is_default):
    paths, files = host
    config = tmp_path / "extra.yaml"
    config.write_text(
        f"mine:\n  base_path: {tmp_path}\n  is_default: {str(is_default).lower()}\n  acfun: my_adapters\n"
    )
    monkeypatch.setattr(files.args, "extra_model_paths_config", [[str(config)]])
    read_extra_paths(config)
    files.register_folder()
    mine, own = str(tmp_path / "my_adapters"), str(tmp_path / "models" / "acfun")
    assert paths.get_folder_paths("acfun") == ([mine, own] if is_default else [own, mine])
    assert files.new_adapter_path("style").parent == tmp_path / ("my_adapters" if is_default else "models/acfun")


def test_an_adapter_in_a_folder_of_a_windows_workflow_was_not_found(host, monkeypatch, tmp_path):
    _, files = host
    monkeypatch.setattr(files.args, "extra_model_paths_config", None)
    files.register_folder()
    folder = tmp_path / "models" / "acfun" / "sub"
    folder.mkdir(parents=True)
    (folder / "name.safetensors").touch()
    for name in ("sub\\name.safetensors", "sub/name.safetensors"):
        assert files.adapter_path(name) == folder / "name.safetensors"
    for name in ("sub\\other.safetensors", "..\\acfun\\sub\\name.safetensors", None, 7):
        with pytest.raises(ValueError, match="There is no adapter"):
            files.adapter_path(name)


def test_detectors_in_linked_folders_were_not_listed(host, monkeypatch, tmp_path):
    _, files = host
    monkeypatch.setattr(files.args, "extra_model_paths_config", None)
    files.register_folder()
    elsewhere, folder = tmp_path / "elsewhere", tmp_path / "models" / "acfun"
    for place in (elsewhere, folder):
        place.mkdir(parents=True)
    (elsewhere / "face_detection_yunet.onnx").touch()
    try:
        (folder / "linked").symlink_to(elsewhere, target_is_directory=True)
    except OSError:
        pytest.skip("this system makes no links")
    (folder / "YuNet.onnx").touch()
    (folder / "sface.onnx").touch()
    assert files.list_files("*yunet*.onnx") == ["YuNet.onnx", "linked/face_detection_yunet.onnx"]


def test_a_detector_that_was_replaced_went_unnoticed(host, monkeypatch, tmp_path):
    """The middle square that a broken file had left was kept, after the file was a good one."""
    _, files = host
    monkeypatch.delitem(sys.modules, "acfun_alone.nodes.host.model_files", raising=False)
    models = importlib.import_module("acfun_alone.nodes.host.model_files")
    monkeypatch.setattr(files.args, "extra_model_paths_config", None)
    files.register_folder()
    path = tmp_path / "models" / "acfun" / "yunet.onnx"
    path.parent.mkdir(parents=True)
    seen = [models.fingerprint_of_model(models.DETECTORS, path.name)]
    for content in (b"broken", b"the whole file"):
        path.write_bytes(content)
        seen.append(models.fingerprint_of_model(models.DETECTORS, path.name))
    assert seen[0] is None and len(set(seen)) == 3
    assert models.fingerprint_of_model(models.DETECTORS, path.name) == seen[-1]
    for name in ("none", None, "other.onnx"):
        assert models.fingerprint_of_model(models.DETECTORS, name) is None
    sys.modules.pop("acfun_alone.nodes.host.model_files", None)


def test_an_example_picture_that_was_deleted_came_back(host, monkeypatch, tmp_path, caplog):
    """At each start. A picture of the user's under the same name is left alone, and a broken note does not stop the start."""
    paths, _ = host
    monkeypatch.delitem(sys.modules, "acfun_alone.nodes.host.example_pictures", raising=False)
    examples = importlib.import_module("acfun_alone.nodes.host.example_pictures")
    paths.set_input_directory(str(tmp_path / "input"))
    face, style = (tmp_path / "input" / f"acfun_{name}" for name in examples.OFFERED)
    face.parent.mkdir()
    face.write_text("mine")
    examples.offer_examples()
    assert face.read_text() == "mine"
    assert style.read_bytes() == (REPO / "pictures" / "style_woodblock.png").read_bytes()
    style.unlink()
    examples.offer_examples()
    assert not style.exists()
    (face.parent / examples.NOTE).write_bytes(b"\xff")
    examples.offer_examples()
    assert not style.exists() and "not offered to Load Image" in caplog.text
    sys.modules.pop("acfun_alone.nodes.host.example_pictures", None)
