"""The adapter in a chain with other people's parts: a checkpoint, a LoRA and a ControlNet of one's own."""

from __future__ import annotations

from .graph import Graph, Node
from .node_types import NodeTypes
from .parts import (
    BLUE,
    BROWN,
    FACE,
    GREEN,
    GREY,
    LARGE_SIDE,
    SAMPLING,
    SIDE,
    STYLE,
    Base,
    apply,
    decode,
    example,
    load_checkpoint,
    note,
    sampler,
    save,
    train,
)

DESCRIPTION = "a painting of a woman in S* style"
LORA = "MoXinV1.safetensors"
CONTROL_NET = "control_v11p_sd15_canny_fp16.safetensors"
LARGE = {"width": LARGE_SIDE, "height": LARGE_SIDE, "batch_size": 1}
DRAWING = {**SAMPLING, "cfg": 7.0}


def _begin(name: str, types: NodeTypes, note_height: int) -> tuple[Graph, Base, Node, Node]:
    """A graph with its note, a checkpoint, a face and a style -> (graph, base, face, style)."""
    graph = Graph(name, types)
    graph.column(x=0, width=400)
    graph.note("Start here", note(name).format(side=SIDE, cfg=SAMPLING["cfg"]), height=note_height)
    with graph.group("Base", GREY):
        graph.column(x=0, width=400, y=note_height + 120)
        base = load_checkpoint(graph)
    with graph.group("1  Face and style", BLUE):
        graph.column(x=460, width=300)
        return graph, base, example(graph, "Face", FACE), example(graph, "Style", STYLE)


def own_checkpoint(types: NodeTypes) -> Graph:
    """The main job on a Stable Diffusion 1.x checkpoint, at its size and guidance."""
    graph, base, face, style = _begin("own_checkpoint", types, 560)
    with graph.group("2  Train", GREEN):
        graph.column(x=820, width=420)
        trained = train(graph, base, style, face["image"], DESCRIPTION, "own_checkpoint", resolution=LARGE_SIDE)
    with graph.group("3  Draw the face in the style", BROWN):
        graph.column(x=1300, width=380)
        applied = apply(graph, base, trained["adapter"])
        drawn = sampler(graph, applied, DESCRIPTION, cfg=DRAWING["cfg"], **LARGE)
        graph.column(x=1720, width=380)
        save(graph, decode(graph, base, drawn, "Decode"), "Result", "acfun/own_checkpoint")
    with graph.group("4  The same noise without the adapter", GREY):
        graph.column(x=2160, width=380)
        off = {"abstract_strength": 0.0, "encoder_strength": 0.0, "decoder_strength": 0.0}
        plain = apply(graph, base, trained["adapter"], "Apply nothing", **off)
        drawn = sampler(graph, plain, DESCRIPTION, "Sampler without adapter", cfg=DRAWING["cfg"], **LARGE)
        graph.column(x=2580, width=380)
        picture = decode(graph, base, drawn, "Decode without adapter")
        save(graph, picture, "Without adapter", "acfun/own_checkpoint_without_adapter")
    return graph


def lora_controlnet(types: NodeTypes) -> Graph:
    """The adapter together with a LoRA and a ControlNet, all by ComfyUI's own nodes."""
    graph, base, face, style = _begin("lora_controlnet", types, 600)
    with graph.group("2  Train", GREEN):
        graph.column(x=820, width=420)
        trained = train(graph, base, style, face["image"], DESCRIPTION, "lora_controlnet", resolution=LARGE_SIDE)
        applied = apply(graph, base, trained["adapter"])
    with graph.group("3  A LoRA on top", BLUE):
        graph.column(x=1300, width=360)
        lora = graph.add(
            "LoraLoader",
            "LoRA",
            model=applied["model"],
            clip=applied["clip"],
            lora_name=LORA,
            strength_model=0.6,
            strength_clip=0.6,
        )
    with graph.group("4  The edges of the face", BLUE):
        graph.column(x=1300, width=360, y=360)
        positive, negative = _follow_edges(graph, applied, lora, face)
    with graph.group("5  Draw", BROWN):
        graph.column(x=1740, width=380)
        size = graph.add("EmptyLatentImage", "Size", **LARGE)
        drawn = _ksampler(graph, "Sampler", lora, positive, negative, size)
        save(graph, decode(graph, base, drawn, "Decode"), "Result", "acfun/lora_controlnet")
    with graph.group("The adapter alone", GREY):
        graph.column(x=2200, width=380)
        words = _words(graph, applied, applied, " alone")
        drawn = _ksampler(graph, "Sampler alone", applied, *words, size)
        save(graph, decode(graph, base, drawn, "Decode alone"), "Alone", "acfun/adapter_alone")
    return graph


def _words(graph: Graph, applied: Node, patched: Node, suffix: str = "") -> tuple:
    """Both prompts, with S* from the adapter and the text encoder as ``patched`` gives it."""
    adapter = {"clip": patched["clip"], "adapter": applied["adapter"]}
    positive = graph.add("ACFunTextEncode", f"Prompt{suffix}", text=DESCRIPTION, **adapter)
    negative = graph.add("CLIPTextEncode", f"Negative{suffix}", clip=patched["clip"], text="")
    return positive["conditioning"], negative["conditioning"]


def _follow_edges(graph: Graph, applied: Node, lora: Node, face: Node) -> tuple:
    """-> (positive, negative) of a portrait that keeps the outlines of the face."""
    small = graph.add(
        "ImageScale",
        "Face at the same size",
        image=face["image"],
        upscale_method="lanczos",
        width=LARGE_SIDE,
        height=LARGE_SIDE,
        crop="center",
    )
    edges = graph.add("Canny", "Edges", image=small["image"], low_threshold=0.2, high_threshold=0.5)
    graph.add("PreviewImage", "Edges preview", room=True, images=edges["image"])
    control_net = graph.add("ControlNetLoader", "ControlNet", control_net_name=CONTROL_NET)
    positive, negative = _words(graph, applied, lora)
    followed = graph.add(
        "ControlNetApplyAdvanced",
        "Apply ControlNet",
        positive=positive,
        negative=negative,
        control_net=control_net["control_net"],
        image=edges["image"],
        strength=0.6,
        start_percent=0.0,
        end_percent=0.8,
    )
    return followed["positive"], followed["negative"]


def _ksampler(graph: Graph, title: str, model: Node, positive, negative, size: Node) -> Node:
    return graph.add(
        "KSampler",
        title,
        model=model["model"],
        positive=positive,
        negative=negative,
        latent_image=size["latent"],
        denoise=1.0,
        **DRAWING,
    )
