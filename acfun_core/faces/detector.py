"""A face's landmarks by the YuNet detector, where OpenCV is installed and its ONNX file was given. Never needed at run time."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ..errors import ACFunError

LEAST_SCORE = 0.6
LARGEST_FIRST, LEFT_TO_RIGHT = "largest first", "left to right"
ORDERS = (LARGEST_FIRST, LEFT_TO_RIGHT)
"""How the faces of a picture can be counted."""


class NoFace(ACFunError):
    """There is no face in a picture, or none that can be found."""


def find_landmarks(picture: Tensor, model: str | Path, role: str) -> Tensor:
    """Landmarks of the largest face in a picture (1, H, W, 3), values 0-1. -> (1, 5, 2); see :func:`find_faces`."""
    return find_faces(picture, model, role)[:1]


def nth_face(faces: Tensor, number: int, role: str) -> Tensor:
    """One of the faces (N, 5, 2) of a picture, counted from 1. -> (5, 2).

    Raises:
        NoFace: there are fewer.
    """
    if not 1 <= number <= len(faces):
        raise NoFace(
            f"There is no face {number} in the {role}: {len(faces)} found.",
            f"a number from 1 to {len(faces)}",
            "choose another face",
        )
    return faces[number - 1]


def find_faces(picture: Tensor, model: str | Path, role: str, order: str = LARGEST_FIRST) -> Tensor:
    """Landmarks of all faces in a picture (1, H, W, 3), values 0-1. -> (N, 5, 2), see :mod:`acfun_core.faces.landmarks`.

    Args:
        order: one of :data:`ORDERS`.

    Raises:
        NoFace: no face is found.
        ACFunError: OpenCV or the file is missing or not YuNet, or there is no such order.
    """
    if order not in ORDERS:
        raise ACFunError(f"Faces cannot be counted {order!r}.", "one of " + ", ".join(ORDERS), "choose one of these")
    try:
        import cv2
    except ImportError as error:
        raise ACFunError(
            f"Faces cannot be found without OpenCV: {error}.",
            "OpenCV 4.8 or newer",
            "pip install opencv-python-headless, or give the landmarks yourself",
        ) from error
    height, width = picture.shape[1:3]
    if not Path(model).is_file():
        raise ACFunError(f"There is no detector at {model}.", "YuNet as an ONNX file", "check the path")
    try:
        detector = cv2.FaceDetectorYN.create(str(model), "", (width, height), LEAST_SCORE)
        pixels = (picture[0].cpu() * 255).round().byte().numpy()[..., ::-1]
        _, faces = detector.detect(np.ascontiguousarray(pixels))
    except cv2.error as error:
        raise ACFunError(
            f"{Path(model).name} does not work as a detector: {str(error).strip()[:200]}.",
            "YuNet as an ONNX file",
            "use OpenCV's face_detection_yunet model",
        ) from error
    if faces is None or len(faces) == 0:
        raise NoFace(
            f"No face was found in the {role}.",
            "a face that looks at the camera",
            "use another picture or give landmarks",
        )
    return in_order(np.asarray(faces, dtype=np.float32), order)


def in_order(faces: np.ndarray, order: str) -> Tensor:
    """YuNet's rows (N, 15) as landmarks (N, 5, 2): x, y, width, height, then the five points in our order, then the score."""
    keys = {LARGEST_FIRST: -faces[:, 2] * faces[:, 3], LEFT_TO_RIGHT: faces[:, 0] + faces[:, 2] / 2}
    sorted_faces = faces[np.argsort(keys[order], kind="stable")]
    return torch.tensor(sorted_faces[:, 4:14]).reshape(-1, 5, 2)
