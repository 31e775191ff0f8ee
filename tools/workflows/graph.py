"""A graph of nodes, written once and saved twice: as the editor saves it, and as the server's API takes it."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from .node_types import GraphError, InputType, NodeType, NodeTypes

SCHEMA_VERSION = 0.4
HOLLOW_CIRCLE = 7  # the editor's shape of an optional input
NOTE_TYPE = "MarkdownNote"
NOTE_COLOURS = {"color": "#432", "bgcolor": "#653"}
# Pixels, as the editor draws them.
TITLE, SLOT, WIDGET, TEXT_AREA, PICTURE = 30, 20, 24, 92, 260
PANELS = {"ACFUN_REGIONS": 230}  # this pack's own widgets (web/)
GAP, GROUP_PADDING, GROUP_TITLE = 24, 14, 50


@dataclass(frozen=True)
class Output:
    """One output of a node, to be given to another node's input."""

    node: Node
    index: int

    @property
    def kind(self) -> str:
        return self.node.type.outputs[self.index].kind


@dataclass
class Node:
    """One node. ``values`` holds every widget's value, ``sources`` what is connected, both by input name."""

    id: int
    type: NodeType
    title: str
    position: tuple[int, int]
    size: tuple[int, int]
    values: dict[str, Any]
    sources: dict[str, Output]

    def __getitem__(self, output: str) -> Output:
        return Output(self, self.type.output_index(output))


@dataclass
class Note:
    """A text on the canvas."""

    id: int
    title: str
    text: str
    position: tuple[int, int]
    size: tuple[int, int]


@dataclass
class Group:
    """A titled frame around what was added inside it."""

    title: str
    colour: str
    members: list[Node | Note] = field(default_factory=list)

    def bounding(self) -> list[int]:
        lefts, tops = zip(*(member.position for member in self.members))
        rights = [member.position[0] + member.size[0] for member in self.members]
        bottoms = [member.position[1] + member.size[1] for member in self.members]
        left, top = min(lefts) - GROUP_PADDING, min(tops) - TITLE - GROUP_TITLE
        return [left, top, max(rights) + GROUP_PADDING - left, max(bottoms) + GROUP_PADDING - top]


class Graph:
    """Builds a graph column by column.

    Args:
        name: file name without ending.
        types: the node classes of the server it is built for.
    """

    def __init__(self, name: str, types: NodeTypes):
        self.name, self.types = name, types
        self.nodes: list[Node] = []
        self.notes: list[Note] = []
        self.groups: list[Group] = []
        self.app_inputs: list[tuple[Node, str, str]] = []
        self.app_outputs: list[Node] = []
        self._x = self._y = self._width = 0
        self._open_group: Group | None = None

    # -- building -----------------------------------------------------------------------

    def column(self, x: int, width: int, y: int = 0) -> None:
        """What is added next goes below (x, y), one under the other."""
        self._x, self._y, self._width = x, y, width

    @contextmanager
    def group(self, title: str, colour: str) -> Iterator[None]:
        """A frame around everything that is added meanwhile."""
        self._open_group = Group(title, colour)
        yield
        self.groups.append(self._open_group)
        self._open_group = None

    def add(self, type_name: str, title: str, *, room: bool = False, **inputs: Any) -> Node:
        """Add a node; each input is an :class:`Output` or a widget's value, widgets not named keep their default.

        Args:
            room: leave room for the picture that the editor shows in the node.
        """
        node_type = self.types[type_name]
        for name in inputs:
            node_type.input(name)
        sources = {name: value for name, value in inputs.items() if isinstance(value, Output)}
        values = {
            each.name: inputs.get(each.name, each.default) for each in node_type.widgets if each.name not in sources
        }
        for each in node_type.inputs:
            _check(node_type, each, sources.get(each.name), values.get(each.name))
        height = _height(node_type) + (PICTURE if room else 0)
        position, size = self._place(height)
        node = Node(self._next_id(), node_type, title, position, size, values, sources)
        self.nodes.append(node)
        self._remember(node)
        return node

    def note(self, title: str, text: str, height: int) -> None:
        """Add a text in Markdown."""
        position, size = self._place(height)
        note = Note(self._next_id(), title, text.strip(), position, size)
        self.notes.append(note)
        self._remember(note)

    def app(self, inputs: list[tuple[Node, str, str]], outputs: list[Node]) -> None:
        """What App Mode shows: (node, widget, what it is called) from top to bottom, and the nodes whose results it shows.

        A widget that is called "" keeps its name.
        """
        for node, widget, _ in inputs:
            if widget in node.sources or not node.type.input(widget).is_widget:
                raise GraphError(f"{node.title}.{widget} is no free widget")
        self.app_inputs, self.app_outputs = list(inputs), list(outputs)

    def _next_id(self) -> int:
        return len(self.nodes) + len(self.notes) + 1

    def _place(self, height: int) -> tuple[tuple[int, int], tuple[int, int]]:
        position = (self._x, self._y)
        self._y += height + TITLE + GAP
        return position, (self._width, height)

    def _remember(self, member: Node | Note) -> None:
        if self._open_group is not None:
            self._open_group.members.append(member)

    # -- saving -------------------------------------------------------------------------

    def to_api(self) -> dict[str, Any]:
        """The graph as ``POST /prompt`` takes it."""
        prompt = {}
        for node in self.nodes:
            links = {name: [str(source.node.id), source.index] for name, source in node.sources.items()}
            prompt[str(node.id)] = {
                "inputs": {**node.values, **links},
                "class_type": node.type.name,
                "_meta": {"title": node.title},
            }
        return prompt

    def to_ui(self, comfy_version: str, frontend_version: str) -> dict[str, Any]:
        """The graph as the editor saves it (schema 0.4)."""
        links = self._links()
        # Nodes are added after their sources, so the order of adding is an order of execution.
        order = {item.id: place for place, item in enumerate([*self.notes, *self.nodes])}
        nodes = [self._ui_node(node, links, order[node.id], comfy_version) for node in self.nodes]
        notes = [_ui_note(note, order[note.id]) for note in self.notes]
        groups = [
            {
                "id": number,
                "title": group.title,
                "bounding": group.bounding(),
                "color": group.colour,
                "font_size": 24,
                "flags": {},
            }
            for number, group in enumerate(self.groups, 1)
        ]
        return {
            "id": str(uuid.uuid5(uuid.NAMESPACE_URL, f"acfun/workflows/{self.name}")),
            "revision": 0,
            "last_node_id": self._next_id() - 1,
            "last_link_id": len(links),
            "nodes": sorted([*nodes, *notes], key=lambda node: node["id"]),
            "links": links,
            "groups": groups,
            "config": {},
            "extra": {
                "ds": {"scale": 0.7, "offset": [60, 160]},
                "frontendVersion": frontend_version,
                **self._app_extra(),
            },
            "version": SCHEMA_VERSION,
        }

    def _app_extra(self) -> dict[str, Any]:
        """App Mode's form. ``linearMode`` is left out: the workflow opens as a graph, as editors without it expect."""
        if not self.app_inputs:
            return {}
        inputs = [[node.id, widget] for node, widget, _ in self.app_inputs]
        return {"linearData": {"inputs": inputs, "outputs": [node.id for node in self.app_outputs]}}

    def _links(self) -> list[list]:
        """[id, from node, from output, to node, to input, type], inputs counted as in :func:`_slots`."""
        links = []
        for node in self.nodes:
            for slot, each in enumerate(_slots(node.type)):
                source = node.sources.get(each.name)
                if source is not None:
                    links.append([len(links) + 1, source.node.id, source.index, node.id, slot, source.kind])
        return links

    def _ui_node(self, node: Node, links: list[list], order: int, comfy_version: str) -> dict[str, Any]:
        """One node as the editor saves it; ``links`` as in :meth:`_links`."""
        incoming = {link[4]: link[0] for link in links if link[3] == node.id}
        outgoing = [
            [link[0] for link in links if link[1:3] == [node.id, index]] for index in range(len(node.type.outputs))
        ]
        called = {widget: label for owner, widget, label in self.app_inputs if owner is node}
        origin = {"cnr_id": "comfy-core", "ver": comfy_version} if node.type.from_comfy else {}
        return {
            "id": node.id,
            "type": node.type.name,
            "pos": list(node.position),
            "size": list(node.size),
            "flags": {},
            "order": order,
            "mode": 0,
            "inputs": [
                _ui_input(each, incoming.get(slot), called.get(each.name, ""))
                for slot, each in enumerate(_slots(node.type))
            ],
            "outputs": [
                {"name": each.name, "type": each.kind, "links": ids or None}
                for each, ids in zip(node.type.outputs, outgoing)
            ],
            "title": node.title,
            "properties": {**origin, "Node name for S&R": node.type.name},
            "widgets_values": _widget_values(node),
        }


