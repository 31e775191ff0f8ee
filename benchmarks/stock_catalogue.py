"""Guiders, samplers and patches of the MODEL that ComfyUI brings, as a running server lists them, and how each is filled in."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from tools.comfy.graphs import node

from .parts import Graph, Link

PARTS_OF = {"patch": "MODEL", "guider": "GUIDER", "sampler": "SAMPLER"}
"""Kind of row -> what its node gives."""
WIRES = {
    "CLIP": ["base", 1],
    "VAE": ["base", 2],
    "CLIP_VISION": ["base", 3],
    "IMAGE": ["small", 0],
    "MASK": ["mask", 0],
    "LATENT": ["noise", 0],
    "NOISE": ["chance", 0],
    "SIGMAS": ["sigmas", 0],
    "SAMPLER": ["euler", 0],
}
MAKERS = {"LATENT_OPERATION": "LatentOperationTonemapReinhard", "AUDIO": "EmptyAudio", "LORA_MODEL": "TrainLoraNode"}
"""Further types of wires, and the stock nodes that give them."""
VALUES = {"ModelMergeSubtract": {"multiplier": 0.1}}
"""Other values than a node's fields come with: a base less the whole of itself, or half of it, draws next to nothing."""


@dataclass(frozen=True)
class StockNode:
    """One row.

    Attributes:
        kind: one of :data:`PARTS_OF`.
        name: of the node, or of a sampler that KSampler offers.
        place: which of the node's outputs counts.
        fields: inputs that are filled: name, type, options.
        makers: nodes that give it what no wire of the graph carries, by type.
    """

    kind: str
    name: str
    place: int
    fields: tuple[tuple[str, object, dict], ...]
    makers: tuple[tuple[str, StockNode], ...] = ()


def stock_nodes(info: dict[str, dict]) -> Iterator[StockNode]:
    """The nodes of the host that give a patched MODEL, a GUIDER or a SAMPLER, and the samplers that KSampler offers."""
    makers = tuple(
        (kind, StockNode("maker", name, info[name]["output"].index(kind), fields_of(info[name])))
        for kind, name in MAKERS.items()
        if name in info and kind in info[name]["output"]
    )
    for name, told in sorted(info.items()):
        if told["python_module"].startswith("custom_nodes") or told.get("api_node"):
            continue
        fields = fields_of(told)
        takes_model = any(kind == "MODEL" for _, kind, _ in fields)
        for kind, given in PARTS_OF.items():
            if given in told["output"] and (kind == "sampler" or takes_model) and name != "KSamplerSelect":
                yield StockNode(kind, name, told["output"].index(given), fields, makers)
    for sampler in options_of(*info["KSampler"]["input"]["required"]["sampler_name"]):
        yield StockNode("sampler", sampler, -1, ())


def fields_of(told: dict) -> tuple[tuple[str, object, dict], ...]:
    """Inputs of a node: those that it requires, and further MODELs and conditionings, without which some do something else."""
    groups = told["input"]
    further = {key: field for key, field in groups.get("optional", {}).items() if field[0] in ("MODEL", "CONDITIONING")}
    return tuple(
        (key, field[0], (field[1:] or [{}])[0]) for key, field in {**groups.get("required", {}), **further}.items()
    )


def options_of(kind: object, settings: dict | None = None) -> list:
    """Choices of a field, as either generation of nodes lists them."""
    return kind if isinstance(kind, list) else (settings or {}).get("options", [])


class NotTried(Exception):
    """What a node needs and is not there."""


def filled(stock: StockNode, model: Link, conditions: dict[str, Link], graph: Graph | None = None) -> dict:
    """Its inputs: the wires of the graph, and the values that its fields come with. Of several MODELs the first is meant.

    Args:
        graph: where nodes are added that give it what no wire carries.

    Raises:
        NotTried: it needs something that the graph has not.
    """
    inputs, makers = {}, dict(stock.makers if graph is not None else ())
    for name, kind, settings in stock.fields:
        if kind == "MODEL":
            inputs[name], model = model, ["base", 0]
        elif isinstance(kind, str) and kind in makers:
            maker = makers[kind]
            graph[f"made {kind}"] = node(maker.name, **filled(maker, ["base", 0], conditions))
            inputs[name] = [f"made {kind}", maker.place]
        elif kind == "CONDITIONING":
            inputs[name] = conditions["negative" if "neg" in name or "empty" in name else "positive"]
        elif isinstance(kind, str) and kind in WIRES:
            inputs[name] = WIRES[kind]
        elif name in VALUES.get(stock.name, {}):
            inputs[name] = VALUES[stock.name][name]
        elif "default" in settings:
            inputs[name] = settings["default"]
        elif choices := options_of(kind, settings):
            inputs[name] = choices[0] if not isinstance(choices[0], dict) else choices[0]["key"]
        elif kind in ("INT", "FLOAT"):
            inputs[name] = settings.get("min", 0)
        elif kind in ("STRING", "BOOLEAN"):
            inputs[name] = "" if kind == "STRING" else False
        else:
            raise NotTried(f"needs a {'file' if kind == 'COMBO' or isinstance(kind, list) else kind}")
    return inputs
