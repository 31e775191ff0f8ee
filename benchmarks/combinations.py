"""The adapter together with other people's parts, and under ComfyUI's memory and precision flags: what was run, what differed.

    python -m benchmarks.combinations --compile eager inductor    docs/combinations.md; minutes, on a CPU
    python -m benchmarks.combinations --only lowvram              this server's part of it now, the others in a later run

Every row is drawn by real ComfyUI servers on the demo base from the same noise. Ends with 1 if a row does not hold: with
the adapter's strengths at 0 the picture must be the other part's own bit for bit, at 1 both must be in it. What is done lies in
``out/combinations`` and is not drawn again.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from acfun_core.demo_base import NATIVE_SIDE
from tools.base_key import base_key, said_of
from tools.comfy.client import ComfyClient
from tools.comfy.graphs import base_graph, node, train_node
from tools.comfy.random_files import CONTROL_NET, LORA, write_control_net, write_lora
from tools.comfy.server import ComfyServer

from .drawing import command
from .pages import Table, render
from .parts import ADAPTER, COMPILED_STEPS, Graph, Part, compiled, drawing_graph, parts
from .runner import Cell, Work, go_on
from .store import Store
from .workbench import ROOT

PROBES = ROOT / "tools" / "comfy" / "probes"
PACKS = {"ComfyUI-ACFun": ROOT, "combination_probe": PROBES / "combination_probe"}
OUT = ROOT / "out" / "combinations"
LEARNING = {"steps": 12, "learning_rate": 3e-4}
SAME = 1e-5
"""Largest difference of two orders of the same parts: sums in another order round differently."""
COMPILED = 1e-3
"""Largest difference that torch.compile's other rounding may make."""
VISIBLE = 1e-3
"""A change is in the picture if its root mean square is at least this share of the latent's."""


@dataclass(frozen=True)
class Flags:
    """One way to start the server.

    Attributes:
        share: of each model's weights that is loaded; None is the host's own choice, on a CPU all.
    """

    name: str
    title: str
    arguments: tuple[str, ...] = ()
    share: float | None = None


FLAGS = (
    Flags("plain", "float32"),
    Flags("lowvram", "half of the weights loaded, as by `--lowvram`", share=0.5),
    Flags("novram", "no weights loaded, as by `--novram`", share=0.0),
    Flags("fp16", "`--fp16-unet`", ("--fp16-unet",)),
    Flags("bf16", "`--bf16-unet`", ("--bf16-unet",)),
    Flags("fp8", "`--fp8_e4m3fn-unet`", ("--fp8_e4m3fn-unet",)),
)
PLAIN = FLAGS[0]

# -- drawing -----------------------------------------------------------------------------------


def flagged_server(flags: Flags, folder: Path) -> ComfyServer:
    """A server with these flags on the folders of the others."""
    packs, env = dict(PACKS), {}
    if flags.share is not None:
        packs["vram_probe"], env = PROBES / "vram_probe", {"ACFUN_TEST_LOADED_SHARE": str(flags.share)}
    log = folder / f"{flags.name}.log"
    for name in {"vram_probe"} - packs.keys():
        (folder / "custom_nodes" / name).unlink(missing_ok=True)
    return ComfyServer(packs, extra_args=flags.arguments, env=env, base_dir=folder, log_path=log)


def prepare(server: ComfyServer, client: ComfyClient, side: int = NATIVE_SIDE) -> None:
    """The files that all rows use: a LoRA, a ControlNet, and an adapter of a few steep steps."""
    write_lora(server)
    write_control_net(server, client)
    adapters = server.folder("models/acfun")
    if not (adapters / ADAPTER).exists():
        client.run({**base_graph(), "train": train_node(name="combination", resolution=side)})
        max(adapters.glob("combination_*"), key=lambda path: path.stat().st_mtime_ns).rename(adapters / ADAPTER)


def drawn(server: ComfyServer, client: ComfyClient, graph: Graph, names: Sequence[str]) -> dict[str, Tensor]:
    """Latents (B, 4, h, w) of some nodes of a graph."""
    saving = {f"save_{name}": node("SaveLatent", samples=[name, 0], filename_prefix=f"latent_{name}") for name in names}
    client.run({**graph, **saving}, timeout=3000)
    found = {}
    for name in names:
        newest = max(server.folder("output").glob(f"latent_{name}_*"), key=lambda path: path.stat().st_mtime_ns)
        found[name] = load_file(newest)["latent_tensor"].float()
    return found


