"""The blueprint "ACFun portrait": training and drawing as one node of the editor's node library.

What the user sets is an input of the graph inside. Editors preview a blueprint by these alone, and the newest have given up the
other way to show a widget of the inside (``proxyWidgets``).

A blueprint is a workflow that holds one node, and the graph inside that node under ``definitions.subgraphs``. In that
graph, two nodes that are not saved stand for the outside: -10 gives what comes in, -20 takes what goes out.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import Any

from .graph import SCHEMA_VERSION, SLOT, TITLE, Graph, Node, Output
from .node_types import NodeType, NodeTypes, OutputType
from .parts import BROWN, GREEN, LARGE_SIDE, SAMPLING, TRAINING, apply, decode, sampler, train

NAME = "ACFun portrait"
ABOUT = "Learns one face in one style and draws it: training, adapter and sampler in one node."
DESCRIPTION = "a photo of a woman in S* style"
ENTRANCE, EXIT = -10, -20
NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, "acfun/subgraphs")
IO_WIDTH = 140  # pixels


@dataclass
class Blueprint:
    """A graph with an inside and an outside.

    Attributes:
        graph: the inside; sources with the id -10 come from the outside.
        entrance: stands for the outside; its outputs are the blueprint's inputs.
        outputs: name -> what leaves the graph.
    """

    graph: Graph
    entrance: Node
    outputs: dict[str, Output]

    def to_ui(self, comfy_version: str) -> dict[str, Any]:
        """As the editor's "Publish subgraph" saves it."""
        inside = self._definition(comfy_version)
        used = {link["origin_slot"]: link for link in inside["links"] if link["origin_id"] == ENTRANCE}
        rows = len(inside["inputs"]) + 4
        inputs = [self._outer_input(each, used[slot], inside) for slot, each in enumerate(inside["inputs"])]
        node = {
            "id": 1,
            "type": inside["id"],
            "pos": [0, 0],
            "size": [380, TITLE + rows * (SLOT + 4)],
            "flags": {},
            "order": 0,
            "mode": 0,
            "inputs": inputs,
            "outputs": [{"name": each["name"], "type": each["type"], "links": []} for each in inside["outputs"]],
            "title": NAME,
            "properties": {},
            "widgets_values": [],
        }
        return {
            "id": str(uuid.uuid5(NAMESPACE, f"{NAME}/file")),
            "revision": 0,
            "last_node_id": 1,
            "last_link_id": 0,
            "nodes": [node],
            "links": [],
            "version": SCHEMA_VERSION,
            "definitions": {"subgraphs": [inside]},
            "extra": {"BlueprintDescription": ABOUT},
        }

    def _outer_input(self, each: dict[str, Any], link: dict[str, Any], inside: dict[str, Any]) -> dict[str, Any]:
        """An input of the node; where the inside feeds a widget, the node shows that widget."""
        saved = {"name": each["name"], "type": each["type"], "link": None}
        target = next(node for node in inside["nodes"] if node["id"] == link["target_id"])
        if "widget" in target["inputs"][link["target_slot"]]:
            saved["widget"] = {"name": each["name"]}
        return saved

    def _definition(self, comfy_version: str) -> dict[str, Any]:
        """The inside. ``links`` are objects here, not lists."""
        ui = self.graph.to_ui(comfy_version, "")
        links = [_link(*each) for each in ui["links"]]
        nodes = {node["id"]: node for node in ui["nodes"]}
        for slot, source in enumerate(self.outputs.values()):
            links.append(_link(len(links) + 1, source.node.id, source.index, EXIT, slot, source.kind))
            left = nodes[source.node.id]["outputs"][source.index]
            left["links"] = [*(left["links"] or []), len(links)]
        kinds = [(each.name, each.kind) for each in self.entrance.type.outputs]
        coming = [
            [link["id"] for link in links if link["origin_id"] == ENTRANCE and link["origin_slot"] == slot]
            for slot in range(len(kinds))
        ]
        going = [
            [link["id"] for link in links if link["target_id"] == EXIT and link["target_slot"] == slot]
            for slot in range(len(self.outputs))
        ]
        right = max(node["pos"][0] + node["size"][0] for node in ui["nodes"])
        return {
            "id": str(uuid.uuid5(NAMESPACE, NAME)),
            "version": 1,
            "state": {
                "lastGroupId": len(ui["groups"]),
                "lastNodeId": ui["last_node_id"],
                "lastLinkId": len(links),
                "lastRerouteId": 0,
            },
            "revision": 0,
            "config": {},
            "name": NAME,
            "inputNode": {"id": ENTRANCE, "bounding": [-260, 0, IO_WIDTH, 40 + len(kinds) * SLOT]},
            "outputNode": {"id": EXIT, "bounding": [right + 120, 0, IO_WIDTH, 40 + len(going) * SLOT]},
            "inputs": [
                _slot("input", name, kind, ids, -160, slot)
                for slot, ((name, kind), ids) in enumerate(zip(kinds, coming))
            ],
            "outputs": [
                _slot("output", name, source.kind, ids, right + 140, slot)
                for slot, ((name, source), ids) in enumerate(zip(self.outputs.items(), going))
            ],
            "widgets": [],
            "nodes": ui["nodes"],
            "groups": ui["groups"],
            "links": links,
            "extra": {},
            "description": ABOUT,
        }


