"""Faces before training and after sampling: find them, cut them out upright, put them back."""

from __future__ import annotations

import logging

import numpy as np
import torch
from comfy_api.latest import io, ui
from comfy_execution.utils import get_executing_context
from PIL import Image, ImageDraw
from server import PromptServer
from torch import Tensor

from ..acfun_core.demo_base import NATIVE_SIDE
from ..acfun_core.errors import ACFunError
from ..acfun_core.faces.crop import (
    EYE_DISTANCE,
    box_around,
    box_of_mask,
    crop_faces,
    landmarks_in_box,
    landmarks_of_middle_square,
    paste_faces,
)
from ..acfun_core.faces.detector import LARGEST_FIRST, ORDERS, NoFace, find_faces, nth_face
from ..acfun_core.faces.landmarks import is_nobody, nobody
from ..acfun_core.images import check_batch
from ..acfun_core.masks import LOAD_IMAGE, check_masks, notice_of_empty
from .host.files import FOLDER
from .host.model_files import DETECTORS, fingerprint_of_model, list_models, model_path
from .schema import Landmarks, schema

Crop = io.Custom("ACFUN_CROP")

MIDDLE, STOP, UNTOUCHED = "middle square", "stop", "leave untouched"
MOST_PREVIEWS = 4
ALL = 0
"""A face number: every face of the picture."""
_MARK = (40, 200, 90)


def _box(name: str, what: str) -> io.Input:
    return io.Int.Input(
        name,
        default=0,
        min=0,
        max=16_384,
        tooltip=f"{what} of a box that you draw around the face, in pixels. Good: 0, which means no box.",
    )


def _pictures_and_finder() -> list[io.Input]:
    """The pictures, and what finds the faces in them."""
    return [
        io.Image.Input("image", tooltip="One or more pictures."),
        io.Combo.Input(
            "detector",
            options=list_models(DETECTORS),
            tooltip=(
                f"A YuNet file in models/{FOLDER} (face_detection_yunet_2023mar.onnx of OpenCV Zoo). Good: "
                "that file; none leaves the finding to you."
            ),
        ),
        io.Combo.Input(
            "if_none",
            options=[MIDDLE, STOP, UNTOUCHED],
            default=MIDDLE,
            tooltip=(
                "What to do with a picture without a face: use its middle square and say so, stop with an error, "
                "or leave it untouched, so that Paste Face gives it back as it was. Good: middle square for one "
                "picture, leave untouched for the frames of a video."
            ),
        ),
    ]


def _faces_of_ones_own() -> list[io.Input]:
    """Where a face is, said by the user; and which of several."""
    return [
        _box("box_x", "Left edge"),
        _box("box_y", "Top edge"),
        _box("box_width", "Width"),
        _box("box_height", "Height"),
        io.Mask.Input(
            "mask",
            optional=True,
            tooltip=(
                "A mask over the face, from the mask editor or a face mask node; one for all pictures, or one a "
                "picture; with face_number 0, one a face. It overrules the detector."
            ),
        ),
        io.Combo.Input(
            "order",
            options=list(ORDERS),
            default=LARGEST_FIRST,
            optional=True,
            tooltip="How the faces of a picture with several are counted. Good: largest first.",
        ),
        io.Int.Input(
            "face_number",
            default=1,
            min=0,
            max=100,
            optional=True,
            tooltip=(
                "Which of the faces that the detector finds is used; the node says how many there are. 0 is all faces of one "
                "picture, a photo of a group. Good: 1."
            ),
        ),
    ]


class FindFace(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="ACFunFindFace",
            display_name="Find Face",
            description=(
                "Finds one face in each picture, the largest or the one you choose, or all faces of one picture: eyes, nose "
                "and mouth. A mask or a box of your own comes first, then the detector; a picture without a face is named."
            ),
            search_aliases=["face detection", "face landmarks", "yunet"],
            is_output_node=True,
            inputs=[*_pictures_and_finder(), *_faces_of_ones_own()],
            outputs=[
                Landmarks.Output(
                    display_name="landmarks",
                    tooltip="Eyes, nose tip and mouth corners of each face, for Crop Face and other nodes.",
                ),
                io.Mask.Output(display_name="mask", tooltip="The box of each face as a mask."),
                io.String.Output(display_name="notice", tooltip="What was found in each picture, and what was not."),
            ],
        )

    @classmethod
    def validate_inputs(cls, detector) -> bool:
        # ComfyUI would compare it with the list letter by letter; model_path also knows the other separator of folders.
        return True

    @classmethod
    def fingerprint_inputs(cls, detector="", **others):
        return detector, fingerprint_of_model(DETECTORS, detector)

    @classmethod
    def execute(
        cls,
        image,
        detector,
        if_none,
        box_x,
        box_y,
        box_width,
        box_height,
        mask=None,
        order=LARGEST_FIRST,
        face_number=1,
    ) -> io.NodeOutput:
        pictures = check_batch(image, "picture")
        check_group(pictures, face_number)
        masks = None if mask is None else check_masks(mask, "mask", count=None if face_number == ALL else len(pictures))
        box = (box_x, box_y, box_width, box_height) if box_width or box_height else None
        choice = (detector, order, face_number)
        found, notices = [], []
        for at in range(max(len(pictures), 1 if masks is None else len(masks))):
            number = at % len(pictures)
            own_mask = None if masks is None else masks[at % len(masks)]
            landmarks, notice = find_in(pictures[number][None], number + 1, own_mask, box, choice, if_none)
            found.append(landmarks)
            notices.append(notice)
        landmarks, notice = torch.cat(found), "\n".join(notices)
        tell(notice)
        # A video of many frames is not drawn as a whole.
        preview = ui.PreviewImage(draw_faces(pictures[:MOST_PREVIEWS], landmarks), cls=cls)
        return io.NodeOutput(landmarks, box_masks(pictures, landmarks), notice, ui=preview)


