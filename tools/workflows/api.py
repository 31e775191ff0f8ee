"""API workflows as files, and their nodes by title."""

from __future__ import annotations

import json
from typing import Any

from . import WORKFLOWS

NAMES = (
    "stylization",
    "instant",
    "spliced_face",
    "any_photo",
    "text_edits",
    "two_styles",
    "face_parts",
    "smile_slider",
    "group_photo",
    "video_frames",
    "best_of_n",
    "own_checkpoint",
    "lora_controlnet",
    "portrait_app",
)


def load(name: str) -> dict[str, Any]:
    """The API workflow of this name."""
    return json.loads((WORKFLOWS / "api" / f"{name}.json").read_text(encoding="utf-8"))


def node_id(workflow: dict[str, Any], title: str) -> str:
    """Id of the only node with this title."""
    found = [key for key, node in workflow.items() if node["_meta"]["title"] == title]
    if len(found) != 1:
        raise LookupError(f"{len(found)} nodes have the title {title!r}, there should be exactly 1")
    return found[0]
