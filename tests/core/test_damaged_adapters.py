"""Adapter files that are damaged or lie: each is refused by name, before anything is built."""

from __future__ import annotations

import dataclasses
import json
import time

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from acfun_core.config import AdapterConfig, TrainConfig
from acfun_core.errors import ACFunError
from acfun_core.method.adapter import StyleAdapter, TrainingRecord
from acfun_core.storage import adapter_file, metadata, tensor_file

CONFIG = AdapterConfig("a painting of a woman in S* style")


@pytest.fixture
def path(tmp_path):
    torch.manual_seed(0)
    adapter = StyleAdapter(CONFIG, torch.randn(32), torch.randn(5, 48), {"enc.0.0": 32, "dec.0.1": 16})
    return adapter_file.save(adapter, tmp_path / "style.safetensors")


def rewrite(path, tensors=None, checked=False, **texts):
    """The same file with some tensors or metadata changed; as from an older pack, without a checksum."""
    with safe_open(str(path), "pt") as file:
        old = file.metadata()
    if not checked:
        del old["checksum"]
    save_file(load_file(path) if tensors is None else tensors, path, {**old, **texts})


def reinterpreted(path, name, dtype):
    """The file with another type in one tensor's entry, the bytes the same."""
    whole = path.read_bytes()
    length = int.from_bytes(whole[:8], "little")
    header = json.loads(whole[8 : 8 + length])
    header[name]["dtype"] = dtype
    header["__metadata__"].pop("checksum")
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(len(text).to_bytes(8, "little") + text + whole[8 + length :])


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("name", ["e_a", "afun.row", "style_tokens", "cfun.enc.0.0.gamma.weight"])
def test_tensors_that_are_not_finite_were_loaded(path, name, value):
    tensors = load_file(path)
    tensors[name].view(-1)[3] = value
    rewrite(path, tensors)
    with pytest.raises(ACFunError, match=f"{name}.*not numbers"):
        adapter_file.load(path)


@pytest.mark.parametrize("dtype", ["I16", "BF16", "U16"])
def test_half_precision_was_read_as_another_type_of_its_size(path, dtype):
    reinterpreted(path, "cfun.enc.0.0.gamma.weight", dtype)
    with pytest.raises(ACFunError, match=f"gamma.weight is {dtype} .*not F16"):
        adapter_file.load(path)


@pytest.mark.parametrize(
    ("key", "text"),
    [
        ("blocks", "[1]"),
        ("blocks", '{"enc.0.0": Infinity, "dec.0.1": 16}'),
        ("blocks", '{"enc.0.0": 1e400, "dec.0.1": 16}'),
        ("blocks", '{"enc.0.0": "32", "dec.0.1": 16}'),
        ("blocks", '{"enc.0.0": 32.0, "dec.0.1": 16}'),
        ("blocks", '{"training": 32, "dec.0.1": 16}'),
        ("blocks", '{"": 32, "dec.0.1": 16}'),
        ("blocks", "null"),
        ("blocks", "[" * 100_000),
        ("options", "[]"),
        ("options", "7"),
        ("options", '{"description": 7}'),
        ("options", '{"description": ["S*"]}'),
        ("options", '{"description": "S*", "layers": 1' + "0" * 400 + "}"),
        ("options", '{"description": "S*", "dropout": NaN}'),
        ("options", '{"description": "S*", "dropout": "0.1"}'),
        ("training", '{"style_loss": 3}'),
        ("training", '{"style_loss": ["a"]}'),
        ("training", '{"style_loss": [NaN]}'),
        ("training", '{"style_loss": [1e999]}'),
        ("training", '{"resolution": 64}'),
        ("training", '{"resolution": null}'),
        ("training", '{"resolution": [64]}'),
        ("training", '{"skipped_steps": "many"}'),
        ("training", '{"looks": [[1, 2]]}'),
        ("training", '{"settings": [1]}'),
        ("training", '{"something": 1}'),
        ("training", "{" * 5),
    ],
)
def test_metadata_of_a_wrong_type_raised_what_no_user_understands(path, key, text):
    rewrite(path, **{key: text})
    with pytest.raises(ACFunError, match="does not fit"):
        adapter_file.load(path)


@pytest.mark.parametrize("version", ["²", "٢", "-1", "1.0", "", " 1", "1" * 400])
def test_a_version_in_other_digits_was_no_clear_error(path, version):
    rewrite(path, format_version=version)
    with pytest.raises(ACFunError, match="format version"):
        adapter_file.load(path)


