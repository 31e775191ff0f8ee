"""What people combine with an adapter - LoRA, ControlNet, patches, inpainting, torch.compile - as parts of ComfyUI graphs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from acfun_core.demo_base import NATIVE_SIDE
from tools.comfy.graphs import PROMPT, base_graph, ksampler_nodes, node

ADAPTER = "combination.safetensors"
COMPILED_STEPS = 2
ON, OFF = (1.0, 1.0, 1.0), (0.0, 0.0, 0.0)

Link = list
Graph = dict[str, dict]


@dataclass(frozen=True)
class Part:
    """Something that a user combines with the adapter.

    Attributes:
        name: of its nodes; title: in the table; how: its settings, for the table.
        model: (graph, model, name) -> the MODEL behind this part, its nodes added to the graph under that name.
        conditions: (graph, positive, negative, name) -> both, changed.
        sampler: inputs of KSampler that are the part; everywhere: inputs that differ in all pictures of its row.
        after: whether it can also stand behind the adapter.
        graph: nodes it needs besides.
    """

    name: str
    title: str
    how: str
    model: Callable[[Graph, Link, str], Link] = lambda graph, model, name: model
    conditions: Callable[[Graph, Link, Link, str], tuple[Link, Link]] = lambda graph, plus, minus, name: (plus, minus)
    sampler: dict = field(default_factory=dict)
    everywhere: dict = field(default_factory=dict)
    after: bool = False
    graph: Graph = field(default_factory=dict)


def patched_by(kind: str, **settings) -> Callable[[Graph, Link, str], Link]:
    """A part that is one node from MODEL to MODEL."""

    def model(graph: Graph, before: Link, name: str) -> Link:
        graph[name] = node(kind, model=before, **settings)
        return [name, 0]

    return model


def picture_nodes(side: int) -> Graph:
    """The face at the side of the drawing, as pixels and as latent, and a mask of its left half."""
    nothing = node("SolidMask", value=0.0, width=side, height=side)
    left = node("SolidMask", value=1.0, width=side // 2, height=side)
    return {
        "small": node("ImageScale", image=["face", 0], upscale_method="area", width=side, height=side, crop="center"),
        "encoded": node("VAEEncode", pixels=["small", 0], vae=["base", 2]),
        "nothing": nothing,
        "left": left,
        "mask": node("MaskComposite", destination=["nothing", 0], source=["left", 0], x=0, y=0, operation="add"),
        "masked": node("SetLatentNoiseMask", samples=["encoded", 0], mask=["mask", 0]),
    }


def controlled(net: str) -> Callable[[Graph, Link, Link, str], tuple[Link, Link]]:
    def conditions(graph: Graph, positive: Link, negative: Link, name: str) -> tuple[Link, Link]:
        graph["edges"] = node("Canny", image=["small", 0], low_threshold=0.2, high_threshold=0.5)
        graph["net"] = node("ControlNetLoader", control_net_name=net)
        ends = {"strength": 1.0, "start_percent": 0.0, "end_percent": 1.0}
        both = {"positive": positive, "negative": negative, "control_net": ["net", 0], "image": ["edges", 0]}
        graph[name] = node("ControlNetApplyAdvanced", **both, **ends)
        return [name, 0], [name, 1]

    return conditions


def parts(lora: str, net: str, side: int = NATIVE_SIDE) -> list[Part]:
    """All parts of the first table, for pictures of so many pixels a side."""
    free_u = {"b1": 1.3, "b2": 1.4, "s1": 0.9, "s2": 0.2}
    tiles = {"tile_size": 32, "swap_size": 1, "max_depth": 1, "scale_depth": False}
    return [
        Part(
            "lora",
            "LoRA",
            "random, rank 4, on two ResBlocks; LoraLoaderModelOnly",
            patched_by("LoraLoaderModelOnly", lora_name=lora, strength_model=1.0),
            after=True,
        ),
        Part(
            "image_attention",
            "IPAdapter-style attention",
            "random image tokens in every cross-attention, set as IPAdapter sets its own",
            patched_by("ProbeImageAttention", scale=1.0, tokens=4),
            after=True,
        ),
        Part("freeu", "FreeU", "1.3, 1.4, 0.9, 0.2; stock node", patched_by("FreeU", **free_u), after=True),
        Part(
            "hypertile",
            "HyperTile",
            "tiles of 32 pixels, max_depth 1, where attention is; stock node",
            patched_by("HyperTile", **tiles),
            after=True,
        ),
        Part(
            "controlnet",
            "ControlNet",
            "random, edges of the photo; stock nodes",
            conditions=controlled(net),
            graph=picture_nodes(side),
        ),
        Part(
            "img2img",
            "img2img",
            "the photo, denoise 0.6; stock nodes",
            sampler={"latent_image": ["encoded", 0], "denoise": 0.6},
            graph=picture_nodes(side),
        ),
        Part(
            "inpainting",
            "inpainting",
            "the left half of the photo; Set Latent Noise Mask",
            sampler={"latent_image": ["masked", 0]},
            graph=picture_nodes(side),
        ),
    ]


def compiled(backend: str) -> Part:
    """torch.compile by a backend."""
    return Part(
        f"compile_{backend}",
        "torch.compile",
        f"backend {backend}, 64 pixels, {COMPILED_STEPS} steps",
        patched_by("ProbeCompile", backend=backend),
        everywhere={"latent_image": ["tiny", 0]},
        after=True,
        graph={"tiny": node("EmptyLatentImage", width=64, height=64, batch_size=1)},
    )


def loaded(strengths: Sequence[float], model: Link) -> dict:
    names = ("abstract_strength", "encoder_strength", "decoder_strength")
    return node("ACFunLoadAdapter", model=model, clip=["base", 1], adapter_name=ADAPTER, **dict(zip(names, strengths)))


def drawing_graph(part: Part, steps: int, side: int = NATIVE_SIDE) -> Graph:
    """What is drawn of one part: ``alone`` without the adapter, ``off`` and ``both`` with it, ``adapter`` without the part, and
    ``behind`` with the part put behind the adapter.
    """
    graph = {**base_graph(), **part.graph, **ksampler_nodes(side=side)}
    stock = graph.pop("stock")
    plain = [["positive", 0], ["negative", 0]]

    def draw(name: str, model: Link, positive: Link, with_part: bool = True) -> None:
        conditions = (positive, plain[1])
        if with_part:
            conditions = part.conditions(graph, *conditions, f"{name}_conditions")
        inputs = {**stock["inputs"], "steps": steps, **part.everywhere, **(part.sampler if with_part else {})}
        graph[name] = node(
            "KSampler", **{**inputs, "model": model, "positive": conditions[0], "negative": conditions[1]}
        )

    def styled(name: str, strengths: Sequence[float], model: Link) -> Link:
        graph[f"{name}_load"] = loaded(strengths, model)
        graph[f"{name}_text"] = node("ACFunTextEncode", clip=["base", 1], adapter=[f"{name}_load", 2], text=PROMPT)
        return [f"{name}_text", 0]

    before = part.model(graph, ["base", 0], "part")
    draw("alone", before, plain[0])
    for name, strengths in (("off", OFF), ("both", ON)):
        positive = styled(name, strengths, before)
        draw(name, [f"{name}_load", 0], positive)
    positive = styled("adapter", ON, ["base", 0])
    draw("adapter", ["adapter_load", 0], positive, with_part=False)
    if part.after:
        draw("behind", part.model(graph, ["adapter_load", 0], "part_behind"), positive)
    return graph
