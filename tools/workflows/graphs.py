"""The main job: a face in a style, with a training and without, and the same with a spliced face."""

from __future__ import annotations

from acfun_core.presets import PRESETS

from .graph import Graph
from .node_types import NodeTypes
from .parts import (
    BLUE,
    BROWN,
    FACE,
    FACE_2_SEED,
    GREEN,
    GREY,
    SIDE,
    SPLICED_STYLE,
    STYLE,
    apply,
    beside_both,
    by_preset,
    close_up,
    decode,
    draw,
    example,
    load_base,
    note,
    plain_sampler,
    save,
    style_transfer,
    train,
    train_style,
)


def stylization(types: NodeTypes) -> Graph:
    """The main job, with the same portrait without a training for comparison."""
    graph = Graph("stylization", types)
    graph.column(x=0, width=380)
    graph.note("Start here", note("start_here"), height=310)
    with graph.group("Base", GREY):
        graph.column(x=0, width=380, y=440)
        base = load_base(graph)
    graph.column(x=0, width=380, y=610)
    graph.note(
        "Stable Diffusion 1.x",
        note("stable_diffusion").format(others="*Sampler without training*"),
        height=330,
    )

    with graph.group("1  Face and style", BLUE):
        graph.column(x=440, width=300)
        face = example(graph, "Face", FACE)
        cut = close_up(graph, face["image"])
        style = example(graph, "Style", STYLE)
    with graph.group("2  Train on the style", GREEN):
        graph.column(x=800, width=420)
        trained = train_style(graph, base, style, "demo")
    graph.column(x=800, width=420, y=800)
    graph.note("What to change", note("what_to_change"), height=370)
    with graph.group("3  Draw the face in the style", BROWN):
        graph.column(x=1280, width=380)
        applied = apply(graph, base, trained["adapter"])
        prompt = PRESETS["keep_person"].prompt
        latent = by_preset(graph, "keep_person", applied, base, cut, style, prompt)
        graph.column(x=1700, width=380)
        save(graph, decode(graph, base, latent, "Decode"), "Result", "acfun/result")
    with graph.group("4  The same without a training", GREY):
        graph.column(x=1280, width=380, y=1060)
        plain = by_preset(
            graph, "instant", base, base, cut, style, "a woodcut print of a woman", "Sampler without training"
        )
        graph.column(x=1700, width=380, y=1060)
        picture = decode(graph, base, plain, "Decode without training")
        save(graph, picture, "Without training", "acfun/without_training")
        graph.note("Why this comparison", note("comparison"), height=150)
    return graph


def instant(types: NodeTypes) -> Graph:
    """A MODEL that draws the photo in the style with ComfyUI's own sampler, and nothing learned."""
    graph = Graph("instant", types)
    graph.column(x=0, width=380)
    graph.note("Start here", note("instant"), height=360)
    with graph.group("Base", GREY):
        graph.column(x=0, width=380, y=490)
        base = load_base(graph)
    with graph.group("1  Face and style", BLUE):
        graph.column(x=440, width=300)
        face = example(graph, "Face", FACE)
        cut = close_up(graph, face["image"])
        style = example(graph, "Style", SPLICED_STYLE)
    with graph.group("2  Look at both", GREEN):
        graph.column(x=800, width=380)
        patched = style_transfer(graph, base, cut, style)
    with graph.group("3  Draw with any sampler", BROWN):
        graph.column(x=1240, width=380)
        drawn = beside_both(graph, base, patched, "an oil painting of a woman")
        graph.column(x=1660, width=380)
        save(graph, decode(graph, base, drawn, "Decode"), "Result", "acfun/instant")
    return graph


def spliced_face(types: NodeTypes) -> Graph:
    """The same with one face put together from a photo and a portrait that the base draws itself."""
    graph = Graph("spliced_face", types)
    graph.column(x=0, width=380)
    graph.note("Start here", note("splice"), height=330)
    with graph.group("Base", GREY):
        graph.column(x=0, width=380, y=440)
        base = load_base(graph)
    graph.column(x=0, width=380, y=610)
    graph.note(
        "Stable Diffusion 1.x",
        note("stable_diffusion").format(others="*Size of face 2*, *Sampler of face 2* and *Splice*"),
        height=330,
    )

    with graph.group("1  A second face", GREY):
        graph.column(x=440, width=380)
        drawn = plain_sampler(graph, base, "a photo of a man", "of face 2", FACE_2_SEED)
        second = decode(graph, base, drawn, "Face 2")
        graph.add("PreviewImage", "Face 2 preview", room=True, images=second)
    with graph.group("2  Splice", BLUE):
        graph.column(x=880, width=320)
        first = example(graph, "Face 1", FACE)
        spliced = graph.add("ACFunSpliceFaces", "Splice", face_1=first["image"], face_2=second, size=SIDE)
        save(graph, spliced["face"], "Spliced face", "acfun/spliced_face")
    with graph.group("3  Train", GREEN):
        graph.column(x=1260, width=420)
        style = example(graph, "Style", SPLICED_STYLE)
        trained = train(graph, base, style, spliced["face"], "a photo of a person in S* style", "demo_spliced")
    with graph.group("4  Draw the face in the style", BROWN):
        graph.column(x=1740, width=380)
        latent = draw(graph, base, trained, "a photo of a person in S* style")
        save(graph, decode(graph, base, latent, "Decode"), "Result", "acfun/spliced_result")
    return graph