def check_group(pictures: Tensor, face_number: int) -> None:
    """Raise where all faces of several pictures are wanted: which belong together could not be told afterwards."""
    if face_number == ALL and len(pictures) > 1:
        raise ACFunError(
            f"face_number 0 is all faces of one picture, and there are {len(pictures)} pictures.",
            "one picture, or a face_number from 1",
            "take one of them with ImageFromBatch, or choose one face of each",
        )


def find_in(
    picture: Tensor, number: int, mask: Tensor | None, box, choice: tuple[str, str, int], if_none: str
) -> tuple[Tensor, str]:
    """Landmarks (N, 5, 2) in one picture (1, H, W, 3), N = 1 but for :data:`ALL`, and what to say about them.

    Args:
        choice: name of the detector, in which order its faces are counted, and which of them is used.
    """
    height, width = picture.shape[1:3]
    try:
        if mask is not None:
            return landmarks_in_box(box_in_picture(mask, width, height))[None], f"Picture {number}: face by the mask."
        if box is not None:
            return landmarks_in_box(box)[None], f"Picture {number}: face by the box."
        detector, order, wanted = choice
        faces = find_faces(picture, model_path(DETECTORS, detector), f"picture {number}", order)
        used = faces if wanted == ALL else nth_face(faces, wanted, f"picture {number}")[None]
        return used, f"Picture {number}: {told_faces(len(faces), order, wanted)}"
    except ACFunError as error:
        # To leave a picture as it is for want of a detector would be to do nothing at all.
        is_fault = if_none == UNTOUCHED and not isinstance(error, NoFace)
        if if_none == STOP or is_fault:
            raise
        ending = "It stays as it is." if if_none == UNTOUCHED else "Its middle square is used."
        notice = f"Picture {number}: {error.what} {ending}"
        logging.warning("ACFun: %s", notice)
        used = nobody() if if_none == UNTOUCHED else landmarks_of_middle_square(height, width)
        return used[None], notice


def told_faces(count: int, order: str, number: int) -> str:
    """What to say of the faces that a detector found in a picture."""
    if count == 1:
        return "face found."
    used = f"all are used, counted {order}" if number == ALL else f"number {number}, counted {order}, is used"
    return f"{count} faces found; {used}."


def box_in_picture(mask: Tensor, width: int, height: int) -> tuple[float, float, float, float]:
    """The box of a mask of any size, in pixels of the picture.

    Raises:
        ACFunError: the mask is empty.
    """
    box = box_of_mask(mask)
    if box is None:
        raise NoFace("The mask is empty.", "a mask that covers the face", f"paint it, or disconnect it ({LOAD_IMAGE})")
    across, down = width / mask.shape[1], height / mask.shape[0]
    return box[0] * across, box[1] * down, box[2] * across, box[3] * down


def box_masks(pictures: Tensor, landmarks: Tensor) -> Tensor:
    """(B, H, W), or (N, H, W) of one picture with N faces: 1 inside the box of each face."""
    masks = torch.zeros(len(landmarks), *pictures.shape[1:3])
    for mask, points in zip(masks, landmarks):
        if is_nobody(points):
            continue
        x, y, width, height = box_around(points)
        mask[max(0, round(y)) : max(0, round(y + height)), max(0, round(x)) : max(0, round(x + width))] = 1
    return masks


def draw_faces(pictures: Tensor, landmarks: Tensor) -> Tensor:
    """The pictures with box and landmarks drawn over them, on one picture those of all faces."""
    if len(pictures) == 1:
        return draw_group(pictures[0], landmarks)[None]
    return torch.stack([draw_group(picture, points[None]) for picture, points in zip(pictures, landmarks)])


