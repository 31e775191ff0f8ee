"""The portraits of a plan, drawn by ComfyUI servers: an API workflow is queued once for each, with its pictures and options.

Usage: ``python -m tools.batch.servers plan.yaml --servers http://127.0.0.1:8188 http://gpu2:8188 --out results``

The workflow says how; any one will do whose nodes have the titles ``Style`` and ``Face`` (each becomes a Load Image with the
row's picture) and ``Result`` (which saves the portrait); what ``Result`` does not need is left out. What a row sets goes into
the nodes titled ``Train`` (``train.*``), ``Apply`` (``strength.*``) and ``Sampler`` (``draw.*``, ``transfer.*``, ``prompt``,
``negative``, seeds); a preset other than the default into both that learn and draw. An option that has no input there, or one
that the node's preset overrules, is a mistake of the plan. Results lie in ``--out`` as those of ``acfun batch``, without
scores.
"""

from __future__ import annotations

import argparse
import copy
import json
import sys
import time
from collections import deque
from collections.abc import Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from acfun_core.batch.folders import read_file
from acfun_core.batch.jobs import Source, Work
from acfun_core.batch.keys import key_of
from acfun_core.batch.plan import Mistakes, Row, read_plan
from acfun_core.batch.results import Results
from acfun_core.batch.run import carry_out, held_against, sources_of
from acfun_core.batch.ways import DEFAULT_PRESET
from acfun_core.batch.work import Outcome
from acfun_core.errors import ACFunError
from acfun_core.presets import CUSTOM
from tools.comfy.client import ComfyClient, HTTPFailure, NodeError, Workflow, WorkflowRejected
from tools.workflows import WORKFLOWS
from tools.workflows.api import node_id

WAITING = 8
"""Jobs that wait for each server, so that those of one style can go to the server that has learned it."""
MOST_LOSSES = 2
"""Servers that may go away during one job."""
LONGEST = 24 * 3600.0
"""Seconds for one portrait, its training included."""
NODES = {"train": "Train", "strength": "Apply", "draw": "Sampler", "transfer": "Sampler"}
OVERRULED = ("train.steps", "train.learning_rate", "train.style_weight", "train.face_weight", "draw.cfg")
"""What a preset decides on *Train ACFun Style* and *ACFun Sampler*, whatever stands beside it."""
STRENGTH_INPUTS = {name: f"{name}_strength" for name in ("abstract", "encoder", "decoder")}


@dataclass(frozen=True)
class Prompt:
    """One portrait to be queued. ``graph`` names the pictures by their content."""

    key: str
    style: Source
    face: Source
    name: str
    graph: Workflow = field(compare=False, hash=False, repr=False)
    training: str = ""

    @property
    def file(self) -> str:
        return f"pictures/{self.name}_{self.key[:8]}.png"


def uploaded_name(source: Source) -> str:
    """What a picture is called in a server's input folder."""
    return f"acfun_{source.digest}{PurePosixPath(source.address).suffix.lower()}"


def graph_of(row: Row, style: Source, face: Source, workflow: Workflow) -> Workflow:
    """The workflow of one row.

    Raises:
        ACFunError: an option has no input to go to, or one that a preset overrules.
    """
    graph = copy.deepcopy(needed_by(found(workflow, "Result"), workflow))
    for title, source in (("Style", style), ("Face", face)):
        node = graph[found(graph, title)]
        node["class_type"], node["inputs"] = "LoadImage", {"image": uploaded_name(source)}
    if row.preset != DEFAULT_PRESET:
        # Nothing is learned by some presets, and some workflows have no training.
        for title in ["Train"] if row.way.learns else []:
            put(graph, title, "preset", row.preset, "preset")
        put(graph, "Sampler", "preset", row.preset, "preset")
    wanted = list(row.overrides)
    if row.way.seed_counts:
        wanted.append(("draw.seed", row.seed))
    for option, value in wanted:
        group, dot, name = option.partition(".")
        put(graph, NODES.get(group if dot else "draw", ""), name if dot else option, value, option)
    return graph


