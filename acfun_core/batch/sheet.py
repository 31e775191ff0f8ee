"""The contact sheet: styles from top to bottom, faces from left to right, and what was drawn where they meet."""

from __future__ import annotations

import io
from collections.abc import Mapping

from PIL import Image, ImageDraw, ImageFont, ImageOps

from .folders import read_file
from .jobs import Source, Work
from .results import Results

CELL, GAP, TITLE, FONT = 128, 6, 24, 14
"""Pixels."""
MOST_STYLES, MOST_FACES = 16, 24
"""More of either are left out, and the sheet says so."""
PAPER, INK = (255, 255, 255), (40, 40, 40)


def contact_sheet(work: Work, records: Mapping[str, Mapping], results: Results) -> bytes | None:
    """A JPEG, or None if nothing was drawn. Of several portraits of a style and a face the first is shown."""
    drawn: dict[tuple[str, str], str] = {}
    styles: dict[str, Source] = {}
    faces: dict[str, Source] = {}
    for key, job in work.drawings.items():
        if key in records:
            styles.setdefault(job.style.digest, job.style)
            faces.setdefault(job.face.digest, job.face)
            drawn.setdefault((job.style.digest, job.face.digest), str(records[key]["file"]))
    if not drawn:
        return None
    rows, columns = list(styles)[:MOST_STYLES], list(faces)[:MOST_FACES]
    step = CELL + GAP
    page = Image.new("RGB", (GAP + (1 + len(columns)) * step, TITLE + GAP + (1 + len(rows)) * step), PAPER)
    title = f"{len(rows)} of {len(styles)} styles, {len(columns)} of {len(faces)} faces"
    ImageDraw.Draw(page).text((GAP, GAP), title, INK, ImageFont.load_default(FONT))
    for column, face in enumerate(columns, 1):
        _paste(page, read_file(faces[face].address), column, 0)
    for row, style in enumerate(rows, 1):
        _paste(page, read_file(styles[style].address), 0, row)
        for column, face in enumerate(columns, 1):
            if (style, face) in drawn:
                _paste(page, results.folder.read(drawn[style, face]), column, row)
    written = io.BytesIO()
    page.save(written, "JPEG", quality=90)
    return written.getvalue()


def _paste(page: Image.Image, content: bytes, column: int, row: int) -> None:
    try:
        with Image.open(io.BytesIO(content)) as picture:
            # A JPEG of a camera is read at an eighth of its size where that is enough.
            picture.draft("RGB", (CELL, CELL))
            small = ImageOps.fit(ImageOps.exif_transpose(picture).convert("RGB"), (CELL, CELL))
    except (OSError, SyntaxError, ValueError):
        # A server may read kinds of pictures that Pillow does not; its cell stays empty, the batch is done all the same.
        return
    page.paste(small, (GAP + column * (CELL + GAP), TITLE + GAP + row * (CELL + GAP)))
