"""Pictures drawn by methods: what the command line says of them, and the cells that train and draw.

Every picture is a cell of its own, and so is every training; pictures of one training share it.
"""

from __future__ import annotations

import argparse
import os
import shlex
import time
from functools import cached_property, partial
from pathlib import Path

import torch

from acfun_core.errors import ACFunError

from . import lists, methods
from .lists import Pair, PictureList
from .methods import Method
from .runner import Cell, Work, go_on
from .store import Store
from .workbench import ROOT, Settings, Workbench, peak_memory, save_picture

OUT = ROOT / "out" / "benchmarks"
ANY_FACE = "any"
"""Stands for the face of a training that saw none."""
PICTURE, TRAINING = "picture", "training"


def add_arguments(parser: argparse.ArgumentParser, default_list: str = lists.JUDGED) -> None:
    """Which pictures, which settings, where to."""
    add = parser.add_argument
    add("--data", type=Path, default=ROOT.parent / "shared" / "data", help="folder of the fixed lists' files")
    add("--list", choices=lists.NAMES, default=default_list, help="fixed list (%(default)s)")
    add("--faces", type=Path, help="folder of photos, instead of a fixed list")
    add("--styles", type=Path, help="folder of style pictures, with --faces")
    add("--grid", default="6x6", help="faces x styles of a fixed list that are used (%(default)s)")
    add("--pairs", type=int, default=0, help="only the first so many pairs, evenly spread (0 is all)")
    add("--seeds", type=int, default=2, help="pictures a pair (%(default)s)")
    add("--base", default="base", help="diffusers folder of the base (the demo base)")
    add("--passes", type=int, default=1000, help="forward-backward passes of a training (%(default)s)")
    add("--train-seconds", type=float, default=0.0, help="time of a training instead of passes")
    add("--sampler-steps", type=int, default=40, help="sampling steps (%(default)s)")
    add("--cfg", type=float, default=3.0, help="guidance (%(default)g)")
    add("--side", type=int, default=0, help="side in pixels (what the base was made for)")
    add("--workers", type=int, default=1, help="processes at once, one thread and one core each if more than one (1)")
    add("--minutes", type=float, default=0.0, help="stop between two pictures after so long (0 is never)")
    add("--out", type=Path, default=OUT, help="folder of the results (%(default)s)")


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


def names_of(text: str) -> list[str]:
    """``a;b`` -> names; commas separate too where no method has options."""
    text = text if ";" in text or ":" in text else text.replace(",", ";")
    return [name.strip() for name in text.split(";") if name.strip()] or [one.name for one in methods.METHODS]


def command(module: str, arguments: list[str]) -> str:
    """The command line of a module here as another machine would give it: folders become words."""
    places = {"--data": "DATA", "--faces": "FACES", "--styles": "STYLES", "--out": "OUT", "--docs": "DOCS"}
    named = ["python", "-m", f"benchmarks.{module}"]
    for before, now in zip(["", *arguments], arguments):
        flag, equals, _ = now.partition("=")
        named.append(f"{flag}={places[flag]}" if equals and flag in places else places.get(before, now))
    return shlex.join(named)


