"""Many trainings and portraits in one ComfyUI server: its memory and its open files must stay flat.

Run by ``make soak``. After a few rounds to warm up, each further round trains a new adapter on the demo base, draws with it and
shows the portrait. Prints one JSON line; exit code 1 if memory or open files grow.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Sequence

import psutil

from tools.comfy.client import ComfyClient
from tools.comfy.graphs import apply_node, base_graph, node, sampler_node, train_node
from tools.comfy.server import ComfyServer

SIDE, STEPS = 64, 2
LARGEST_SLOPE = 0.25
"""MB a round. A training that stayed in memory would add its adapter and the moments of its optimizer, over 10 MB."""
MORE_HANDLES = 2
"""Open files and sockets at the end beyond those after the warm-up; a look may fall on one that is open for a moment."""
LEAST_ROUNDS = 20
"""Fewer say nothing of a slope: what the allocator takes and gives back is larger."""


def graph(number: int) -> dict:
    """Train, apply, draw, show; the seed makes each training a new one."""
    return {
        **base_graph(),
        "train": train_node(steps=STEPS, seed=number, resolution=SIDE, name="soak"),
        "apply": apply_node(),
        "portrait": sampler_node(("apply", 0), "apply", seed=number, steps=STEPS, width=SIDE, height=SIDE),
        "decoded": node("VAEDecode", samples=["portrait", 0], vae=["base", 2]),
        "shown": node("PreviewImage", images=["decoded", 0]),
    }


def soak(server: ComfyServer, client: ComfyClient, rounds: int, warm_up: int) -> dict:
    """So many rounds in one server, and what it held after each. -> the line that is printed."""
    start, memory, handles = time.monotonic(), [], []
    process = psutil.Process(server.process.pid)
    for number in range(warm_up + rounds):
        pictures = client.run(graph(number)).images("shown")
        if len(pictures) != 1:
            raise RuntimeError(f"round {number} has shown {len(pictures)} pictures")
        memory.append(process.memory_info().rss / 1e6)
        handles.append(process.num_handles() if hasattr(process, "num_handles") else process.num_fds())
    files = len(list(server.folder("models/acfun").glob("soak_*.safetensors")))
    told = judged(memory[warm_up:], handles[warm_up:])
    return {**told, "adapters": files, "seconds": round(time.monotonic() - start, 1)}


def judged(memory: Sequence[float], handles: Sequence[int]) -> dict:
    """Whether MB and open files after each round, from the last one of the warm-up on, stay where they are."""
    slope = statistics.linear_regression(range(len(memory)), memory).slope
    # Of a few rounds, so that one look at an unlucky moment does not count.
    few = max(1, len(memory) // 10)
    grown = statistics.median(handles[-few:]) - statistics.median(handles[:few])
    flat = slope <= LARGEST_SLOPE or len(memory) < LEAST_ROUNDS
    return {
        "ok": flat and grown <= MORE_HANDLES,
        "rounds": len(memory),
        "mb_after_warm_up": round(memory[0], 1),
        "mb_at_end": round(memory[-1], 1),
        "mb_a_round": round(slope, 3),
        "limit_mb_a_round": LARGEST_SLOPE,
        "handles_after_warm_up": handles[0],
        "handles_at_end": handles[-1],
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--warm-up", type=int, default=10, help="rounds before the first look")
    options = parser.parse_args()
    with ComfyServer() as server, server.client() as client:
        told = soak(server, client, options.rounds, options.warm_up)
    print(json.dumps(told))
    return 0 if told["ok"] else 1


if __name__ == "__main__":
    sys.exit(main())
