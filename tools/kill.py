"""Kill small trainings of the command line at random moments, go on with ``--resume``, compare with an unkilled one.

Run by ``make kill``. Prints one JSON line; exit code 1 if a tensor or a loss differs, or if a file is left behind.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import torch
from safetensors import safe_open

REPO = Path(__file__).resolve().parents[1]
TRAIN = (
    *(
        "train",
        "--style",
        REPO / "pictures" / "style_woodblock.png",
        "--face",
        REPO / "pictures" / "face_astronaut.png",
    ),
    *("--description", "a painting of a woman in S* style", "--resolution", 64, "--seed", 7),
    *("--copy-guard-every", 15, "--copy-limit", 1.0, "--state-every", 0, "--resume", "--json"),
)
KILLS_A_RUN = 3
"""So often one training is killed at most before it is let through to its end."""
LEARNING = 2.0
"""Seconds within which a training is killed that has just kept a state."""


def command(out: Path, steps: int) -> list[str]:
    return [sys.executable, "-m", "acfun_core", *map(str, TRAIN), "--steps", str(steps), "--out", str(out)]


def run(out: Path, steps: int, seconds: float | None = None, learning: bool = False) -> dict | None:
    """Train; after ``seconds`` the process is killed. -> what the command printed, or None if it was killed.

    Args:
        learning: count the seconds from the first state on that this process keeps.
    """
    start = time.time()
    process = subprocess.Popen(
        command(out, steps), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=REPO, start_new_session=True
    )
    try:
        while learning and process.poll() is None and not has_state(out, since=start):
            time.sleep(0.01)
        printed, said = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        return None
    if process.returncode != 0:
        raise RuntimeError(f"the training ended with {process.returncode}: {said[-2000:]}")
    return json.loads(printed)


def has_state(out: Path, since: float) -> bool:
    """Whether a training that has not ended has kept its state since that time."""
    for path in out.parent.glob(".acfun-*.state"):
        # At the end of a training it goes.
        with suppress(FileNotFoundError):
            if path.stat().st_mtime > since:
                return True
    return False


def content(path: Path) -> tuple[dict[str, torch.Tensor], str]:
    """Tensors and losses of an adapter file."""
    with safe_open(str(path), "pt") as file:
        return {key: file.get_tensor(key) for key in file.keys()}, file.metadata()["training"]


def equal(one: Path, other: Path) -> bool:
    (ours, our_losses), (theirs, their_losses) = content(one), content(other)
    same = ours.keys() == theirs.keys() and all(torch.equal(ours[key], theirs[key]) for key in ours)
    return same and our_losses == their_losses


def kill(kills: int, steps: int, seed: int, folder: Path) -> dict:
    """So many kills; every training that was killed is gone on with until it ends, and compared.

    Every other kill waits until a state was kept: most of a small training's time is the start of its process.
    """
    chance, start = random.Random(seed), time.monotonic()
    whole = folder / "whole" / "a.safetensors"
    run(whole, steps)
    seconds = time.monotonic() - start
    done, resumed, results = 0, [], []
    while done < kills:
        out = folder / f"run_{len(results)}" / "a.safetensors"
        told = None
        for _ in range(min(KILLS_A_RUN, kills - done)):
            learning = done % 2 == 0
            told = run(out, steps, chance.uniform(0.2, 1.0) * (LEARNING if learning else seconds), learning)
            if told is not None:
                break
            done += 1
        told = told or run(out, steps)
        resumed.append(told["resumed_from"])
        left = [path.name for path in out.parent.iterdir() if path != out]
        results.append(equal(out, whole) and not left)
    return {
        "kills": done,
        "trainings": len(results),
        "equal": sum(results),
        "steps": steps,
        "last_resumed_from": resumed,
        "seconds_unkilled": round(seconds, 1),
        "seconds": round(time.monotonic() - start, 1),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        told = kill(options.kills, options.steps, options.seed, Path(folder))
    print(json.dumps(told))
    return 0 if told["equal"] == told["trainings"] else 1


if __name__ == "__main__":
    sys.exit(main())
