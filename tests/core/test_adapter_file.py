"""The adapter file: whole or not there, and refused with a reason."""

import dataclasses
import json

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from acfun_core import whole_files
from acfun_core.config import AdapterConfig
from acfun_core.demo_base import check_weights
from acfun_core.errors import ACFunError
from acfun_core.method.adapter import StyleAdapter
from acfun_core.storage import adapter_file, export
from acfun_core.storage.metadata import FORMAT_VERSION
from acfun_core.training.loop import TrainConfig, train_adapter

CONFIG = AdapterConfig("a painting of a woman in S* style", blocks="both")


@pytest.fixture
def adapter(base, latents, style_tokens) -> StyleAdapter:
    return train_adapter(base, latents, style_tokens, CONFIG, TrainConfig(steps=2))


@pytest.fixture
def path(adapter, tmp_path):
    return adapter_file.save(adapter, tmp_path / "style.safetensors")


def rewrite(path, tensors=None, **metadata):
    """The same file with some tensors or metadata changed."""
    with safe_open(str(path), "pt") as file:
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
    with safe_open(str(path), "pt") as file:
        metadata, keys = file.metadata(), set(file.keys())
    assert metadata["format_version"] == "1" and metadata["base_family"] == "sd1" and metadata["steps"] == "2"
    assert metadata["prompt"] == CONFIG.description
    assert json.loads(metadata["blocks"]) == adapter.cfun.channels
    assert len(json.loads(metadata["training"])["style_loss"]) == 2
    assert "cfun.enc.0.0.gamma.weight" in keys and "style_tokens" in keys and "e_a" in keys


