"""A Ray cluster of two one-core machines on this machine, and what a batch gains by the second one.

Usage: ``python -m tools.batch.cluster``; prints one JSON line. Exit code 1 if a picture differs between one process, one
worker and two. It takes two cores for itself: with other work beside it, the times mean little.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

from safetensors import safe_open

REPO = Path(__file__).resolve().parents[2]
PICTURES = REPO / "pictures"
OBJECT_STORE = 80 * 2**20


class Machines:
    """A head and, if there are two, one more node, each of one core."""

    def __init__(self, nodes: int):
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        from ray.cluster_utils import Cluster

        self.settings = {"num_cpus": 1, "object_store_memory": OBJECT_STORE}
        self.cluster = Cluster(initialize_head=True, head_node_args={**self.settings, "include_dashboard": False})
        self.second = self.cluster.add_node(**self.settings) if nodes == 2 else None
        self.address = self.cluster.address

    def lose_second(self) -> None:
        """The second node dies as if its plug was pulled, and another one comes."""
        self.cluster.remove_node(self.second, allow_graceful=False)
        self.second = self.cluster.add_node(**self.settings)

    def raylets(self) -> list[int]:
        """Process numbers of the nodes' own programs, whose children the workers are."""
        nodes = [self.cluster.head_node, self.second]
        return [node.all_processes["raylet"][0].process.pid for node in nodes if node is not None]


@contextmanager
def machines(nodes: int = 2):
    both = Machines(nodes)
    try:
        yield both
    finally:
        both.cluster.shutdown()


def command(plan: Path, out: Path, *further) -> list[str]:
    return [sys.executable, "-m", "acfun_core", "batch", *map(str, (plan, "--out", out, "--json", "--quiet", *further))]


def made_plan(folder: Path, styles: int, faces: int, options: dict) -> Path:
    """Style pictures of this repository, and as many faces as are wanted: shades of the photo that comes with it."""
    from PIL import Image, ImageEnhance

    chosen = sorted(PICTURES.glob("style_*"))[:styles]
    photo = Image.open(PICTURES / "face_astronaut.png").convert("RGB")
    for number in range(faces):
        ImageEnhance.Color(photo).enhance(0.4 + 0.1 * number).save(folder / f"face{number}.png")
    rows = [{"style": str(style), "face": f"face{face}.png", **options} for style in chosen for face in range(faces)]
    path = folder / "plan.yaml"
    path.write_text(json.dumps(rows), encoding="utf-8")
    return path


def digests(out: Path) -> dict[str, str]:
    """Name -> content of every picture and every adapter; what is half-written would be among them."""
    pictures = {path.name: path.read_bytes() for path in (out / "pictures").iterdir()}
    adapters = {path.name: adapter_content(path) for path in (out / "adapters").iterdir()}
    return {name: hashlib.sha256(content).hexdigest() for name, content in sorted((pictures | adapters).items())}


def adapter_content(path: Path) -> bytes:
    """Tensors and metadata in order: safetensors writes the entries of its metadata in another one each time."""
    with safe_open(str(path), "np") as file:
        parts = [json.dumps(file.metadata(), sort_keys=True).encode()]
        parts += [name.encode() + file.get_tensor(name).tobytes() for name in sorted(file.keys())]
    return b"".join(parts)


def timed(words: list[str]) -> float:
    start = time.monotonic()
    ended = subprocess.run(words, cwd=REPO, capture_output=True, text=True)
    if ended.returncode != 0:
        raise RuntimeError(f"the batch ended with {ended.returncode}: {ended.stderr[-2000:]}")
    return round(time.monotonic() - start, 1)


def compared(folder: Path, styles: int, faces: int, options: dict) -> dict:
    plan = made_plan(folder, styles, faces, options)
    told: dict = {"pictures": styles * faces, "options": options}
    told["one_process_seconds"] = timed(command(plan, folder / "here"))
    with machines() as both:
        for workers in (1, 2):
            seconds = timed(command(plan, folder / str(workers), "--ray", both.address, "--workers", workers))
            told[f"workers_{workers}_seconds"] = seconds
    told["share_of_one_worker"] = round(told["workers_2_seconds"] / told["workers_1_seconds"], 3)
    wanted = digests(folder / "here")
    told["equal"] = len(wanted) == styles * (faces + 1) and all(digests(folder / name) == wanted for name in "12")
    told["load_before"] = os.getloadavg()[0]
    return told


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--styles", type=int, default=4)
    parser.add_argument("--faces", type=int, default=10)
    parser.add_argument("--train-steps", type=int, default=10)
    parser.add_argument("--draw-steps", type=int, default=10)
    parser.add_argument("--resolution", type=int, default=128)
    options = parser.parse_args()
    few = {
        "train.steps": options.train_steps,
        "draw.steps": options.draw_steps,
        "resolution": options.resolution,
    }
    with tempfile.TemporaryDirectory() as folder:
        told = compared(Path(folder), options.styles, options.faces, few)
    print(json.dumps(told))
    return 0 if told["equal"] else 1


if __name__ == "__main__":
    sys.exit(main())
