"""The pictures that come with the pack, and two of them in ComfyUI's input folder."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path

import folder_paths

from ...acfun_core.whole_files import piece, put

# Not "examples": ComfyUI would take that folder for the pack's workflow templates.
EXAMPLES = Path(__file__).resolve().parents[2] / "pictures"

OFFERED = ("face_astronaut.png", "style_woodblock.png")
PREFIX = "acfun_"  # of their names among the user's own pictures
NOTE = ".acfun_offered"
"""In the input folder: the names of the pictures that were put there. One that the user deletes does not come back."""


def offer_examples() -> None:
    """Put a face and a style where Load Image finds them, so that a form which asks for pictures runs before any is chosen.

    A picture that is there is left as it is, and a folder that cannot be written to is only mentioned in the log.
    """
    folder = Path(folder_paths.get_input_directory())
    note = folder / NOTE
    try:
        offered = note.read_text(encoding="utf-8").split() if note.is_file() else []
        new = [name for name in OFFERED if PREFIX + name not in offered]
        for name in new:
            if not (folder / f"{PREFIX}{name}").exists():
                with piece(folder) as written:
                    shutil.copyfile(EXAMPLES / name, written)
                    put(written, folder / f"{PREFIX}{name}", overwrite=True)
        if new:
            note.write_text("\n".join([*offered, *(PREFIX + name for name in new), ""]), encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        logging.warning("ACFun: its example pictures are not offered to Load Image: %s", error)
