"""What the workflows are put together from. Node titles are stable: tests, thumbnails and scripts find nodes by them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from acfun_core.demo_base import NATIVE_SIDE
from acfun_core.faces.crop import CLOSE_UP
from acfun_core.presets import PRESETS

from .graph import Graph, Node, Output

FACE = "face_astronaut.png"
FACE_BOX = {"box_x": 138, "box_y": 116, "box_width": 236, "box_height": 295}  # of FACE, in pixels
STYLE = "style_woodblock.png"
SPLICED_STYLE = "style_oil.jpg"

CHECKPOINT = "v1-5-pruned-emaonly-fp16.safetensors"
IMAGE_ENCODER = "clip_vision_h.safetensors"

SIDE, LARGE_SIDE = NATIVE_SIDE, 512  # of the pictures of the demo base and of Stable Diffusion 1.x, in pixels
SAMPLING = {"seed": 0, "steps": 40, "cfg": 3.0, "sampler_name": "ddim", "scheduler": "normal"}
FACE_2_SEED = 5  # of the portrait that the base draws for the spliced face
SIZE = {"width": SIDE, "height": SIDE, "batch_size": 1}
TRAINING = {
    "steps": 300,
    "learning_rate": 1e-4,
    "style_weight": 1.5,
    "face_weight": 1.0,
    "seed": 0,
    "resolution": SIDE,
    "preview_every": 50,
}

BLUE, GREEN, BROWN, GREY = "#3f789e", "#8A8", "#b06634", "#888"


def note(name: str) -> str:
    """A text for the canvas, in Markdown; one line for each paragraph, because the editor keeps line breaks."""
    return (Path(__file__).with_name("notes") / f"{name}.md").read_text(encoding="utf-8")


Base = Node | Mapping[str, Output]  # gives "model", "clip", "vae" and "clip_vision"


def load_base(graph: Graph) -> Node:
    return graph.add("ACFunLoadDemoBase", "Demo base")


def load_checkpoint(graph: Graph) -> dict[str, Output]:
    """A Stable Diffusion 1.x base from files of the user's own, under the names that ComfyUI's templates use."""
    checkpoint = graph.add("CheckpointLoaderSimple", "Checkpoint", ckpt_name=CHECKPOINT)
    vision = graph.add("CLIPVisionLoader", "Image encoder", clip_name=IMAGE_ENCODER)
    return {**{name: checkpoint[name] for name in ("model", "clip", "vae")}, "clip_vision": vision["clip_vision"]}


def example(graph: Graph, title: str, picture: str) -> Node:
    """An example picture, and a view of it."""
    node = graph.add("ACFunExampleImage", title, picture=picture)
    graph.add("PreviewImage", f"{title} preview", room=True, images=node["image"])
    return node


def close_up(graph: Graph, image: Output, own: bool = False) -> Output:
    """A photo cut around its face, as close as the presets want heads.

    Args:
        own: a photo of the user's own, whose face is the detector's or, without one, where the middle square has it.
    """
    found = graph.add("ACFunFindFace", "Find face", room=True, image=image, **({} if own else FACE_BOX))
    cut = graph.add(
        "ACFunCropFace",
        "Cut",
        room=True,
        image=image,
        landmarks=found["landmarks"],
        size=SIDE,
        eye_distance=CLOSE_UP,
    )
    return cut["face"]


def train(
    graph: Graph,
    base: Base,
    style: Node,
    face: Output,
    description: str | Output,
    name: str | Output,
    title: str = "Train",
    **changes,
) -> Node:
    return graph.add(
        "ACFunTrainStyle",
        title,
        room=True,
        model=base["model"],
        clip=base["clip"],
        vae=base["vae"],
        clip_vision=base["clip_vision"],
        style_image=style["image"],
        face_image=face,
        description=description,
        name=name,
        **{**TRAINING, **changes},
    )


def apply(graph: Graph, base: Base, adapter: Output, title: str = "Apply", **inputs) -> Node:
    return graph.add("ACFunApplyAdapter", title, model=base["model"], clip=base["clip"], adapter=adapter, **inputs)


def sampler(graph: Graph, applied: Node, prompt: str | Output, title: str = "Sampler", **changes) -> Node:
    """Draws what an Apply or Load node carries."""
    return graph.add(
        "ACFunSampler",
        title,
        model=applied["model"],
        clip=applied["clip"],
        adapter=applied["adapter"],
        prompt=prompt,
        negative="",
        **{**SAMPLING, **SIZE, **changes},
    )


def train_style(graph: Graph, base: Base, style: Node, name: str, title: str = "Train", **changes) -> Node:
    """Learn the style alone, as the preset keep_person does."""
    return graph.add(
        "ACFunTrainStyle",
        title,
        room=True,
        model=base["model"],
        clip=base["clip"],
        vae=base["vae"],
        clip_vision=base["clip_vision"],
        style_image=style["image"],
        name=name,
        preset="keep_person",
        **{"resolution": SIDE, "preview_every": 20, "description": PRESETS["keep_person"].prompt, **changes},
    )


def by_preset(
    graph: Graph,
    preset: str,
    carrier: Base,
    base: Base,
    photo: Output,
    style: Node,
    prompt: str | Output,
    title: str = "Sampler",
    **changes,
) -> Node:
    """ACFun Sampler with a preset, of what an Apply node or, where nothing is learned, the base itself carries."""
    adapter = {} if PRESETS[preset].train is None else {"adapter": carrier["adapter"]}
    return graph.add(
        "ACFunSampler",
        title,
        model=carrier["model"],
        clip=carrier["clip"],
        **adapter,
        prompt=prompt,
        negative="",
        preset=preset,
        vae=base["vae"],
        photo=photo,
        style_image=style["image"],
        **{**SAMPLING, **SIZE, "cfg": PRESETS[preset].draw.cfg, **changes},
    )


def style_transfer(graph: Graph, base: Base, photo: Output, style: Node, **changes) -> Node:
    """A MODEL that draws a photo in a picture's style; nothing is learned."""
    return graph.add(
        "ACFunStyleTransfer",
        "Style transfer",
        model=base["model"],
        clip=base["clip"],
        vae=base["vae"],
        photo=photo,
        style_image=style["image"],
        preset="instant",
        resolution=SIDE,
        steps=SAMPLING["steps"],
        **{"strength": 1.0, **changes},
    )