def _slots(node_type: NodeType) -> list[InputType]:
    """All inputs in the editor's order: first the sockets, then the widgets, which are sockets as well."""
    return [*node_type.sockets, *node_type.widgets]


def _widget_values(node: Node) -> list:
    values = []
    for each in node.type.widgets:
        values.append(node.values.get(each.name, each.default))
        if each.has_seed_control:
            values.append("fixed")
    return values


def _ui_input(each: InputType, link: int | None, label: str = "") -> dict[str, Any]:
    saved: dict[str, Any] = {"name": each.name, "type": each.kind}
    if label:
        saved["label"] = label
    if each.optional:
        saved["shape"] = HOLLOW_CIRCLE
    if each.is_widget:
        saved["widget"] = {"name": each.name}
    return {**saved, "link": link}


def _ui_note(note: Note, order: int) -> dict[str, Any]:
    return {
        "id": note.id,
        "type": NOTE_TYPE,
        "pos": list(note.position),
        "size": list(note.size),
        "flags": {},
        "order": order,
        "mode": 0,
        "inputs": [],
        "outputs": [],
        "title": note.title,
        "properties": {},
        "widgets_values": [note.text],
        **NOTE_COLOURS,
    }


def _height(node_type: NodeType) -> int:
    """The height of a node's body as the editor computes it, with room for four lines in text areas."""
    rows = max(len(node_type.sockets), len(node_type.outputs))
    controls = sum(each.has_seed_control for each in node_type.widgets)
    areas = sum(each.multiline for each in node_type.widgets)
    panels = [PANELS[kind] for each in node_type.widgets if (kind := each.settings.get("widgetType")) in PANELS]
    lines = len(node_type.widgets) - areas - len(panels) + controls
    return rows * SLOT + lines * WIDGET + areas * TEXT_AREA + sum(panels) + 16


def _check(node_type: NodeType, each: InputType, source: Output | None, value: Any) -> None:
    where = f"{node_type.name}.{each.name}"
    if source is not None:
        if source.kind != each.kind:
            raise GraphError(f"{where} takes {each.kind}, {source.node.type.name} gives {source.kind}")
    elif not each.is_widget:
        if not each.optional:
            raise GraphError(f"{where} is not connected")
    elif each.kind == "COMBO" and value not in each.options and not each.may_name(value):
        raise GraphError(f"{where} has no choice {value!r}, only {', '.join(map(str, each.options)) or 'none at all'}")
