"""The files of the demo base: sizes, layouts, and a tokenizer that takes any text."""

import json

import pytest
from safetensors import safe_open

from acfun_core.demo_base import DEMO_BASE as BASE
from acfun_core.demo_base import NATIVE_SIDE, base_key

WORDS = "painting style photo portrait woman man a of in face person smiling glasses".split()
WEIGHTS = {
    "unet/diffusion_pytorch_model.safetensors": ("conv_in.weight", [64, 4, 3, 3]),
    "vae/diffusion_pytorch_model.safetensors": ("encoder.layers.0.weight", [64, 3, 3, 3]),
    "text_encoder/model.safetensors": ("text_projection.weight", [256, 256]),
    "image_encoder/model.safetensors": ("visual_projection.weight", [256, 256]),
}


def test_all_weights_fit_in_56_megabytes():
    assert sum(f.stat().st_size for f in BASE.rglob("*.safetensors")) <= 56e6


def test_the_native_side_is_what_the_unet_was_trained_at():
    config = json.loads((BASE / "unet/config.json").read_text())
    training = json.loads((BASE.parent / "tools/base/config.json").read_text())
    assert NATIVE_SIDE == 8 * config["sample_size"] == training["image_size"]


def test_the_key_changes_with_any_weight(tmp_path):
    (tmp_path / "unet").mkdir()
    weights = tmp_path / "unet" / "model.safetensors"
    weights.write_bytes(b"some weights")
    (tmp_path / "config.json").write_text("{}")
    before = base_key(tmp_path)
    (tmp_path / "config.json").write_text("{ }")
    assert base_key(tmp_path) == before and len(before) == 8
    weights.write_bytes(b"some weightz")
    assert base_key(tmp_path) != before


@pytest.mark.parametrize("name", WEIGHTS)
def test_weights_are_half_precision_in_the_expected_layout(name):
    key, shape = WEIGHTS[name]
    with safe_open(BASE / name, "pt") as file:
        keys = list(file.keys())
        assert file.get_slice(key).get_shape() == shape
        types = {file.get_slice(k).get_dtype() for k in keys}
    assert types <= {"F16", "I64"}
    assert len(keys) > 30


def test_configs_agree_with_the_vocabulary():
    vocabulary = json.loads((BASE / "tokenizer/vocab.json").read_text(encoding="utf-8"))
    config = json.loads((BASE / "text_encoder/config.json").read_text())
    assert config["vocab_size"] == len(vocabulary)
    assert vocabulary["<|startoftext|>"] == config["bos_token_id"]
    assert vocabulary["<|endoftext|>"] == config["eos_token_id"]
    assert all(f"{word}</w>" in vocabulary for word in WORDS)


@pytest.mark.parametrize("text", ["", "S*", "xyzzy", "Ünïcode Straße", "顔", "face \U0001f600", "a" * 500, "\x00\t\n"])
def test_the_tokenizer_takes_any_text(text):
    transformers = pytest.importorskip("transformers")
    tokenizer = transformers.CLIPTokenizer.from_pretrained(BASE / "tokenizer")
    ids = tokenizer(text, truncation=True, max_length=77)["input_ids"]
    assert ids[0] == tokenizer.bos_token_id and ids[-1] == tokenizer.eos_token_id
    assert max(ids) < len(tokenizer)


def test_caption_words_are_single_tokens():
    transformers = pytest.importorskip("transformers")
    tokenizer = transformers.CLIPTokenizer.from_pretrained(BASE / "tokenizer")
    for word in WORDS:
        assert len(tokenizer(word)["input_ids"]) == 3
