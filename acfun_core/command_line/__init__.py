"""``acfun train | slider | sample | info | export | splice | batch``: the core on the command line, without ComfyUI.

Each command is a module with ``add(commands)``, which declares its arguments, and ``run(arguments)``, which does the work and
returns what ``--json`` prints. Results go to standard output, everything else to standard error.

Exit codes: 0 done, 1 a mistake that the message says how to mend, 2 wrong usage, 130 cancelled.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import threading
from collections.abc import Sequence

from .. import __version__
from ..errors import ACFunError
from . import batch, export, info, sample, slider, splice, train
from .output import as_lines, printable

DONE, MISTAKE, CANCELLED = 0, 1, 130

_COMMANDS = (train, slider, sample, info, export, splice, batch)

_EPILOGUE = """\
examples:
  acfun train --style woodcut.png --face me.jpg --description "a painting of a man in S* style" --out woodcut.safetensors
  acfun sample woodcut.safetensors --prompt "a painting of a smiling man in S* style" --seed 3 --out portrait.png
  acfun info woodcut.safetensors
  acfun batch --styles styles --faces faces --out results

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


class Interrupts:
    """While active, remembers whether Ctrl-C was pressed, beside raising KeyboardInterrupt for it as usual."""

    seen = False

    def __enter__(self) -> Interrupts:
        self._restored = None
        if threading.current_thread() is threading.main_thread():
            self._restored = signal.signal(signal.SIGINT, self._note)
        return self

    def __exit__(self, *exception) -> None:
        if self._restored is not None:
            signal.signal(signal.SIGINT, self._restored)

    def _note(self, number, frame) -> None:
        self.seen = True
        raise KeyboardInterrupt


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command. -> exit code. Wrong usage raises SystemExit(2), as argparse does."""
    with printable():
        return _run(build_parser().parse_args(argv))


def _run(arguments: argparse.Namespace) -> int:
    with Interrupts() as interrupts:
        try:
            result = arguments.run(arguments)
        except KeyboardInterrupt as interrupt:
            return _cancelled(str(interrupt))
        except Exception as error:
            # Inside an import or a native function Ctrl-C comes out as an error of another type.
            if interrupts.seen:
                return _cancelled()
            if isinstance(error, ACFunError):
                return _mistaken(error, arguments.json)
            raise
    # Within printable(): the work is done and the files are written by now.
    print(json.dumps(result) if arguments.json else "\n".join(as_lines(result)))
    return DONE


def _cancelled(further: str = "") -> int:
    print(f"Cancelled; no file is half-written. {further}".strip(), file=sys.stderr)
    return CANCELLED


def _mistaken(error: ACFunError, as_json: bool) -> int:
    for title, text in (("", error.what), ("Expected: ", error.expected), ("To fix it: ", error.fix)):
        if text:
            print(f"{title}{text}", file=sys.stderr)
    if as_json:
        print(json.dumps({"error": {"what": error.what, "expected": error.expected, "fix": error.fix}}))
    return MISTAKE