def beside_both(graph: Graph, base: Base, patched: Node, text: str | Output) -> Node:
    """ComfyUI's own sampler on the MODEL of :func:`style_transfer`; returns the sampler."""
    positive = graph.add("CLIPTextEncode", "Prompt", clip=base["clip"], text=text)
    negative = graph.add("CLIPTextEncode", "Negative", clip=base["clip"], text="")
    return graph.add(
        "KSampler",
        "Sampler",
        model=patched["model"],
        positive=positive["conditioning"],
        negative=negative["conditioning"],
        latent_image=patched["latent"],
        denoise=1.0,
        **{**SAMPLING, "cfg": PRESETS["instant"].draw.cfg},
    )


def draw(graph: Graph, base: Base, trained: Node, prompt: str) -> Node:
    """Apply the adapter and sample; returns the sampler."""
    return sampler(graph, apply(graph, base, trained["adapter"]), prompt)


def decode(graph: Graph, base: Base, sampler: Node, title: str) -> Output:
    return graph.add("VAEDecode", title, samples=sampler["latent"], vae=base["vae"])["image"]


def save(graph: Graph, image: Output, title: str, prefix: str) -> Node:
    return graph.add("SaveImage", title, room=True, images=image, filename_prefix=prefix)


def plain_sampler(graph: Graph, base: Base, text: str, suffix: str, seed: int) -> Node:
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
