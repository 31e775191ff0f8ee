"""Every guider, sampler and patch of the MODEL that ComfyUI brings, with an adapter: what was run, and what came out.

    python -m benchmarks.stock_nodes                    on ComfyUI 0.3.75; docs/stock_nodes.md
    COMFYUI=folder python -m benchmarks.stock_nodes     the same on another, which becomes a further column

The nodes are those that the running server lists, with the values that their fields come with. A row is drawn from the same
noise without an adapter, with one whose strengths are 0, with it, and with a style transfer in its place. A patch is drawn once
more behind the adapter, and an adapter is learned on the patched MODEL. What is done lies in ``out/stock_nodes``; it is not
done again.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from torch import Tensor

from tools.base_key import base_key, said_of
from tools.comfy.client import ComfyClient, NodeError, PromptTimeout, WorkflowRejected
from tools.comfy.graphs import PROMPT, base_graph, node, train_node
from tools.comfy.random_files import write_hypernetwork
from tools.comfy.server import ComfyServer

from . import combinations
from .drawing import command
from .pages import Table, render
from .parts import OFF, ON, Graph, Link, loaded, picture_nodes
from .runner import Cell, Work, go_on
from .stock_catalogue import PARTS_OF, NotTried, StockNode, filled, stock_nodes
from .store import Store
from .workbench import ROOT

SIDE, STEPS, SECONDS = 64, 3, 180.0
FAILED = (NodeError, WorkflowRejected, PromptTimeout)
OUT = ROOT / "out" / "stock_nodes"
BESIDES = {"transfer": "style transfer", "trained": "training on it"}
LEFT_OUT = {
    "TorchCompileModel": "see [combinations](combinations.md)",
    "CreateHookModelAsLora": "needs another checkpoint",
    "TrainLoraNode": "it trains; its MODEL is the one it was given",
}


class Row:
    """What is drawn of a node.

    Attributes:
        graph: grows with what is asked for.
    """

    def __init__(self, stock: StockNode):
        self.stock = stock
        self.graph: Graph = {
            **base_graph(),
            **picture_nodes(SIDE),
            "noise": node("EmptyLatentImage", width=SIDE, height=SIDE, batch_size=1),
            "chance": node("RandomNoise", noise_seed=3),
            "euler": node("KSamplerSelect", sampler_name="euler"),
            "sigmas": node("BasicScheduler", model=["base", 0], scheduler="normal", steps=STEPS, denoise=1.0),
            "negative": node("CLIPTextEncode", clip=["base", 1], text=""),
            "plain": node("CLIPTextEncode", clip=["base", 1], text=PROMPT.replace("S*", "painting")),
        }

    def _filled(self, model: Link, positive: Link) -> dict:
        return filled(self.stock, model, {"positive": positive, "negative": ["negative", 0]}, self.graph)

    def patched(self, name: str, model: Link) -> Link:
        """The MODEL behind the node, or the same MODEL where that is no patch."""
        if self.stock.kind != "patch":
            return model
        self.graph[name] = node(self.stock.name, **self._filled(model, ["plain", 0]))
        return [name, self.stock.place]

    def draw(self, name: str, model: Link, positive: Link, latent: Link = ("noise", 0)) -> None:
        """The latent ``name``, by the node where it is a guider or a sampler, else by ordinary ones."""
        stock, sampler = self.stock, ["euler", 0]
        guider = node("CFGGuider", model=model, positive=positive, negative=["negative", 0], cfg=3.0)
        if stock.kind == "guider":
            guider = node(stock.name, **self._filled(model, positive))
        elif stock.place < 0:
            self.graph["named"] = node("KSamplerSelect", sampler_name=stock.name)
            sampler = ["named", 0]
        elif stock.kind == "sampler":
            self.graph[f"{name}_sampler"] = node(stock.name, **self._filled(model, positive))
            sampler = [f"{name}_sampler", stock.place]
        self.graph[f"{name}_guider"] = guider
        wires = {"noise": ["chance", 0], "sigmas": ["sigmas", 0], "latent_image": list(latent)}
        place = stock.place if stock.kind == "guider" else 0
        self.graph[name] = node("SamplerCustomAdvanced", guider=[f"{name}_guider", place], sampler=sampler, **wires)


def adapter_row(stock: StockNode) -> tuple[Graph, list[str]]:
    """Without an adapter, with one that is off, with it, and a patch also behind it. -> graph and names of the latents."""
    row, names = Row(stock), ["alone", "off", "on"]
    before = row.patched("patch", ["base", 0])
    row.draw("alone", before, ["plain", 0])
    for name, strengths in (("off", OFF), ("on", ON)):
        row.graph[f"{name}_load"] = loaded(strengths, before)
        row.graph[f"{name}_text"] = node("ACFunTextEncode", clip=["base", 1], adapter=[f"{name}_load", 2], text=PROMPT)
        row.draw(name, [f"{name}_load", 0], [f"{name}_text", 0])
    if stock.kind == "patch":
        row.graph["bare_load"] = loaded(ON, ["base", 0])
        row.draw("behind", row.patched("patch_behind", ["bare_load", 0]), ["on_text", 0])
        names.append("behind")
    return row.graph, names


def alone_row(stock: StockNode) -> Graph:
    """The node without anything of this pack; its latent is ``alone``."""
    row = Row(stock)
    row.draw("alone", row.patched("patch", ["base", 0]), ["plain", 0])
    return row.graph


def transfer_row(stock: StockNode) -> Graph:
    """Without and with a style transfer: ``alone``, ``beside``."""
    row = Row(stock)
    row.draw("alone", row.patched("patch", ["base", 0]), ["plain", 0])
    pictures = {"photo": ["face", 0], "style_image": ["style", 0]}
    settings = {"preset": "instant", "strength": 1.0, "resolution": SIDE, "steps": STEPS}
    models = {"model": ["base", 0], "clip": ["base", 1], "vae": ["base", 2]}
    row.graph["transfer"] = node("ACFunStyleTransfer", **models, **pictures, **settings)
    row.draw("beside", row.patched("patch_beside", ["transfer", 0]), ["plain", 0], ("transfer", 1))
    return row.graph


def training_row(stock: StockNode) -> Graph:
    """An adapter is learned on the patched MODEL."""
    row = Row(stock)
    row.graph["train"] = train_node(
        model=row.patched("patch", ["base", 0]), steps=2, name="on_a_patch", resolution=SIDE
    )
    return row.graph


def outcome(server: ComfyServer, client: ComfyClient, stock: StockNode) -> dict[str, str]:
    """For the adapter and, with their name before it, for a transfer and for a training: ``said``, the word that the page
    explains, and ``why``, what stands behind it.
    """
    if stock.name in LEFT_OUT:
        return {"said": "not tried", "why": LEFT_OUT[stock.name]}
    try:
        graph, names = adapter_row(stock)
    except NotTried as missing:
        return {"said": "not tried", "why": str(missing)}
    draw = partial(combinations.drawn, server, client)
    try:
        found = draw(graph, names)
    except FAILED as error:
        if reason := failure(draw, alone_row(stock), ["alone"]):
            return {"said": "not for this base", "why": short(reason)}
        answer = failed(error)
    else:
        answer = adapter_outcome(found)
    answer |= of_the("transfer", transfer_outcome(draw, stock))
    if stock.kind == "patch":
        error = failure(client.run, training_row(stock), timeout=SECONDS)
        answer |= of_the("trained", failed(error) if error else {"said": "works", "why": ""})
    return answer


def failure(run: Callable, *arguments, **named) -> Exception | None:
    """What a run in the server ended with, if it failed."""
    try:
        run(*arguments, **named)
    except FAILED as error:
        return error
    return None


def adapter_outcome(found: dict[str, Tensor]) -> dict[str, str]:
    if not combinations.finite(found):
        return {"said": "not finite", "why": ""}
    if (off := combinations.difference(found["off"], found["alone"])["max"]) > 0:
        return {"said": "changes the base", "why": f"{off:.2g}"}
    if not combinations.difference(found["on"], found["off"])["relative"] > combinations.VISIBLE:
        return {"said": "no effect", "why": ""}
    if "behind" in found and combinations.difference(found["behind"], found["on"])["max"] > combinations.SAME:
        return {"said": "order", "why": "before and behind the adapter it is not the same"}
    return {"said": "works", "why": ""}


def transfer_outcome(draw: Callable, stock: StockNode) -> dict[str, str]:
    try:
        found = draw(transfer_row(stock), ["alone", "beside"])
    except FAILED as error:
        return failed(error)
    if not combinations.finite(found):
        return {"said": "not finite", "why": ""}
    changed = combinations.difference(found["beside"], found["alone"])["relative"] > combinations.VISIBLE
    return {"said": "works" if changed else "no effect", "why": ""}


def failed(error: Exception) -> dict[str, str]:
    """A message of this pack is a refusal; everything else should not be."""
    return {"said": "refused" if "ACFunError" in str(error) else "fails", "why": short(error)}


def of_the(what: str, answer: dict[str, str]) -> dict[str, str]:
    """An answer among those of a row."""
    return {f"{what}_{key}": value for key, value in answer.items()}


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
        write_hypernetwork(self.server)
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
    """The adapter's word, and that of a transfer or a training where it is another."""
    if row is None:
        return "not there"
    told = [said(row["said"], row["why"])]
    for what, title in BESIDES.items():
        word = row.get(f"{what}_said", row["said"])
        if word != row["said"] and (word, row["said"]) != ("works", "order"):
            told.append(f"{title}: {said(word, row[f'{what}_why'])}")
    return "; ".join(told)


def said(word: str, why: str) -> str:
    return word if not why else f"{word}: {why}"


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
    wrong = ("changes the base", "no effect", "not finite", "fails")
    return int(any(row.get(key) in wrong for row in rows for key in ("said", "transfer_said", "trained_said")))


if __name__ == "__main__":
    sys.exit(main())
