"""One face from several: Splice Face Parts by eyes, nose and mouth, Splice Faces by bands."""

from __future__ import annotations

import comfy.model_management
import torch
from comfy_api.latest import io

from ..acfun_core.errors import ACFunError
from ..acfun_core.faces.landmarks import check_landmarks
from ..acfun_core.faces.splice import MOST_FACES, SEAMS, moved_onto_first, splice_bands, splice_parts
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
        stop = comfy.model_management.throw_exception_if_processing_interrupted
        spliced = splice_parts(faces, landmarks, givers, seam, softness, match_tone, stop)
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


class SpliceFaces(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        def cut(name: str, default: float, where: str) -> io.Input:
            return io.Float.Input(
                name,
                default=default,
                min=0.01,
                max=0.99,
                step=0.01,
                tooltip=f"Height of the cut {where}, from 0 (top) to 1 (bottom). Good: {default}.",
            )

        return schema(
            node_id="ACFunSpliceFaces",
            display_name="Splice Faces",
            description=(
                "Puts one face together from bands of two to four faces, from top to bottom. The faces should be "
                "at the same place in each picture, or come with their landmarks."
            ),
            inputs=[
                io.Image.Input("face_1", tooltip="Gives the top: hair, forehead and eyes."),
                io.Image.Input("face_2", tooltip="Gives the part below the first cut."),
                io.Image.Input("face_3", optional=True, tooltip="Gives the part below the second cut."),
                io.Image.Input("face_4", optional=True, tooltip="Gives the part below the third cut."),
                cut("cut_1", 0.50, "below face 1"),
                cut("cut_2", 0.62, "below face 2"),
                cut("cut_3", 0.80, "below face 3"),
                io.Float.Input(
                    "blend",
                    default=0.0,
                    min=0.0,
                    max=0.5,
                    step=0.01,
                    tooltip=(
                        "Softness of the seams as part of the height. 0 is hard, as in the paper; good soft "
                        "value: 0.06."
                    ),
                ),
                io.Int.Input(
                    "size", default=512, min=64, max=2048, step=8, tooltip="Side of the result in pixels. Good: 512."
                ),
                *(
                    Landmarks.Input(
                        f"landmarks_{number}",
                        optional=True,
                        tooltip=(
                            f"Eyes, nose tip and mouth corners of face {number}, from Find Face. With those of all faces, "
                            "the others are moved onto the first before they are cut."
                        ),
                    )
                    for number in range(1, MOST_FACES + 1)
                ),
            ],
            outputs=[io.Image.Output(display_name="face", tooltip="The spliced face, for Train ACFun Style.")],
        )

    @classmethod
    def execute(
        cls, face_1, face_2, cut_1, cut_2, cut_3, blend, size, face_3=None, face_4=None, **landmarks
    ) -> io.NodeOutput:
        if face_3 is None and face_4 is not None:
            raise ACFunError(
                "face_4 is connected but face_3 is not.", "faces without a gap", "connect the fourth face to face_3"
            )
        faces = [
            check_image(face, f"face_{number}")
            for number, face in enumerate((face_1, face_2, face_3, face_4), 1)
            if face is not None
        ]
        faces = aligned(faces, landmarks)
        return io.NodeOutput(splice_bands(faces, [cut_1, cut_2, cut_3][: len(faces) - 1], blend, size))


def aligned(faces: list[torch.Tensor], connected: dict) -> list[torch.Tensor]:
    """The faces moved onto the first where landmarks are connected; without any they stay as they are.

    Raises:
        ACFunError: landmarks of some faces are missing, or are left over.
    """
    points = {name: value for name, value in connected.items() if value is not None}
    if not points:
        return faces
    names = [f"landmarks_{number}" for number in range(1, len(faces) + 1)]
    if set(points) != set(names):
        raise ACFunError(
            f"There are {len(faces)} faces and {', '.join(sorted(points))}.",
            "landmarks of all faces or of none",
            f"connect exactly {', '.join(names)}, or disconnect all landmarks",
        )
    found = [
        check_landmarks(points[name], face, f"landmarks of face {number}")
        for number, (name, face) in enumerate(zip(names, faces), 1)
    ]
    return moved_onto_first(faces, found)