def finite(latents: dict[str, Tensor]) -> bool:
    return all(latent.isfinite().all().item() for latent in latents.values())


def difference(one: Tensor, two: Tensor) -> dict[str, float]:
    """Largest absolute difference, and the root mean square of the difference in that of ``two``."""
    change = (one - two).square().mean().sqrt() / two.square().mean().sqrt()
    return {"max": (one - two).abs().max().item(), "relative": change.item()}


def measure_part(server: ComfyServer, client: ComfyClient, part: Part, steps: int, side: int = NATIVE_SIDE) -> dict:
    """One row of the first table."""
    graph = drawing_graph(part, steps, side)
    found = drawn(server, client, graph, [n for n in ("alone", "off", "both", "adapter", "behind") if n in graph])
    row = {
        "finite": finite(found),
        "off": difference(found["off"], found["alone"]),
        "adapter": difference(found["both"], found["alone"]),
        "part": difference(found["both"], found["adapter"]),
    }
    if "behind" in found:
        row["order"] = difference(found["behind"], found["both"])
    return row


def measure_flags(
    server: ComfyServer, client: ComfyClient, steps: int, side: int = NATIVE_SIDE
) -> tuple[dict, dict[str, Tensor]]:
    """What one server learned, [style, face] loss before and after, and what it drew with and without a LoRA."""
    graph = drawing_graph(dataclasses.replace(parts(LORA, "")[0], after=False), steps, side)
    graph["base_alone"] = node("KSampler", **{**graph["alone"]["inputs"], "model": ["base", 0]})
    graph["train"] = train_node(name="flags", model=["part", 0], resolution=side, **LEARNING)
    known = set(server.folder("models/acfun").glob("flags_*"))
    found = drawn(server, client, graph, ["base_alone", "adapter", "alone", "off", "both"])
    [path] = set(server.folder("models/acfun").glob("flags_*")) - known
    with safe_open(path, "pt") as file:
        record = json.loads(file.metadata()["training"])
    return {"before": record["before"], "after": record["after"]}, found


def flags_row(record: dict, found: dict[str, Tensor], plain: dict[str, Tensor]) -> dict:
    """One row of the second table; ``plain`` is what the server without flags drew."""
    return {
        "finite": finite(found),
        "off": difference(found["off"], found["alone"]),
        "base": difference(found["base_alone"], plain["base_alone"]),
        "adapter": difference(found["adapter"], plain["adapter"]),
        "lora": difference(found["both"], plain["both"]),
        "style": difference(found["adapter"], found["base_alone"]),
        "record": record,
    }


class Combinations(Work):
    """A cell a part and a cell a server; one server at a time, all on the same folders."""

    def __init__(self, options: argparse.Namespace):
        super().__init__(Store(options.out), f"{base_key(ROOT / 'base')}-side{NATIVE_SIDE}-steps{options.steps}")
        self.options, self.parts = options, [*parts(LORA, CONTROL_NET), *map(compiled, options.compile)]
        self.servers = [flags for flags in FLAGS if options.only in (None, flags.name)]
        self._running: tuple[Flags, ComfyServer, ComfyClient] | None = None
        self._stack = ExitStack()

    def cells(self) -> list[Cell]:
        drawn_plain = [self.part(part) for part in self.parts] if PLAIN in self.servers else []
        return [*drawn_plain, *map(self.server, self.servers)]

    def part(self, part: Part) -> Cell:
        return Cell("part", {"name": part.name}, partial(self._part, part))

    def server(self, flags: Flags) -> Cell:
        return Cell("server", {"name": flags.name}, partial(self._server, flags))

    def _started(self, flags: Flags) -> tuple[ComfyServer, ComfyClient]:
        """The server with these flags; one with others is stopped."""
        if self._running is None or self._running[0] != flags:
            self.close()
            # Another base's adapter must not be found there.
            server = self._stack.enter_context(flagged_server(flags, self.store.folder / "server" / self.run))
            client = self._stack.enter_context(server.client())
            prepare(server, client)
            self._running = flags, server, client
        return self._running[1:]

    def close(self) -> None:
        self._running = None
        self._stack.close()

    def _part(self, part: Part) -> dict:
        steps = COMPILED_STEPS if part.name.startswith("compile") else self.options.steps
        return measure_part(*self._started(PLAIN), part, steps)

    def _server(self, flags: Flags) -> dict:
        record, found = measure_flags(*self._started(flags), self.options.steps)
        path = self.store.folder / "latents" / self.run / f"{flags.name}.safetensors"
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file(found, path)
        return {"file": path, "record": record}

    def rows(self) -> tuple[list[dict], list[dict]]:
        """Of both tables, when all is done."""
        plain = load_file(self.store.file(self.kept(self.server(PLAIN))))
        kept = [self.kept(self.server(flags)) for flags in FLAGS]
        flag_rows = [flags_row(row["record"], load_file(self.store.file(row)), plain) for row in kept]
        return [self.kept(self.part(part)) for part in self.parts], flag_rows


