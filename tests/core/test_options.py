"""Declarations of options, and the reference that is generated from them."""

from dataclasses import dataclass

import pytest

from acfun_core.errors import ACFunError
from acfun_core.options import check_options, choice, default_of, flag, number, options_of, whole
from acfun_core.presets import PRESETS
from tools.options_reference import (
    HELP_PAGES,
    PRESET_PAGES,
    REFERENCE,
    current_texts,
    help_page,
    preset_page,
    preset_table,
    reference,
)


@dataclass(frozen=True)
class Example:
    size: int = whole(3, 1, 5, "How large it is.")
    amount: float = number(0.5, 0.0, 1.0, "How much of it.", label="The sum")
    kind: str = choice("a", ("a", "b"), "Which one.")
    loud: bool = flag(False, "Whether it can be heard.")

    def __post_init__(self):
        check_options(self)


def test_declarations_and_defaults():
    assert list(options_of(Example)) == ["size", "amount", "kind", "loud"]
    assert default_of(Example, "kind") == "a" and Example() == Example(3, 0.5, "a", False)
    assert options_of(Example)["size"].values == "whole 1 to 5" and options_of(Example())["amount"].values == "0 to 1"


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"size": 6}, "The size is 6.*whole number from 1 to 5.*use 3"),
        ({"size": 2.0}, "The size is 2.0"),
        ({"size": True}, "The size is True"),
        ({"amount": float("nan")}, "The sum is nan.*finite number from 0 to 1"),
        ({"amount": "much"}, "The sum is 'much'"),
        ({"kind": "c"}, "The kind is 'c'.*one of a, b"),
        ({"loud": 1}, "The loud is 1.*yes or no"),
    ],
)
def test_values_outside_their_declaration(settings, says):
    with pytest.raises(ACFunError, match=says):
        Example(**settings)


def test_the_reference_is_current():
    """If this fails: python -m tools.options_reference"""
    stale = [path.name for path, text in current_texts().items() if path.read_text(encoding="utf-8") != text]
    assert stale == []


def test_the_reference_names_every_option():
    text = reference()
    assert REFERENCE.name == "options.md"
    for word in (
        "`abstract_mode`",
        "`sequence_literal`",
        "`noisy_source`",
        "`min_snr_gamma`",
        "`guidance`",
        "`weight`",
    ):
        assert word in text
    assert "| `learned_row` | yes or no | yes | 2 |" in text


def test_a_stale_help_page_is_renewed():
    path, configs = next(iter(HELP_PAGES.items()))
    text = path.read_text(encoding="utf-8")
    assert help_page(text.replace("Cross-attention layers", "Old words"), configs) == text


def test_a_table_of_presets_has_what_a_preset_changes_and_nothing_else():
    table = "\n".join(preset_table(("train", "draw")))
    steps = PRESETS["keep_person"].train.steps
    assert f"| training | `steps` | none | {steps} |" in table and "| sampler | `cfg` |" in table
    assert "`max_grad_norm`" not in table and "| sampler | `steps` |" not in table
    assert "`instant`" not in "\n".join(preset_table(("train",)))


def test_a_stale_table_of_presets_is_renewed():
    for path, parts in PRESET_PAGES.items():
        text = path.read_text(encoding="utf-8")
        assert preset_page(text.replace("`follow_text` |", "`old` |"), parts) == text
