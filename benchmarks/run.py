"""Train and draw what is not there yet; killed at any moment, it goes on where it was.

    python -m benchmarks.run --data FOLDER --list report --seeds 2                  all methods
    python -m benchmarks.run --data FOLDER --methods acfun,text,img2img_0.6 --pairs 6
    python -m benchmarks.run --faces FOLDER --styles FOLDER --workers 2

With several workers, each is a process of its own with one thread.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import torch

from acfun_core.embedded import NATIVE_SIDE
from acfun_core.errors import ACFunError

from . import lists, methods
from .lists import Pair, PictureList
from .methods import Method
from .store import Store
from .workbench import ROOT, Settings, Workbench, peak_memory, save_picture

OUT = ROOT / "out" / "benchmarks"
ANY_FACE = "any"
"""Stands for the face of a training that saw none."""


def add_arguments(parser: argparse.ArgumentParser, default_list: str = "report") -> None:
    """Which pictures, which settings, where to."""
    parser.add_argument(
        "--data", type=Path, default=ROOT.parent / "shared" / "data", help="folder of the fixed lists' files"
    )
    parser.add_argument("--list", default=default_list, help=f"fixed list: report or tuning ({default_list})")
    parser.add_argument("--faces", type=Path, help="folder of photos, instead of a fixed list")
    parser.add_argument("--styles", type=Path, help="folder of style pictures, with --faces")
    parser.add_argument("--grid", default="6x6", help="faces x styles of a fixed list that are used (6x6)")
    parser.add_argument("--pairs", type=int, default=0, help="only the first so many pairs, evenly spread (0 is all)")
    parser.add_argument("--seeds", type=int, default=2, help="pictures a pair (2)")
    parser.add_argument("--base", default="base", help="diffusers folder of the base (the embedded one)")
    parser.add_argument("--passes", type=int, default=1000, help="forward-backward passes of a training (1000)")
    parser.add_argument("--train-seconds", type=float, default=0.0, help="time of a training instead of passes")
    parser.add_argument("--sampler-steps", type=int, default=40, help="sampling steps (40)")
    parser.add_argument("--cfg", type=float, default=3.0, help="guidance (3)")
    parser.add_argument("--side", type=int, default=NATIVE_SIDE, help=f"side in pixels ({NATIVE_SIDE})")
    parser.add_argument(
        "--workers", type=int, default=1, help="processes at once, one thread each if more than one (1)"
    )
    parser.add_argument(
        "--minutes", type=float, default=0.0, help="stop between two pictures after so long (0 is never)"
    )
    parser.add_argument("--out", type=Path, default=OUT, help="folder of the results (out/benchmarks)")


def settings_of(options: argparse.Namespace) -> Settings:
    names = ("base", "side", "sampler_steps", "cfg", "passes", "train_seconds")
    return Settings(**{name: getattr(options, name) for name in names})


def pictures_of(options: argparse.Namespace) -> PictureList:
    if options.faces or options.styles:
        if not (options.faces and options.styles):
            raise ACFunError("Only one of --faces and --styles was given.", "both folders", "add the other")
        return lists.of_folders(options.faces, options.styles)
    faces, _, styles = options.grid.partition("x")
    return lists.named(options.list, options.data).shrunk(int(faces), int(styles))


def pairs_of(options: argparse.Namespace, pictures: PictureList) -> list[Pair]:
    pairs = pictures.pairs()
    return pairs[: options.pairs] if options.pairs else pairs


class Runner:
    """Does jobs into a store."""

    def __init__(self, store: Store, settings: Settings):
        self.store, self.settings, self.run = store, settings, settings.run
        store.add_run(self.run, settings.as_dict())
        self._bench: Workbench | None = None

    @property
    def bench(self) -> Workbench:
        """The base, loaded at the first job that is not done."""
        if self._bench is None:
            self._bench = Workbench(self.settings)
        return self._bench

    def missing(self, method: Method, pair: Pair, seeds: int) -> list[int]:
        key = self.run, method.name, pair.face.id, pair.style.id
        state = method.state_name if method.trained else None
        return [seed for seed in range(seeds) if not self.store.has_image(*key, seed, state)]

    def do(self, method: Method, pair: Pair, seeds: int) -> int:
        """Make what is missing of one method and pair. -> number of pictures made."""
        missing = self.missing(method, pair, seeds)
        if not missing:
            return 0
        face = ANY_FACE if method.style_only else pair.face.id
        state = self._state(method, pair, face)
        for seed in missing:
            self._draw(method, pair, face, state, seed)
        return len(missing)

    def _state(self, method: Method, pair: Pair, face: str):
        if not method.trained:
            return {}
        path = self.store.state_path(self.run, method.state_name, f"{face}-{pair.style.id}")
        if self.store.training(self.run, method.state_name, face, pair.style.id) is None:
            self._train(method, pair, face, path)
        return method.load(path)

    def _train(self, method: Method, pair: Pair, face: str, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        before, start = self.bench.training_passes, time.monotonic()
        with peak_memory() as peak:
            state = method.train(self.bench, pair)
        seconds = time.monotonic() - start
        partial = path.with_suffix(f".{os.getpid()}.partial")
        method.save(state, partial)
        partial.replace(path)
        self.store.add_training(
            run=self.run,
            state=method.state_name,
            face=face,
            style=pair.style.id,
            passes=self.bench.training_passes - before,
            seconds=seconds,
            peak_mb=peak[0],
            state_mb=path.stat().st_size / 1e6,
        )

    def _draw(self, method: Method, pair: Pair, face: str, state, seed: int) -> None:
        before, start = self.bench.other_passes, time.monotonic()
        with peak_memory() as peak, torch.no_grad():
            picture = method.sample(self.bench, pair, state, seed)
        seconds = time.monotonic() - start
        path = self.store.picture_path(self.run, methods.slug(method.name), pair.id, seed)
        save_picture(picture, path)
        self.store.add_image(
            run=self.run,
            method=method.name,
            face=pair.face.id,
            style=pair.style.id,
            seed=seed,
            state=method.state_name if method.trained else None,
            state_face=face if method.trained else None,
            picture=path,
            passes=self.bench.other_passes - before,
            seconds=seconds,
            peak_mb=peak[0],
        )


def jobs_of(chosen: list[Method], pairs: list[Pair]) -> list[tuple[Method, Pair]]:
    """Pair by pair, so that a run that is cut short still compares all methods."""
    return [(method, pair) for pair in pairs for method in chosen]


def work(options: argparse.Namespace, chosen: list[Method], shard: tuple[int, int] = (0, 1)) -> None:
    """One process's share of the jobs: those of every so-manieth style."""
    end_cleanly()
    runner = Runner(Store(options.out), settings_of(options))
    pairs = pairs_of(options, pictures_of(options))
    parent, end = os.getppid(), time.monotonic() + 60 * options.minutes
    # By style, so that trainings that see only the style are made once.
    mine = [pair for index, pair in enumerate(pairs) if _column(pairs, pair) % shard[1] == shard[0]]
    jobs = jobs_of(chosen, mine)
    try:
        for number, (method, pair) in enumerate(jobs, 1):
            orphan = shard[1] > 1 and os.getppid() != parent
            if orphan or (options.minutes and time.monotonic() > end):
                return
            start = time.monotonic()
            if made := runner.do(method, pair, options.seeds):
                print(
                    f"[{number}/{len(jobs)}] {method.name} {pair.id}: {made} in {time.monotonic() - start:.0f} s",
                    flush=True,
                )
    finally:
        for method in chosen:
            method.close()


