"""Words that the text encoder says alike are moved apart."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import torch

from tools.comfy.launcher import define_torchvision_operators

define_torchvision_operators()

from tools.base import models, spread_words  # noqa: E402
from tools.base.tokenizer import CLIPTokenizer, encode  # noqa: E402


def text_encoder_and_word(**alike: str):
    """A small random text encoder that says each key almost as its value, and the token of every such word."""
    tokenizer = CLIPTokenizer.from_pretrained(Path(__file__).parents[2] / "base" / "tokenizer")
    torch.manual_seed(0)
    encoder = models.text_encoder(SimpleNamespace(width=32, layers=1, heads=2, intermediate=64), tokenizer).eval()
    rows = encoder.get_input_embeddings().weight
    word = {name: int(encode(tokenizer, [name])[0, 1]) for name in {*alike, *alike.values()}}
    with torch.no_grad():
        rows.normal_()
        for one, other in alike.items():
            rows[word[one]] = rows[word[other]] + 0.01 * torch.randn(32)
    return tokenizer, encoder, word


def moved_rows(before: torch.Tensor, encoder) -> list[int]:
    return (encoder.get_input_embeddings().weight.detach() != before).any(1).nonzero().flatten().tolist()


def test_media_that_sound_alike_are_moved_apart_and_nothing_else_moves():
    """The UNet drew oil, mosaic, low poly and pointillism as one: the text encoder said them almost alike."""
    tokenizer, encoder, word = text_encoder_and_word(mosaic="oil")
    plain = encode(tokenizer, ["an ink drawing of a woman"])
    before, said = encoder.get_input_embeddings().weight.clone(), encoder(plain).last_hidden_state.detach()
    nearest, after = spread_words.spread_media(encoder, tokenizer, steps=100)
    assert nearest < 0.1 and after > 0.45
    assert moved_rows(before, encoder) == sorted(word.values())
    assert torch.equal(encoder(plain).last_hidden_state, said)
    moved = encoder.get_input_embeddings().weight.clone()
    spread_words.spread_media(encoder, tokenizer, steps=1)
    assert not moved_rows(moved, encoder), "words that are apart stay"


def test_people_who_sound_alike_are_moved_apart_and_other_captions_stay_bit_for_bit():
    """ "With glasses" or "smiling" changed nothing in the picture: the UNet heard a tenth of the difference of two media."""
    tokenizer, encoder, word = text_encoder_and_word(woman="man", smiling="serious")
    plain = encode(tokenizer, ["a photo of a person", "a painting in oil style", "a mosaic portrait of a young person"])
    before, said = encoder.get_input_embeddings().weight.clone(), encoder(plain).last_hidden_state.detach()
    with torch.no_grad():
        held = spread_words.said(encoder, tokenizer, spread_words.of_people())[1]
    nearest, after = spread_words.spread_attributes(encoder, tokenizer, steps=60)
    assert nearest < 0.1 and after > 0.25
    assert moved_rows(before, encoder) == sorted(word.values())
    assert torch.equal(encoder(plain).last_hidden_state, said)
    with torch.no_grad():
        embeds = spread_words.said(encoder, tokenizer, spread_words.of_people())[1]
    assert (embeds * held).sum(-1).mean() > 0.8


def test_people_are_compared_by_what_captions_say_of_them():
    assert {("a man", "a woman"), ("an old man", "a young man"), ("a woman", "a woman with glasses")} <= set(
        spread_words.PAIRS
    )
    assert set().union(*(spread_words.differing(*pair) for pair in spread_words.PAIRS)) >= spread_words.ATTRIBUTES