def test_a_version_1_file_still_loads(tmp_path):
    """Written by hand with the names of version 1, not by today's writer."""
    width, image_width, inner, channels = 32, 48, 8 * 64, 32
    generator = torch.Generator().manual_seed(0)
    layer = {
        "norm_text.weight": (width,),
        "norm_text.bias": (width,),
        "norm_image.weight": (image_width,),
        "norm_image.bias": (image_width,),
        "to_q.weight": (inner, width),
        "to_k.weight": (inner, image_width),
        "to_v.weight": (inner, image_width),
        "to_out.weight": (width, inner),
        "to_out.bias": (width,),
    }
    shapes = {f"afun.layers.{number}.{key}": shape for number in (0, 1) for key, shape in layer.items()}
    shapes |= {"afun.to_row.weight": (width, width), "afun.to_row.bias": (width,), "style_tokens": (5, image_width)}
    for part in ("gamma", "beta"):
        shapes |= {f"cfun.enc.0.0.{part}.weight": (channels, channels), f"cfun.enc.0.0.{part}.bias": (channels,)}
    tensors = {key: torch.randn(shape, generator=generator).half() for key, shape in shapes.items()}
    tensors |= {key: torch.randn(width, generator=generator) for key in ("afun.row", "afun.initial_row", "e_a")}
    metadata = {
        "format": "acfun",
        "format_version": "1",
        "base_family": "sd1",
        "blocks": '{"enc.0.0": 32}',
        "options": '{"description": "a painting in S* style", "layers": 2, "heads": 8, "head_width": 64, "dropout": 0.05, '
        '"blocks": "both"}',
        "prompt": "a painting in S* style",
        "steps": "1",
        "training": '{"settings": {"steps": 1}, "style_loss": [0.5], "face_loss": [0.25], "before": [1.0, 2.0], '
        '"after": [0.5, 1.0], "skipped_steps": 0, "resolution": [64, 64]}',
    }
    save_file(tensors, tmp_path / "old.safetensors", metadata)
    loaded = adapter_file.load(tmp_path / "old.safetensors")
    assert loaded.config == AdapterConfig("a painting in S* style")
    assert loaded.record.face_loss == [0.25] and loaded.record.resolution == (64, 64)
    assert torch.equal(loaded.row(), tensors["e_a"])
    h = torch.randn(1, channels, 4, 4, generator=generator)
    sigma = h.var(dim=(2, 3), correction=0).sqrt()
    steer = (sigma - sigma.mean()) / sigma.std(correction=0) * (1024 / channels)
    gamma, beta = (
        steer @ tensors[f"cfun.enc.0.0.{part}.weight"].float().T + tensors[f"cfun.enc.0.0.{part}.bias"].float()
        for part in ("gamma", "beta")
    )
    expected = (1 + gamma)[..., None, None] * h + (sigma.mean() * beta)[..., None, None]
    torch.testing.assert_close(loaded.cfun["enc.0.0"](h), expected, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize(
    "options", [{"colour_space": "lab"}, {"place": "everywhere"}, {"abstract_mode": "telepathy", "form": "full"}]
)
def test_unknown_options_say_which_version_is_needed(path, options):
    known = json.loads(adapter_file.to_metadata(adapter_file.load(path))["options"])
    rewrite(path, options=json.dumps({**known, **options}), format_version="2", written_by="ACFun 4.2")
    name = next(iter(options))
    with pytest.raises(
        ACFunError, match=f"{name}.*written by ACFun 4.2.*version {FORMAT_VERSION} or older.*the version that wrote"
    ):
        adapter_file.load(path)


def test_the_family_of_the_base_is_kept(adapter, path, tmp_path):
    adapter.base_family = "sdxl"
    other = adapter_file.save(adapter, tmp_path / "large.safetensors")
    with safe_open(str(other), "pt") as file:
        assert file.metadata()["base_family"] == "sdxl" and file.metadata()["format_version"] == "2"
    assert adapter_file.load(other).base_family == "sdxl" and adapter_file.load(path).base_family == "sd1"
    rewrite(path, base_family="sd9", written_by="ACFun 7.0")
    with pytest.raises(ACFunError, match=f"family 'sd9' .written by ACFun 7.0.*version {FORMAT_VERSION}.*update"):
        adapter_file.load(path)


def test_the_weights_of_a_base_with_a_key_are_named(base, latents, style_tokens, tmp_path):
    """A file on any other base is what it was before, to the byte."""
    keyed = dataclasses.replace(base, key="0a1b2c3d")
    adapters = [train_adapter(each, latents, style_tokens, CONFIG, TrainConfig(steps=1)) for each in (base, keyed)]
    plain, named = (adapter_file.to_metadata(each) for each in adapters)
    assert "base_key" not in plain and named == {**plain, "base_key": "0a1b2c3d"}
    path = adapter_file.save(export.compact(export.low_rank(adapters[1], 2)[0]), tmp_path / "small.safetensors")
    assert adapter_file.load(path).base_key == "0a1b2c3d"


@pytest.mark.parametrize(
    ("trained_on", "said"), [("", "its file does not name"), ("7a031d48", "on the weights 7a031d48")]
)
def test_an_adapter_of_the_former_demo_base_was_drawn_with_silently(trained_on, said):
    """Both bases have the same shapes, so that only the weights' key tells them apart."""
    with pytest.raises(ACFunError, match=f"{said}.*this base has the weights 0a1b2c3d.*Expected:.*train it again"):
        check_weights(trained_on, "0a1b2c3d")
    check_weights("0a1b2c3d", "0a1b2c3d")
    check_weights(trained_on, "")


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
    newer = FORMAT_VERSION + 1
    rewrite(path, format_version=str(newer), written_by="ACFun 9.1")
    says = f"format version {newer} .written by ACFun 9.1.*version {FORMAT_VERSION} or older.*reads version {newer}"
    with pytest.raises(ACFunError, match=says):
        adapter_file.load(path)


@pytest.mark.parametrize(
    "metadata",
    [
        {"options": "{}"},
        {"options": "not json"},
        {"blocks": '{"enc.0.0": 5}'},
        {"training": "[]"},
        {"options": '{"description": "no star"}'},
        {"slider": '{"more": "a smile"}'},
        {"slider": '{"more": 1, "less": "a frown"}'},
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

    monkeypatch.setattr(whole_files, "save_file", disk_full)
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

    monkeypatch.setattr(whole_files, "save_file", fails_half_way)
    with pytest.raises(ACFunError):
        adapter_file.save(adapter, path, overwrite=True)
    assert path.read_bytes() == before and list(path.parent.iterdir()) == [path]
