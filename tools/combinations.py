"""The adapter together with other people's parts, and under ComfyUI's memory and precision flags: what was run, what differed.

    python -m tools.combinations --compile eager inductor  writes docs/combinations.md; minutes, on a CPU
    python -m tools.combinations --only lowvram            this server's part of it now, the others in a later run

Every row is drawn by real ComfyUI servers on the demo base from the same noise. Ends with 1 if a row does not hold: with
the adapter's strengths at 0 the picture must be the other part's own bit for bit, at 1 both must be in it. What is finished is
kept in ``out/combinations`` and not drawn again.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from tools import combinations_page as page_of
from tools.comfy.client import ComfyClient
from tools.comfy.graphs import PROMPT, SIDE, base_graph, ksampler_nodes, node, train_node
from tools.comfy.random_files import CONTROL_NET, LORA, write_control_net, write_lora
from tools.comfy.server import ComfyServer

REPO = Path(__file__).resolve().parents[1]

PROBES = REPO / "tools" / "comfy" / "probes"
PACKS = {"ComfyUI-ACFun": REPO, "combination_probe": PROBES / "combination_probe"}
OUT = REPO / "out" / "combinations"
ADAPTER = "combination.safetensors"
COMPILED_STEPS = 2
LEARNING = {"steps": 12, "learning_rate": 3e-4}
ON, OFF = (1.0, 1.0, 1.0), (0.0, 0.0, 0.0)

Link = list
Graph = dict[str, dict]


@dataclass(frozen=True)
class Part:
    """Something that a user combines with the adapter.

    Attributes:
        name: of its nodes; title: in the table; how: its settings, for the table.
        model: (graph, model, name) -> the MODEL behind this part, its nodes added to the graph under that name.
        conditions: (graph, positive, negative, name) -> both, changed.
        sampler: inputs of KSampler that are the part; everywhere: inputs that differ in all pictures of its row.
        after: whether it can also stand behind the adapter.
        graph: nodes it needs besides.
    """

    name: str
    title: str
    how: str
    model: Callable[[Graph, Link, str], Link] = lambda graph, model, name: model
    conditions: Callable[[Graph, Link, Link, str], tuple[Link, Link]] = lambda graph, plus, minus, name: (plus, minus)
    sampler: dict = field(default_factory=dict)
    everywhere: dict = field(default_factory=dict)
    after: bool = False
    graph: Graph = field(default_factory=dict)


def patched_by(kind: str, **settings) -> Callable[[Graph, Link, str], Link]:
    """A part that is one node from MODEL to MODEL."""

    def model(graph: Graph, before: Link, name: str) -> Link:
        graph[name] = node(kind, model=before, **settings)
        return [name, 0]

    return model


def picture_nodes() -> Graph:
    """The face at the side of the drawing, as pixels and as latent, and a mask of its left half."""
    nothing = node("SolidMask", value=0.0, width=SIDE, height=SIDE)
    left = node("SolidMask", value=1.0, width=SIDE // 2, height=SIDE)
    return {
        "small": node("ImageScale", image=["face", 0], upscale_method="area", width=SIDE, height=SIDE, crop="center"),
        "encoded": node("VAEEncode", pixels=["small", 0], vae=["base", 2]),
        "nothing": nothing,
        "left": left,
        "mask": node("MaskComposite", destination=["nothing", 0], source=["left", 0], x=0, y=0, operation="add"),
        "masked": node("SetLatentNoiseMask", samples=["encoded", 0], mask=["mask", 0]),
    }


def controlled(net: str) -> Callable[[Graph, Link, Link, str], tuple[Link, Link]]:
    def conditions(graph: Graph, positive: Link, negative: Link, name: str) -> tuple[Link, Link]:
        graph["edges"] = node("Canny", image=["small", 0], low_threshold=0.2, high_threshold=0.5)
        graph["net"] = node("ControlNetLoader", control_net_name=net)
        ends = {"strength": 1.0, "start_percent": 0.0, "end_percent": 1.0}
        both = {"positive": positive, "negative": negative, "control_net": ["net", 0], "image": ["edges", 0]}
        graph[name] = node("ControlNetApplyAdvanced", **both, **ends)
        return [name, 0], [name, 1]

    return conditions


def parts(lora: str, net: str) -> list[Part]:
    """All parts of the first table."""
    free_u = {"b1": 1.3, "b2": 1.4, "s1": 0.9, "s2": 0.2}
    tiles = {"tile_size": 32, "swap_size": 1, "max_depth": 1, "scale_depth": False}
    return [
        Part(
            "lora",
            "LoRA",
            "random, rank 4, on two ResBlocks; LoraLoaderModelOnly",
            patched_by("LoraLoaderModelOnly", lora_name=lora, strength_model=1.0),
            after=True,
        ),
        Part(
            "image_attention",
            "IPAdapter-style attention",
            "random image tokens in every cross-attention, set as IPAdapter sets its own",
            patched_by("ProbeImageAttention", scale=1.0, tokens=4),
            after=True,
        ),
        Part("freeu", "FreeU", "1.3, 1.4, 0.9, 0.2; stock node", patched_by("FreeU", **free_u), after=True),
        Part(
            "hypertile",
            "HyperTile",
            "tiles of 32 pixels, max_depth 1, where attention is; stock node",
            patched_by("HyperTile", **tiles),
            after=True,
        ),
        Part(
            "controlnet",
            "ControlNet",
            "random, edges of the photo; stock nodes",
            conditions=controlled(net),
            graph=picture_nodes(),
        ),
        Part(
            "img2img",
            "img2img",
            "the photo, denoise 0.6; stock nodes",
            sampler={"latent_image": ["encoded", 0], "denoise": 0.6},
            graph=picture_nodes(),
        ),
        Part(
            "inpainting",
            "inpainting",
            "the left half of the photo; Set Latent Noise Mask",
            sampler={"latent_image": ["masked", 0]},
            graph=picture_nodes(),
        ),
    ]


def compiled(backend: str) -> Part:
    """torch.compile by a backend."""
    return Part(
        f"compile_{backend}",
        "torch.compile",
        f"backend {backend}, 64 pixels, {COMPILED_STEPS} steps",
        patched_by("ProbeCompile", backend=backend),
        everywhere={"latent_image": ["tiny", 0]},
        after=True,
        graph={"tiny": node("EmptyLatentImage", width=64, height=64, batch_size=1)},
    )


def prepare(server: ComfyServer, client: ComfyClient) -> None:
    """The files that all rows use: a LoRA, a ControlNet, and an adapter of a few steep steps."""
    write_lora(server)
    write_control_net(server, client)
    adapters = server.folder("models/acfun")
    if not (adapters / ADAPTER).exists():
        client.run({**base_graph(), "train": train_node(name="combination")})
        max(adapters.glob("combination_*"), key=lambda path: path.stat().st_mtime_ns).rename(adapters / ADAPTER)


def loaded(strengths: Sequence[float], model: Link) -> dict:
    names = ("abstract_strength", "encoder_strength", "decoder_strength")
    return node("ACFunLoadAdapter", model=model, clip=["base", 1], adapter_name=ADAPTER, **dict(zip(names, strengths)))


def drawing_graph(part: Part, steps: int) -> Graph:
    """What is drawn of one part: ``alone`` without the adapter, ``off`` and ``both`` with it, ``adapter`` without the part, and
    ``behind`` with the part put behind the adapter.
    """
    graph = {**base_graph(), **part.graph, **ksampler_nodes()}
    stock = graph.pop("stock")
    plain = [["positive", 0], ["negative", 0]]

    def draw(name: str, model: Link, positive: Link, with_part: bool = True) -> None:
        conditions = (positive, plain[1])
        if with_part:
            conditions = part.conditions(graph, *conditions, f"{name}_conditions")
        inputs = {**stock["inputs"], "steps": steps, **part.everywhere, **(part.sampler if with_part else {})}
        graph[name] = node(
            "KSampler", **{**inputs, "model": model, "positive": conditions[0], "negative": conditions[1]}
        )

    def styled(name: str, strengths: Sequence[float], model: Link) -> Link:
        graph[f"{name}_load"] = loaded(strengths, model)
        graph[f"{name}_text"] = node("ACFunTextEncode", clip=["base", 1], adapter=[f"{name}_load", 2], text=PROMPT)
        return [f"{name}_text", 0]

    before = part.model(graph, ["base", 0], "part")
    draw("alone", before, plain[0])
    for name, strengths in (("off", OFF), ("both", ON)):
        positive = styled(name, strengths, before)
        draw(name, [f"{name}_load", 0], positive)
    positive = styled("adapter", ON, ["base", 0])
    draw("adapter", ["adapter_load", 0], positive, with_part=False)
    if part.after:
        draw("behind", part.model(graph, ["adapter_load", 0], "part_behind"), positive)
    return graph


def drawn(server: ComfyServer, client: ComfyClient, graph: Graph, names: Sequence[str]) -> dict[str, Tensor]:
    """Latents (B, 4, h, w) of some nodes of a graph."""
    saving = {f"save_{name}": node("SaveLatent", samples=[name, 0], filename_prefix=f"latent_{name}") for name in names}
    client.run({**graph, **saving}, timeout=3000)
    found = {}
    for name in names:
        newest = max(server.folder("output").glob(f"latent_{name}_*"), key=lambda path: path.stat().st_mtime_ns)
        found[name] = load_file(newest)["latent_tensor"].float()
    return found


def difference(one: Tensor, two: Tensor) -> dict[str, float]:
    """Largest absolute difference, and the root mean square of the difference in that of ``two``."""
    change = (one - two).square().mean().sqrt() / two.square().mean().sqrt()
    return {"max": (one - two).abs().max().item(), "relative": change.item()}


def measure_part(server: ComfyServer, client: ComfyClient, part: Part, steps: int) -> dict:
    """One row of the first table."""
    graph = drawing_graph(part, steps)
    names = [name for name in ("alone", "off", "both", "adapter", "behind") if name in graph]
    found = drawn(server, client, graph, names)
    row = {
        "name": part.name,
        "finite": all(latent.isfinite().all().item() for latent in found.values()),
        "off": difference(found["off"], found["alone"]),
        "adapter": difference(found["both"], found["alone"]),
        "part": difference(found["both"], found["adapter"]),
    }
    if "behind" in found:
        row["order"] = difference(found["behind"], found["both"])
    return row


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


def flagged_server(flags: Flags, folder: Path) -> ComfyServer:
    """A server with these flags on the folders of the others."""
    packs, env = dict(PACKS), {}
    if flags.share is not None:
        packs["vram_probe"], env = PROBES / "vram_probe", {"ACFUN_TEST_LOADED_SHARE": str(flags.share)}
    log = folder / f"{flags.name}.log"
    for name in {"vram_probe"} - packs.keys():
        (folder / "custom_nodes" / name).unlink(missing_ok=True)
    return ComfyServer(packs, extra_args=flags.arguments, env=env, base_dir=folder, log_path=log)


def flags_graph(lora: str, steps: int) -> Graph:
    """Plain, off and on, with and without a LoRA, and a short training with it."""
    lora_part = dataclasses.replace(parts(lora, "")[0], after=False)
    graph = drawing_graph(lora_part, steps)
    graph["base_alone"] = node("KSampler", **{**graph["alone"]["inputs"], "model": ["base", 0]})
    graph["train"] = train_node(name="flags", model=["part", 0], **LEARNING)
    return graph


def measure_flags(server: ComfyServer, client: ComfyClient, steps: int) -> tuple[dict, dict[str, Tensor]]:
    """What one server drew, and what it learned: [style, face] loss before and after."""
    known = set(server.folder("models/acfun").glob("flags_*"))
    found = drawn(server, client, flags_graph(LORA, steps), ["base_alone", "adapter", "alone", "off", "both"])
    [path] = set(server.folder("models/acfun").glob("flags_*")) - known
    with safe_open(path, "pt") as file:
        record = json.loads(file.metadata()["training"])
    return {"before": record["before"], "after": record["after"], "skipped": record["skipped_steps"]}, found


def flags_row(flags: Flags, record: dict, found: dict[str, Tensor], plain: dict[str, Tensor]) -> dict:
    """One row of the second table; ``plain`` is what the server without flags drew."""
    return {
        "name": flags.name,
        "finite": all(latent.isfinite().all().item() for latent in found.values()),
        "off": difference(found["off"], found["alone"]),
        "base": difference(found["base_alone"], plain["base_alone"]),
        "adapter": difference(found["adapter"], plain["adapter"]),
        "lora": difference(found["both"], plain["both"]),
        "style": difference(found["adapter"], found["base_alone"]),
        "record": record,
    }


class Work:
    """Draws what is not there yet; one server a set of flags, all on the same folders.

    Args:
        options: as from the command line.
    """

    def __init__(self, options: argparse.Namespace):
        self.options = options
        self.rows = OUT / f"steps{options.steps}"
        self.folder = OUT / "server"
        self.rows.mkdir(parents=True, exist_ok=True)

    def kept(self, name: str) -> Path:
        return self.rows / f"{name}.json"

    def parts(self) -> list[Part]:
        return [*parts(LORA, CONTROL_NET), *map(compiled, self.options.compile)]

    def run(self, flags: Flags) -> None:
        """All that one server has to draw."""
        missing = [part for part in self.parts() if flags.name == "plain" and not self.kept(part.name).exists()]
        if not missing and self.kept(flags.name).exists():
            return
        with flagged_server(flags, self.folder) as server, server.client() as client:
            prepare(server, client)
            for part in missing:
                row = measure_part(
                    server, client, part, COMPILED_STEPS if part.name.startswith("compile") else self.options.steps
                )
                self.kept(part.name).write_text(json.dumps(row))
                print(json.dumps({**row, "holds": page_of.part_holds(row)}), flush=True)
            if not self.kept(flags.name).exists():
                record, found = measure_flags(server, client, self.options.steps)
                save_file(found, self.kept(flags.name).with_suffix(".safetensors"))
                self.kept(flags.name).write_text(json.dumps(record))

    def flags_row(self, flags: Flags) -> dict:
        found, plain = (load_file(self.kept(name).with_suffix(".safetensors")) for name in (flags.name, "plain"))
        return flags_row(flags, json.loads(self.kept(flags.name).read_text()), found, plain)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=4, help="sampling steps (4)")
    parser.add_argument("--compile", nargs="*", default=[], metavar="BACKEND", help="torch.compile: eager, inductor")
    parser.add_argument("--page", type=Path, default=REPO / "docs" / "combinations.md", help="the page to write")
    parser.add_argument("--only", choices=[one.name for one in FLAGS], help="this server alone, and no page")
    options = parser.parse_args(arguments)
    work = Work(options)
    for flags in FLAGS:
        if options.only in (None, flags.name):
            work.run(flags)
    if options.only:
        return 0
    part_rows = [(part, json.loads(work.kept(part.name).read_text())) for part in work.parts()]
    flag_rows = [(flags, work.flags_row(flags)) for flags in FLAGS]
    options.page.write_text(page_of.page(part_rows, flag_rows, options.steps, SIDE, REPO / "base"), encoding="utf-8")
    holds = [page_of.part_holds(row) for _, row in part_rows] + [page_of.flags_hold(row) for _, row in flag_rows]
    return 0 if all(holds) else 1


if __name__ == "__main__":
    sys.exit(main())
