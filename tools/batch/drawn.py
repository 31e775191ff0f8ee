"""Pictures that a batch has drawn, by the name that its plan gave them."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from acfun_core.batch.results import PICTURES


def drawn_in(out: Path, name: str) -> Image.Image:
    """The newest portrait of this name in a batch's results; in its file's name eight digits of its key follow.

    Raises:
        LookupError: there is none.
    """
    found = sorted((out / PICTURES).glob(f"{name}_????????.png"), key=lambda path: path.stat().st_mtime)
    if not found:
        raise LookupError(f"no portrait {name} in {out}")
    return Image.open(found[-1]).convert("RGB")
