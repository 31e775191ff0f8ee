"""``acfun info``: what an adapter file says about itself."""

from __future__ import annotations

import argparse
from pathlib import Path

from safetensors import safe_open

from ..method.adapter import StyleAdapter
from ..options import default_of, options_of
from ..storage import adapter_file
from . import output

_DESCRIPTION = "Say what adapter files hold: what they were trained on, with which options, and how it went."


def add(commands) -> None:
    parser = output.new_parser(commands, "info", "say what an adapter file holds", _DESCRIPTION, "ADAPTER ...")
    parser.set_defaults(run=run)
    parser.add_argument("adapters", nargs="+", type=Path, metavar="ADAPTER", help="adapter files (.safetensors)")
    output.add_common(parser)


def run(arguments: argparse.Namespace) -> dict:
    return {"adapters": [describe(path) for path in arguments.adapters]}


def describe(path: Path) -> dict:
    """Everything that can be told about one file, as a JSON object."""
    adapter = adapter_file.load(path)
    with safe_open(str(path), framework="pt") as file:
        metadata = file.metadata()
    config, record = adapter.config, adapter.record
    options = {name: getattr(config, name) for name in options_of(config) if name != "description"}
    return {
        "file": str(path),
        "bytes": path.stat().st_size,
        "format_version": int(metadata["format_version"]),
        "written_by": metadata.get("written_by"),
        "base_family": metadata.get("base_family"),
        "base_key": metadata.get("base_key"),
        "base_prediction": adapter.base_prediction,
        "description": config.description,
        "slider": None if adapter.slider is None else adapter.slider._asdict(),
        "text_width": adapter.text_width,
        "image_tokens": list(adapter.style_tokens.shape),
        "blocks": len(adapter.cfun.channels),
        "parameters": sum(parameter.numel() for parameter in adapter.parameters()),
        "options": options,
        "not_default": [name for name, value in options.items() if value != default_of(config, name)],
        "training": trained(adapter) if record.style_loss else None,
    }


def trained(adapter: StyleAdapter) -> dict:
    """How the training went."""
    record = adapter.record
    return {
        "steps": len(record.style_loss),
        "kept_step": record.kept_step,
        "looks_of_the_copy_guard": len(record.looks),
        "skipped_steps": record.skipped_steps,
        "resolution": list(record.resolution),
        "before": dict(zip(("style", "face"), record.before)),
        "after": dict(zip(("style", "face"), record.after)),
        "settings": record.settings,
    }
