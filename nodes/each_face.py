"""Each Face: the faces of a group or of a film one by one, each with a strength and a text of its own."""

from __future__ import annotations

import logging

from comfy_api.latest import io

from ..acfun_core.images import check_batch
from ..acfun_core.strengths import strengths_of
from .faces import tell
from .schema import schema


class EachFace(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="ACFunEachFace",
            display_name="Each Face",
            description=(
                "Hands on the faces of a batch one by one, so that the nodes behind it run once for each, with a strength "
                "and a text of its own. Rebatch Images makes one batch of the results, for Paste Face."
            ),
            search_aliases=["batch to list", "for each face", "group photo"],
            inputs=[
                io.Image.Input("face", tooltip="The faces, from Crop Face."),
                io.String.Input(
                    "strengths",
                    default="1",
                    tooltip=(
                        "A number from 0 to 2 for each face, in the order of Find Face, such as 1, 0.5, 1.2; the last one is "
                        "for all that follow. Good: 1."
                    ),
                ),
                io.String.Input(
                    "texts",
                    default="a painting of a person",
                    multiline=True,
                    tooltip="A line for each face, as the prompt of its sampler; the last one is for all that follow.",
                ),
            ],
            outputs=[
                io.Image.Output(display_name="face", is_output_list=True, tooltip="One face after the other."),
                io.Float.Output(
                    display_name="strength",
                    is_output_list=True,
                    tooltip="Its strength, for ACFun Style Transfer or an adapter.",
                ),
                io.String.Output(display_name="text", is_output_list=True, tooltip="Its text, for a prompt."),
            ],
        )

    @classmethod
    def execute(cls, face, strengths, texts) -> io.NodeOutput:
        faces = list(check_batch(face, "face").split(1))
        lines = [line.strip() for line in texts.rstrip().splitlines()] or [""]
        each = {"strengths": strengths_of(strengths), "texts": lines}
        notices = [notice for what, values in each.items() if (notice := notice_of_more(len(values), len(faces), what))]
        for notice in notices:
            logging.warning("ACFun: %s", notice)
        # Also where there is nothing to say: what was said of the run before is no longer so.
        tell("\n".join(notices))
        return io.NodeOutput(faces, *(for_each(values, len(faces)) for values in each.values()))


def for_each(values: list, count: int) -> list:
    """As many as there are faces: the last one is for all that follow."""
    return (values + values[-1:] * (count - len(values)))[:count]


def notice_of_more(given: int, faces: int, what: str) -> str:
    """What to say where some are not used; empty if all are."""
    if given <= faces:
        return ""
    there = "1 face" if faces == 1 else f"{faces} faces"
    return f"{given} {what} for {there}: the last {given - faces} not used."