# -- the page ----------------------------------------------------------------------------------


def part_holds(row: dict) -> bool:
    """Off leaves the part's own picture bit for bit; both are in the common one; the order makes no difference.

    What torch.compile does to a picture is rounding, and no change of its own.
    """
    is_compiled = row["name"].startswith("compile")
    changed = row["part"]["relative"] > VISIBLE
    off = row["off"]["max"] <= (COMPILED if is_compiled else 0)
    order = row.get("order", {"max": 0.0})["max"] <= (COMPILED if is_compiled else SAME)
    return row["finite"] and off and row["adapter"]["relative"] > VISIBLE and changed != is_compiled and order


def flags_hold(row: dict) -> bool:
    """Off is the base bit for bit, the adapter is in the picture, and a short training lowers both terms."""
    learned = all(after < before for before, after in zip(row["record"]["before"], row["record"]["after"]))
    return row["finite"] and row["off"]["max"] == 0 and row["style"]["relative"] > VISIBLE and learned


def shown(found: dict | None) -> str:
    """A difference as it stands in a table."""
    if found is None:
        return ""
    largest, share = ("0" if value == 0 else f"{value:.2g}" for value in (found["max"], 100 * found["relative"]))
    return f"{largest} ({share} %)"


def verdict(holds: bool) -> str:
    return "holds" if holds else "**does not hold**"


def page(part_rows: list[tuple[Part, dict]], flag_rows: list[tuple[Flags, dict]], steps: int, command: str) -> str:
    """The text of docs/combinations.md."""
    first = [
        [part.title, part.how, *(shown(row.get(name)) for name in ("off", "adapter", "part", "order"))]
        + [verdict(part_holds(row))]
        for part, row in part_rows
    ]
    second = [
        [flags.title, *(shown(row[name]) for name in ("off", "base", "adapter", "lora", "style"))]
        + [" ".join(f"{b:.3f} → {a:.3f}" for b, a in zip(row["record"]["before"], row["record"]["after"]))]
        + [verdict(flags_hold(row))]
        for flags, row in flag_rows
    ]
    changes = ("adapter off", "base", "adapter", "adapter and LoRA", "adapter's change")
    return render(
        "combinations.md",
        weights=said_of(ROOT / "base"),
        broken=[row[0] for row in (*first, *second) if row[-1] != verdict(True)],
        side=NATIVE_SIDE,
        steps=steps,
        command=command,
        parts=Table(["part", "what", "adapter off", "adapter's change", "part's change", "order", ""], first),
        flags=Table(["server", *changes, "learned", ""], second),
    )


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=4, help="sampling steps (%(default)s)")
    parser.add_argument("--compile", nargs="*", default=[], metavar="BACKEND", help="torch.compile: eager, inductor")
    parser.add_argument("--only", choices=[one.name for one in FLAGS], help="this server alone, and no page")
    parser.add_argument("--minutes", type=float, default=0.0, help="stop between two rows after so long (0 is never)")
    parser.add_argument("--out", type=Path, default=OUT, help="where finished rows are kept (%(default)s)")
    parser.add_argument("--docs", type=Path, default=ROOT / "docs", help="folder of the page (docs)")
    options = parser.parse_args(arguments)
    work = Combinations(options)
    go_on(work, minutes=options.minutes)
    if options.only or not all(map(work.kept, work.cells())):
        return 0
    part_rows, flag_rows = work.rows()
    said = command("combinations", sys.argv[1:] if arguments is None else arguments)
    text = page(list(zip(work.parts, part_rows)), list(zip(FLAGS, flag_rows)), options.steps, said)
    (options.docs / "combinations.md").write_text(text, encoding="utf-8")
    return 0 if all(map(part_holds, part_rows)) and all(map(flags_hold, flag_rows)) else 1


if __name__ == "__main__":
    sys.exit(main())
