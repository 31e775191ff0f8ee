"""Results in SQLite: one row an image, one row a training. A kill at any moment loses at most what was being made.

A picture's file is whole before its row appears; a row without a file is as good as none.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

TABLES = """
CREATE TABLE IF NOT EXISTS runs (run TEXT PRIMARY KEY, settings TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS trainings (
    run TEXT, state TEXT, face TEXT, style TEXT, passes INTEGER, seconds REAL, peak_mb REAL, state_mb REAL,
    PRIMARY KEY (run, state, face, style));
CREATE TABLE IF NOT EXISTS images (
    run TEXT, method TEXT, face TEXT, style TEXT, seed INTEGER, state TEXT, state_face TEXT, picture TEXT, passes INTEGER,
    seconds REAL, peak_mb REAL, numbers TEXT, measured_by TEXT, PRIMARY KEY (run, method, face, style, seed));
"""
JOINED = """
SELECT images.*, trainings.passes AS train_passes, trainings.seconds AS train_seconds,
       max(coalesce(trainings.peak_mb, 0), images.peak_mb) AS memory_mb, trainings.state_mb
FROM images LEFT JOIN trainings ON trainings.run = images.run AND trainings.state = images.state
  AND trainings.face = images.state_face AND trainings.style = images.style
WHERE images.run = ? ORDER BY images.method, images.face, images.style, images.seed
"""


class Store:
    """One folder: ``results.sqlite``, ``pictures/`` and ``states/``.

    Several processes may use it at once.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        with closing(self._open()) as connection, connection:
            connection.executescript(TABLES)

    def _open(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self.folder / "results.sqlite", timeout=60)
        connection.row_factory = sqlite3.Row
        return connection

    def _write(self, statement: str, values: tuple) -> None:
        with closing(self._open()) as connection, connection:
            connection.execute(statement, values)

    def _insert(self, table: str, row: dict) -> None:
        marks = ", ".join("?" * len(row))
        self._write(f"INSERT OR REPLACE INTO {table} ({', '.join(row)}) VALUES ({marks})", tuple(row.values()))

    def add_run(self, run: str, settings: dict) -> None:
        self._insert("runs", {"run": run, "settings": json.dumps(settings, sort_keys=True)})

    def settings(self, run: str) -> dict:
        with closing(self._open()) as connection:
            [row] = connection.execute("SELECT settings FROM runs WHERE run = ?", (run,))
        return json.loads(row["settings"])

    def picture(self, row: dict) -> Path:
        return self.folder / row["picture"]

    def picture_path(self, run: str, method: str, pair: str, seed: int) -> Path:
        return self.folder / "pictures" / run / method / f"{pair}-{seed}.png"

    def state_path(self, run: str, state: str, pair: str) -> Path:
        return self.folder / "states" / run / state / f"{pair}.safetensors"

    # -- trainings ----------------------------------------------------------------------

    def training(self, run: str, state: str, face: str, style: str) -> dict | None:
        """The row of a finished training whose file is there."""
        query = "SELECT * FROM trainings WHERE run = ? AND state = ? AND face = ? AND style = ?"
        with closing(self._open()) as connection:
            row = connection.execute(query, (run, state, face, style)).fetchone()
        there = row is not None and self.state_path(run, state, f"{face}-{style}").is_file()
        return dict(row) if there else None

    def add_training(self, **row) -> None:
        self._insert("trainings", row)

    # -- images -------------------------------------------------------------------------

    def has_image(self, run: str, method: str, face: str, style: str, seed: int, state: str | None = None) -> bool:
        """Whether an image by this training is there; one by another, such as other defaults, does not count."""
        query = "SELECT picture, state FROM images WHERE run = ? AND method = ? AND face = ? AND style = ? AND seed = ?"
        with closing(self._open()) as connection:
            row = connection.execute(query, (run, method, face, style, seed)).fetchone()
        return row is not None and row["state"] == state and (self.folder / row["picture"]).is_file()

    def add_image(self, **row) -> None:
        row["picture"] = Path(row["picture"]).relative_to(self.folder).as_posix()
        self._insert("images", row)

    def set_numbers(self, row: dict, numbers: dict, measured_by: str) -> None:
        """Keep the measured numbers of an image."""
        self._write(
            "UPDATE images SET numbers = ?, measured_by = ? "
            "WHERE run = ? AND method = ? AND face = ? AND style = ? AND seed = ?",
            (json.dumps(numbers), measured_by, *(row[key] for key in ("run", "method", "face", "style", "seed"))),
        )

    def images(self, run: str) -> Iterator[dict]:
        """All images of a run whose files are there, with what their training cost; ``numbers`` is a dict or None."""
        with closing(self._open()) as connection:
            rows = connection.execute(JOINED, (run,)).fetchall()
        for row in map(dict, rows):
            if self.picture(row).is_file():
                row["numbers"] = json.loads(row["numbers"]) if row["numbers"] else None
                yield row
