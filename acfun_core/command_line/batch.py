"""``acfun batch``: every style learned once, every face drawn in each."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from ..backends.chosen import ChosenBase
from ..batch.drive import Workers
from ..batch.folders import is_remote
from ..batch.here import Here
from ..batch.keys import identity_of
from ..batch.on_ray import LOCAL, Cluster, OnRay, Settings
from ..batch.plan import Row, crossed, read_plan, read_value
from ..batch.results import Results
from ..batch.run import Planned, carry_out, planned, tally_of
from ..batch.ways import DEFAULT_PRESET
from ..batch.work import Workshop
from ..errors import ACFunError
from ..presets import PRESETS
from . import output
from .base import add_base, chosen_base

Say = Callable[[str], None]
SECONDS_BETWEEN_EVENTS = 5.0
BAR = "{desc}: {n_fmt}/{total_fmt} |{bar}| {elapsed}{postfix}"

_DESCRIPTION = """\
Learn every style once and draw every face in each. A plan is a YAML or CSV file with one row a portrait: style, face, and, if
you like, preset, seeds, name and options such as train.steps; --styles and --faces make one of two folders. Results lie in
--out under names made of their content: started again, after a crash or with more rows, only what is missing is done. A photo
that cannot be used fails alone; its row says why, and --retry-failed tries it again.
"""


def add(commands) -> None:
    usage = "(PLAN | --styles FOLDER --faces FOLDER) --out FOLDER"
    parser = output.new_parser(commands, "batch", "many styles and many faces", _DESCRIPTION, usage)
    parser.set_defaults(run=run)
    plan = parser.add_argument_group("what to draw")
    plan.add_argument("plan", nargs="?", metavar="PLAN", help="a .yaml or .csv file (docs/batch.md)")
    plan.add_argument(
        "--styles", metavar="FOLDER", help="style pictures; with --faces, each face is drawn in each style"
    )
    plan.add_argument("--faces", metavar="FOLDER", help="face photos")
    plan.add_argument(
        "--preset",
        default=DEFAULT_PRESET,
        help=f"with --styles and --faces: {', '.join(PRESETS)} (default: {DEFAULT_PRESET})",
    )
    plan.add_argument(
        "--seeds", default="0", metavar="N,N", help="with --styles and --faces: one portrait a seed (default: 0)"
    )
    plan.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="an option of every row that does not set it, such as train.steps=200 or draw.steps=20; may be repeated",
    )
    plan.add_argument(
        "--out", required=True, metavar="FOLDER", help="where results lie: a folder, or an address as s3://bucket/x"
    )
    plan.add_argument("--retry-failed", action="store_true", help="do again what failed before")
    plan.add_argument("--dry-run", action="store_true", help="check the plan and say what is left; nothing is drawn")
    engine = parser.add_argument_group("on which machines", "in this process if nothing is said")
    engine.add_argument(
        "--ray",
        nargs="?",
        const=LOCAL,
        metavar="ADDRESS",
        help="on a Ray cluster, one worker for each GPU or for --threads cores: without an address one that is started on this "
        "machine and ends with the batch; auto is the one that this machine belongs to",
    )
    engine.add_argument("--workers", type=int, metavar="N", help="with --ray, how many (default: as many as fit)")
    engine.add_argument(
        "--gpus",
        type=float,
        metavar="X",
        help="with --ray, of each worker; 0.5 lets two share one (default: 1 where there are any, else 0)",
    )
    engine.add_argument(
        "--threads",
        type=int,
        default=1,
        metavar="N",
        help="of the CPU for each worker; pictures of different numbers differ in their last bits (default: 1)",
    )
    add_base(parser, training=True)
    output.add_common(parser, "print events on standard output, one JSON object a line; the last one is the result")


def run(arguments: argparse.Namespace) -> dict:
    check_engine(arguments)
    rows = rows_of(arguments)
    chosen = absolute(chosen_base(arguments))
    # Workers have a working folder of their own.
    results = Results(arguments.out if is_remote(arguments.out) else str(Path(arguments.out).resolve()))
    source = arguments.plan or "This batch"
    plan = planned(rows, identity_of(chosen), results, arguments.retry_failed, source, not arguments.dry_run)
    shown = Shown(arguments, plan)
    shown.event("planned", plan.as_dict())
    if arguments.dry_run:
        return plan.as_dict()
    with shown.progress(), resumable(), ExitStack() as stack:

        def workers() -> Workers:
            if arguments.ray is None:
                return in_this_process(arguments, chosen, results, shown.say)
            return on_a_cluster(arguments, chosen, results, shown.say, stack)

        return carry_out(plan, results, workers, shown.tell, shown.tally)


def check_engine(arguments: argparse.Namespace) -> None:
    """Raise unless the machines that were asked for can be."""
    for name, value, least in (("--threads", arguments.threads, 1), ("--workers", arguments.workers, 1)):
        if value is not None and value < least:
            raise ACFunError(f"{name} is {value}.", f"{least} or more", f"use {least}")
    if arguments.gpus is not None and not 0 <= arguments.gpus <= 64:
        raise ACFunError(f"--gpus is {arguments.gpus}.", "0 or more, such as 0.5 or 1", "use 1")
    if arguments.ray is None and (arguments.workers is not None or arguments.gpus is not None):
        raise ACFunError("--workers and --gpus are of a cluster.", "--ray with them", "add --ray")
    if arguments.ray is not None and arguments.ray.lower().endswith((".yaml", ".yml", ".csv")):
        raise ACFunError(
            f"{arguments.ray} after --ray is taken for the address of a cluster.",
            "the PLAN before --ray",
            f"write acfun batch {arguments.ray} --ray",
        )


def in_this_process(arguments: argparse.Namespace, chosen: ChosenBase, results: Results, say: Say) -> Here:
    """The engine without --ray."""

    def workshop() -> Workshop:
        base = chosen.load()
        cores = os.cpu_count() or 1
        if base.device.type == "cpu" and cores > arguments.threads:
            say(f"This takes {arguments.threads} of {cores} cores; with --ray there is a worker for each.")
        return Workshop(base, results, arguments.threads)

    return Here(workshop)


def on_a_cluster(
    arguments: argparse.Namespace, chosen: ChosenBase, results: Results, say: Say, stack: ExitStack
) -> OnRay:
    """The engine with --ray; the connection ends with the stack."""
    cluster = stack.enter_context(Cluster(arguments.ray))
    fit, gpus = cluster.fitting(arguments.threads, arguments.gpus)
    count = arguments.workers or fit
    if not count:
        raise ACFunError(
            f"The cluster has no machine with {arguments.threads} free cores and {gpus:g} GPUs.",
            "machines that a worker fits on",
            "lower --threads or --gpus, or give --workers, which then waits for machines",
        )
    say(f"{count} workers of {arguments.threads} cores and {gpus:g} GPUs each; now there is room for {fit}.")
    out, token = results.folder.address, results.token()
    settings = Settings(chosen, identity_of(chosen), out, token, arguments.threads, gpus)
    return OnRay(cluster, settings, count, say)


def rows_of(arguments: argparse.Namespace) -> list[Row]:
    """The portraits that the command line asks for."""
    folders = [arguments.styles, arguments.faces]
    if (arguments.plan is None) != all(folders) or (arguments.plan is not None and any(folders)):
        raise ACFunError(
            "It is not clear what to draw.",
            "a PLAN, or both --styles FOLDER and --faces FOLDER",
            "give one of the two",
        )
    defaults = options_of(arguments.set)
    if arguments.plan is not None:
        return read_plan(arguments.plan, defaults)
    try:
        seeds = [int(part) for part in arguments.seeds.split(",")]
    except ValueError as error:
        raise ACFunError(
            f"--seeds is {arguments.seeds!r}.", "whole numbers with commas between", "use 0,1,2"
        ) from error
    return crossed(arguments.styles, arguments.faces, arguments.preset, seeds, defaults)


def options_of(texts: list[str]) -> dict[str, Any]:
    """``["train.steps=200"]`` -> ``{"train.steps": 200}``."""
    found = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals:
            raise ACFunError(f"--set {text} has no value.", "NAME=VALUE", "write such as --set train.steps=200")
        found[name.strip()] = read_value(value.strip())
    return found


def absolute(chosen: ChosenBase) -> ChosenBase:
    """The base with paths that hold in another working folder, too."""
    paths = {name: getattr(chosen, name) for name in ("base", "clip_vision", "tokenizer")}
    resolved = {name: None if path is None else Path(path).resolve() for name, path in paths.items()}
    return ChosenBase(**{**chosen.__dict__, **resolved})


@contextmanager
def resumable():
    """Says on Ctrl-C how to go on."""
    try:
        yield
    except KeyboardInterrupt as interrupt:
        raise KeyboardInterrupt("The same command goes on where it stopped.") from interrupt


class Shown:
    """A batch as people and programs see it: a bar on standard error, events on standard output."""

    def __init__(self, arguments: argparse.Namespace, plan: Planned):
        self.tally = tally_of(plan)
        # What a library prints to standard output meanwhile goes elsewhere.
        self._events = sys.stdout if arguments.json else None
        self._quiet = arguments.quiet
        self._total = len(plan.work.drawings) - len(plan.failed)
        self._bar: output.Progress | None = None
        self._last = float("-inf")

    @contextmanager
    def progress(self):
        """While it lasts there is a bar."""
        with output.Progress("drawing", self._total, self._quiet, BAR) as self._bar:
            yield

    def tell(self, kind: str, told: dict[str, Any]) -> None:
        """See :data:`~acfun_core.batch.drive.Tell`."""
        if kind == "progress":
            if self._bar is not None:
                self._bar.step(self.tally.line(), told["done"])
            if time.monotonic() - self._last < SECONDS_BETWEEN_EVENTS:
                return
            self._last = time.monotonic()
        elif kind == "failed" and self._bar is not None:
            self._bar.say(f"{told['name']} failed: {told['reason']}")
        elif kind == "notice" and self._bar is not None:
            self._bar.say(told["text"])
        self.event(kind, told)

    def say(self, text: str) -> None:
        """Something worth a line of its own."""
        self.tell("notice", {"text": text})

    def event(self, kind: str, told: dict[str, Any]) -> None:
        if self._events is not None:
            print(json.dumps({"event": kind, **told}), file=self._events, flush=True)
