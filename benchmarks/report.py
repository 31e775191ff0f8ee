"""One HTML file: tables, the trade of identity against style, how far the numbers can be trusted, and every picture.

It needs no other file and no network. It shows the sitters of the list, so it stays in the results' folder.
"""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
from PIL import Image as PIL

from tools.base_key import said_of

from . import aggregate, methods, pages, plots, tables
from .drawing import images
from .lists import Pair, PictureList
from .measures import Measures, as_array
from .pages import Section, Table
from .store import Store
from .workbench import Settings, base_folder

CELL = 112


def title_of(name: str) -> str:
    return methods.method(name).title


def jpeg(picture: np.ndarray) -> str:
    """A picture, small, as a data URI."""
    buffer = io.BytesIO()
    PIL.fromarray(picture).resize((CELL, CELL), PIL.Resampling.LANCZOS).save(buffer, "JPEG", quality=82)
    return pages.data_uri(buffer.getvalue(), "image/jpeg")


def advantages(table, anchors: Sequence[str]) -> Table:
    """ACFun's J over each baseline's with the paired interval."""
    rows = []
    for name in table.names:
        if name != aggregate.ACFUN and name not in anchors:
            value, low, high = table.judged.advantage(aggregate.ACFUN, name)
            rows.append([title_of(name), f"{value:+.3f}", f"{low:+.3f} to {high:+.3f}"])
    return Table(["J of ACFun over", "by", "95 %"], rows)


def groups(table, pictures: PictureList) -> Table:
    """The group of faces that each method serves worst."""
    known, rows = {face.id: face.groups for face in pictures.faces}, []
    for name in table.names:
        labels = [known[face] for face in table.rows[name].faces]
        for kind, (group, value, mean) in aggregate.worst_groups(table.rows[name], labels).items():
            rows.append([title_of(name), kind, group, f"{value:.3f}", f"{mean:.3f}"])
    return Table(["method", "kind", "worst group", "its id margin", "all"], rows)


def sheets(store: Store, settings: Settings, pictures: PictureList, pairs: Sequence[Pair], names, seeds: int):
    """All pictures of each style: a row a face and seed, a column a method."""
    files = {(i["method"], i["face"], i["style"], i["seed"]): store.file(i) for i in images(store, settings.run)}
    for style in pictures.styles:
        rows = []
        for pair in (one for one in pairs if one.style.id == style.id):
            given = [jpeg(as_array(image, settings.side)) for image in (pair.face, style)]
            for seed in range(seeds):
                drawn = [files.get((name, pair.face.id, style.id, seed)) for name in names]
                rows.append(given + [path and jpeg(np.asarray(PIL.open(path).convert("RGB"))) for path in drawn])
        yield {"title": f"{style.kind or style.id}: {style.words}", "rows": rows}


def write(
    store: Store,
    settings: Settings,
    pictures: PictureList,
    pairs: Sequence[Pair],
    table,
    measures: Measures,
    summary: dict,
    seeds: int,
    sections: Sequence[Section] = (),
) -> None:
    """``report.html`` in the store's folder."""
    anchors = tables.anchors(table.names)
    shown = {name: rows for name, rows in table.rows.items() if name not in anchors}
    points = {title_of(n): (rows.mean("style_earned"), rows.mean("identity_earned")) for n, rows in shown.items()}
    text = pages.render(
        "report.html",
        summary=summary,
        weights=said_of(base_folder(settings.base)),
        numbers=tables.numbers(table.rows, table.judged, anchors),
        trust=measures.accuracies,
        styles=len(measures.styles),
        advantages=advantages(table, anchors),
        pareto=plots.svg(plots.pareto(points, title_of(aggregate.ACFUN))),
        groups=groups(table, pictures),
        sections=[section._replace(plot=section.plot and plots.svg(section.plot)) for section in sections],
        titles=[title_of(name) for name in table.names],
        sheets=sheets(store, settings, pictures, pairs, table.names, seeds),
        cell=CELL,
    )
    (store.folder / "report.html").write_text(text, encoding="utf-8")
