"""Pages from the templates beside this file: Markdown for docs/ and for tables, HTML for the report."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TEMPLATES = Path(__file__).with_name("templates")
_ENVIRONMENT = Environment(
    loader=FileSystemLoader(TEMPLATES),
    autoescape=select_autoescape(["html"]),
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
)


class Table(NamedTuple):
    """A table of a page.

    Attributes:
        head: of the columns. rows: cells as they are shown. kinds: CSS class of each row in HTML; none by default.
    """

    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    kinds: Sequence[str] = ()

    def __str__(self) -> str:
        """Markdown."""
        lines = ["| " + " | ".join(cells) + " |" for cells in (self.head, *self.rows)]
        return "\n".join([lines[0], "|" + "---|" * len(self.head), *lines[1:]])


class Section(NamedTuple):
    """A part of the judge's page: a title, tables, and for the report a plot."""

    title: str
    tables: Sequence[Table]
    plot: Figure | None = None


def render(template: str, **values) -> str:
    """The text of a page; what HTML would read as markup is escaped there.

    Raises:
        jinja2.UndefinedError: the template names a value that is not given.
    """
    return _ENVIRONMENT.get_template(template).render(values)


def data_uri(content: bytes, kind: str) -> str:
    """A file's content as an HTML page holds it; ``kind`` is a media type such as image/jpeg."""
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"