def _link(number: int, origin: int, from_slot: int, target: int, to_slot: int, kind: str) -> dict[str, Any]:
    return {
        "id": number,
        "origin_id": origin,
        "origin_slot": from_slot,
        "target_id": target,
        "target_slot": to_slot,
        "type": kind,
    }


def _slot(side: str, name: str, kind: str, links: list[int], x: int, row: int) -> dict[str, Any]:
    number = uuid.uuid5(NAMESPACE, f"{NAME}/{side}/{name}")
    return {"id": str(number), "name": name, "type": kind, "linkIds": links, "pos": [x, 20 + row * SLOT]}


def entrance(**kinds: str) -> Node:
    """What stands for the outside of a blueprint: a node with these outputs, name -> type."""
    outputs = tuple(OutputType(*each) for each in kinds.items())
    return Node(ENTRANCE, NodeType(NAME, NAME, (), outputs, False), NAME, (0, 0), (0, 0), {}, {})


def acfun_portrait(types: NodeTypes) -> Blueprint:
    """Train, Apply, Sampler and Decode, with the size of pictures of Stable Diffusion 1.x until it is changed."""
    outside = entrance(
        model="MODEL",
        clip="CLIP",
        vae="VAE",
        clip_vision="CLIP_VISION",
        style_image="IMAGE",
        face_image="IMAGE",
        description="STRING",
        size="INT",
        steps="INT",
        name="STRING",
        seed="INT",
        cfg="FLOAT",
    )
    graph = Graph(NAME, types)
    size = outside["size"]
    with graph.group("Train", GREEN):
        graph.column(x=0, width=420)
        style = {"image": outside["style_image"]}
        face, words = outside["face_image"], outside["description"]
        chosen = {"steps": outside["steps"], "resolution": size}
        trained = train(graph, outside, style, face, words, outside["name"], **chosen)
    with graph.group("Draw", BROWN):
        graph.column(x=480, width=380)
        applied = apply(graph, outside, trained["adapter"])
        chosen = {"seed": outside["seed"], "cfg": outside["cfg"], "width": size, "height": size}
        drawn = sampler(graph, applied, words, **chosen)
        picture = decode(graph, outside, drawn, "Decode")
    # An input that is connected keeps a value too: it is what the node shows on the outside at first.
    trained.values.update(description=DESCRIPTION, resolution=LARGE_SIDE, steps=TRAINING["steps"], name="portrait")
    drawn.values.update(prompt=DESCRIPTION, width=LARGE_SIDE, height=LARGE_SIDE, seed=SAMPLING["seed"], cfg=7.0)
    return Blueprint(graph, outside, {"image": picture})
