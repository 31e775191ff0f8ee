"""Folders as transformers 5 saves them, settings that lie about their weights, and weights that are not finite."""

from __future__ import annotations

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import CLIPTokenizer, CLIPVisionConfig, CLIPVisionModel

from acfun_core.backends.claims import check_claims
from acfun_core.backends.vision import load_image_encoder
from acfun_core.backends.weights import load_text_encoder, load_tokenizer, read_weights
from acfun_core.errors import ACFunError

from .conftest import BASE

VISION = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "image_size": 28,
    "patch_size": 14,
    "projection_dim": 32,
}


def test_a_tokenizer_without_vocab_json_and_merges_txt_was_refused(tmp_path):
    CLIPTokenizer.from_pretrained(BASE / "tokenizer").save_pretrained(tmp_path)
    for name in ("vocab.json", "merges.txt"):
        (tmp_path / name).unlink(missing_ok=True)
    assert (tmp_path / "tokenizer.json").is_file()
    ours, whole = load_tokenizer(tmp_path), load_tokenizer(BASE / "tokenizer")
    text = "a painting of a smiling woman in xyzzy style, 顔"
    assert ours(text)["input_ids"] == whole(text)["input_ids"] and len(ours(text)["input_ids"]) > 8


def test_a_tokenizer_folder_without_any_of_its_files_is_named(tmp_path):
    with pytest.raises(ACFunError, match="vocab.json and merges.txt.*no tokenizer.json"):
        load_tokenizer(tmp_path)
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(ACFunError, match="cannot be read"):
        load_tokenizer(tmp_path)


@pytest.mark.parametrize("prefix", ["", "vision_model."])
def test_clip_vision_keys_without_their_prefix_were_refused(tmp_path, prefix):
    model = CLIPVisionModel(CLIPVisionConfig(**VISION)).eval()
    model.save_pretrained(tmp_path)
    path = tmp_path / "model.safetensors"
    plain = {key.removeprefix("vision_model."): value for key, value in load_file(path).items()}
    save_file({prefix + key: value for key, value in plain.items()}, path)
    loaded = load_image_encoder(tmp_path)
    pixels = torch.rand(1, 3, 28, 28)
    with torch.no_grad():
        one, two = (each(pixel_values=pixels, output_hidden_states=True).hidden_states[-2] for each in (model, loaded))
    torch.testing.assert_close(one, two)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"num_hidden_layers": 10**7}, "say num_hidden_layers"),
        ({"hidden_size": 2**20, "intermediate_size": 2**20}, "numbers, its file holds"),
        ({"hidden_size": "wide"}, "describe no model"),
        ({"num_attention_heads": 0}, "describe no model"),
    ],
)
def test_settings_larger_than_their_weights_are_refused_before_memory_is_taken(changes, says):
    config = json.loads((BASE / "text_encoder" / "config.json").read_text())
    weights = read_weights(BASE / "text_encoder")
    with pytest.raises(ACFunError, match=says):
        load_text_encoder({**config, **changes}, weights)


def test_claims_are_counted_without_memory():
    made = []

    def build(config):
        made.append(torch.nn.Linear(config["side"], config["side"]))
        return made[0]

    with pytest.raises(ACFunError, match="describe a model of"):
        check_claims(build, {"side": 10**6}, {"weight": (3, 3)}, "part")
    assert made[0].weight.is_meta


@pytest.mark.parametrize(
    ("change", "says"),
    [(lambda t: t.fill_(torch.nan), "not numbers"), (lambda t: t.to(torch.int8), "is of type I8")],
)
def test_weights_of_a_base_that_are_no_finite_numbers_were_loaded(tmp_path, change, says):
    folder = tmp_path / "image_encoder"
    shutil.copytree(BASE / "image_encoder", folder)
    state = load_file(folder / "model.safetensors")
    name = "vision_model.post_layernorm.weight"
    save_file({**state, name: change(state[name].clone())}, folder / "model.safetensors")
    with pytest.raises(ACFunError, match=says):
        load_image_encoder(folder)
