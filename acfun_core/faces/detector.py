"""A face's landmarks by the YuNet detector, where OpenCV is installed and its ONNX file was given. Never needed at run time."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ..errors import ACFunError
from .opencv import opencv

LEAST_SCORE = 0.6
LARGEST_FIRST, LEFT_TO_RIGHT = "largest first", "left to right"
ORDERS = (LARGEST_FIRST, LEFT_TO_RIGHT)
"""How the faces of a picture can be counted."""


class NoFace(ACFunError):
    """There is no face in a picture, or none that can be found."""


class FaceDetector:
    """YuNet from a file, read when it first looks at a picture.

    Raises:
        ACFunError: OpenCV or the file is missing.
    """

    def __init__(self, model: str | Path, least_score: float = LEAST_SCORE):
        self._cv2 = opencv("found", "give the landmarks yourself")
        self._model, self._least_score, self._detector = Path(model), least_score, None
        if not self._model.is_file():
            raise ACFunError(f"There is no detector at {model}.", "YuNet as an ONNX file", "check the path")

    def __call__(self, pixels: np.ndarray) -> np.ndarray:
        """All faces of an RGB picture, uint8 (H, W, 3).

        Returns:
            (N, 15): x, y, width, height, the five points (x, y) in the order of :mod:`acfun_core.faces.landmarks`, score.

        Raises:
            ACFunError: the file is not YuNet.
        """
        height, width = pixels.shape[:2]
        try:
            if self._detector is None:
                create = self._cv2.FaceDetectorYN.create
                self._detector = create(str(self._model), "", (width, height), self._least_score)
            self._detector.setInputSize((width, height))
            faces = self._detector.detect(np.ascontiguousarray(pixels[..., ::-1]))[1]
        except self._cv2.error as error:
            raise ACFunError(
                f"{self._model.name} does not work as a detector: {str(error).strip()[:200]}.",
                "YuNet as an ONNX file",
                "use OpenCV's face_detection_yunet model",
            ) from error
        return np.zeros((0, 15), np.float32) if faces is None else faces


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
        ACFunError: as :class:`FaceDetector`, or there is no such order.
    """
    if order not in ORDERS:
        raise ACFunError(f"Faces cannot be counted {order!r}.", "one of " + ", ".join(ORDERS), "choose one of these")
    faces = FaceDetector(model)((picture[0].cpu() * 255).round().byte().numpy())
    if len(faces) == 0:
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
