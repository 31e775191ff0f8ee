"""What a server's ``/object_info`` says about nodes, in the order and with the widgets that the editor gives them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

WIDGET_KINDS = ("INT", "FLOAT", "STRING", "BOOLEAN", "COMBO")
SEED_NAMES = ("seed", "noise_seed")
# Choices that list the files of a user's folder: the server that writes a workflow need not have the file it names.
FILE_CHOICES = {
    ("CheckpointLoaderSimple", "ckpt_name"): ".safetensors",
    ("CLIPVisionLoader", "clip_name"): ".safetensors",
    ("LoraLoader", "lora_name"): ".safetensors",
    ("ControlNetLoader", "control_net_name"): ".safetensors",
    ("LoadImage", "image"): ".png",
}


class GraphError(ValueError):
    """A graph that does not fit the nodes it uses."""


@dataclass(frozen=True)
class InputType:
    """One input. ``kind`` is its type on the wire; a choice from a list is ``COMBO``.

    Attributes:
        file_ending: of the files that a choice from :data:`FILE_CHOICES` lists, "" for any other input.
    """

    name: str
    kind: str
    optional: bool
    settings: dict[str, Any]
    options: tuple = ()
    file_ending: str = ""

    def may_name(self, value: Any) -> bool:
        """Whether the value names a file that another server may have."""
        return bool(self.file_ending) and isinstance(value, str) and value.endswith(self.file_ending)

    @property
    def is_widget(self) -> bool:
        return self.kind in WIDGET_KINDS and not self.settings.get("forceInput")

    @property
    def multiline(self) -> bool:
        return bool(self.settings.get("multiline"))

    @property
    def has_seed_control(self) -> bool:
        """Whether the editor adds a widget after this one: what happens to the value after each run."""
        default = self.kind == "INT" and self.name in SEED_NAMES
        return bool(self.settings.get("control_after_generate", default))

    @property
    def default(self) -> Any:
        if "default" in self.settings:
            return self.settings["default"]
        if self.options:
            return self.options[0]
        return {"STRING": "", "INT": 0, "FLOAT": 0.0, "BOOLEAN": False}.get(self.kind)


@dataclass(frozen=True)
class OutputType:
    name: str
    kind: str


@dataclass(frozen=True)
class NodeType:
    """One node class."""

    name: str
    display_name: str
    inputs: tuple[InputType, ...]
    outputs: tuple[OutputType, ...]
    from_comfy: bool

    @property
    def sockets(self) -> list[InputType]:
        return [each for each in self.inputs if not each.is_widget]

    @property
    def widgets(self) -> list[InputType]:
        return [each for each in self.inputs if each.is_widget]

    def input(self, name: str) -> InputType:
        for each in self.inputs:
            if each.name == name:
                return each
        raise GraphError(f"{self.name} has no input {name!r}, only {', '.join(each.name for each in self.inputs)}")

    def output_index(self, name: str) -> int:
        names = [each.name.lower() for each in self.outputs]
        if name.lower() not in names:
            raise GraphError(f"{self.name} has no output {name!r}, only {', '.join(names)}")
        return names.index(name.lower())


class NodeTypes:
    """All node classes of a server.

    Args:
        object_info: the answer of ``/object_info``.
    """

    def __init__(self, object_info: dict[str, Any]):
        self._info = object_info

    def __contains__(self, name: str) -> bool:
        return name in self._info

    def __getitem__(self, name: str) -> NodeType:
        if name not in self._info:
            raise GraphError(f"the server has no node {name!r}")
        info = self._info[name]
        outputs = zip(info["output_name"], info["output"])
        from_comfy = not info["python_module"].startswith("custom_nodes.")
        return NodeType(
            name,
            info["display_name"] or name,
            _inputs(name, info),
            tuple(OutputType(*each) for each in outputs),
            from_comfy,
        )


def _inputs(node: str, info: dict[str, Any]) -> tuple[InputType, ...]:
    inputs = []
    for group in ("required", "optional"):
        specs = info["input"].get(group, {})
        for name in info.get("input_order", {}).get(group, specs):
            kind, *rest = specs[name]
            settings = rest[0] if rest else {}
            # Older nodes write the list of choices where newer ones write "COMBO".
            options = kind if isinstance(kind, list) else settings.get("options", [])
            kind = "COMBO" if isinstance(kind, list) else kind
            ending = FILE_CHOICES.get((node, name), "")
            inputs.append(InputType(name, kind, group == "optional", settings, tuple(options), ending))
    return tuple(inputs)
