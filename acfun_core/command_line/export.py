"""``acfun export``: an adapter in a smaller or more portable form."""

from __future__ import annotations

import argparse
from pathlib import Path

from ..errors import ACFunError
from ..options import check_range
from ..storage import adapter_file
from ..storage.export import compact, low_rank, save_embedding
from . import output

_DESCRIPTION = """\
Write an adapter in another form. --rank replaces each map of CFun by the nearest one of a rank; --compact leaves out what
only learning needs; both can be combined. --textual-inversion writes S* alone, as an embedding that other Stable Diffusion
1.x programs load. All adapter files hold half-precision weights already.
"""


def add(commands) -> None:
    usage = "ADAPTER --out FILE.safetensors (--rank N | --compact | --textual-inversion)"
    parser = output.new_parser(commands, "export", "make an adapter smaller, or an embedding", _DESCRIPTION, usage)
    parser.set_defaults(run=run)
    parser.add_argument("adapter", type=Path, metavar="ADAPTER", help="adapter file (.safetensors)")
    output.add_out(parser, "the export", ".safetensors")
    parser.add_argument("--rank", type=int, metavar="N", help="low rank of CFun's maps, 1 to 512; 16 is good")
    parser.add_argument("--compact", action="store_true", help="leave out AFun's layers and the style picture's tokens")
    parser.add_argument("--textual-inversion", action="store_true", help="S* alone, as an embedding")
    parser.add_argument(
        "--abstract",
        type=float,
        metavar="X",
        help="abstract strength of the embedding, 0 to 2 (default: 1)",
    )
    output.add_common(parser)


def run(arguments: argparse.Namespace) -> dict:
    shrink = arguments.rank is not None or arguments.compact
    if shrink == arguments.textual_inversion:
        raise ACFunError(
            "An embedding cannot be of low rank or compact." if shrink else "Nothing says what to export.",
            "--rank, --compact or both, or --textual-inversion",
            "choose one",
        )
    if arguments.abstract is not None and not arguments.textual_inversion:
        raise ACFunError(
            "--abstract has no say in an adapter file: its strengths are chosen when it is used.",
            "--abstract with --textual-inversion alone",
            "leave it out",
        )
    path = output.check_out(arguments.out, ".safetensors", arguments.overwrite)
    adapter = adapter_file.load(arguments.adapter)
    told: dict = {}
    if arguments.textual_inversion:
        abstract = 1.0 if arguments.abstract is None else arguments.abstract
        check_range("abstract strength", abstract, 0, 2, good=1)
        path = save_embedding(adapter, path, abstract, arguments.overwrite)
    else:
        if arguments.rank is not None:
            check_range("rank", arguments.rank, 1, 512, good=16)
            adapter, told["energy_kept"] = low_rank(adapter, arguments.rank)
        smaller = compact(adapter) if arguments.compact else adapter
        path = adapter_file.save(smaller, path, arguments.overwrite)
    told["export"] = str(path)
    return {**told, "bytes_before": arguments.adapter.stat().st_size, "bytes": path.stat().st_size}
