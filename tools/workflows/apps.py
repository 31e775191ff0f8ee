"""A workflow for App Mode: a form with two photos, the words and a button. On the canvas it is a graph like any other."""

from __future__ import annotations

from acfun_core.presets import PRESETS

from .graph import Graph, Node
from .node_types import NodeTypes
from .parts import (
    BLUE,
    BROWN,
    FACE,
    GREEN,
    GREY,
    STYLE,
    apply,
    by_preset,
    close_up,
    decode,
    load_base,
    note,
    save,
    train_style,
)

DESCRIPTION = PRESETS["keep_person"].prompt


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
        trained = train_style(graph, base, style, "portrait_app")
    with graph.group("Cut around the face", GREY):
        graph.column(x=820, width=420, y=1000)
        cut = close_up(graph, face["image"], own=True)
    with graph.group("3  Draw", BROWN):
        graph.column(x=1300, width=380)
        applied = apply(graph, base, trained["adapter"])
        drawn = by_preset(graph, "keep_person", applied, base, cut, style, words["string"])
        graph.column(x=1720, width=380)
        result = save(graph, decode(graph, base, drawn, "Decode"), "Result", "acfun/portrait_app")
    inputs = [(face, "image", "photo of the face"), (style, "image", "style picture"), (words, "value", "description")]
    inputs += [
        (drawn, "preset", "how to draw"),
        (applied, "encoder_strength", "strokes of the style"),
        (drawn, "seed", ""),
    ]
    graph.app(inputs, outputs=[result])
    return graph


def _own_picture(graph: Graph, title: str, picture: str) -> Node:
    """A picture from the input folder, where the pack puts this one; the node shows it itself."""
    return graph.add("LoadImage", title, room=True, image=f"acfun_{picture}")
