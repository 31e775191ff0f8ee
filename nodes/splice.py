"""Splice Face Parts: one face from the eyes, nose and mouth of several."""

from __future__ import annotations

import torch
from comfy_api.latest import io

from ..acfun_core.errors import ACFunError
from ..acfun_core.faces.landmarks import check_landmarks
from ..acfun_core.faces.splice import MOST_FACES, SEAMS, splice_parts
from ..acfun_core.images import check_image
from .schema import Landmarks, schema

_COLOURS = ((0.82, 0.27, 0.18), (0.20, 0.47, 0.75), (0.93, 0.70, 0.18), (0.33, 0.63, 0.36))


class SpliceFaceParts(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="ACFunSpliceFaceParts",
            display_name="Splice Face Parts",
            description=(
                "Puts one face together from the eyes, nose and mouth of two to four faces. The others are moved onto "
                "the first face by their landmarks."
            ),
            search_aliases=["mix faces", "combine faces", "face parts"],
            inputs=[
                *_face_inputs(),
                _giver("eyes", 2, "the eyes with the eyebrows"),
                _giver("nose", 1, "the nose"),
                _giver("mouth", 2, "the mouth"),
                _giver("rest", 1, "hair, skin and background"),
                io.Combo.Input(
                    "seam",
                    options=list(SEAMS),
                    default="hard",
                    tooltip=(
                        "hard cuts, as in the paper; soft fades over a width; pyramid blends colours widely and "
                        "details narrowly. Good: hard to train on, pyramid to look at."
                    ),
                ),
                io.Float.Input(
                    "softness",
                    default=0.15,
                    min=0.01,
                    max=1.0,
                    step=0.01,
                    tooltip="Width of a soft seam, in distances between the eyes. Good: 0.15.",
                ),
                io.Boolean.Input(
                    "match_tone",
                    default=False,
                    tooltip="Give the moved faces the skin tone of the first. Good: off with hard seams, on otherwise.",
                ),
            ],
            outputs=[
                io.Image.Output(display_name="face", tooltip="The spliced face, in the frame of face 1."),
                io.Image.Output(
                    display_name="map",
                    tooltip="Who gave what: face 1 red, face 2 blue, face 3 yellow, face 4 green.",
                ),
                io.Mask.Output(
                    display_name="masks",
                    tooltip="One mask a face, in order: how much of each pixel it gave, from 0 to 1.",
                ),
            ],
        )

    @classmethod
    def execute(cls, eyes, nose, mouth, rest, seam, softness, match_tone, **connected) -> io.NodeOutput:
        faces, landmarks = connected_faces(connected)
        givers = {"eyes": eyes, "nose": nose, "mouth": mouth, "rest": rest}
        spliced = splice_parts(faces, landmarks, givers, seam, softness, match_tone)
        colours = torch.tensor(_COLOURS[: len(faces)])
        shown = torch.einsum("nhw,nc->hwc", spliced.shares, colours)
        return io.NodeOutput(spliced.picture, shown[None], spliced.shares)


def _face_inputs() -> list[io.Input]:
    inputs = []
    for number in range(1, MOST_FACES + 1):
        role = (
            "The face that stays where it is; the others are moved onto it."
            if number == 1
            else "A face that gives parts."
        )
        inputs += [
            io.Image.Input(f"face_{number}", optional=number > 2, tooltip=f"{role} One picture."),
            Landmarks.Input(
                f"landmarks_{number}",
                optional=number > 2,
                tooltip=f"Eyes, nose tip and mouth corners of face {number}, from a node that finds them.",
            ),
        ]
    return inputs


def _giver(part: str, default: int, what: str) -> io.Input:
    return io.Int.Input(
        part, default=default, min=1, max=MOST_FACES, tooltip=f"Number of the face that gives {what}. Good: {default}."
    )


def connected_faces(connected: dict) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    """Pictures (1, H, W, 3) and landmarks (5, 2) of the faces that are connected, in order.

    Raises:
        ACFunError: a face without landmarks or the other way round, or a gap in the numbers.
    """
    faces, landmarks = [], []
    for number in range(1, MOST_FACES + 1):
        face, points = connected.get(f"face_{number}"), connected.get(f"landmarks_{number}")
        if face is None and points is None:
            continue
        if face is None or points is None:
            there, missing = ("landmarks", "face") if face is None else ("face", "landmarks")
            raise ACFunError(
                f"{there}_{number} is connected but {missing}_{number} is not.",
                "each face with its own landmarks",
                f"connect {missing}_{number}",
            )
        if len(faces) != number - 1:
            raise ACFunError(
                f"face_{number} is connected but face_{number - 1} is not.",
                "faces without a gap",
                f"connect it to face_{number - 1}",
            )
        faces.append(check_image(face, f"face_{number}"))
        landmarks.append(check_landmarks(points, face, f"landmarks of face {number}"))
    return faces, landmarks
