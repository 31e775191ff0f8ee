"""Let an API workflow run without the files that only a user has: the demo base in the place of a checkpoint."""

from __future__ import annotations

import copy
from typing import Any

from .parts import FACE, LARGE_SIDE, SAMPLING, SIDE, STYLE

Workflow = dict[str, dict[str, Any]]
SIDES = ("width", "height", "resolution")
PICTURES = {"Face": FACE, "Style": STYLE}


def on_demo_base(workflow: Workflow) -> Workflow:
    """The workflow with the demo base for Load Checkpoint and Load CLIP Vision, at its size and guidance."""
    workflow = copy.deepcopy(workflow)
    checkpoints = [key for key, node in workflow.items() if node["class_type"] == "CheckpointLoaderSimple"]
    if not checkpoints:
        return workflow
    (base,) = checkpoints
    workflow[base].update(class_type="ACFunLoadDemoBase", inputs={})
    visions = {key for key, node in workflow.items() if node["class_type"] == "CLIPVisionLoader"}
    for node in workflow.values():
        for name, value in node["inputs"].items():
            if isinstance(value, list) and value[0] in visions:
                node["inputs"][name] = [base, 3]
            elif name in SIDES and value == LARGE_SIDE:
                node["inputs"][name] = SIDE
            elif name == "cfg":
                node["inputs"][name] = SAMPLING["cfg"]
    return {key: node for key, node in workflow.items() if key not in visions}


def without_patches(workflow: Workflow) -> Workflow:
    """The workflow with LoRA and ControlNet taken out: what they patch goes past them."""
    workflow = copy.deepcopy(workflow)
    past = {}
    for key, node in workflow.items():
        if node["class_type"] == "LoraLoader":
            past |= {(key, 0): node["inputs"]["model"], (key, 1): node["inputs"]["clip"]}
        elif node["class_type"] == "ControlNetApplyAdvanced":
            past |= {(key, 0): node["inputs"]["positive"], (key, 1): node["inputs"]["negative"]}
    gone = {key for key, _ in past} | {
        key for key, node in workflow.items() if node["class_type"] == "ControlNetLoader"
    }
    for node in workflow.values():
        for name, value in node["inputs"].items():
            while isinstance(value, list) and tuple(value) in past:
                value = past[tuple(value)]
            node["inputs"][name] = value
    return {key: node for key, node in workflow.items() if key not in gone}


def with_example_pictures(workflow: Workflow) -> Workflow:
    """The workflow with the pack's pictures, and views of them, where it loads a face and a style of the user's own."""
    workflow = copy.deepcopy(workflow)
    for key, node in list(workflow.items()):
        title = node["_meta"]["title"]
        if node["class_type"] == "LoadImage" and title in PICTURES:
            node.update(class_type="ACFunExampleImage", inputs={"picture": PICTURES[title]})
            workflow[f"{key}_preview"] = {
                "class_type": "PreviewImage",
                "inputs": {"images": [key, 0]},
                "_meta": {"title": f"{title} preview"},
            }
    return workflow


def without_own_files(workflow: Workflow) -> Workflow:
    """The workflow as it runs on any server: everything that only a user has is stood in for or taken out."""
    return with_example_pictures(without_patches(on_demo_base(workflow)))
