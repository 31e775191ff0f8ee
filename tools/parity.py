"""The same adapter on the same weights in ComfyUI and in diffusers: how far apart are the two portraits?

Started by ``make parity``. A random adapter on the demo base, 40 DDIM steps from the same noise, once through ACFun
Sampler in a real ComfyUI server and once through ``acfun_core.backends``. Prints one JSON line with ``max_abs_difference`` in
latent space; ends with 1 if it is above the limit.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

from acfun_core.backends.stable_diffusion import StableDiffusion
from acfun_core.config import AdapterConfig
from acfun_core.demo_base import NATIVE_SIDE
from acfun_core.diffusion.schedule import LEAST_ALPHA
from acfun_core.method.adapter import StyleAdapter
from acfun_core.method.pseudo_word import Members
from acfun_core.storage import adapter_file
from acfun_core.strengths import PARTS, Strengths
from acfun_core.training.loop import seeded
from acfun_core.unet.blocks import channels_to_train
from tools.comfy.client import ComfyClient
from tools.comfy.graphs import node
from tools.comfy.launcher import define_torchvision_operators
from tools.comfy.server import ComfyServer

REPO = Path(__file__).resolve().parents[1]

LIMIT = 1e-3
BASE = REPO / "base"
DESCRIPTION = "a painting of a woman in S* style"
SETTINGS = {"prompt": DESCRIPTION, "negative": "", "seed": 7, "steps": 40, "cfg": 3.0, "batch": 1}
IMAGE_WIDTH, STYLE_TOKENS = 256, 65


def random_adapter(base: StableDiffusion, seed: int = 0, **options) -> StyleAdapter:
    """An adapter that was never trained but changes everything it can: e_a and every map of CFun."""
    config = AdapterConfig(DESCRIPTION, **options)
    text = base.core_base(config.training_text).text
    channels = channels_to_train(base.sites, config.blocks, config.place)
    with seeded(seed, torch.device("cpu")) as generator:
        tokens = torch.randn(STYLE_TOKENS, IMAGE_WIDTH, generator=generator)
        adapter = StyleAdapter(
            *(config, text.initial_row, tokens, channels), base.family.name, base.key, base.prediction
        )
        with torch.no_grad():
            # What starts at zero; the attention before it starts at random.
            for parameter in adapter.afun.parameters():
                if not parameter.any():
                    parameter.add_(0.05 * torch.randn(parameter.shape, generator=generator))
            for parameter in adapter.cfun.parameters():
                parameter.add_(0.005 * torch.randn(parameter.shape, generator=generator))
    adapter.settle(text)
    return adapter.requires_grad_(False)


def three_strengths(strengths: Strengths) -> dict:
    return {f"{part}_strength": getattr(strengths, part) for part in PARTS}


@dataclass(frozen=True)
class Source:
    """A base as ComfyUI loads it: nodes by name, and the outputs of theirs that are MODEL and CLIP.

    ``scale`` makes of a LATENT what the UNet sees.
    """

    nodes: dict
    model: list
    clip: list
    scale: float = 1.0


def demo_source(base: StableDiffusion) -> Source:
    """The demo base.

    Args:
        base: the same as diffusers has it; if it predicts v there, the MODEL is told so.
    """
    nodes = {"base": node("ACFunLoadDemoBase")}
    if base.prediction == "epsilon":
        return Source(nodes, ["base", 0], ["base", 1])
    zero_snr = bool(base.schedule.alphas_cumprod[-1] <= LEAST_ALPHA)
    nodes["told"] = node("ModelSamplingDiscrete", model=["base", 0], sampling="v_prediction", zsnr=zero_snr)
    return Source(nodes, ["told", 0], ["base", 1])


def comfy_graph(
    names: Sequence[str],
    strengths: Sequence[Strengths],
    settings: dict,
    side: int,
    scheduler: str,
    source: Source,
) -> dict:
    """One adapter file of models/acfun, or the mix of several with the first one's strengths, and what ACFun Sampler draws."""
    first = strengths[0]
    windows = {name: getattr(first, name) for part in PARTS for name in (f"{part}_start", f"{part}_end")}
    chosen = {"clip": source.clip, **three_strengths(first), "options": ["options", 0]}
    graph = {
        **source.nodes,
        "options": node("ACFunAdapterOptions", **windows, blocks=first.blocks, guidance=first.guidance),
    }
    if len(names) == 1:
        graph["style"] = node("ACFunLoadAdapter", model=source.model, adapter_name=names[0], **chosen)
    else:
        graph["style"] = node("ACFunApplyAdapter", model=source.model, adapter=["mix", 0], **chosen)
        mixed = {f"adapter_{number}": [f"load_{number}", 2] for number in range(1, len(names) + 1)}
        mixed |= {f"weight_{number}": strength.weight for number, strength in enumerate(strengths, 1)}
        graph["mix"] = node("ACFunMixAdapters", **mixed)
        for number, name in enumerate(names, 1):
            graph[f"load_{number}"] = node(
                "ACFunLoadAdapter",
                model=source.model,
                clip=source.clip,
                adapter_name=name,
                **three_strengths(Strengths()),
            )
    graph["draw"] = node(
        "ACFunSampler",
        model=["style", 0],
        clip=source.clip,
        adapter=["style", 2],
        **{name: settings[name] for name in ("prompt", "negative", "seed", "steps", "cfg")},
        sampler_name="ddim",
        scheduler=scheduler,
        width=side,
        height=side,
        batch_size=settings["batch"],
    )
    graph["save"] = node("SaveLatent", samples=["draw", 0], filename_prefix="parity")
    return graph


