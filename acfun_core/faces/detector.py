"""A face's landmarks by the YuNet detector, where OpenCV is installed and its ONNX file was given. Never needed at run time."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ..errors import ACFunError

LEAST_SCORE = 0.6


class NoFace(ACFunError):
    """There is no face in a picture, or none that can be found."""


def find_landmarks(picture: Tensor, model: str | Path, role: str) -> Tensor:
    """Landmarks of the largest face in a picture (1, H, W, 3), values 0-1. -> (1, 5, 2), see :mod:`acfun_core.faces.landmarks`.

    Raises:
        NoFace: no face is found.
        ACFunError: OpenCV or the file is missing or not YuNet.
    """
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
    largest = max(faces, key=lambda face: face[2] * face[3])
    # x, y, width, height, then the five points in our order, then the score.
    return torch.tensor(np.asarray(largest[4:14], dtype=np.float32)).reshape(1, 5, 2)
