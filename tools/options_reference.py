"""Write docs/options.md and the tables of options and presets on help pages from the configs' own declarations.

python -m tools.options_reference            writes them
python -m tools.options_reference --check    exit code 1 if one of them is not current
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from acfun_core.config import AdapterConfig, DrawConfig, TrainConfig, TransferConfig
from acfun_core.options import Option, default_of, options_of
from acfun_core.presets import PRESETS
from acfun_core.strengths import Strengths
from acfun_core.training.slider import SliderConfig

ROOT = Path(__file__).resolve().parent.parent
REFERENCE = ROOT / "docs" / "options.md"
HELP_PAGES = {
    ROOT / "web" / "docs" / "ACFunTrainOptions.md": (AdapterConfig, TrainConfig),
    ROOT / "web" / "docs" / "ACFunAdapterOptions.md": (Strengths,),
    ROOT / "web" / "docs" / "ACFunTransferOptions.md": (TransferConfig,),
}
BEGIN, END = "<!-- options: generated -->", "<!-- options: end -->"
PRESET_PARTS = {"train": "training", "strengths": "strengths", "draw": "sampler", "transfer": "transfer"}
"""Field of a preset -> what the tables call it."""
PRESET_PAGES = {
    ROOT / "web" / "docs" / "ACFunTrainStyle.md": ("train",),
    ROOT / "web" / "docs" / "ACFunStyleTransfer.md": ("strengths", "draw", "transfer"),
}
PRESETS_BEGIN, PRESETS_END = "<!-- presets: generated -->", "<!-- presets: end -->"

_INTRODUCTION = """# Options

Every choice of the method and what it may be. This page is generated from the declarations in `acfun_core/config.py`,
`acfun_core/strengths.py`, `acfun_core/training/slider.py` and `acfun_core/presets.py` by
`python -m tools.options_reference`; change them there.

"Format" is the version of the adapter file that first knows an option. A file states the oldest version that can say all of it.
"""
_SECTIONS = (
    ("What is learned", "Stored in the adapter file (`AdapterConfig`).", AdapterConfig, True),
    ("How it is learned", "Kept in the adapter file as a record (`TrainConfig`).", TrainConfig, False),
    ("How a slider is learned", "Kept in the adapter file as a record (`SliderConfig`).", SliderConfig, False),
    ("How much of it is used, when and where", "Chosen at inference, not stored (`Strengths`).", Strengths, False),
    ("How a portrait is drawn", "Kept in the picture by the command line (`DrawConfig`).", DrawConfig, False),
    (
        "What a portrait takes from photo and style picture",
        "Without a training, while it is drawn; [ACFun Style Transfer](../web/docs/ACFunStyleTransfer.md) explains the parts. "
        "Kept in the picture by the command line (`TransferConfig`).",
        TransferConfig,
        False,
    ),
)
_PRESETS = """## Presets

Three ways to draw, each with all its settings. A preset leaves every option at the default given above but these; a user's own
strengths are multiplied with the preset's.
"""


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
    return "\n".join([*parts, _PRESETS, *preset_summary(), "", *preset_table(tuple(PRESET_PARTS)), ""])


def preset_summary() -> list[str]:
    """Markdown rows: what each preset is good for, and a prompt to draw with."""
    rows = [["preset", "what it does", "prompt, for example"], ["---"] * 3]
    rows += [[f"`{name}`", preset.doc, f"`{preset.prompt}`"] for name, preset in PRESETS.items()]
    return ["| " + " | ".join(row) + " |" for row in rows]


def preset_table(parts: tuple[str, ...]) -> list[str]:
    """Markdown rows for the options that any preset sets to something else than their defaults.

    Args:
        parts: fields of a preset; presets without a training are left out where only the training is shown.
    """
    names = [name for name, preset in PRESETS.items() if any(getattr(preset, part) for part in parts)]
    head = ["of", "option", *(f"`{name}`" for name in names)]
    rows = [head, ["---"] * len(head)]
    for part in parts:
        chosen = [getattr(PRESETS[name], part) for name in names]
        config = type(next(one for one in chosen if one is not None))
        for name, option in options_of(config).items():
            default = default_of(config, name)
            if any(one is not None and getattr(one, name) != default for one in chosen):
                cells = ["none" if one is None else shown(option, getattr(one, name)) for one in chosen]
                rows.append([PRESET_PARTS[part], f"`{name}`", *cells])
    return ["| " + " | ".join(row) + " |" for row in rows]


def preset_page(text: str, parts: tuple[str, ...]) -> str:
    """A help page with its generated table of presets renewed."""
    before, rest = text.split(PRESETS_BEGIN + "\n")
    _, after = rest.split(PRESETS_END)
    return before + "\n".join([PRESETS_BEGIN, *preset_table(parts), PRESETS_END]) + after


def help_page(text: str, configs: tuple) -> str:
    """A help page with the generated rows of its input table renewed: those of the inputs that stand there already."""
    before, rest = text.split(BEGIN + "\n")
    old, after = rest.split(END)
    names = [line.split("`")[1] for line in old.splitlines() if line.startswith("| `")]
    options = {name: (config, option) for config in configs for name, option in options_of(config).items()}
    rows = ["| input | effect | good value |", "|---|---|---|"]
    for name in names:
        config, option = options[name]
        effect = option.doc
        if option.kind in ("number", "whole"):
            effect += f" {option.expected.replace('finite ', '').capitalize()}."
        rows.append(f"| `{name}` | {effect} | {shown(option, default_of(config, name))} |")
    return before + BEGIN + "\n" + "\n".join(rows) + "\n" + END + after


def current_texts() -> dict[Path, str]:
    """What each file should hold."""
    pages = {path: help_page(path.read_text(encoding="utf-8"), configs) for path, configs in HELP_PAGES.items()}
    pages |= {path: preset_page(path.read_text(encoding="utf-8"), parts) for path, parts in PRESET_PAGES.items()}
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
