"""The pack's two workflows. Node titles are stable: tests, thumbnails and scripts find nodes by them."""

from __future__ import annotations

from .graph import Graph, Node
from .node_types import NodeTypes

FACE = "face_astronaut.png"
STYLE = "style_woodblock.png"
SPLICED_STYLE = "style_woodblock.png"

SIDE = 192  # of the demo base's pictures, in pixels
SAMPLING = {"seed": 0, "steps": 40, "cfg": 3.0, "sampler_name": "ddim", "scheduler": "normal"}
FACE_2_SEED = 1  # of the portrait that the base draws for the spliced face
SIZE = {"width": SIDE, "height": SIDE, "batch_size": 1}
TRAINING = {"steps": 500, "learning_rate": 1e-4, "style_weight": 0.8, "face_weight": 1.0, "seed": 0, "resolution": SIDE, "preview_every": 50}

BLUE, GREEN, BROWN, GREY = "#3f789e", "#8A8", "#b06634", "#888"

SWAP_IN_A_CHECKPOINT = """
## With a Stable Diffusion 1.x checkpoint

The demo base is small, so that everything runs at once. For large pictures:

1. Replace **Load ACFun Demo Base** by **Load Checkpoint** (a Stable Diffusion 1.x file) and **Load CLIP Vision** (ViT-L/14 or ViT-H/14). Connect `MODEL`, `CLIP`, `VAE` and `CLIP_VISION` in its place.
2. **Train ACFun Style**: `resolution` 512.
3. **ACFun Sampler**: `width` and `height` 512, `cfg` 7.
4. {others}: the same size and `cfg`.

An adapter belongs to the base it was trained on.
"""

START_HERE = """
## A face in a style

One photo and one picture in a style are enough. Press **Run**: Train ACFun Style learns from both, then ACFun Sampler draws the person in the style, from pure noise.

**Your own pictures**: replace *Face* and *Style* by **Load Image**. The middle square of each is used.

**The words**: `description` says what the photo shows, with `S*` once, where the name of a style would stand: `a painting of a man in S* style`. Use the same words in ACFun Sampler; then change them, for instance `a painting of a smiling woman in S* style`.
"""

WHAT_TO_TURN = """
## What to change

- Too little style: raise `style_weight`, or `encoder_strength` for strokes and `decoder_strength` for structure.
- Too little of the person: raise `face_weight`, or lower `decoder_strength`.
- Too close to the two pictures: fewer `steps`. Not close enough: more.
- Another portrait: another `seed` in ACFun Sampler. Nothing is trained again.

The adapter is saved in `models/acfun`. Later, **Load ACFun Adapter** takes the place of Train and Apply, and neither picture is needed.
"""

COMPARISON = """
The same noise and the same settings on the base as it is. `S*` starts as the word *painting*, so the text says *painting* where the other says `S*`. What differs between the two portraits is what the adapter learned.
"""

SPLICE = """
## One face from parts of several

**Splice Faces** puts bands of two to four faces below each other; each face should be at the same place in its picture. Here the upper half is a photo, and the lower half was drawn by the demo base.

- `cut_1` is the height of the seam, from 0 (top) to 1 (bottom).
- `blend` 0 keeps the seam hard, as in the paper; 0.06 softens it.
- Replace *Face 1* or the drawn *Face 2* by **Load Image** for faces of your own.

What is learned is one adapter for the spliced face, as for any other.
"""


def load_base(graph: Graph) -> Node:
    return graph.add("ACFunLoadDemoBase", "Demo base")


def example(graph: Graph, title: str, picture: str) -> Node:
    """An example picture, and a view of it."""
    node = graph.add("ACFunExampleImage", title, picture=picture)
    graph.add("PreviewImage", f"{title} preview", room=True, images=node["image"])
    return node


def train(graph: Graph, base: Node, style: Node, face: Node, output: str, description: str, name: str) -> Node:
    return graph.add(
        "ACFunTrainStyle", "Train", room=True, model=base["model"], clip=base["clip"], vae=base["vae"], clip_vision=base["clip_vision"],
        style_image=style["image"], face_image=face[output], description=description, name=name, **TRAINING,
    )  # fmt: skip


def draw(graph: Graph, base: Node, trained: Node, prompt: str) -> Node:
    """Apply the adapter and sample; returns the sampler."""
    applied = graph.add("ACFunApplyAdapter", "Apply", model=base["model"], clip=base["clip"], adapter=trained["adapter"])
    return graph.add(
        "ACFunSampler", "Sampler", model=applied["model"], clip=applied["clip"], adapter=applied["adapter"], prompt=prompt, negative="",
        **SAMPLING, **SIZE,
    )  # fmt: skip


def decode(graph: Graph, base: Node, latent: Node, output: str, title: str) -> Node:
    return graph.add("VAEDecode", title, samples=latent[output], vae=base["vae"])


