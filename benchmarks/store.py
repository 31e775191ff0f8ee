"""Rows of finished work in SQLite, and the files that belong to them. A kill at any moment loses at most what was being made.

A file is whole before its row appears; a row without its file is as good as none.
"""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

TABLE = """CREATE TABLE IF NOT EXISTS cells (
    run TEXT, kind TEXT, settings TEXT, row TEXT NOT NULL, PRIMARY KEY (run, kind, settings))"""


class Store:
    """One folder with ``results.sqlite`` and files below it.

    Several processes may use it at once.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._query(TABLE)

    def _query(self, statement: str, *values: str) -> list[tuple]:
        with closing(sqlite3.connect(self.folder / "results.sqlite", timeout=60)) as connection, connection:
            return connection.execute(statement, values).fetchall()

    def keep(self, run: str, kind: str, settings: dict[str, Any], row: dict[str, Any]) -> dict[str, Any]:
        """Add a row or put it in the place of the one that has these settings. -> the row as it is kept."""
        if "file" in row:
            row = {**row, "file": (self.folder / row["file"]).relative_to(self.folder).as_posix()}
        named = json.dumps(settings, sort_keys=True)
        self._query("INSERT OR REPLACE INTO cells VALUES (?, ?, ?, ?)", run, kind, named, json.dumps(row))
        return {**settings, **row}

    def row(self, run: str, kind: str, settings: dict[str, Any]) -> dict[str, Any] | None:
        """One row with its settings among the columns, or None."""
        named = json.dumps(settings, sort_keys=True)
        found = self._query("SELECT row FROM cells WHERE run = ? AND kind = ? AND settings = ?", run, kind, named)
        return {**settings, **json.loads(found[0][0])} if found else None

    def rows(self, run: str, kind: str) -> list[dict[str, Any]]:
        """All rows of a kind, those without their file too."""
        found = self._query("SELECT settings, row FROM cells WHERE run = ? AND kind = ?", run, kind)
        return [{**json.loads(settings), **json.loads(row)} for settings, row in found]

    def file(self, row: dict[str, Any]) -> Path:
        return self.folder / row["file"]

    def is_whole(self, row: dict[str, Any]) -> bool:
        """Whether the row's file is there, if it has one."""
        return "file" not in row or self.file(row).is_file()