def draw_group(picture: Tensor, landmarks: Tensor) -> Tensor:
    """One picture (H, W, 3) with the faces (N, 5, 2) marked."""
    image = Image.fromarray((picture.cpu() * 255).round().byte().numpy())
    draw, line = ImageDraw.Draw(image), max(1, image.width // 200)
    for points in landmarks:
        if is_nobody(points):
            continue
        x, y, width, height = box_around(points)
        draw.rectangle([x, y, x + width, y + height], outline=_MARK, width=line)
        for px, py in points.tolist():
            draw.ellipse([px - 2 * line, py - 2 * line, px + 2 * line, py + 2 * line], fill=_MARK)
    return torch.from_numpy(np.asarray(image, dtype=np.float32) / 255.0)


def tell(notice: str) -> None:
    """Show a text on the node that is running."""
    server, context = getattr(PromptServer, "instance", None), get_executing_context()
    if server is not None and context is not None and server.client_id is not None:
        server.send_progress_text(notice, context.node_id, server.client_id)


def warn(*notices: str) -> None:
    """Say something in the log and on the node, all at once: there, each text takes the place of the one before."""
    for notice in notices:
        logging.warning("ACFun: %s", notice)
    if notices:
        tell("\n".join(notices))


def tell_of_empty(mask, role: str, would: str) -> None:
    """Say in the log and on the node what a mask of zeros does; that may be wanted, but is mostly a mask from Load Image."""
    notice = None if mask is None else notice_of_empty(mask, role, would)
    if notice is not None:
        warn(notice)


class CropFace(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="ACFunCropFace",
            display_name="Crop Face",
            description=(
                "Cuts a square around each face, upright and with the eyes always at the same place, as training "
                "and the demo base expect it."
            ),
            search_aliases=["align face", "face crop"],
            inputs=[
                io.Image.Input("image", tooltip="The pictures in which the faces were found."),
                Landmarks.Input(
                    "landmarks",
                    tooltip="From Find Face: one face for each picture, one for all, or all faces of one picture.",
                ),
                io.Int.Input(
                    "size",
                    default=512,
                    min=64,
                    max=2048,
                    step=8,
                    tooltip=f"Side of the crop in pixels. Good: the resolution of the training, 512 or {NATIVE_SIDE}.",
                ),
                io.Float.Input(
                    "eye_distance",
                    default=EYE_DISTANCE,
                    min=0.05,
                    max=0.8,
                    step=0.01,
                    tooltip=(
                        "Distance between the eyes as part of the crop's side: higher is closer. Good: 0.28 for a photo that a "
                        "preset draws, 0.22 for head and shoulders, 0.35 for the face alone."
                    ),
                ),
                io.Boolean.Input(
                    "upright", default=True, tooltip="Turn the face so that its eyes are level. Good: on."
                ),
            ],
            outputs=[
                io.Image.Output(display_name="face", tooltip="The crops, for Train ACFun Style or any other node."),
                io.Mask.Output(
                    display_name="mask",
                    tooltip="1 where the crop shows the picture, 0 beyond its border, and 0 everywhere without a face.",
                ),
                Crop.Output(display_name="crop", tooltip="Where the crops came from, for Paste Face."),
            ],
        )

    @classmethod
    def execute(cls, image, landmarks, size, eye_distance, upright) -> io.NodeOutput:
        return io.NodeOutput(*crop_faces(check_batch(image, "picture"), landmarks, size, eye_distance, upright))


class PasteFace(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="ACFunPasteFace",
            display_name="Paste Face",
            description=(
                "Puts faces, usually stylized, back where Crop Face took them, with a soft seam. Pictures without a face that "
                "Find Face left untouched come back as they were."
            ),
            search_aliases=["uncrop face", "composite face"],
            inputs=[
                io.Image.Input(
                    "image",
                    tooltip=(
                        "The pictures that the faces came from. One picture takes any number of faces: those of a group all "
                        "together, others one at a time."
                    ),
                ),
                io.Image.Input("face", tooltip="The faces to put back, square and of any size."),
                Crop.Input("crop", tooltip="The crop output of Crop Face."),
                io.Float.Input(
                    "feather",
                    default=0.1,
                    min=0.0,
                    max=0.5,
                    step=0.01,
                    tooltip="Width of the soft seam as part of the face's side. 0 is a hard edge. Good: 0.1.",
                ),
                io.Mask.Input(
                    "mask",
                    optional=True,
                    tooltip=(
                        "A mask in the frame of the crop, or one a face: only what it covers is put back. Good: not connected."
                    ),
                ),
                Landmarks.Input(
                    "face_landmarks",
                    optional=True,
                    tooltip=(
                        "From a second Find Face on the faces themselves, if their eyes are not where the crop had "
                        "them. Good: connected for portraits drawn from noise."
                    ),
                ),
            ],
            outputs=[
                io.Image.Output(display_name="image", tooltip="The pictures with the faces in them."),
                io.Mask.Output(display_name="mask", tooltip="How much of the face lies over each pixel, 0 to 1."),
            ],
        )

    @classmethod
    def execute(cls, image, face, crop, feather, mask=None, face_landmarks=None) -> io.NodeOutput:
        pictures, pasted = check_batch(image, "picture"), check_batch(face, "face")
        return io.NodeOutput(*paste_faces(pictures, pasted, crop, feather, mask, face_landmarks))
