"""Write docs/options.md and the input tables of two help pages from the configs' own declarations.

python -m tools.options_reference            writes them
python -m tools.options_reference --check    exit code 1 if one of them is not current
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from acfun_core.config import AdapterConfig, TrainConfig
from acfun_core.options import Option, default_of, options_of
from acfun_core.strengths import Strengths

ROOT = Path(__file__).resolve().parent.parent
REFERENCE = ROOT / "docs" / "options.md"
HELP_PAGES = {
    ROOT / "web" / "docs" / "ACFunTrainOptions.md": (AdapterConfig, TrainConfig),
    ROOT / "web" / "docs" / "ACFunAdapterOptions.md": (Strengths,),
}
BEGIN, END = "<!-- options: generated -->", "<!-- options: end -->"

_INTRODUCTION = """# Options

Every choice of the method and what it may be. This page is generated from the declarations in `acfun_core/config.py` and
`acfun_core/strengths.py` by `python -m tools.options_reference`; change them there.

"Format" is the version of the adapter file that first knows an option. A file states the oldest version that can say all of it.
"""
_SECTIONS = (
    ("What is learned", "Stored in the adapter file (`AdapterConfig`).", AdapterConfig, True),
    ("How it is learned", "Kept in the adapter file as a record (`TrainConfig`).", TrainConfig, False),
    ("How much of it is used, when and where", "Chosen at inference, not stored (`Strengths`).", Strengths, False),
)


def shown(option: Option, value) -> str:
    """A default as a person would write it."""
    if value is None:
        return ""
    if option.kind == "flag":
        return "yes" if value else "no"
    return f"`{value}`" if option.kind == "choice" else f"{value:.10g}"


def values(option: Option) -> str:
    return (
        ", ".join(f"`{choice}`" for choice in option.choices)
        if option.kind == "choice"
        else option.values.replace("|", "or")
    )


def table(config, with_format: bool) -> list[str]:
    """Markdown rows for all options of a config."""
    head = ["option", "values", "default", *(["format"] if with_format else []), "what it does"]
    rows = [head, ["---"] * len(head)]
    for name, option in options_of(config).items():
        version = [str(option.since)] if with_format else []
        rows.append([f"`{name}`", values(option), shown(option, default_of(config, name)), *version, option.doc])
    return ["| " + " | ".join(row) + " |" for row in rows]


def reference() -> str:
    """The text of docs/options.md."""
    parts = [_INTRODUCTION]
    for title, where, config, with_format in _SECTIONS:
        parts.append("\n".join([f"## {title}", "", where, "", *table(config, with_format), ""]))
    return "\n".join(parts)


def help_page(text: str, configs: tuple) -> str:
    """A help page with the generated rows of its input table renewed: those of the inputs that stand there already."""
    before, rest = text.split(BEGIN + "\n")
    old, after = rest.split(END)
    names = [line.split("`")[1] for line in old.splitlines() if line.startswith("| `")]
    options = {name: (config, option) for config in configs for name, option in options_of(config).items()}
    rows = ["| input | effect | good value |", "|---|---|---|"]
    for name in names:
        config, option = options[name]
        effect = f"{option.doc} From {option.values}." if option.kind in ("number", "whole") else option.doc
        rows.append(f"| `{name}` | {effect} | {shown(option, default_of(config, name))} |")
    return before + BEGIN + "\n" + "\n".join(rows) + "\n" + END + after


def current_texts() -> dict[Path, str]:
    """What each file should hold."""
    pages = {path: help_page(path.read_text(encoding="utf-8"), configs) for path, configs in HELP_PAGES.items()}
    return {REFERENCE: reference(), **pages}


def main() -> int:
    parser = argparse.ArgumentParser(description="Write the reference of all options from their declarations.")
    parser.add_argument("--check", action="store_true", help="only say whether the files are current")
    check = parser.parse_args().check
    stale = [
        path for path, text in current_texts().items() if not path.exists() or path.read_text(encoding="utf-8") != text
    ]
    for path in stale:
        if not check:
            path.write_text(current_texts()[path], encoding="utf-8")
        print(f"{'not current' if check else 'written'}: {path.relative_to(ROOT)}")
    return int(check and bool(stale))


if __name__ == "__main__":
    sys.exit(main())
