"""Every guider, sampler and patch of the MODEL that ComfyUI brings, with an adapter: what was run, and what came out.

    python -m benchmarks.stock_nodes                    on ComfyUI 0.3.75; docs/stock_nodes.md
    COMFYUI=folder python -m benchmarks.stock_nodes     the same on another, which becomes a further column

The nodes are those that the running server lists, with the values that their fields come with. A row is drawn three times from
the same noise: without an adapter, with one whose strengths are 0, and with it. A patch is drawn a fourth time, put behind the
adapter. What is done lies in ``out/stock_nodes`` and is not drawn again.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tools.base_key import base_key, said_of
from tools.comfy.client import ComfyClient, NodeError, PromptTimeout, WorkflowRejected
from tools.comfy.graphs import PROMPT, base_graph, node
from tools.comfy.server import ComfyServer

from . import combinations
from .drawing import command
from .pages import Table, render
from .parts import OFF, ON, Graph, Link, loaded, picture_nodes
from .runner import Cell, Work, go_on
from .store import Store
from .workbench import ROOT

SIDE, STEPS, SECONDS = 64, 3, 180.0
OUT = ROOT / "out" / "stock_nodes"
PARTS_OF = {"patch": "MODEL", "guider": "GUIDER", "sampler": "SAMPLER"}
"""Kind of row -> what its node gives."""
LEFT_OUT = {
    "TorchCompileModel": "see [combinations](combinations.md)",
    "CreateHookModelAsLora": "needs another checkpoint",
    "TrainLoraNode": "it trains; its MODEL is the one it was given",
}
WIRES = {
    "CLIP": ["base", 1],
    "VAE": ["base", 2],
    "CLIP_VISION": ["base", 3],
    "IMAGE": ["small", 0],
    "MASK": ["mask", 0],
    "LATENT": ["noise", 0],
    "NOISE": ["chance", 0],
    "SIGMAS": ["sigmas", 0],
    "SAMPLER": ["euler", 0],
}


@dataclass(frozen=True)
class StockNode:
    """One row.

    Attributes:
        kind: one of :data:`PARTS_OF`.
        name: of the node, or of a sampler that KSampler offers.
        place: which of the node's outputs counts.
        fields: required inputs: name, type, options.
    """

    kind: str
    name: str
    place: int
    fields: tuple[tuple[str, object, dict], ...]


def stock_nodes(info: dict[str, dict]) -> Iterator[StockNode]:
    """The nodes of the host that give a patched MODEL, a GUIDER or a SAMPLER, and the samplers that KSampler offers."""
    for name, told in sorted(info.items()):
        if told["python_module"].startswith("custom_nodes") or told.get("api_node"):
            continue
        fields = tuple(
            (key, field[0], (field[1:] or [{}])[0]) for key, field in told["input"].get("required", {}).items()
        )
        takes_model = sum(kind == "MODEL" for _, kind, _ in fields) == 1
        for kind, given in PARTS_OF.items():
            if given in told["output"] and (kind == "sampler" or takes_model) and name != "KSamplerSelect":
                yield StockNode(kind, name, told["output"].index(given), fields)
    for sampler in options_of(*info["KSampler"]["input"]["required"]["sampler_name"]):
        yield StockNode("sampler", sampler, -1, ())


def options_of(kind: object, settings: dict | None = None) -> list:
    """Choices of a field, as either generation of nodes lists them."""
    return kind if isinstance(kind, list) else (settings or {}).get("options", [])


class NotTried(Exception):
    """What a node needs and is not there."""


def filled(stock: StockNode, model: Link, conditions: dict[str, Link]) -> dict:
    """Its inputs: the wires of the graph, and the values that its fields come with.

    Raises:
        NotTried: it needs something that the graph has not.
    """
    inputs = {}
    for name, kind, settings in stock.fields:
        if kind == "MODEL":
            inputs[name] = model
        elif kind == "CONDITIONING":
            inputs[name] = conditions["negative" if "neg" in name or "empty" in name else "positive"]
        elif isinstance(kind, str) and kind in WIRES:
            inputs[name] = WIRES[kind]
        elif "default" in settings:
            inputs[name] = settings["default"]
        elif choices := options_of(kind, settings):
            inputs[name] = choices[0] if not isinstance(choices[0], dict) else choices[0]["key"]
        elif kind in ("INT", "FLOAT"):
            inputs[name] = settings.get("min", 0)
        elif kind in ("STRING", "BOOLEAN"):
            inputs[name] = "" if kind == "STRING" else False
        else:
            raise NotTried(f"needs a {'file' if kind == 'COMBO' or isinstance(kind, list) else kind}")
    return inputs


def graph_of(stock: StockNode) -> tuple[Graph, list[str]]:
    """What is drawn of a row, and the names of the latents."""
    graph = {
        **base_graph(),
        **picture_nodes(SIDE),
        "noise": node("EmptyLatentImage", width=SIDE, height=SIDE, batch_size=1),
    }
    graph |= {
        "chance": node("RandomNoise", noise_seed=3),
        "euler": node("KSamplerSelect", sampler_name="euler"),
        "sigmas": node("BasicScheduler", model=["base", 0], scheduler="normal", steps=STEPS, denoise=1.0),
        "negative": node("CLIPTextEncode", clip=["base", 1], text=""),
        "plain": node("CLIPTextEncode", clip=["base", 1], text=PROMPT.replace("S*", "painting")),
    }

    def draw(name: str, model: Link, positive: Link) -> None:
        conditions = {"positive": positive, "negative": ["negative", 0]}
        guider, sampler = node("CFGGuider", model=model, **conditions, cfg=3.0), ["euler", 0]
        if stock.kind == "guider":
            guider = node(stock.name, **filled(stock, model, conditions))
        elif stock.place < 0:
            graph["named"] = node("KSamplerSelect", sampler_name=stock.name)
            sampler = ["named", 0]
        elif stock.kind == "sampler":
            graph[f"{name}_sampler"] = node(stock.name, **filled(stock, model, conditions))
            sampler = [f"{name}_sampler", stock.place]
        graph[f"{name}_guider"] = guider
        wires = {"noise": ["chance", 0], "sigmas": ["sigmas", 0], "latent_image": ["noise", 0]}
        place = stock.place if stock.kind == "guider" else 0
        graph[name] = node("SamplerCustomAdvanced", guider=[f"{name}_guider", place], sampler=sampler, **wires)

    def patched(name: str, model: Link) -> Link:
        if stock.kind != "patch":
            return model
        graph[name] = node(stock.name, **filled(stock, model, {"positive": ["plain", 0], "negative": ["negative", 0]}))
        return [name, stock.place]

    before, names = patched("patch", ["base", 0]), ["alone", "off", "on"]
    draw("alone", before, ["plain", 0])
    for name, strengths in (("off", OFF), ("on", ON)):
        graph[f"{name}_load"] = loaded(strengths, before)
        graph[f"{name}_text"] = node("ACFunTextEncode", clip=["base", 1], adapter=[f"{name}_load", 2], text=PROMPT)
        draw(name, [f"{name}_load", 0], [f"{name}_text", 0])
    if stock.kind == "patch":
        graph["bare_load"] = loaded(ON, ["base", 0])
        draw("behind", patched("patch_behind", ["bare_load", 0]), ["on_text", 0])
        names.append("behind")
    return graph, names


def outcome(server: ComfyServer, client: ComfyClient, stock: StockNode) -> dict[str, str]:
    """``said``: the word that the page explains; ``why``: what stands behind it."""
    if stock.name in LEFT_OUT:
        return {"said": "not tried", "why": LEFT_OUT[stock.name]}
    try:
        graph, names = graph_of(stock)
    except NotTried as missing:
        return {"said": "not tried", "why": str(missing)}
    try:
        found = combinations.drawn(server, client, graph, names)
    except (NodeError, WorkflowRejected, PromptTimeout) as error:
        alone = {name: part for name, part in graph.items() if not name.startswith(("off", "on", "behind", "bare"))}
        try:
            combinations.drawn(server, client, {k: v for k, v in alone.items() if k != "patch_behind"}, ["alone"])
        except (NodeError, WorkflowRejected, PromptTimeout) as reason:
            return {"said": "not for this base", "why": short(reason)}
        return {"said": "refused", "why": short(error)}
    if not combinations.finite(found):
        return {"said": "not finite", "why": ""}
    if combinations.difference(found["off"], found["alone"])["max"] > 0:
        return {
            "said": "changes the base",
            "why": f"{combinations.difference(found['off'], found['alone'])['max']:.2g}",
        }
    if not combinations.difference(found["on"], found["off"])["relative"] > combinations.VISIBLE:
        return {"said": "no effect", "why": ""}
    if "behind" in found and combinations.difference(found["behind"], found["on"])["max"] > combinations.SAME:
        return {"said": "order", "why": "before and behind the adapter it is not the same"}
    return {"said": "works", "why": ""}


def short(error: Exception) -> str:
    """A message's first line, as a cell of a table."""
    line = (str(error).strip().splitlines() or [type(error).__name__])[0].replace("|", "/")
    return line.rpartition("ACFunError: ")[2][:160]


