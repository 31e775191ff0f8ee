"""Helpers around the main nodes: example pictures and spliced faces."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from comfy_api.latest import io
from PIL import Image

from ..acfun_core.errors import ACFunError
from ..acfun_core.faces.landmarks import check_landmarks
from ..acfun_core.faces.splice import MOST_FACES, moved_onto_first, splice_bands
from ..acfun_core.images import check_image
from .schema import Landmarks, schema

# Not "examples": ComfyUI would take that folder for the pack's workflow templates.
EXAMPLES = Path(__file__).resolve().parent.parent / "pictures"


def list_examples() -> list[str]:
    return sorted(path.name for path in EXAMPLES.glob("*") if path.suffix in (".png", ".jpg"))


class ACFunExampleImage(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="ACFunExampleImage",
            display_name="ACFun Example Image",
            description=(
                "A face or style picture that comes with the pack, so that its workflows run without files of your own."
            ),
            inputs=[
                io.Combo.Input(
                    "picture",
                    options=list_examples(),
                    tooltip=(
                        "Names that start with face_ are photos, with style_ artworks. Replace this node by Load "
                        "Image for your own."
                    ),
                )
            ],
            outputs=[io.Image.Output(display_name="image", tooltip="The picture.")],
        )

    @classmethod
    def execute(cls, picture) -> io.NodeOutput:
        if picture not in list_examples():
            raise ACFunError(
                f"There is no example picture {picture!r}.",
                "one of: " + ", ".join(list_examples()),
                "choose one from the list",
            )
        with Image.open(EXAMPLES / picture) as file:
            pixels = np.asarray(file.convert("RGB"), dtype=np.float32) / 255.0
        return io.NodeOutput(torch.from_numpy(pixels)[None])


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
