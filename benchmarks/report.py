"""One HTML file: tables, the trade of identity against style, how far the numbers can be trusted, and every picture.

It needs no other file and no network. It shows the sitters of the list, so it stays in the results' folder.
"""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Sequence

import numpy as np
from PIL import Image as PIL

from . import aggregate, methods, tables
from .lists import Image, Pair, PictureList
from .measures import Measures, as_array
from .store import Store
from .workbench import Settings

CELL = 112
STYLE = """
body{font:15px/1.45 system-ui,sans-serif;margin:2rem auto;max-width:1500px;padding:0 1rem;color:#222}
table{border-collapse:collapse;font-size:13px}th,td{border:1px solid #ccc;padding:3px 8px;text-align:right}
th:first-child,td:first-child{text-align:left}tr.anchor{color:#888;font-style:italic}tr.own{background:#e8f3e8}
.sheet{overflow-x:auto}.sheet td{padding:1px;border:0;text-align:center;font-size:11px}img{display:block}
"""


def data_uri(picture: np.ndarray, side: int = CELL) -> str:
    """A picture as it stands in an HTML file."""
    buffer = io.BytesIO()
    PIL.fromarray(picture).resize((side, side), PIL.Resampling.LANCZOS).save(buffer, "JPEG", quality=82)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()


def image_tag(picture: np.ndarray, title: str) -> str:
    return f'<img width="{CELL}" height="{CELL}" loading="lazy" alt="{html.escape(title)}" src="{data_uri(picture)}">'


# -- tables ----------------------------------------------------------------------------------


def numbers_table(table, anchors: Sequence[str]) -> str:
    """All methods, the best J first, the anchors apart below."""
    order = sorted(range(len(table.names)), key=lambda i: (table.names[i] in anchors, -table.judged.j[i]))
    head = ["method", "J", "95 %", *tables.COLUMNS.values()]
    lines = ["<table><tr>" + "".join(f"<th>{html.escape(one)}</th>" for one in head) + "</tr>"]
    for index in order:
        name = table.names[index]
        low, high = table.judged.interval(name)
        cells = [
            methods.method(name).title,
            f"{table.judged.j[index]:.3f}",
            f"{low:.3f} to {high:.3f}",
        ]
        cells += [tables.cell(column, table.rows[name].mean(column)) for column in tables.COLUMNS]
        kind = "anchor" if name in anchors else "own" if name == aggregate.ACFUN else ""
        lines.append(f'<tr class="{kind}">' + "".join(f"<td>{html.escape(one)}</td>" for one in cells) + "</tr>")
    return "\n".join([*lines, "</table>"])


def advantages(table, anchors: Sequence[str]) -> str:
    """ACFun's J over each baseline's with the paired interval."""
    lines = ["<table><tr><th>J of ACFun over</th><th>by</th><th>95 %</th></tr>"]
    for name in table.names:
        if name != aggregate.ACFUN and name not in anchors:
            value, low, high = table.judged.advantage(aggregate.ACFUN, name)
            title = html.escape(methods.method(name).title)
            lines.append(f"<tr><td>{title}</td><td>{value:+.3f}</td><td>{low:+.3f} to {high:+.3f}</td></tr>")
    return "\n".join([*lines, "</table>"])


def groups_table(table, pictures: PictureList) -> str:
    """The group of faces that ACFun and each baseline serve worst."""
    groups = {face.id: face.groups for face in pictures.faces}
    lines = ["<table><tr><th>method</th><th>kind</th><th>worst group</th><th>its id margin</th><th>all</th></tr>"]
    for name in table.names:
        labels = [groups[face] for face in table.rows[name].faces]
        for kind, (group, value, mean) in aggregate.worst_groups(table.rows[name], labels).items():
            title = html.escape(methods.method(name).title)
            lines.append(
                f"<tr><td>{title}</td><td>{kind}</td><td>{group}</td><td>{value:.3f}</td><td>{mean:.3f}</td></tr>"
            )
    return "\n".join([*lines, "</table>"])


