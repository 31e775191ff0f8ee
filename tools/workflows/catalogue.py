"""All workflows of the pack, in the order in which one learns."""

from __future__ import annotations

from .apps import portrait_app
from .chains import lora_controlnet, own_checkpoint
from .graph import Graph
from .graphs import instant, spliced_face, stylization
from .lessons import (
    any_photo,
    best_of_n,
    face_parts,
    group_photo,
    smile_slider,
    text_edits,
    two_styles,
    video_frames,
)
from .node_types import NodeTypes

WORKFLOWS = (
    stylization,
    instant,
    spliced_face,
    any_photo,
    text_edits,
    two_styles,
    face_parts,
    smile_slider,
    group_photo,
    video_frames,
    best_of_n,
    own_checkpoint,
    lora_controlnet,
    portrait_app,
)


def all_graphs(types: NodeTypes) -> list[Graph]:
    return [workflow(types) for workflow in WORKFLOWS]
