"""API-format graphs for tests, put together from named parts."""

from __future__ import annotations

from acfun_core.strengths import PARTS

STYLE, FACE = "style_woodblock.png", "face_astronaut.png"
PROMPT = "a painting of a woman in S* style"
PLAIN_PROMPT = PROMPT.replace("S*", "painting")
SIDE = 64
"""Of the pictures they train on and draw, in pixels: enough to see that something changes, too small for what it looks like."""


def node(kind: str, /, **inputs) -> dict:
    return {"class_type": kind, "inputs": inputs}


def base_graph() -> dict:
    """The demo base and both example pictures. The same ids in all graphs, so that the server keeps one base."""
    return {
        "base": node("ACFunLoadDemoBase"),
        "style": node("ACFunExampleImage", picture=STYLE),
        "face": node("ACFunExampleImage", picture=FACE),
    }


def train_node(**changes) -> dict:
    """Train ACFun Style on the base graph; by default so short and steep that a few steps show."""
    settings = {
        "model": ["base", 0],
        "clip": ["base", 1],
        "vae": ["base", 2],
        "clip_vision": ["base", 3],
        "style_image": ["style", 0],
        "face_image": ["face", 0],
        "description": PROMPT,
        "steps": 6,
        "learning_rate": 3e-3,
        "style_weight": 0.8,
        "face_weight": 1.0,
        "seed": 0,
        "resolution": SIDE,
        "preview_every": 0,
        "name": "test",
    }
    return node("ACFunTrainStyle", **{**settings, **changes})


def apply_node(model=("base", 0), adapter=("train", 0), strengths=(1.0, 1.0, 1.0)) -> dict:
    abstract, encoder, decoder = strengths
    return node(
        "ACFunApplyAdapter",
        model=list(model),
        clip=["base", 1],
        adapter=list(adapter),
        abstract_strength=abstract,
        encoder_strength=encoder,
        decoder_strength=decoder,
    )


USAGE = {
    **{f"{part}_{end}": share for part in PARTS for end, share in (("start", 0.0), ("end", 1.0))},
    "blocks": "all",
    "guidance": "both",
}
"""ACFun Adapter Options as they come: always and everywhere."""


def adapter_options(**changes) -> dict:
    return node("ACFunAdapterOptions", **{**USAGE, **changes})


def sampler_node(model, applied: str, **changes) -> dict:
    settings = {
        "model": list(model),
        "clip": ["base", 1],
        "adapter": [applied, 2],
        "prompt": PROMPT,
        "negative": "",
        "seed": 3,
        "steps": 4,
        "cfg": 3.0,
        "sampler_name": "ddim",
        "scheduler": "normal",
        "width": SIDE,
        "height": SIDE,
        "batch_size": 1,
    }
    return node("ACFunSampler", **{**settings, **changes})


def ksampler_nodes(model=("base", 0), positive=("positive", 0), latent=("noise", 0), denoise=1.0, side=SIDE) -> dict:
    """Stock nodes that draw the plain prompt with the settings of :func:`sampler_node`; the result is ``stock``."""
    return {
        "positive": node("CLIPTextEncode", clip=["base", 1], text=PLAIN_PROMPT),
        "negative": node("CLIPTextEncode", clip=["base", 1], text=""),
        "noise": node("EmptyLatentImage", width=side, height=side, batch_size=1),
        "stock": node(
            "KSampler",
            model=list(model),
            seed=3,
            steps=4,
            cfg=3.0,
            sampler_name="ddim",
            scheduler="normal",
            positive=list(positive),
            negative=["negative", 0],
            latent_image=list(latent),
            denoise=denoise,
        ),
    }


def compare_node(one, two) -> dict:
    return node("ProbeLatents", one=list(one), two=list(two))


def digest_node() -> dict:
    return node("ProbeDigest", model=["base", 0], clip=["base", 1])