# -- the plot --------------------------------------------------------------------------------


def pareto_front(points: dict[str, tuple[float, float]]) -> list[str]:
    """Names of the points that no other beats in both numbers, from left to right."""
    kept = [
        name
        for name, (x, y) in points.items()
        if not any((a >= x and b > y) or (a > x and b >= y) for a, b in points.values())
    ]
    return sorted(kept, key=lambda name: points[name])


def pareto_plot(table, anchors: Sequence[str], width: int = 900, height: int = 560) -> str:
    """Style margin to the right, identity margin upward; copies earn nothing. An SVG drawing."""
    points = {n: (r.mean("style_earned"), r.mean("identity_earned")) for n, r in table.rows.items() if n not in anchors}
    xs, ys = zip(*points.values())
    low, high = (min(xs) - 0.02, min(ys) - 0.02), (max(xs) + 0.02, max(ys) + 0.02)

    def place(point: tuple[float, float]) -> tuple[float, float]:
        x, y = ((value - a) / (b - a) for value, a, b in zip(point, low, high))
        return 60 + x * (width - 220), height - 50 - y * (height - 80)

    front = pareto_front(points)
    line = " ".join("{:.1f},{:.1f}".format(*place(points[name])) for name in front)
    parts = [f'<svg viewBox="0 0 {width} {height}" width="{width}" role="img" aria-label="identity against style">']
    parts += [f'<polyline points="{line}" fill="none" stroke="#999" stroke-dasharray="4 4"/>']
    parts += [f'<text x="{width / 2 - 100}" y="{height - 12}">style margin ({low[0]:.2f} to {high[0]:.2f})</text>']
    parts += [f'<text x="16" y="{height / 2 + 80}" transform="rotate(-90 16 {height / 2 + 80})">']
    parts += [f"identity margin ({low[1]:.2f} to {high[1]:.2f})</text>"]
    for name, point in points.items():
        x, y = place(point)
        colour = "#1a7f37" if name == aggregate.ACFUN else "#0b5cad" if name in front else "#777"
        title = html.escape(methods.method(name).title)
        parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="5" fill="{colour}"/>')
        parts.append(f'<text x="{x + 8:.1f}" y="{y + 4:.1f}" font-size="12" fill="{colour}">{title}</text>')
    return "".join([*parts, "</svg>"])


# -- pictures --------------------------------------------------------------------------------


def contact_sheet(
    store: Store, run: str, style: Image, pairs: Sequence[Pair], names: Sequence[str], seeds: int, side: int
) -> str:
    """All pictures of one style: a row a face and seed, a column a method."""
    titles = "".join(f"<td>{html.escape(methods.method(name).title)}</td>" for name in names)
    lines = [f'<div class="sheet"><table><tr><td>face</td><td>style</td>{titles}</tr>']
    drawn_style = image_tag(as_array(style, side), "style")
    for pair in (one for one in pairs if one.style.id == style.id):
        face = image_tag(as_array(pair.face, side), "face")
        for seed in range(seeds):
            cells = [face, drawn_style]
            for name in names:
                path = store.picture_path(run, methods.slug(name), pair.id, seed)
                cells.append(image_tag(np.asarray(PIL.open(path).convert("RGB")), name) if path.is_file() else "")
            lines.append("<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>")
    return "\n".join([*lines, "</table></div>"])


def trust(measures: Measures, summary: dict) -> str:
    found = summary["accuracies"]
    art = ""
    if "art_parts" in found:
        art = f"; of other real art in {found['art_parts']:.0%} among all, in {found['art_parts_of_6']:.0%} among six"
    return (
        f"<p>Style: a quarter of a style picture is given to its own picture in {found['style_parts']:.0%} "
        f"(chance {1 / len(measures.styles):.0%}){art}. "
        f"Copies: {found['copies_caught']:.0%} of made copies and blends are caught, "
        f"{found['others_passed']:.0%} of other real pictures pass. Face encoders: SFace and dlib's ResNet; every identity "
        "number is the mean of both, and a picture without a face counts as 0. A copy earns no margin and no rank.</p>"
    )


