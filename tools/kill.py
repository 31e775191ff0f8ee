"""Kill small trainings of the command line at random moments, go on with ``--resume``, compare with an unkilled one.

Run by ``make kill``. Prints one JSON line; exit code 1 if a tensor or a loss differs, or if a file is left behind.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import random
import sys
import tempfile
import time
from contextlib import redirect_stderr, redirect_stdout, suppress
from functools import partial
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
    *("--copy-limit", 1.0, "--state-every", 0, "--resume", "--json"),
)
GUARD_EVERY = 15
"""Steps between two looks of the copy guard; a shorter training has one in its middle."""
KILLS_A_RUN = 3
"""So often one training is killed at most before it is let through to its end."""
LEARNING = 2.0
"""Seconds within which a training is killed that has just kept a state."""


def processes():
    """What starts the trainings: each is a process of its own, forked from one that has the libraries imported and no more.

    Starting Python anew would take most of a small training's time, and most kills would come before there is a training.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([f"{__package__}.kill_preloaded"])
    first = context.Process(target=int)
    first.start()
    first.join()
    return context


def train(arguments: list[str], log: Path) -> None:
    """The command line in this process; what it prints goes to two files beside each other.

    The state is kept after every step: where it may take no more than its share of the time, a small training is over by then.
    And the loss is measured on one noise, not ten, which would take longer than the steps.
    """
    from acfun_core.command_line import main
    from acfun_core.training import alignment_loss, keeper, loop

    keeper.LARGEST_SHARE = float("inf")
    loop.measure_adapter = partial(alignment_loss.measure_adapter, draws=1)
    with log.with_suffix(".out").open("w") as out, log.with_suffix(".err").open("w") as err:
        with redirect_stdout(out), redirect_stderr(err):
            code = main(arguments)
    sys.exit(code)


def run(context, out: Path, steps: int, seconds: float | None = None, learning: bool = False) -> dict | None:
    """Train; after ``seconds`` the process is killed. -> what the command printed, or None if it was killed.

    Args:
        context: of :func:`processes`.
        learning: count the seconds from the first state on that this process keeps.
    """
    start, log = time.time(), out.parent.with_suffix(".log")
    given = [*TRAIN, "--copy-guard-every", min(GUARD_EVERY, steps // 2), "--steps", steps, "--out", out]
    process = context.Process(target=train, args=([*map(str, given)], log))
    process.start()
    while learning and process.is_alive() and not has_state(out, since=start):
        time.sleep(0.01)
    process.join(seconds)
    if process.is_alive():
        process.kill()
        process.join()
        return None
    if process.exitcode != 0:
        said = log.with_suffix(".err").read_text()
        raise RuntimeError(f"the training ended with {process.exitcode}: {said[-2000:]}")
    return json.loads(log.with_suffix(".out").read_text())


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

    Every other kill waits until a state was kept: a good part of a small training's time is the loading of its base.
    """
    context = processes()
    chance, start = random.Random(seed), time.monotonic()
    whole = folder / "whole" / "a.safetensors"
    run(context, whole, steps)
    seconds = time.monotonic() - start
    done, resumed, results = 0, [], []
    while done < kills:
        out = folder / f"run_{len(results)}" / "a.safetensors"
        told = None
        for _ in range(min(KILLS_A_RUN, kills - done)):
            learning = done % 2 == 0
            moment = chance.uniform(0.2, 1.0) * (LEARNING if learning else seconds)
            told = run(context, out, steps, moment, learning)
            if told is not None:
                break
            done += 1
        told = told or run(context, out, steps)
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