def comfy_latents(
    server: ComfyServer,
    client: ComfyClient,
    members: Members,
    settings: dict,
    side: int,
    scheduler: str,
    source: Source,
) -> Tensor:
    """(batch, 4, h, w) from the server; the adapters travel as files, as a user's would."""
    # Names of their own: the server keeps the files it has read.
    names = [f"parity_{uuid.uuid4().hex}.safetensors" for _ in members]
    for name, (adapter, _) in zip(names, members):
        adapter_file.save(adapter, server.folder("models/acfun") / name)
    known = set(server.folder("output").glob("parity*.latent"))
    client.run(comfy_graph(names, [strengths for _, strengths in members], settings, side, scheduler, source))
    [path] = set(server.folder("output").glob("parity*.latent")) - known
    return load_file(path)["latent_tensor"]


def compare(
    server: ComfyServer,
    client: ComfyClient,
    base: StableDiffusion,
    members: Members,
    side: int = NATIVE_SIDE,
    source: Source | None = None,
    **changes,
) -> dict:
    """Draw with both. -> the largest difference, and how far the adapters themselves move the latent.

    Args:
        source: ``base`` as ComfyUI has it; None is the demo base.
    """
    settings = {**SETTINGS, **changes}
    start = time.monotonic()
    source = source or demo_source(base)
    in_comfy = source.scale * comfy_latents(server, client, members, settings, side, base.scheduler, source)
    in_diffusers = base.sample(members=members, size=(side, side), **settings)
    off = [(adapter, Strengths(0.0, 0.0, 0.0)) for adapter, _ in members]
    without = base.sample(members=off, size=(side, side), **settings)
    return {
        "max_abs_difference": (in_comfy - in_diffusers).abs().max().item(),
        "limit": LIMIT,
        "largest_latent_value": in_diffusers.abs().max().item(),
        "change_by_the_adapter": (in_diffusers - without).abs().max().item(),
        "steps": settings["steps"],
        "sampler": "ddim",
        "scheduler": base.scheduler,
        "seconds": round(time.monotonic() - start, 1),
    }


def load_base() -> StableDiffusion:
    """The demo base on the CPU, where both sides compute in float32."""
    # diffusers imports torchvision, whose compiled operators may not fit a CPU build of torch.
    define_torchvision_operators()
    return StableDiffusion.load(BASE)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=SETTINGS["steps"], help="sampling steps (default 40)")
    parser.add_argument("--seed", type=int, default=SETTINGS["seed"], help="seed of the noise (default 7)")
    options = parser.parse_args()
    base = load_base()
    with ComfyServer() as server, server.client() as client:
        members = [(random_adapter(base), Strengths())]
        result = compare(server, client, base, members, steps=options.steps, seed=options.seed)
    print(json.dumps(result))
    return 0 if result["max_abs_difference"] <= LIMIT else 1


if __name__ == "__main__":
    sys.exit(main())
