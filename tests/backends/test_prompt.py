"""Prompts: weights, sections and S*, as ComfyUI reads them."""

import pytest
import torch

from acfun_core.backends.prompt import STAR, to_sections, weighted_parts

START, END = 100, 101


def letters(words: str) -> list[int]:
    """One token a letter: enough to see what goes where."""
    return [ord(letter) for letter in words.strip()]


def sections(prompt: str, **settings):
    return to_sections(prompt, letters, START, END, **settings)


@pytest.mark.parametrize(
    ("prompt", "parts"),
    [
        ("plain", [("plain", 1.0)]),
        ("", []),
        ("a (b) c", [("a ", 1.0), ("b", 1.1), (" c", 1.0)]),
        ("((a))", [("a", 1.1 * 1.1)]),
        ("(a:1.3) b", [("a", 1.3), (" b", 1.0)]),
        ("(a (b):0.5)", [("a ", 0.5), ("b", 0.5 * 1.1)]),
        ("(a:b)", [("a:b", 1.1)]),
        ("(a:nan)", [("a:nan", 1.1)]),
        (r"\(a\)", [("(a)", 1.0)]),
        ("a (b", [("a ", 1.0), ("(b", 1.0)]),
        ("a) b", [("a) b", 1.0)]),
        ("(S*:1.2) style", [("S*", 1.2), (" style", 1.0)]),
    ],
)
def test_weights(prompt, parts):
    found = weighted_parts(prompt)
    assert [text for text, _ in found] == [text for text, _ in parts]
    assert [weight for _, weight in found] == pytest.approx([weight for _, weight in parts])


def test_a_section_starts_ends_and_is_padded_with_the_end():
    [section] = sections("ab", length=6)
    assert section.ids == (START, ord("a"), ord("b"), END, END, END)
    assert section.weights == (1.0,) * 6


def test_the_placeholder_is_one_token_or_the_plain_word():
    [section] = sections("in (S*:1.5) x", length=8)
    assert section.ids[:5] == (START, ord("i"), ord("n"), STAR, ord("x"))
    assert section.weights[3] == 1.5
    [plain] = sections("S*", length=12, styled=False)
    assert plain.ids[1:9] == tuple(letters("painting"))


def test_short_pieces_move_whole_into_the_next_section_and_long_ones_are_torn():
    first, second = sections("aaaa(bbbb)", length=8)
    assert first.ids == (START, *letters("aaaa"), END, END, END)
    assert second.ids == (START, *letters("bbbb"), END, END, END)
    first, second = sections("a" * 9, length=8)
    assert first.ids == (START, *letters("a" * 6), END) and second.ids[:5] == (START, *letters("aaa"), END)


def test_weights_scale_the_distance_from_the_empty_prompt(base):
    plain, strong, empty = (base.condition(prompt) for prompt in ("a photo", "(a photo:2)", ""))
    torch.testing.assert_close(strong[0, 1:3], empty[0, 1:3] + 2 * (plain - empty)[0, 1:3], atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(strong[0, 0], plain[0, 0])


def test_long_prompts_become_several_sections(base):
    assert base.condition("smiling " * 100).shape[1] == 2 * 77
    latent = base.sample("smiling " * 100, seed=0, steps=2)
    assert latent.isfinite().all()
