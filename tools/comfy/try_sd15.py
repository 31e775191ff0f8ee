"""By hand: the full Stable Diffusion 1.5 architecture (random weights) through the stock loaders and Train ACFun Style.

Writes a 2.7 GB checkpoint and a server's folders under OUT_DIR, takes training steps at 256 px (5 if no number is given), and
prints one JSON line with the losses, seconds and peak memory. Needs about 12 GB of memory; not part of ``make test``.

Usage: ``.venv/bin/python -m tools.comfy.try_sd15 OUT_DIR [STEPS]``
"""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import time
from pathlib import Path

from safetensors import safe_open

from tools.comfy.brought import host_environment
from tools.comfy.install import REPO, ensure_comfy
from tools.comfy.server import ComfyServer


def graph(steps: int, resolution: int) -> dict:
    return {
        "base": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "random_sd15.safetensors"}},
        "vision": {"class_type": "CLIPVisionLoader", "inputs": {"clip_name": "random_clip_vision.safetensors"}},
        "style": {
            "class_type": "EmptyImage",
            "inputs": {"width": 256, "height": 256, "batch_size": 1, "color": 0xC04020},
        },
        "face": {
            "class_type": "EmptyImage",
            "inputs": {"width": 256, "height": 256, "batch_size": 1, "color": 0x2040C0},
        },
        "train": {
            "class_type": "ACFunTrainStyle",
            "inputs": {
                "model": ["base", 0],
                "clip": ["base", 1],
                "vae": ["base", 2],
                "clip_vision": ["vision", 0],
                "style_image": ["style", 0],
                "face_image": ["face", 0],
                "description": "a painting of a woman in S* style",
                "steps": steps,
                "learning_rate": 1e-4,
                "style_weight": 0.8,
                "face_weight": 1.0,
                "seed": 0,
                "resolution": resolution,
                "preview_every": 0,
                "name": "sd15",
            },
        },
    }


def peak_memory_gb(pid: int) -> float:
    """Largest resident size a process has had (Linux)."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1e6


def main(out: Path, steps: int = 5, resolution: int = 256) -> None:
    models = out / "models"
    places = {"checkpoints": "random_sd15.safetensors", "clip_vision": "random_clip_vision.safetensors"}
    if not (out / "random_sd15.safetensors").exists():
        subprocess.run(
            [sys.executable, "-m", "tools.comfy.random_sd15", str(ensure_comfy()), str(out.resolve())],
            cwd=REPO,
            check=True,
            env={**os.environ, **host_environment()},
        )
    for folder, name in places.items():
        (models / folder).mkdir(parents=True, exist_ok=True)
        target = models / folder / name
        if not target.exists():
            target.symlink_to((out / name).resolve())
    times = []
    with ComfyServer(base_dir=out) as server, server.client() as client:
        run = client.run(
            graph(steps, resolution),
            timeout=600 + 240 * steps,
            on_event=lambda event: (
                times.append(event.seconds) if event.kind == "progress" and event.node == "train" else None
            ),
        )
        peak = peak_memory_gb(server.process.pid)
    newest = max((models / "acfun").glob("sd15_*.safetensors"), key=lambda path: path.stat().st_mtime)
    with safe_open(newest, "pt") as file:
        record = json.loads(file.metadata()["training"])
    losses = record["style_loss"] + record["face_loss"] + record["before"] + record["after"]
    print(
        json.dumps(
            {
                "finite": all(map(math.isfinite, losses)),
                "before": record["before"],
                "after": record["after"],
                "style_loss": record["style_loss"],
                "face_loss": record["face_loss"],
                "seconds": round(run.seconds, 1),
                "seconds_per_step": round((times[-1] - times[0]) / max(1, steps - 1), 1),
                "peak_gb": round(peak, 2),
                "adapter_mb": round(newest.stat().st_size / 1e6, 1),
                "when": time.strftime("%Y-%m-%d"),
            }
        )
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve(), *map(int, sys.argv[2:3]))
