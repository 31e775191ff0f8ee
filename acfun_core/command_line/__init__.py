"""``acfun train | sample | info | export | splice``: the core on the command line, without ComfyUI.

Each command is a module with ``add(commands)``, which declares its arguments, and ``run(arguments)``, which does the work and
returns what ``--json`` prints. Results go to standard output, everything else to standard error.

Exit codes: 0 done, 1 a mistake that the message says how to mend, 2 wrong usage, 130 cancelled.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence

from .. import __version__
from ..errors import ACFunError
from . import export, info, sample, splice, train
from .output import as_lines

DONE, MISTAKE, CANCELLED = 0, 1, 130

_COMMANDS = (train, sample, info, export, splice)

_EPILOGUE = """\
examples:
  acfun train --style woodcut.png --face me.jpg --description "a painting of a man in S* style" --out woodcut.safetensors
  acfun sample woodcut.safetensors --prompt "a painting of a smiling man in S* style" --seed 3 --out portrait.png
  acfun info woodcut.safetensors

`acfun COMMAND --help` explains a command. Nothing is ever downloaded.
"""


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="acfun",
        description="Learn a style from one picture and one face, then draw portraits from pure noise (ACFun, NeurIPS 2024).",
        epilog=_EPILOGUE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"ACFun {__version__}")
    commands = parser.add_subparsers(title="commands", dest="command", metavar="COMMAND", required=True)
    for command in _COMMANDS:
        command.add(commands)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command. -> exit code. Wrong usage raises SystemExit(2), as argparse does."""
    arguments = build_parser().parse_args(argv)
    try:
        result = arguments.run(arguments)
    except ACFunError as error:
        for title, text in (("", error.what), ("Expected: ", error.expected), ("To fix it: ", error.fix)):
            if text:
                print(f"{title}{text}", file=sys.stderr)
        if arguments.json:
            print(json.dumps({"error": {"what": error.what, "expected": error.expected, "fix": error.fix}}))
        return MISTAKE
    except KeyboardInterrupt:
        print("Cancelled; no file is half-written.", file=sys.stderr)
        return CANCELLED
    print(json.dumps(result) if arguments.json else "\n".join(as_lines(result)))
    return DONE
