"""Which of a host's nodes the page asks for, what they are given, and what its cells say."""

from __future__ import annotations

import pytest

from benchmarks import stock_catalogue, stock_nodes

INFO = {
    "KSampler": {
        "input": {"required": {"sampler_name": [["euler", "lcm"]]}},
        "output": ["LATENT"],
        "python_module": "nodes",
    },
    "KSamplerSelect": {"input": {"required": {}}, "output": ["SAMPLER"], "python_module": "comfy_extras.a"},
    "Patch": {
        "input": {
            "required": {
                "model": ["MODEL"],
                "scale": ["FLOAT", {"default": 0.5}],
                "mode": ["COMBO", {"options": ["a", "b"]}],
                "way": [["c", "d"]],
                "negative": ["CONDITIONING", {}],
            }
        },
        "output": ["MODEL"],
        "python_module": "comfy_extras.a",
    },
    "Merge": {
        "input": {"required": {"one": ["MODEL"], "two": ["MODEL"]}},
        "output": ["MODEL"],
        "python_module": "comfy_extras.a",
    },
    "Guided": {
        "input": {
            "required": {"model": ["MODEL"], "cond1": ["CONDITIONING"], "operation": ["LATENT_OPERATION"]},
            "optional": {"model_negative": ["MODEL"], "strength": ["FLOAT"]},
        },
        "output": ["GUIDER"],
        "python_module": "comfy_extras.a",
    },
    "Foreign": {
        "input": {"required": {"model": ["MODEL"], "net": ["CONTROL_NET"]}},
        "output": ["MODEL"],
        "python_module": "comfy_extras.a",
    },
    "LatentOperationTonemapReinhard": {
        "input": {"required": {"multiplier": ["FLOAT", {"default": 1.0}]}},
        "output": ["LATENT_OPERATION"],
        "python_module": "comfy_extras.a",
    },
    "Ours": {"input": {"required": {"model": ["MODEL"]}}, "output": ["MODEL"], "python_module": "custom_nodes.x"},
}
CONDITIONS = {"positive": ["plus", 0], "negative": ["minus", 0]}


def test_the_hosts_own_nodes_are_found_and_filled():
    found = {(stock.kind, stock.name): stock for stock in stock_catalogue.stock_nodes(INFO)}
    assert set(found) == {
        ("patch", "Patch"),
        ("patch", "Foreign"),
        ("patch", "Merge"),
        ("guider", "Guided"),
        ("sampler", "euler"),
        ("sampler", "lcm"),
    }
    filled = stock_catalogue.filled(found["patch", "Patch"], ["base", 0], CONDITIONS)
    assert filled == {"model": ["base", 0], "scale": 0.5, "mode": "a", "way": "c", "negative": ["minus", 0]}
    merged = stock_catalogue.filled(found["patch", "Merge"], ["mine", 0], CONDITIONS)
    assert merged == {"one": ["mine", 0], "two": ["base", 0]}
    guided, graph = found["guider", "Guided"], {}
    assert stock_catalogue.filled(guided, ["mine", 0], CONDITIONS, graph)["operation"] == ["made LATENT_OPERATION", 0]
    assert stock_catalogue.filled(guided, ["mine", 0], CONDITIONS, graph)["model_negative"] == ["base", 0]
    assert graph == {"made LATENT_OPERATION": stock_catalogue.node("LatentOperationTonemapReinhard", multiplier=1.0)}
    with pytest.raises(stock_catalogue.NotTried, match="needs a CONTROL_NET"):
        stock_catalogue.filled(found["patch", "Foreign"], ["base", 0], CONDITIONS)


def test_the_page_has_a_column_for_each_host():
    rows = [
        {"version": "0.33.0", "kind": "sampler", "name": "euler", "said": "works", "why": ""},
        {"version": "0.3.75", "kind": "sampler", "name": "euler", "said": "refused", "why": "it said so"},
        {"version": "0.33.0", "kind": "patch", "name": "New", "said": "order", "why": ""},
        {
            "version": "0.33.0",
            "kind": "patch",
            "name": "Other",
            "said": "works",
            "why": "",
            "transfer_said": "works",
            "transfer_why": "",
            "trained_said": "refused",
            "trained_why": "in place",
        },
    ]
    text = stock_nodes.page(rows, "the command")
    assert "| sampler | 0.3.75 | 0.33.0 |" in text
    assert "| `euler` | refused: it said so | works |" in text and "| `New` | not there | order |" in text
    assert "| `Other` | not there | works; training on it: refused: in place |" in text
