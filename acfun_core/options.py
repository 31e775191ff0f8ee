"""Settings that explain and check themselves.

Every field of a config is declared once, with what it does, what it may be and since which file format it exists. The checks,
the widgets of the nodes, their tooltips and the reference in ``docs/options.md`` all come from that one declaration.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from .errors import ACFunError


@dataclass(frozen=True)
class Option:
    """What a field of a config is.

    Attributes:
        kind: ``number``, ``whole``, ``choice``, ``flag`` or ``text``.
        doc: what it does, for a person, in whole sentences.
        low, high: smallest and largest value of a number, both allowed.
        choices: the values of a choice.
        label: how messages call it.
        since: version of the adapter's file format that first knows it.
        step: step of its widget.
    """

    kind: str
    doc: str
    low: float = 0.0
    high: float = 0.0
    choices: tuple[str, ...] = ()
    label: str = ""
    since: int = 1
    step: float = 0.0

    @property
    def values(self) -> str:
        """The values it may take, as text."""
        if self.kind in ("number", "whole"):
            return self._range
        return {"choice": " | ".join(self.choices), "flag": "yes | no", "text": "text"}[self.kind]

    def allows(self, value: Any) -> bool:
        if self.kind == "choice":
            return value in self.choices
        if self.kind == "flag":
            return isinstance(value, bool)
        if self.kind == "text":
            return isinstance(value, str)
        kinds = int if self.kind == "whole" else (int, float)
        numeric = isinstance(value, kinds) and not isinstance(value, bool)
        # NaN and infinity fail the comparison; math.isfinite would stumble over a whole number beyond all floats.
        return numeric and self.low <= value <= self.high

    @property
    def expected(self) -> str:
        """The end of a sentence that begins with "Expected:"."""
        if self.kind == "choice":
            return "one of " + ", ".join(self.choices)
        if self.kind in ("number", "whole"):
            return f"a {'whole' if self.kind == 'whole' else 'finite'} number from {self._range.removeprefix('whole ')}"
        return {"flag": "yes or no", "text": "a text"}[self.kind]

    @property
    def _range(self) -> str:
        if self.kind == "whole":
            # A seed has more digits than a float.
            return f"whole {self.low} to {self.high}"
        return f"{self.low:.10g} to {self.high:.10g}"


def _declare(default: Any, option: Option) -> Any:
    return dataclasses.field(default=default, metadata={"option": option, "help": option.doc})


def text(doc: str, *, label: str = "", since: int = 1) -> Any:
    """A field that holds a text and has no default."""
    return dataclasses.field(metadata={"option": Option("text", doc, label=label, since=since), "help": doc})


def number(
    default: float, low: float, high: float, doc: str, *, label: str = "", since: int = 1, step: float = 0.05
) -> Any:
    """A field that holds a finite number from ``low`` to ``high``."""
    return _declare(default, Option("number", doc, low, high, label=label, since=since, step=step))


def whole(default: int, low: int, high: int, doc: str, *, label: str = "", since: int = 1) -> Any:
    """A field that holds a whole number from ``low`` to ``high``."""
    return _declare(default, Option("whole", doc, low, high, label=label, since=since, step=1))


def choice(default: str, choices: tuple[str, ...], doc: str, *, label: str = "", since: int = 1) -> Any:
    """A field that holds one of a few names."""
    return _declare(default, Option("choice", doc, choices=choices, label=label, since=since))


def flag(default: bool, doc: str, *, label: str = "", since: int = 1) -> Any:
    """A field that holds yes or no."""
    return _declare(default, Option("flag", doc, label=label, since=since))


def options_of(config: Any) -> dict[str, Option]:
    """Field name -> its declaration, of a config or its class, in order."""
    return {field.name: field.metadata["option"] for field in dataclasses.fields(config) if "option" in field.metadata}


def default_of(config: Any, name: str) -> Any:
    """The default of a field, or None if it has none."""
    [field] = [field for field in dataclasses.fields(config) if field.name == name]
    return None if field.default is dataclasses.MISSING else field.default


def check_options(config: Any) -> None:
    """Raise on the first field whose value its declaration does not allow.

    Raises:
        ACFunError: names the field, its value, the values it may take and its default.
    """
    for name, option in options_of(config).items():
        value = getattr(config, name)
        if not option.allows(value):
            label = option.label or f"The {name.replace('_', ' ')}"
            good = default_of(config, name)
            raise ACFunError(f"{label} is {value!r}.", option.expected, f"use {good}" if good is not None else "")


def require(condition: bool, what: str, expected: str, fix: str) -> None:
    """Raise an :class:`ACFunError` unless ``condition`` holds."""
    if not condition:
        raise ACFunError(what, expected, fix)


def check_range(role: str, value: float, low: float, high: float, good: Any = "a value in that range") -> None:
    """Raise unless a number that is no field of a config is from ``low`` to ``high``."""
    if not low <= value <= high:
        raise ACFunError(f"The {role} is {value}.", f"a number from {low} to {high}", f"use {good}")