class StockNodes(Work):
    """A cell a node of the running server."""

    def __init__(self, options: argparse.Namespace):
        super().__init__(Store(options.out), base_key(ROOT / "base"))
        self.options, self._stack = options, ExitStack()
        # Another base's adapter must not be found there.
        folder = self.store.folder / "server" / self.run
        self.server = self._stack.enter_context(
            ComfyServer(combinations.PACKS, base_dir=folder, log_path=folder / "log")
        )
        self.client = self._stack.enter_context(self.server.client())
        self.version = self.client.system_stats()["system"]["comfyui_version"]
        combinations.prepare(self.server, self.client, SIDE)
        self.nodes = list(stock_nodes(self.client.object_info()))

    def cells(self) -> list[Cell]:
        return [
            Cell(
                "node",
                {"version": self.version, "kind": stock.kind, "name": stock.name},
                partial(outcome, self.server, self.client, stock),
            )
            for stock in self.nodes
            if self.options.only in (None, stock.name)
        ]

    def close(self) -> None:
        self._stack.close()


def page(rows: list[dict], said: str) -> str:
    """The text of docs/stock_nodes.md."""
    versions = sorted({row["version"] for row in rows}, key=lambda version: [int(part) for part in version.split(".")])
    tables = {}
    for kind in PARTS_OF:
        names = sorted({row["name"] for row in rows if row["kind"] == kind}, key=str.lower)
        told = {(row["name"], row["version"]): row for row in rows if row["kind"] == kind}
        tables[kind] = Table(
            [kind, *versions], [[f"`{name}`", *(cell(told.get((name, v))) for v in versions)] for name in names]
        )
    return render("stock_nodes.md", weights=said_of(ROOT / "base"), command=said, side=SIDE, steps=STEPS, **tables)


def cell(row: dict | None) -> str:
    if row is None:
        return "not there"
    return row["said"] if not row["why"] else f"{row['said']}: {row['why']}"


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", metavar="NAME", help="this node alone, and no page")
    parser.add_argument("--out", type=Path, default=OUT, help="where finished rows are kept (%(default)s)")
    parser.add_argument("--docs", type=Path, default=ROOT / "docs", help="folder of the page (docs)")
    options = parser.parse_args(arguments)
    work = StockNodes(options)
    try:
        go_on(work)
    finally:
        work.close()
    rows = work.store.rows(work.run, "node")
    if options.only:
        print(json.dumps([row for row in rows if row["name"] == options.only], indent=1))
        return 0
    text = page(rows, command("stock_nodes", sys.argv[1:] if arguments is None else arguments))
    (options.docs / "stock_nodes.md").write_text(text, encoding="utf-8")
    return int(any(row["said"] in ("changes the base", "no effect", "not finite") for row in rows))


if __name__ == "__main__":
    sys.exit(main())
