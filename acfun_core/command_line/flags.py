"""Command-line flags from the declarations of the core's configs: an option added there appears here by itself."""

from __future__ import annotations

import argparse
from collections.abc import Collection
from typing import Any

from ..errors import ACFunError
from ..options import Option, default_of, options_of

_TYPES = {"number": float, "whole": int, "choice": str, "text": str}
_METAVARS = {"number": "X", "whole": "N", "text": "TEXT"}


def flag_name(field: str, renamed: dict[str, str]) -> str:
    return "--" + renamed.get(field, field).replace("_", "-")


def describe(option: Option, default: Any) -> str:
    """Help text of one flag."""
    values = f" From {option.low:.10g} to {option.high:.10g}." if option.kind in ("number", "whole") else ""
    shown = {True: "yes", False: "no"}.get(default, default) if option.kind == "flag" else default
    text = f"{option.doc}{values}" + ("" if default is None else f" (default: {shown})")
    return text.replace("%", "%%")


def add_flags(group: Any, config: type, fields: Collection[str], renamed: dict[str, str] | None = None) -> None:
    """One flag a field. Flags that are not given stay out of the namespace's way: their value is None."""
    for field, option in options_of(config).items():
        if field not in fields:
            continue
        settings: dict[str, Any] = {"dest": field, "default": None, "help": describe(option, default_of(config, field))}
        if option.kind == "flag":
            settings["action"] = argparse.BooleanOptionalAction
        else:
            settings["type"] = _TYPES[option.kind]
            settings |= {"choices": option.choices} if option.kind == "choice" else {"metavar": _METAVARS[option.kind]}
        group.add_argument(flag_name(field, renamed or {}), **settings)


def given(arguments: argparse.Namespace, config: type) -> dict[str, Any]:
    """The fields of a config that were given as flags."""
    values = {field: getattr(arguments, field, None) for field in options_of(config)}
    return {field: value for field, value in values.items() if value is not None}


def add_list_flags(group: Any, config: type) -> None:
    """One flag a field that takes one value for all adapters, or one an adapter, with commas between."""
    for field, option in options_of(config).items():
        group.add_argument(
            flag_name(field, {}),
            dest=field,
            default=None,
            metavar="|".join(option.choices) if option.kind == "choice" else "X[,X...]",
            help=describe(option, default_of(config, field)),
        )


def given_lists(arguments: argparse.Namespace, config: type, count: int) -> list[dict[str, Any]]:
    """For each of ``count`` adapters the fields that were given.

    Raises:
        ACFunError: a value is no number, or there are neither one nor ``count`` of them.
    """
    chosen: list[dict[str, Any]] = [{} for _ in range(count)]
    for field, option in options_of(config).items():
        text = getattr(arguments, field)
        if text is None:
            continue
        values = [_value(field, option, part.strip()) for part in text.split(",")]
        if len(values) not in (1, count):
            raise ACFunError(
                f"{flag_name(field, {})} has {len(values)} values for {count} adapters.",
                "one value for all, or one an adapter with commas between",
                "give as many values as adapters",
            )
        for index in range(count):
            chosen[index][field] = values[index if len(values) > 1 else 0]
    return chosen


def _value(field: str, option: Option, text: str) -> Any:
    try:
        return _TYPES[option.kind](text)
    except ValueError as error:
        raise ACFunError(
            f"{flag_name(field, {})} has the value {text!r}.", option.expected, "write a plain number"
        ) from error