def needed_by(end: str, workflow: Workflow) -> Workflow:
    """The nodes that one node needs, and itself: a workflow may show previews and more portraits beside."""
    kept, left = {}, [end]
    while left:
        key = left.pop()
        if key not in kept:
            kept[key] = workflow[key]
            left += [value[0] for value in workflow[key]["inputs"].values() if isinstance(value, list)]
    return {key: node for key, node in workflow.items() if key in kept}


def put(graph: Workflow, title: str, name: str, value: Any, option: str) -> None:
    """Set an input of the node with a title.

    Raises:
        ACFunError: it has none, or its preset overrules it.
    """
    names = [name, STRENGTH_INPUTS.get(name, name)]
    nodes = [node for node in graph.values() if node["_meta"]["title"] == title]
    for node in nodes:
        for known in names:
            if known in node["inputs"]:
                preset = node["inputs"].get("preset", CUSTOM)
                if option in OVERRULED and preset != CUSTOM:
                    raise ACFunError(
                        f"The workflow's node {title} has the preset {preset}, beside which {option} has no say.",
                        "an option that the preset leaves open",
                        "leave it out, or draw with acfun batch, where it counts",
                    )
                node["inputs"][known] = value
                return
    raise ACFunError(
        f"The workflow has no input for {option}.", f"an input {name} of a node titled {title or '...'}", "leave it out"
    )


def found(graph: Workflow, title: str) -> str:
    """Id of the only node with a title.

    Raises:
        ACFunError: there is none, or more than one.
    """
    try:
        return node_id(graph, title)
    except LookupError as error:
        raise ACFunError(
            f"The workflow does not fit: {error}.", "nodes titled Style, Face and Result", "give them these titles"
        ) from error


def prompts_of(rows: Sequence[Row], sources: Mapping[str, Source], workflow: Workflow, plan: str) -> Work:
    """The jobs of a plan.

    Raises:
        ACFunError: names each row with an option that the workflow has no input for.
    """
    for title in ("Style", "Face", "Result"):
        found(workflow, title)
    work, mistakes = Work({}, {}, []), Mistakes(plan)
    for row in rows:
        style, face = sources[row.style], sources[row.face]
        try:
            graph = graph_of(row, style, face, workflow)
        except ACFunError as error:
            mistakes.add(row.number, error.what, f"Expected: {error.expected}")
            continue
        key = key_of(graph=graph)
        work.drawings.setdefault(key, Prompt(key, style, face, row.name, graph))
        work.rows.append((row, key))
    mistakes.check()
    return work


