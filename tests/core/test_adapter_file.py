"""The adapter file: whole or not there, and refused with a reason."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from acfun_core import adapter_file
from acfun_core.adapter import StyleAdapter
from acfun_core.config import AdapterConfig
from acfun_core.errors import ACFunError
from acfun_core.training import TrainConfig, train_adapter

CONFIG = AdapterConfig("a painting of a woman in S* style", blocks="both")


@pytest.fixture
def adapter(base, latents, style_tokens) -> StyleAdapter:
    return train_adapter(base, latents, style_tokens, CONFIG, TrainConfig(steps=2))


@pytest.fixture
def path(adapter, tmp_path):
    return adapter_file.save(adapter, tmp_path / "style.safetensors")


def rewrite(path, tensors=None, **metadata):
    """The same file with some tensors or metadata changed."""
    with adapter_file.safe_open(str(path), "pt") as file:
        old = file.metadata()
    save_file(load_file(path) if tensors is None else tensors, path, {**old, **metadata})


def test_what_is_saved_is_what_was_trained(adapter, path):
    loaded = adapter_file.load(path)
    for (key, ours), (other_key, theirs) in zip(adapter.state_dict().items(), loaded.state_dict().items()):
        assert key == other_key and torch.equal(ours, theirs), key
    assert loaded.config == adapter.config and loaded.record == adapter.record


def test_a_saved_adapter_was_readable_by_its_owner_alone(path, tmp_path):
    """Temporary files are private; an adapter in a shared models folder must not be."""
    (tmp_path / "plain").touch()
    assert path.stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_metadata_and_names(path, adapter):
    with adapter_file.safe_open(str(path), "pt") as file:
        metadata, keys = file.metadata(), set(file.keys())
    assert metadata["format_version"] == "1" and metadata["base_family"] == "sd1" and metadata["steps"] == "2"
    assert metadata["prompt"] == CONFIG.description
    assert json.loads(metadata["blocks"]) == adapter.cfun.channels
    assert len(json.loads(metadata["training"])["style_loss"]) == 2
    assert "cfun.enc.0.0.gamma.weight" in keys and "style_tokens" in keys and "e_a" in keys


def test_truncated(path):
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(ACFunError, match="cannot be read"):
        adapter_file.load(path)


def test_not_safetensors(tmp_path):
    path = tmp_path / "notes.safetensors"
    path.write_text("these are notes, not tensors")
    with pytest.raises(ACFunError, match="cannot be read"):
        adapter_file.load(path)


def test_missing(tmp_path):
    with pytest.raises(ACFunError, match="cannot be read"):
        adapter_file.load(tmp_path / "none.safetensors")


def test_foreign_file(tmp_path):
    path = tmp_path / "lora.safetensors"
    save_file({"lora_up.weight": torch.zeros(2, 2)}, path, {"format": "pt"})
    with pytest.raises(ACFunError, match="not an ACFun adapter"):
        adapter_file.load(path)


def test_newer_format(path):
    rewrite(path, format_version="2")
    with pytest.raises(ACFunError, match="format version 2.*update"):
        adapter_file.load(path)


@pytest.mark.parametrize(
    "metadata",
    [
        {"options": "{}"},
        {"options": "not json"},
        {"blocks": '{"enc.0.0": 5}'},
        {"training": "[]"},
        {"options": '{"description": "no star"}'},
    ],
)
def test_metadata_that_does_not_fit(path, metadata):
    rewrite(path, **metadata)
    with pytest.raises(ACFunError, match="does not fit"):
        adapter_file.load(path)


def test_renamed_tensors(path):
    rewrite(path, {key.replace("gamma", "delta"): value for key, value in load_file(path).items()})
    with pytest.raises(ACFunError, match="does not fit"):
        adapter_file.load(path)


def test_full_disk_leaves_nothing_behind(adapter, tmp_path, monkeypatch):
    def disk_full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(adapter_file, "save_file", disk_full)
    with pytest.raises(ACFunError, match="No space left"):
        adapter_file.save(adapter, tmp_path / "style.safetensors")
    assert list(tmp_path.iterdir()) == []


def test_a_file_where_the_folder_should_be(adapter, tmp_path):
    (tmp_path / "acfun").write_text("in the way")
    with pytest.raises(ACFunError, match="could not be written"):
        adapter_file.save(adapter, tmp_path / "acfun" / "style.safetensors")


def test_an_old_file_survives_a_failed_save(adapter, path, monkeypatch):
    before = path.read_bytes()

    def fails_half_way(tensors, target, metadata):
        open(target, "wb").write(b"half")
        raise OSError("broken pipe")

    monkeypatch.setattr(adapter_file, "save_file", fails_half_way)
    with pytest.raises(ACFunError):
        adapter_file.save(adapter, path)
    assert path.read_bytes() == before and list(path.parent.iterdir()) == [path]