@pytest.mark.parametrize("tokens", [torch.tensor(1.0).half(), torch.zeros(3).half(), torch.zeros(0, 48).half()])
def test_style_tokens_of_another_rank_were_no_clear_error(path, tokens):
    rewrite(path, {**load_file(path), "style_tokens": tokens})
    with pytest.raises(ACFunError, match="style_tokens"):
        adapter_file.load(path)


@pytest.mark.parametrize(
    "blocks",
    [
        {"enc.0.0": 20_000, "dec.0.1": 16},
        {"enc.0.0": 10**9, "dec.0.1": 16},
        {f"enc.{level}.{index}": 1280 for level in range(20) for index in range(12)},
        {f"enc.{level}.{index}": 1 for level in range(999) for index in range(99)},
    ],
)
def test_claims_of_wide_or_many_blocks_took_half_a_minute(path, blocks, monkeypatch):
    rewrite(path, blocks=json.dumps(blocks))
    start = time.process_time()
    with pytest.raises(ACFunError, match="does not fit"):
        adapter_file.load(path)
    assert time.process_time() - start < 1


def test_nothing_is_built_before_the_shapes_are_known_to_fit(path, monkeypatch):
    """Whatever is made on the way has no memory behind it."""
    made = []
    check_parts = adapter_file._check_parts
    monkeypatch.setattr(
        adapter_file,
        "_check_parts",
        lambda path, adapter, parts: made.append(adapter) or check_parts(path, adapter, parts),
    )
    rewrite(path, options=json.dumps({"description": "S*", "heads": 64, "head_width": 512, "layers": 16}))
    with pytest.raises(ACFunError, match="does not fit"):
        adapter_file.load(path)
    assert all(tensor.is_meta for tensor in made[0].state_dict().values())


def test_loading_leaves_the_randomness_alone(path):
    before = torch.random.get_rng_state()
    adapter_file.load(path)
    assert torch.equal(before, torch.random.get_rng_state())


def test_a_header_larger_than_any_is_refused_at_once(path):
    whole = path.read_bytes()
    path.write_bytes((2**40).to_bytes(8, "little") + whole[8:])
    with pytest.raises(ACFunError, match="claims a header"):
        adapter_file.load(path)


def test_one_changed_bit_says_that_the_file_was_damaged(path):
    whole = bytearray(path.read_bytes())
    whole[-5] ^= 1
    path.write_bytes(whole)
    with pytest.raises(ACFunError, match="was damaged after it was written"):
        adapter_file.load(path)


def test_a_file_without_a_checksum_still_loads(path):
    whole = adapter_file.load(path)
    rewrite(path)
    old = adapter_file.load(path)
    assert all(torch.equal(one, two) for one, two in zip(whole.state_dict().values(), old.state_dict().values()))


def test_the_checksum_sees_names_shapes_and_numbers_and_not_their_order():
    tensors = {"a": torch.arange(6.0).reshape(2, 3), "b": torch.zeros(0, 4)}
    same = tensor_file.checksum(dict(reversed(tensors.items())))
    others = [
        {**tensors, "a": tensors["a"].reshape(3, 2)},
        {**tensors, "a": tensors["a"] + 1},
        {**tensors, "b": torch.zeros(0, 5)},
        {"c": tensors["a"], "b": tensors["b"]},
        {**tensors, "a": tensors["a"].view(torch.int32)},
    ]
    assert tensor_file.checksum(tensors) == same and same not in map(tensor_file.checksum, others)


def test_an_adapter_that_is_not_finite_is_not_saved(path, tmp_path):
    adapter = adapter_file.load(path)
    with torch.no_grad():
        adapter.cfun["enc.0.0"].gamma.weight[0, 0] = 1e6
    with pytest.raises(ACFunError, match="not numbers.*learning rate"):
        adapter_file.save(adapter, tmp_path / "other.safetensors")
    assert not (tmp_path / "other.safetensors").exists()


def test_every_field_of_the_record_is_checked():
    assert set(metadata.RECORD_FIELDS) == {field.name for field in dataclasses.fields(TrainingRecord)}


@pytest.mark.parametrize("value", [10**400, float("nan"), float("inf"), "3", None, [3]])
def test_a_number_beyond_all_floats_was_no_clear_error(value):
    with pytest.raises(ACFunError):
        TrainConfig(steps=value)
    with pytest.raises(ACFunError):
        TrainConfig(learning_rate=value)