class Servers:
    """ComfyUI servers as the workers of a batch. Each draws one portrait at a time; one that goes away is left out."""

    def __init__(self, urls: Sequence[str], results: Results):
        self._results = results
        self._queues: dict[str, deque[Prompt]] = {url: deque() for url in urls}
        self._clients = {url: ComfyClient(url) for url in urls}
        self._uploaded: dict[str, set[str]] = {url: set() for url in urls}
        self._running: dict[Future, tuple[str, Prompt]] = {}
        self._home: dict[str, str] = {}
        self._losses: dict[str, int] = {}
        self._threads = ThreadPoolExecutor(len(urls))

    @property
    def count(self) -> int:
        return len(self._queues)

    def room(self) -> int:
        taken = sum(map(len, self._queues.values())) + len(self._running)
        return max(0, (WAITING + 1) * self.count - taken)

    def suits(self, job: Prompt) -> int:
        """In the plan's order: which server gets a job is for :meth:`start` to say."""
        return 0

    def start(self, job: Prompt) -> None:
        """To the server that has this style, or to the one with the least to do."""
        home = self._home.get(job.style.digest)
        if home not in self._queues:
            home = min(self._queues, key=lambda url: len(self._queues[url]))
            self._home[job.style.digest] = home
        self._queues[home].append(job)

    def wait(self, seconds: float) -> list[Outcome]:
        busy = {url for url, _ in self._running.values()}
        for url in [url for url in self._queues if url not in busy]:
            job = self._next(url)
            if job is not None:
                self._running[self._threads.submit(self._draw, url, job)] = url, job
        ended, _ = wait(self._running, seconds, FIRST_COMPLETED)
        outcomes = [self._take(future, *self._running.pop(future)) for future in ended]
        return [outcome for outcome in outcomes if outcome is not None]

    def _next(self, url: str) -> Prompt | None:
        """Of its own jobs, else the last one of the server that has most to do."""
        if self._queues[url]:
            return self._queues[url].popleft()
        longest = max(self._queues.values(), key=len)
        return longest.pop() if longest else None

    def _take(self, future: Future, url: str, job: Prompt) -> Outcome | None:
        try:
            return future.result()
        except WorkflowRejected as error:
            fix = "install what it lacks, or choose another workflow"
            return Outcome(job.key, stop=(f"{url} refuses the workflow: {error}.", "a workflow that it can run", fix))
        except NodeError as error:
            self._results.keep_failure(job.key, str(error))
            return Outcome(job.key, reason=str(error))
        except (OSError, HTTPFailure) as error:
            return self._lost(url, job, error)

    def _lost(self, url: str, job: Prompt, error: Exception) -> Outcome | None:
        """A server does not answer: the others get its jobs."""
        print(f"[servers] {url} is left out: {error}", file=sys.stderr)
        orphans = [job, *self._queues.pop(url)]
        if not self._queues:
            return Outcome(
                job.key, stop=(f"No server is left: {error}.", "servers that run", "start them, then this again")
            )
        self._losses[job.key] = self._losses.get(job.key, 0) + 1
        for orphan in orphans if self._losses[job.key] < MOST_LOSSES else orphans[1:]:
            self.start(orphan)
        if self._losses[job.key] < MOST_LOSSES:
            return None
        reason = f"{MOST_LOSSES} servers went away while they drew it: {error}"
        self._results.keep_failure(job.key, reason)
        return Outcome(job.key, reason=reason)

    def _draw(self, url: str, job: Prompt) -> Outcome:
        """In a thread of its own."""
        start, client = time.monotonic(), self._clients[url]
        for source in (job.style, job.face):
            name = uploaded_name(source)
            if name not in self._uploaded[url]:
                client.upload(read_file(source.address), name)
                self._uploaded[url].add(name)
        run = client.run(job.graph, timeout=LONGEST)
        entries = run.outputs.get(node_id(job.graph, "Result"), {}).get("images", [])
        if not entries:
            self._results.keep_failure(job.key, "the workflow saved no picture")
            return Outcome(job.key, reason="the workflow saved no picture")
        told = {"seconds": round(time.monotonic() - start, 3), "machine": url}
        return Outcome(job.key, self._results.keep_picture(job, client.image_file(entries[0]), told))


def read_workflow(name: str) -> Workflow:
    """An API workflow: one of this pack by name, or a file."""
    path = WORKFLOWS / "api" / f"{name}.json"
    path = path if path.is_file() else Path(name)
    try:
        workflow = json.loads(path.read_text(encoding="utf-8"))
        for node in workflow.values():
            node["class_type"], node["inputs"], node["_meta"]["title"]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ACFunError(
            f"The workflow {name} cannot be read: {type(error).__name__}: {error}.",
            "a file that ComfyUI wrote with Export (API)",
            "check the path, and export it with titles",
        ) from error
    return workflow


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("plan", help="a .yaml or .csv file as of acfun batch")
    parser.add_argument("--servers", nargs="+", required=True, metavar="URL")
    parser.add_argument("--out", required=True, metavar="FOLDER")
    parser.add_argument(
        "--workflow", default="any_photo", metavar="NAME|FILE", help="in API format (default: %(default)s)"
    )
    parser.add_argument("--retry-failed", action="store_true")
    options = parser.parse_args(argv)
    results = Results(options.out)

    def tell(kind: str, told: dict[str, Any]) -> None:
        if kind != "progress":
            print(json.dumps({"event": kind, **told}), flush=True)

    try:
        workflow, rows = read_workflow(options.workflow), read_plan(options.plan)
        sources = {source.address: source for source in sources_of(rows, options.plan)}
        plan = held_against(prompts_of(rows, sources, workflow, options.plan), results, options.retry_failed)
        told = carry_out(plan, results, lambda: Servers(options.servers, results), tell)
    except ACFunError as error:
        print(error, file=sys.stderr)
        return 1
    print(json.dumps(told))
    return 0


if __name__ == "__main__":
    sys.exit(main())
