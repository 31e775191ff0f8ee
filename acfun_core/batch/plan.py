"""A plan: which style meets which face, and how. From a YAML or CSV file, or from two folders.

Every mistake in it is found and named with its row before anything is trained or drawn.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from ..errors import ACFunError
from .extras import needed
from .folders import folder_at, joined, parent, read_file
from .ways import DEFAULT_PRESET, Way, known_overrides, way_of

COLUMNS = ("style", "face", "preset", "seeds", "name", "overrides")
PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")
MISTAKES_SHOWN = 50
LONGEST_NAME = 120
_NAME = re.compile(r"[^/\\:*?\"<>|\x00-\x1f]+")
_EXAMPLE = "rows:\n  - {style: woodcut.png, face: anna.jpg}"


@dataclass(frozen=True)
class Row:
    """One portrait that is wanted.

    Attributes:
        number: of its row in the plan, from 1; rows with several seeds are several portraits.
        style, face: addresses of pictures.
        preset: as the plan names it.
        way: what preset and overrides come to. overrides: as they were given, names with values.
        name: of the picture's file, without its end; no two portraits of a plan share it.
    """

    number: int
    style: str
    face: str
    preset: str
    way: Way
    name: str
    overrides: tuple[tuple[str, Any], ...] = ()

    @property
    def seed(self) -> int:
        return self.way.drawing.seed


class Mistakes:
    """What is wrong with a plan, collected, so that one look shows all of it."""

    def __init__(self, source: str):
        self.source = source
        self._found: list[tuple[int, str]] = []

    def add(self, row: int, what: str, fix: str = "") -> None:
        """Note a mistake. ``row`` 0 is the plan as a whole."""
        self._found.append((row, f"{what.rstrip('.')}." + (f" {fix.rstrip('.')}." if fix else "")))

    def __len__(self) -> int:
        return len(self._found)

    def check(self) -> None:
        """Raise if there are any.

        Raises:
            ACFunError: names every one with its row, the first :data:`MISTAKES_SHOWN` in full.
        """
        if not self._found:
            return
        found = sorted(self._found, key=lambda mistake: mistake[0])
        lines = [f"  row {row}: {text}" if row else f"  {text}" for row, text in found[:MISTAKES_SHOWN]]
        more = len(found) - len(lines)
        lines += [f"  and {more} more"] if more else []
        count = "1 mistake" if len(found) == 1 else f"{len(found)} mistakes"
        raise ACFunError(
            "\n".join([f"{self.source} has {count}; nothing was started:", *lines]) + "\n",
            "a plan as docs/batch.md explains it",
            "mend these rows and start again",
        )


def read_plan(address: str | Path, defaults: Mapping[str, Any] | None = None) -> list[Row]:
    """The portraits that a YAML or CSV file asks for.

    Args:
        address: of the file; the pictures' paths in it are taken from its folder.
        defaults: overrides of every row, before those of the plan.

    Raises:
        ACFunError: it cannot be read, or has mistakes; see :class:`Mistakes`.
    """
    address = str(address)
    mistakes = Mistakes(PurePosixPath(address).name)
    try:
        text = read_file(address).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ACFunError(
            f"{address} is not text: {error}.", "a YAML or CSV file in UTF-8", "save it as UTF-8"
        ) from error
    except OSError as error:
        raise ACFunError(
            f"The plan {address} cannot be read: {error}.", "a YAML or CSV file", "check the path"
        ) from error
    suffix = PurePosixPath(address).suffix.lower()
    if suffix in (".yaml", ".yml"):
        shared, rows = _from_yaml(text, mistakes)
    elif suffix == ".csv":
        shared, rows = {}, _from_csv(text, mistakes)
    else:
        raise ACFunError(f"{address} is no plan.", "a file that ends in .yaml, .yml or .csv", "give it that ending")
    return rows_of(rows, shared, parent(address), mistakes, defaults)


def crossed(styles: str, faces: str, preset: str, seeds: Sequence[int], defaults: Mapping[str, Any]) -> list[Row]:
    """Every face of one folder in every style of another.

    Raises:
        ACFunError: a folder has no pictures, or preset, seeds or defaults have mistakes.
    """
    named = {role: pictures_in(folder, role) for role, folder in (("style", styles), ("face", faces))}
    rows = [
        {"style": style, "face": face, "preset": preset, "seeds": list(seeds)}
        for style in named["style"]
        for face in named["face"]
    ]
    return rows_of(rows, {}, ".", Mistakes("This batch"), defaults)


def pictures_in(folder: str, role: str) -> list[str]:
    """Addresses of the pictures in a folder, sorted by name; other files and folders in it are passed by."""
    names = sorted(name for name in folder_at(folder).sizes("") if name.lower().endswith(PICTURE_SUFFIXES))
    if not names:
        raise ACFunError(
            f"There are no {role} pictures in {folder}.",
            "a folder with pictures (" + ", ".join(PICTURE_SUFFIXES) + ")",
            "check the path",
        )
    return [joined(folder, name) for name in names]


def rows_of(
    rows: Iterable[Any],
    shared: Mapping[str, Any],
    folder: str,
    mistakes: Mistakes,
    defaults: Mapping[str, Any] | None = None,
) -> list[Row]:
    """Rows as they were read -> portraits.

    Args:
        shared: columns for every row that does not have them.
        folder: where relative paths start.

    Raises:
        ACFunError: names every mistake.
    """
    portraits: list[Row] = []
    for number, row in enumerate(rows, 1):
        if not isinstance(row, Mapping):
            mistakes.add(number, f"It is {str(row)[:60]!r}", "Write style and face with their names")
            continue
        portraits += _portraits_of(number, {**shared, **row}, folder, mistakes, dict(defaults or {}))
    if not portraits and not mistakes:
        mistakes.add(0, "It has no rows", f"A plan looks like this:\n{_EXAMPLE}")
    _check_names(portraits, mistakes)
    mistakes.check()
    return portraits


def _portraits_of(
    number: int, row: dict[Any, Any], folder: str, mistakes: Mistakes, defaults: dict[str, Any]
) -> list[Row]:
    """The portraits of one row, one a seed; none if it has mistakes."""
    before = len(mistakes)
    pictures = {role: _picture(number, row, role, folder, mistakes) for role in ("style", "face")}
    overrides = _overrides(number, row, mistakes, defaults)
    seeds = _seeds(number, row.get("seeds"), mistakes)
    name = _name(number, row.get("name"), mistakes)
    preset = row.get("preset")
    preset = DEFAULT_PRESET if preset in (None, "") else preset
    if len(mistakes) > before:
        return []
    try:
        ways = [way_of(str(preset), overrides, seed) for seed in seeds]
    except ACFunError as error:
        parts = [f"Expected: {error.expected}" if error.expected else "", error.fix]
        mistakes.add(number, error.what, ". ".join(part[0].upper() + part[1:] for part in parts if part))
        return []
    if seeds != [0] and not ways[0].seed_counts:
        mistakes.add(
            number,
            f"It has seeds, and the preset {preset} starts from the photo's own noise, where no seed has a say",
            "Leave seeds out, vary train.seed, or set transfer.turn",
        )
        return []
    stem = name or "_".join([_stem(pictures["face"]), _stem(pictures["style"])])
    if not name and preset != DEFAULT_PRESET:
        stem += f"_{preset}"
    names = [stem] if len(seeds) == 1 else [f"{stem}_seed{seed}" for seed in seeds]
    given = tuple(sorted(overrides.items()))
    both = pictures["style"], pictures["face"]
    return [Row(number, *both, str(preset), way, name, given) for way, name in zip(ways, names)]


def _picture(number: int, row: Mapping, role: str, folder: str, mistakes: Mistakes) -> str:
    value = row.get(role)
    if value is None or not str(value).strip():
        mistakes.add(number, f"It has no {role}", f"Name the {role} picture")
        return ""
    if not isinstance(value, str):
        mistakes.add(number, f"The {role} is {value!r}", "Write one path or address, in quotes if it is a number")
        return ""
    if not value.lower().endswith(PICTURE_SUFFIXES):
        mistakes.add(number, f"The {role} {value} is no picture file", "Expected: " + ", ".join(PICTURE_SUFFIXES))
    return joined(folder, value.strip())


def _overrides(number: int, row: Mapping, mistakes: Mistakes, defaults: dict[str, Any]) -> dict[str, Any]:
    """Options of a row: those under ``overrides``, and columns that are named as options."""
    given = row.get("overrides")
    if given is None or given == "":
        given = {}
    if not isinstance(given, Mapping):
        mistakes.add(
            number, f"The overrides are {str(given)[:60]!r}", "Write names with values, such as train.steps: 200"
        )
        given = {}
    found = {**defaults, **given}
    for column, value in row.items():
        if column in COLUMNS:
            continue
        if column in known_overrides():
            # An empty cell of a table leaves the option as it is.
            found |= {} if value is None or value == "" else {column: value}
        else:
            mistakes.add(
                number, f"There is no column {column!r}", f"Columns are {', '.join(COLUMNS)} and names of options"
            )
    for name, value in found.items():
        if not isinstance(name, str) or not isinstance(value, (str, int, float, bool)):
            mistakes.add(
                number, f"The override {name} is {str(value)[:60]!r}", "Expected: one number, text, or yes or no"
            )
    return found


def _seeds(number: int, value: Any, mistakes: Mistakes) -> list[int]:
    """Seeds of a row: a number, a list of numbers, or, in a table, numbers with spaces between."""
    if value is None or value == "" or value == []:
        return [0]
    parts = re.split(r"[\s,;]+", value.strip()) if isinstance(value, str) else value
    parts = parts if isinstance(parts, list) else [parts]
    try:
        seeds = [part if isinstance(part, int) and not isinstance(part, bool) else int(str(part)) for part in parts]
    except ValueError:
        mistakes.add(number, f"The seeds are {value!r}", "Expected: whole numbers, such as [0, 1, 2]")
        return [0]
    if len(set(seeds)) < len(seeds):
        mistakes.add(number, f"A seed is there twice: {value!r}", "One seed gives one portrait: name each once")
    return seeds


def _name(number: int, value: Any, mistakes: Mistakes) -> str:
    if value is None or value == "":
        return ""
    name = str(value).strip()
    if not _NAME.fullmatch(name) or name.startswith(".") or len(name) > LONGEST_NAME:
        mistakes.add(
            number,
            f"The name {str(value)[:60]!r} cannot be that of a file",
            f'Use up to {LONGEST_NAME} letters without / \\ : * ? " < > | and no dot at the start',
        )
    return name


def _stem(address: str) -> str:
    return PurePosixPath(address.replace("\\", "/")).stem


def _check_names(portraits: Sequence[Row], mistakes: Mistakes) -> None:
    # Some file systems do not tell large letters from small ones.
    first: dict[str, Row] = {}
    for row in portraits:
        taken = first.setdefault(row.name.lower(), row)
        if taken is not row:
            mistakes.add(row.number, f"Its name {row.name!r} is that of row {taken.number}", "Give it another name")


def _from_yaml(text: str, mistakes: Mistakes) -> tuple[dict[str, Any], list[Any]]:
    """Columns that all rows share, and the rows."""
    yaml = needed("yaml", "a YAML plan cannot be read", "write the plan as CSV")
    try:
        content = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mistakes.add(0, f"It is no YAML: {' '.join(str(error).split())}")
        return {}, []
    if isinstance(content, list):
        return {}, content
    if not isinstance(content, Mapping):
        mistakes.add(0, "It holds no rows", f"A plan looks like this:\n{_EXAMPLE}")
        return {}, []
    unknown = [key for key in content if key not in ("rows", "defaults")]
    if unknown:
        mistakes.add(
            0, f"There is no part {', '.join(map(repr, unknown))}", "A plan has rows and, if you like, defaults"
        )
    rows, shared = content.get("rows") or [], content.get("defaults") or {}
    for part, kind, value in (("rows", list, rows), ("defaults", Mapping, shared)):
        if not isinstance(value, kind):
            mistakes.add(0, f"Its {part} are {str(value)[:60]!r}", "rows are a list, defaults names with values")
            return {}, []
    return dict(shared), rows


def _from_csv(text: str, mistakes: Mistakes) -> list[dict[str, Any]]:
    """Rows of a table with a heading; numbers and yes or no as what they are."""
    reader = csv.DictReader(io.StringIO(text), skipinitialspace=True, strict=True)
    rows = []
    try:
        for number, row in enumerate(reader, 1):
            extra = row.pop(None, None)
            if extra:
                mistakes.add(
                    number, f"It has {len(extra)} cells more than the heading", "Put texts with commas in quotes"
                )
            rows.append({name: _cell(name, value) for name, value in row.items()})
    except csv.Error as error:
        mistakes.add(len(rows) + 1, f"It cannot be read: {error}", "Close every quote")
    return rows


def _cell(name: str, value: str | None) -> Any:
    """A cell's text as what it stands for, where its column is an option's."""
    value = (value or "").strip()
    if name in COLUMNS or name in ("prompt", "negative", "adapter.description"):
        return value
    return read_value(value)


def read_value(text: str) -> Any:
    """A number, yes or no, or a text, from how it is written."""
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return {"yes": True, "true": True, "no": False, "false": False}.get(text.lower(), text)
