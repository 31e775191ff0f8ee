"""Prompts of any shape weigh on the command line what they weigh in ComfyUI, by ComfyUI's own parser."""

from __future__ import annotations

import ast
import random

import pytest

from acfun_core.backends.prompt import weighted_parts
from acfun_core.errors import ACFunError
from tools.comfy.install import ensure_comfy

PARSER = ("parse_parentheses", "token_weights", "escape_important", "unescape_important")


@pytest.fixture(scope="module")
def host_parts():
    """ComfyUI's functions alone: its module would bring the whole of ComfyUI with it."""
    path = ensure_comfy() / "comfy" / "sd1_clip.py"
    tree = ast.parse(path.read_text(encoding="utf-8"))
    functions = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name in PARSER]
    assert len(functions) == len(PARSER)
    names: dict = {}
    exec(compile(ast.Module(functions, []), str(path), "exec"), names)

    def parts(prompt: str) -> list[tuple[str, float]]:
        found = names["token_weights"](names["escape_important"](prompt), 1.0)
        return [(names["unescape_important"](text), weight) for text, weight in found]

    return parts


@pytest.mark.parametrize(
    "prompt",
    [
        ":) a portrait (S*:1.3)",
        "((S*:1.2)",
        "(S*:1.2))",
        "a) b (c:1.5) (d",
        "(a) (b",
        "(a (b:1.5) c",
        ")(a:2)",
        "))((a:2))",
        "(:1.3)",
        "()",
        "(a:1.3:1.4)",
        "(a:-1)",
        "(a: 1.3 )",
        r"\(a:1.3\) (b\):0.5)",
        r"(\(a\))",
    ],
)
def test_parentheses_that_do_not_fit_weighed_otherwise_than_in_the_host(prompt, host_parts):
    assert weighted_parts(prompt) == host_parts(prompt)


def test_five_thousand_prompts_of_random_parentheses_weigh_alike(host_parts):
    chance = random.Random(0)
    pieces = ["(", "(", ")", ")", ":", "1.2", ":0.5)", "S*", "a", " ", "\\(", "\\)", ":)", "-1", "."]
    for _ in range(5000):
        prompt = "".join(chance.choices(pieces, k=chance.randint(1, 14)))
        assert weighted_parts(prompt) == host_parts(prompt), prompt


def test_parentheses_without_end_are_a_clear_error():
    with pytest.raises(ACFunError, match="parentheses in parentheses"):
        weighted_parts("(" * 20_000 + "S*" + ")" * 20_000)
