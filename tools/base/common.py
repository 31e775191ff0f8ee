"""Settings, command line, run folder and small helpers that every tool of the base shares."""

from __future__ import annotations

import argparse
import json
import math
import os
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save_file

HERE = Path(__file__).resolve().parent
DEFAULT_EXPORT = HERE.parent.parent / "base"


def load_config(path: Path, *which: str) -> SimpleNamespace:
    """The JSON config as nested attributes. Where a section has one for a name in `which` (`given`, `cuda`, `cpu`), its
    settings take the place of the section's own."""

    def chosen(section: dict) -> dict:
        plain = {k: v for k, v in section.items() if k not in ("cuda", "cpu", "given")}
        for name in which:
            plain.update(chosen(section[name]) if name in section else {})
        return {k: chosen(v) if isinstance(v, dict) else v for k, v in plain.items()}

    return json.loads(
        json.dumps(chosen(json.loads(Path(path).read_text()))), object_hook=lambda d: SimpleNamespace(**d)
    )


def arguments(description: str, options: dict[str, dict] | None = None) -> argparse.Namespace:
    """Command line of a tool with `options` of its own; `cfg` holds the parsed config and `run` exists afterwards."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--data", type=Path, help="folder with records.jsonl, mesh.npz and img/ (tools/base/pictures/album.py)"
    )
    parser.add_argument("--run", type=Path, default=Path("out/base_run"), help="working folder: state, weights, sheets")
    parser.add_argument("--config", type=Path, default=HERE / "config.json")
    parser.add_argument("--export", type=Path, default=DEFAULT_EXPORT, help="folder of the exported pipeline")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument(
        "--workers", type=int, default=1, help="processes that share the report's work, one thread each"
    )
    parser.add_argument("--minutes", type=float, help="time budget; the learning rates decay to its end")
    for name, settings in (options or {}).items():
        parser.add_argument(name, **settings)
    args = parser.parse_args()
    given = ("given",) if getattr(args, "given", None) else ()
    args.cfg = load_config(args.config, *given, args.device.split(":")[0])
    args.run.mkdir(parents=True, exist_ok=True)
    torch.set_flush_denormal(True)
    torch.manual_seed(args.cfg.seed)
    return args


def status(run: Path, line: str) -> None:
    """Append one time-stamped line to STATUS.md in the run folder, and print it."""
    text = f"- {time.strftime('%H:%M:%S', time.gmtime())} UTC {line}"
    print(text, flush=True)
    with open(run / "STATUS.md", "a") as file:
        file.write(text + "\n")


def save_weights(path: Path, tensors: dict[str, torch.Tensor], metadata: dict[str, str] | None = None) -> None:
    """Write safetensors under a temporary name, then rename: a kill leaves the old file intact."""
    temporary = path.with_suffix(".tmp")
    save_file({k: v.detach().contiguous() for k, v in tensors.items()}, temporary, metadata=metadata)
    os.replace(temporary, path)


class Team:
    """Processes that share work: this one is number `rank` of `count`.

    Two single-thread processes were faster on two CPU cores than one process with two threads, whose threads wait for each
    other at every layer.
    """

    def __init__(self, rank: int, count: int) -> None:
        self.rank, self.count = rank, count


def _worker(rank: int, work, args: argparse.Namespace) -> None:
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    torch.manual_seed(args.cfg.seed)
    work(args, Team(rank, args.workers))


def launch(work, args: argparse.Namespace) -> None:
    """Run `work(args, team)` here, or in `--workers` processes."""
    if args.workers == 1:
        work(args, Team(0, 1))
        return
    torch.multiprocessing.spawn(_worker, (work, args), nprocs=args.workers)


def to_tensor(images: np.ndarray) -> torch.Tensor:
    """uint8 [n, h, w, 3] -> float [n, 3, h, w] in -1..1."""
    return torch.from_numpy(np.ascontiguousarray(images)).permute(0, 3, 1, 2).float().div(127.5).sub(1)


def sheet(path: Path, images: torch.Tensor, columns: int) -> None:
    """Write float images [n, 3, h, w] in -1..1 as one PNG grid."""
    array = images.detach().float().clamp(-1, 1).add(1).mul(127.5).round().byte().permute(0, 2, 3, 1).cpu().numpy()
    rows = math.ceil(len(array) / columns)
    height, width = array.shape[1:3]
    canvas = np.full((rows * height, columns * width, 3), 255, np.uint8)
    for i, image in enumerate(array):
        y, x = divmod(i, columns)
        canvas[y * height : (y + 1) * height, x * width : (x + 1) * width] = image
    Image.fromarray(canvas).save(path)