def html_table(markdown: str) -> str:
    """A Markdown table as HTML."""
    rows = [[html.escape(cell.strip()) for cell in line.strip("|").split("|")] for line in markdown.splitlines()]
    lines = ["<table><tr>" + "".join(f"<th>{cell}</th>" for cell in rows[0]) + "</tr>"]
    lines += ["<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows[2:]]
    return "\n".join([*lines, "</table>"])


CurvePoint = tuple[float, float, float, float]
"""Passes, J, and the interval's ends."""


def curve_plot(points: Sequence[CurvePoint], goal: CurvePoint, width: int = 640, height: int = 320) -> str:
    """J against passes as an SVG drawing with the intervals; ``goal`` stands by itself, with a dashed line at its J."""
    shown = [*points, goal]
    most = max(passes for passes, *_ in shown)
    top = max(high for *_, high in shown) or 1.0

    def place(passes: float, j: float) -> tuple[float, float]:
        return 50 + passes / most * (width - 90), height - 40 - j / top * (height - 70)

    line = " ".join("{:.1f},{:.1f}".format(*place(passes, j)) for passes, j, *_ in sorted(points))
    parts = [f'<svg viewBox="0 0 {width} {height}" width="{width}" role="img" aria-label="J against passes">']
    parts += [f'<polyline points="{line}" fill="none" stroke="#1a7f37" stroke-width="2"/>']
    (x, y), (left, _) = place(*goal[:2]), place(0, 0)
    parts += [f'<line x1="{left:.1f}" x2="{x:.1f}" y1="{y:.1f}" y2="{y:.1f}" stroke="#b35900" stroke-dasharray="5 4"/>']
    for passes, j, low, high in shown:
        (x, y), (_, under), (_, over) = place(passes, j), place(passes, low), place(passes, high)
        colour = "#b35900" if (passes, j, low, high) == goal else "#1a7f37"
        parts += [f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{under:.1f}" y2="{over:.1f}" stroke="#999"/>']
        parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{colour}"/>']
        parts += [f'<text x="{x:.1f}" y="{height - 20}" font-size="11" text-anchor="middle">{passes:.0f}</text>']
        parts += [f'<text x="{x + 6:.1f}" y="{y - 6:.1f}" font-size="11">{j:.2f}</text>']
    return "".join([*parts, f'<text x="{width / 2}" y="{height - 4}" font-size="12">passes</text></svg>'])


def write(
    store: Store,
    settings: Settings,
    pictures: PictureList,
    pairs,
    table,
    measures,
    summary: dict,
    seeds: int,
    sections=(),
) -> None:
    """``report.html`` in the store's folder."""
    anchors = tables.anchors(table.names)
    parts = [
        "<!doctype html><meta charset='utf-8'><title>ACFun beside the others</title>",
        f"<style>{STYLE}</style><h1>ACFun beside the others</h1>",
        f"<p>{summary['pairs']} pairs, {summary['images']} pictures, run <code>{settings.run}</code>.</p>",
        "<h2>Table</h2>",
        numbers_table(table, anchors),
        trust(measures, summary),
        "<h2>How much better</h2>",
        advantages(table, anchors),
        "<h2>Identity against style</h2>",
        pareto_plot(table, anchors),
        "<h2>Worst groups</h2>",
        groups_table(table, pictures),
    ]
    for section in sections:
        shown = [html_table(table) for table in section.text.split("\n\n")]
        parts += [f"<h2>{html.escape(section.title)}</h2>", *shown, section.drawing]
    parts.append("<h2>Every picture</h2>")
    for style in pictures.styles:
        parts.append(f"<h3>{html.escape(style.kind or style.id)}: {html.escape(style.words)}</h3>")
        parts.append(contact_sheet(store, settings.run, style, pairs, table.names, seeds, settings.side))
    path = store.folder / "report.html"
    path.write_text("\n".join(parts), encoding="utf-8")