def _column(pairs: list[Pair], pair: Pair) -> int:
    return sorted({one.style.id for one in pairs}).index(pair.style.id)


def end_cleanly() -> None:
    """Let SIGTERM end this process as Ctrl+C does, so that workers and servers end with it."""

    def end(number, frame) -> None:
        raise SystemExit(128 + number)

    # Only the main thread may set it; elsewhere the caller has its own way to end.
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, end)


def run(options: argparse.Namespace, names: list[str]) -> None:
    """All jobs, in this process or in several."""
    end_cleanly()
    chosen = [methods.method(name) for name in names]
    # Missing pictures are said before any process starts.
    pictures_of(options)
    if options.workers <= 1:
        work(options, chosen)
        return
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    shared = [f"--{name.replace('_', '-')}={value}" for name, value in vars(options).items() if _is_shared(name, value)]
    command = [sys.executable, "-m", "benchmarks.run", *shared, "--methods", ";".join(names)]
    children = [
        subprocess.Popen([*command, "--shard", f"{index}/{options.workers}"], env=environment, cwd=ROOT)
        for index in range(options.workers)
    ]
    try:
        codes = [child.wait() for child in children]
    finally:
        for child in children:
            child.terminate()
        for child in children:
            child.wait()
    if any(codes):
        raise SystemExit(f"A worker ended with {max(codes, key=abs)}; start again to go on.")


SHARED = ("data", "list", "faces", "styles", "grid", "pairs", "seeds", "base", "passes", "train_seconds")
SHARED += ("sampler_steps", "cfg", "side", "minutes", "out")


def _is_shared(name: str, value) -> bool:
    return name in SHARED and value is not None


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_arguments(parser)
    parser.add_argument("--methods", default="", help="names, with semicolons between; all by default")
    parser.add_argument("--shard", default="0/1", help=argparse.SUPPRESS)
    return parser.parse_args(arguments)


def names_of(text: str) -> list[str]:
    """``a;b`` -> names; commas separate too where no method has options."""
    text = text if ";" in text or ":" in text else text.replace(",", ";")
    return [name.strip() for name in text.split(";") if name.strip()] or [one.name for one in methods.METHODS]


def main(arguments: list[str] | None = None) -> int:
    options = parse(arguments)
    names = names_of(options.methods)
    shard, _, of = options.shard.partition("/")
    try:
        if int(of) > 1:
            work(options, [methods.method(name) for name in names], (int(shard), int(of)))
        else:
            run(options, names)
    except ACFunError as error:
        raise SystemExit(str(error)) from None
    return 0


if __name__ == "__main__":
    sys.exit(main())
