"""Workflows as the editor saves them, and the prompts that it queues for them."""

from __future__ import annotations

WIDGET_KINDS = {"INT", "FLOAT", "STRING", "BOOLEAN", "COMBO"}
NOTES = {"MarkdownNote", "Note"}  # known to the editor only


def widgets_of(info: dict) -> list[tuple[str, bool]]:
    """(name, whether a seed control follows) of a node's widgets, in the editor's order."""
    widgets = []
    for group in ("required", "optional"):
        for name, (kind, *rest) in info["input"].get(group, {}).items():
            if isinstance(kind, list) or kind in WIDGET_KINDS:
                by_name = kind == "INT" and name in ("seed", "noise_seed")
                widgets.append((name, bool(rest and rest[0].get("control_after_generate", by_name))))
    return widgets


def queued_by_the_editor(ui: dict, object_info: dict) -> dict:
    """The API workflow that the editor would queue for a saved one."""
    links = {link[0]: [str(link[1]), link[2]] for link in ui["links"]}
    prompt = {}
    for node in ui["nodes"]:
        if node["type"] in NOTES:
            continue
        values, inputs = iter(node.get("widgets_values", [])), {}
        for name, has_control in widgets_of(object_info[node["type"]]):
            inputs[name] = next(values)
            if has_control:
                assert next(values) in ("fixed", "randomize", "increment", "decrement")
        assert next(values, None) is None, f"{node['type']} has more values than widgets"
        inputs.update({each["name"]: links[each["link"]] for each in node["inputs"] if each["link"]})
        prompt[str(node["id"])] = {"inputs": inputs, "class_type": node["type"], "_meta": {"title": node["title"]}}
    return prompt
