"""The pack's two workflows. Node titles are stable: tests, thumbnails and scripts find nodes by them."""

from __future__ import annotations

from pathlib import Path

from .graph import Graph, Node, Output
from .node_types import NodeTypes

FACE = "face_astronaut.png"
STYLE = "style_woodblock.png"
SPLICED_STYLE = "style_oil.jpg"

SIDE = 192  # of the demo base's pictures, in pixels
SAMPLING = {"seed": 0, "steps": 40, "cfg": 3.0, "sampler_name": "ddim", "scheduler": "normal"}
FACE_2_SEED = 1  # of the portrait that the base draws for the spliced face
SIZE = {"width": SIDE, "height": SIDE, "batch_size": 1}
TRAINING = {
    "steps": 500,
    "learning_rate": 1e-4,
    "style_weight": 0.8,
    "face_weight": 1.0,
    "seed": 0,
    "resolution": SIDE,
    "preview_every": 50,
}

BLUE, GREEN, BROWN, GREY = "#3f789e", "#8A8", "#b06634", "#888"


def note(name: str) -> str:
    """A text for the canvas, in Markdown; one line for each paragraph, because the editor keeps line breaks."""
    return (Path(__file__).with_name("notes") / f"{name}.md").read_text(encoding="utf-8")


def load_base(graph: Graph) -> Node:
    return graph.add("ACFunLoadDemoBase", "Demo base")


def example(graph: Graph, title: str, picture: str) -> Node:
    """An example picture, and a view of it."""
    node = graph.add("ACFunExampleImage", title, picture=picture)
    graph.add("PreviewImage", f"{title} preview", room=True, images=node["image"])
    return node


def train(graph: Graph, base: Node, style: Node, face: Output, description: str, name: str) -> Node:
    return graph.add(
        "ACFunTrainStyle",
        "Train",
        room=True,
        model=base["model"],
        clip=base["clip"],
        vae=base["vae"],
        clip_vision=base["clip_vision"],
        style_image=style["image"],
        face_image=face,
        description=description,
        name=name,
        **TRAINING,
    )


def draw(graph: Graph, base: Node, trained: Node, prompt: str) -> Node:
    """Apply the adapter and sample; returns the sampler."""
    applied = graph.add(
        "ACFunApplyAdapter", "Apply", model=base["model"], clip=base["clip"], adapter=trained["adapter"]
    )
    return graph.add(
        "ACFunSampler",
        "Sampler",
        model=applied["model"],
        clip=applied["clip"],
        adapter=applied["adapter"],
        prompt=prompt,
        negative="",
        **SAMPLING,
        **SIZE,
    )


def decode(graph: Graph, base: Node, sampler: Node, title: str) -> Output:
    return graph.add("VAEDecode", title, samples=sampler["latent"], vae=base["vae"])["image"]


def save(graph: Graph, image: Output, title: str, prefix: str) -> None:
    graph.add("SaveImage", title, room=True, images=image, filename_prefix=prefix)


def plain_sampler(graph: Graph, base: Node, text: str, suffix: str, seed: int) -> Node:
    """ComfyUI's own sampler on the base as it is; returns the sampler."""
    positive = graph.add("CLIPTextEncode", f"Prompt {suffix}", clip=base["clip"], text=text)
    negative = graph.add("CLIPTextEncode", f"Negative {suffix}", clip=base["clip"], text="")
    empty = graph.add("EmptyLatentImage", f"Size {suffix}", **SIZE)
    return graph.add(
        "KSampler",
        f"Sampler {suffix}",
        model=base["model"],
        positive=positive["conditioning"],
        negative=negative["conditioning"],
        latent_image=empty["latent"],
        denoise=1.0,
        **{**SAMPLING, "seed": seed},
    )


def stylization(types: NodeTypes) -> Graph:
    """The main job, with the same portrait without the adapter for comparison."""
    graph = Graph("stylization", types)
    graph.column(x=0, width=380)
    graph.note("Start here", note("start_here"), height=310)
    with graph.group("Base", GREY):
        graph.column(x=0, width=380, y=440)
        base = load_base(graph)
    graph.column(x=0, width=380, y=610)
    graph.note(
        "Stable Diffusion 1.x",
        note("stable_diffusion").format(others="*Size without adapter* and *Sampler without adapter*"),
        height=330,
    )

    with graph.group("1  Face and style", BLUE):
        graph.column(x=440, width=300)
        face = example(graph, "Face", FACE)
        style = example(graph, "Style", STYLE)
    with graph.group("2  Train", GREEN):
        graph.column(x=800, width=420)
        trained = train(graph, base, style, face["image"], "a painting of a woman in S* style", "demo")
    graph.column(x=800, width=420, y=800)
    graph.note("What to change", note("what_to_change"), height=330)
    with graph.group("3  Draw the face in the style", BROWN):
        graph.column(x=1280, width=380)
        latent = draw(graph, base, trained, "a painting of a woman in S* style")
        graph.column(x=1700, width=380)
        save(graph, decode(graph, base, latent, "Decode"), "Result", "acfun/result")
    with graph.group("4  The same noise without the adapter", GREY):
        graph.column(x=1280, width=380, y=920)
        plain = plain_sampler(
            graph, base, "a painting of a woman in painting style", "without adapter", SAMPLING["seed"]
        )
        graph.column(x=1700, width=380, y=920)
        picture = decode(graph, base, plain, "Decode without adapter")
        save(graph, picture, "Without adapter", "acfun/without_adapter")
        graph.note("Why this comparison", note("comparison"), height=150)
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
        trained = train(graph, base, style, spliced["face"], "a painting of a person in S* style", "demo_spliced")
    with graph.group("4  Draw the face in the style", BROWN):
        graph.column(x=1740, width=380)
        latent = draw(graph, base, trained, "a painting of a person in S* style")
        save(graph, decode(graph, base, latent, "Decode"), "Result", "acfun/spliced_result")
    return graph


def all_graphs(types: NodeTypes) -> list[Graph]:
    return [stylization(types), spliced_face(types)]
