"""The table of results: one line a portrait of the plan, those that failed with their reason."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from typing import Any

from .extras import has, needed
from .jobs import Work
from .results import Results

TEXT, WHOLE, NUMBER = "string", "int64", "float64"
COLUMNS = {
    "row": WHOLE,
    "name": TEXT,
    "style": TEXT,
    "face": TEXT,
    "preset": TEXT,
    "seed": TEXT,
    "state": TEXT,
    "path": TEXT,
    "seconds": NUMBER,
    "identity": NUMBER,
    "style_score": NUMBER,
    "copy": NUMBER,
    "machine": TEXT,
    "reason": TEXT,
    "key": TEXT,
    "training": TEXT,
}
"""Name -> type. A seed is a text, since a table of 64-bit numbers ends at half of them."""


def table(work: Work, records: Mapping[str, Mapping], failures: Mapping[str, str], results: Results) -> list[dict]:
    """Lines with all of :data:`COLUMNS`; ``state`` is ``done``, ``failed`` or ``left``."""
    lines = []
    for row, key in work.rows:
        record = records.get(key)
        state = "done" if record else "failed" if key in failures else "left"
        told = record or {}
        lines.append(
            {
                "row": row.number,
                "name": row.name,
                "style": row.style,
                "face": row.face,
                "preset": row.preset,
                "seed": str(row.seed),
                "state": state,
                "path": results.folder.address_of(told["file"]) if record else None,
                "seconds": told.get("seconds"),
                "identity": told.get("identity"),
                "style_score": told.get("style"),
                "copy": told.get("copy"),
                "machine": told.get("machine"),
                "reason": failures.get(key),
                "key": key,
                "training": work.drawings[key].training or None,
            }
        )
    return lines


def write_table(lines: list[dict[str, Any]], results: Results) -> str:
    """Write ``results.parquet``, or ``results.csv`` where pyarrow is missing. -> the name of the file."""
    name, content = ("results.parquet", as_parquet(lines)) if has("pyarrow") else ("results.csv", as_csv(lines))
    results.folder.write(name, content)
    return name


def as_parquet(lines: list[dict[str, Any]]) -> bytes:
    arrow = needed("pyarrow", "there is no table as Parquet")
    parquet = needed("pyarrow.parquet", "there is no table as Parquet")
    schema = arrow.schema([(name, getattr(arrow, kind)()) for name, kind in COLUMNS.items()])
    written = io.BytesIO()
    parquet.write_table(arrow.Table.from_pylist(lines, schema), written)
    return written.getvalue()


def as_csv(lines: list[dict[str, Any]]) -> bytes:
    written = io.StringIO()
    writer = csv.DictWriter(written, list(COLUMNS))
    writer.writeheader()
    writer.writerows(lines)
    return written.getvalue().encode()
