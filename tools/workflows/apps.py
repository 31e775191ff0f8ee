"""A workflow for App Mode: a form with two photos, the words and a button. On the canvas it is a graph like any other."""

from __future__ import annotations

from .graph import Graph, Node
from .node_types import NodeTypes
from .parts import BLUE, BROWN, FACE, GREEN, GREY, STYLE, apply, decode, load_base, note, sampler, save, train

DESCRIPTION = "a photo of a woman in S* style"


def portrait_app(types: NodeTypes) -> Graph:
    """A photo and a picture in a style of the user's own, at first the pack's -> the portrait."""
    graph = Graph("portrait_app", types)
    graph.column(x=0, width=380)
    graph.note("Start here", note("portrait_app"), height=430)
    with graph.group("Base", GREY):
        graph.column(x=0, width=380, y=530)
        base = load_base(graph)
    with graph.group("1  Your pictures", BLUE):
        graph.column(x=440, width=320)
        face, style = _own_picture(graph, "Face", FACE), _own_picture(graph, "Style", STYLE)
        words = graph.add("PrimitiveStringMultiline", "Description", value=DESCRIPTION)
    with graph.group("2  Train", GREEN):
        graph.column(x=820, width=420)
        trained = train(graph, base, style, face["image"], words["string"], "portrait_app")
    with graph.group("3  Draw", BROWN):
        graph.column(x=1300, width=380)
        drawn = sampler(graph, apply(graph, base, trained["adapter"]), words["string"])
        graph.column(x=1720, width=380)
        result = save(graph, decode(graph, base, drawn, "Decode"), "Result", "acfun/portrait_app")
    inputs = [(face, "image", "photo of the face"), (style, "image", "style picture"), (words, "value", "description")]
    inputs += [(trained, "steps", ""), (trained, "style_weight", ""), (drawn, "seed", "")]
    graph.app(inputs, outputs=[result])
    return graph


def _own_picture(graph: Graph, title: str, picture: str) -> Node:
    """A picture from the input folder, where the pack puts this one; the node shows it itself."""
    return graph.add("LoadImage", title, room=True, image=f"acfun_{picture}")
