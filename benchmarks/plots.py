"""The plots of the report."""

from __future__ import annotations

import io
from collections.abc import Sequence

import matplotlib
from matplotlib.figure import Figure

from .pages import data_uri

Point = tuple[float, float]
CurvePoint = tuple[float, float, float, float]
"""Passes, J, and the ends of its interval."""
OWN, FRONT, OTHER, GOAL = "#1a7f37", "#0b5cad", "#777777", "#b35900"


def svg(figure: Figure) -> str:
    """A plot as a data URI; the same plot is the same text."""
    buffer = io.BytesIO()
    with matplotlib.rc_context({"svg.hashsalt": "acfun"}):
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    return data_uri(buffer.getvalue(), "image/svg+xml")


def pareto_front(points: dict[str, Point]) -> list[str]:
    """Names of the points that no other beats in both numbers, from left to right."""
    kept = [
        name
        for name, (x, y) in points.items()
        if not any((a >= x and b > y) or (a > x and b >= y) for a, b in points.values())
    ]
    return sorted(kept, key=lambda name: points[name])


def pareto(points: dict[str, Point], own: str) -> Figure:
    """Style margin to the right, identity margin upward, by the methods' titles; ``own`` is told from the others."""
    figure = Figure(figsize=(10, 6), layout="constrained")
    axes, front = figure.add_subplot(xlabel="style margin", ylabel="identity margin"), pareto_front(points)
    axes.plot(*zip(*(points[name] for name in front)), "--", color="#999999")
    for name, point in points.items():
        colour = OWN if name == own else FRONT if name in front else OTHER
        axes.plot(*point, "o", color=colour)
        axes.annotate(name, point, (6, -3), textcoords="offset points", color=colour, size="small")
    axes.margins(0.15, 0.05)
    return figure


def curve(points: Sequence[CurvePoint], goal: CurvePoint) -> Figure:
    """J against passes with the intervals; ``goal`` stands by itself, with a dashed line at its J."""
    figure = Figure(figsize=(7, 3.5), layout="constrained")
    axes = figure.add_subplot(xlabel="passes", ylabel="J")
    for shown, style, colour in ((sorted(points), "o-", OWN), ([goal], "o", GOAL)):
        passes, j, low, high = zip(*shown)
        axes.errorbar(
            passes, j, [[b - a for a, b in zip(low, j)], [b - a for a, b in zip(j, high)]], fmt=style, color=colour
        )
    axes.axhline(goal[1], linestyle="--", color=GOAL)
    return figure