def save(graph: Graph, image: Node, output: str, title: str, prefix: str) -> None:
    graph.add("SaveImage", title, room=True, images=image[output], filename_prefix=prefix)


def plain_sampler(graph: Graph, base: Node, text: str, suffix: str, seed: int) -> Node:
    """ComfyUI's own sampler on the base as it is; returns the sampler."""
    positive = graph.add("CLIPTextEncode", f"Prompt {suffix}", clip=base["clip"], text=text)
    negative = graph.add("CLIPTextEncode", f"Negative {suffix}", clip=base["clip"], text="")
    empty = graph.add("EmptyLatentImage", f"Size {suffix}", **SIZE)
    return graph.add(
        "KSampler", f"Sampler {suffix}", model=base["model"], positive=positive["conditioning"], negative=negative["conditioning"],
        latent_image=empty["latent"], denoise=1.0, **{**SAMPLING, "seed": seed},
    )  # fmt: skip


def stylization(types: NodeTypes) -> Graph:
    """The main job, with the same portrait without the adapter for comparison."""
    graph = Graph("stylization", types)
    graph.column(x=0, width=380)
    graph.note("Start here", START_HERE, height=330)
    with graph.group("Base", GREY):
        graph.column(x=0, width=380, y=470)
        base = load_base(graph)
    graph.column(x=0, width=380, y=640)
    graph.note("Stable Diffusion 1.x", SWAP_IN_A_CHECKPOINT.format(others="**Size** and **Sampler without adapter**"), height=400)

    with graph.group("1  Face and style", BLUE):
        graph.column(x=440, width=300)
        face = example(graph, "Face", FACE)
        style = example(graph, "Style", STYLE)
    with graph.group("2  Train", GREEN):
        graph.column(x=800, width=420)
        trained = train(graph, base, style, face, "image", "a painting of a woman in S* style", "demo")
    graph.column(x=800, width=420, y=900)
    graph.note("What to change", WHAT_TO_TURN, height=330)
    with graph.group("3  Draw the face in the style", BROWN):
        graph.column(x=1280, width=380)
        latent = draw(graph, base, trained, "a painting of a woman in S* style")
        graph.column(x=1700, width=380)
        save(graph, decode(graph, base, latent, "latent", "Decode"), "image", "Result", "acfun/result")
    with graph.group("4  The same noise without the adapter", GREY):
        graph.column(x=1280, width=380, y=1000)
        plain = plain_sampler(graph, base, "a painting of a woman in painting style", "without adapter", SAMPLING["seed"])
        graph.column(x=1700, width=380, y=1000)
        save(graph, decode(graph, base, plain, "latent", "Decode without adapter"), "image", "Without adapter", "acfun/without_adapter")
        graph.note("Why this comparison", COMPARISON, height=150)
    return graph


def spliced_face(types: NodeTypes) -> Graph:
    """The same with one face put together from a photo and a portrait that the base draws itself."""
    graph = Graph("spliced_face", types)
    graph.column(x=0, width=380)
    graph.note("Start here", SPLICE, height=330)
    with graph.group("Base", GREY):
        graph.column(x=0, width=380, y=470)
        base = load_base(graph)
    graph.column(x=0, width=380, y=640)
    graph.note("Stable Diffusion 1.x", SWAP_IN_A_CHECKPOINT.format(others="**Size of face 2** and **Sampler of face 2**"), height=400)

    with graph.group("1  A second face, drawn by the base", GREY):
        graph.column(x=440, width=380)
        drawn = plain_sampler(graph, base, "a photo of a man", "of face 2", FACE_2_SEED)
        second = decode(graph, base, drawn, "latent", "Face 2")
        graph.add("PreviewImage", "Face 2 preview", room=True, images=second["image"])
    with graph.group("2  Splice", BLUE):
        graph.column(x=880, width=320)
        first = example(graph, "Face 1", FACE)
        spliced = graph.add("ACFunSpliceFaces", "Splice", face_1=first["image"], face_2=second["image"], size=SIDE)
        save(graph, spliced, "face", "Spliced face", "acfun/spliced_face")
    with graph.group("3  Train", GREEN):
        graph.column(x=1260, width=420)
        style = example(graph, "Style", SPLICED_STYLE)
        trained = train(graph, base, style, spliced, "face", "a painting of a person in S* style", "demo_spliced")
    with graph.group("4  Draw the face in the style", BROWN):
        graph.column(x=1740, width=380)
        latent = draw(graph, base, trained, "a painting of a person in S* style")
        save(graph, decode(graph, base, latent, "latent", "Decode"), "image", "Result", "acfun/spliced_result")
    return graph


def all_graphs(types: NodeTypes) -> list[Graph]:
    return [stylization(types), spliced_face(types)]
