"""This project's training node against ComfyUI's TrainLoraNode: same base, same passes, same size, each in a fresh server."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import psutil

from acfun_core.demo_base import NATIVE_SIDE
from tools.comfy.client import ComfyClient
from tools.comfy.graphs import base_graph, node, train_node
from tools.comfy.server import ComfyServer

SHORT = 2
"""Steps of a training before the one that counts: it loads, and what it takes is taken off."""
PICTURES = Path(__file__).resolve().parents[1] / "pictures"

DRAWN = {
    "base": node("ACFunLoadDemoBase"),
    "text": node("CLIPTextEncode", text="a photo", clip=["base", 1]),
    "latent": node("EmptyLatentImage", width=NATIVE_SIDE, height=NATIVE_SIDE, batch_size=2),
    "draw": node(
        "KSampler",
        model=["base", 0],
        positive=["text", 0],
        negative=["text", 0],
        latent_image=["latent", 0],
        seed=0,
        steps=1,
        cfg=1.0,
        sampler_name="ddim",
        scheduler="normal",
        denoise=1.0,
    ),
    "picture": node("VAEDecode", samples=["draw", 0], vae=["base", 2]),
    "shown": node("PreviewImage", images=["picture", 0]),
}
"""Both pictures of a step drawn once: loads everything that a training takes for granted."""


def ours(client: ComfyClient, steps: int, seed: int) -> dict:
    train = train_node(steps=steps, seed=seed, learning_rate=1e-4, resolution=NATIVE_SIDE, name="bench")
    return {**base_graph(), "train": train}


def native(client: ComfyClient, steps: int, seed: int) -> dict:
    from .methods.native import training_graph

    names = []
    for picture in ("style_woodblock.png", "face_astronaut.png"):
        client.upload_image(PICTURES / picture, picture)
        names.append(picture)
    graph = training_graph(*names, "a painting of a woman in sks style", steps, 8, 5e-4, seed)
    for name in ("style", "face"):
        graph[f"{name}_full"] = graph[name]
        sized = {"width": NATIVE_SIDE, "height": NATIVE_SIDE, "upscale_method": "area", "crop": "center"}
        graph[name] = node("ImageScale", image=[f"{name}_full", 0], **sized)
    return graph


def measured(graph_of: Callable[[ComfyClient, int, int], dict], steps: int, cuda: bool) -> dict:
    """Milliseconds a pass; the server's memory with all models loaded and used once, and the largest in the first training."""
    from .speed import forget_peak, peak_mb

    with ComfyServer(cpu=not cuda) as server, server.client() as client:
        process = psutil.Process(server.process.pid)

        def run(count: int, seed: int) -> tuple[float, float]:
            graph = graph_of(client, count, seed)
            wall, processor = time.perf_counter(), sum(process.cpu_times()[:2])
            client.run(graph, timeout=3600)
            return time.perf_counter() - wall, sum(process.cpu_times()[:2]) - processor

        client.run(DRAWN, timeout=3600)
        before = process.memory_info().rss / 1e6
        forget_peak(process.pid)
        run(SHORT + steps, 1)
        # Later ones find the server full of what the first has left.
        peak = peak_mb(process.pid)
        short, long = run(SHORT, 2), run(SHORT + steps, 3)
    wall, processor = (1e3 * (b - a) / (2 * steps) for a, b in zip(short, long))
    return {"ms_a_pass": wall, "processor_ms_a_pass": processor, "before_mb": before, "peak_mb": peak}


def nodes_row(cuda: bool, steps: int) -> dict:
    """Both nodes, one after the other; ratios first."""
    found = {"ours": measured(ours, steps, cuda), "TrainLoraNode": measured(native, steps, cuda)}
    one, other = found["ours"], found["TrainLoraNode"]
    by = "ms_a_pass" if cuda else "processor_ms_a_pass"
    ratios = {"times_faster_a_pass": other[by] / one[by]}
    if one["peak_mb"] and not cuda:
        ratios["share_of_its_peak"] = one["peak_mb"] / other["peak_mb"]
        ratios["share_of_what_it_adds"] = (one["peak_mb"] - one["before_mb"]) / (other["peak_mb"] - other["before_mb"])
    return {**ratios, "passes": 2 * steps, **found}