class Drawings(Work):
    """Pictures by some methods, so many of each pair."""

    def __init__(self, store: Store, settings: Settings, chosen: list[Method], pairs: list[Pair], seeds: int):
        super().__init__(store, settings.run)
        self.settings, self.chosen, self.pairs, self.seeds = settings, chosen, pairs, seeds

    @cached_property
    def bench(self) -> Workbench:
        """The base, loaded at the first cell that is not done."""
        return Workbench(self.settings)

    def cells(self) -> list[Cell]:
        """Pair by pair, so that a run that is cut short still compares all methods."""
        seeds = range(self.seeds)
        return [self.picture(method, pair, seed) for pair in self.pairs for method in self.chosen for seed in seeds]

    def close(self) -> None:
        for method in self.chosen:
            method.close()

    def picture(self, method: Method, pair: Pair, seed: int) -> Cell:
        """By style, so that trainings that see only the style are made once."""
        state, face = (method.state_name, _face(method, pair)) if method.trained else (None, None)
        named = {"method": method.name, "face": pair.face.id, "style": pair.style.id, "seed": seed}
        made_from = {"state": state, "state_face": face}
        return Cell(PICTURE, named, partial(self._draw, method, pair, seed), made_from, group=pair.style.id)

    def training(self, method: Method, pair: Pair) -> Cell:
        named = {"state": method.state_name, "face": _face(method, pair), "style": pair.style.id}
        return Cell(TRAINING, named, partial(self._train, method, pair), group=pair.style.id)

    def _train(self, method: Method, pair: Pair) -> dict:
        path = self.store.folder / "states" / self.run / method.state_name
        path = path / f"{_face(method, pair)}-{pair.style.id}.safetensors"
        path.parent.mkdir(parents=True, exist_ok=True)
        before, start = self.bench.training_passes, time.monotonic()
        with peak_memory() as peak:
            state = method.train(self.bench, pair)
        seconds = time.monotonic() - start
        partial_file = path.with_suffix(f".{os.getpid()}.partial")
        method.save(state, partial_file)
        partial_file.replace(path)
        passes = self.bench.training_passes - before
        costs = {"passes": passes, "seconds": seconds, "peak_mb": peak[0], "state_mb": path.stat().st_size / 1e6}
        return {"file": path, **costs}

    def _draw(self, method: Method, pair: Pair, seed: int) -> dict:
        state = method.load(self.store.file(self.done(self.training(method, pair)))) if method.trained else {}
        before, start = self.bench.other_passes, time.monotonic()
        with peak_memory() as peak, torch.no_grad():
            picture = method.sample(self.bench, pair, state, seed)
        costs = {"seconds": time.monotonic() - start, "peak_mb": peak[0]}
        path = self.store.folder / "pictures" / self.run / methods.slug(method.name) / f"{pair.id}-{seed}.png"
        save_picture(picture, path)
        return {"file": path, "passes": self.bench.other_passes - before, **costs}


def _face(method: Method, pair: Pair) -> str:
    return ANY_FACE if method.style_only else pair.face.id


def draw(options: argparse.Namespace, names: list[str]) -> None:
    """Train and draw what the options' pairs lack of these methods."""
    chosen, pairs = [methods.method(name) for name in names], pairs_of(options, pictures_of(options))
    work = Drawings(Store(options.out), settings_of(options), chosen, pairs, options.seeds)
    go_on(work, options.workers, options.minutes)


def images(store: Store, run: str) -> list[dict]:
    """All pictures of a run by method, face, style and seed, with what their training cost and with their numbers or None."""
    trainings = {(row["state"], row["face"], row["style"]): row for row in store.rows(run, TRAINING)}
    found = []
    for row in filter(store.is_whole, store.rows(run, PICTURE)):
        training = trainings.get((row["state"], row["state_face"], row["style"]), {})
        costs = {"train_passes": training.get("passes"), "train_seconds": training.get("seconds")}
        costs |= {"state_mb": training.get("state_mb"), "memory_mb": max(training.get("peak_mb", 0.0), row["peak_mb"])}
        found.append({"numbers": None, "measured_by": None, **row, **costs})
    return sorted(found, key=lambda row: [row[name] for name in ("method", "face", "style", "seed")])


def set_numbers(store: Store, run: str, image: dict, numbers: dict[str, float], measured_by: str) -> None:
    """Keep the measured numbers of an image of :func:`images`."""
    settings = {name: image[name] for name in ("method", "face", "style", "seed")}
    row = store.row(run, PICTURE, settings)
    store.keep(run, PICTURE, settings, {**row, "numbers": numbers, "measured_by": measured_by})
