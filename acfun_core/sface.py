"""Who is in a picture, by the SFace encoder, where OpenCV is installed and its ONNX file was given. Never needed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from .errors import ACFunError
from .landmarks import Similarity, warp

SIDE = 112
TEMPLATE = ((38.2946, 51.6963), (73.5318, 51.5014), (56.0252, 71.7366), (41.5493, 92.3655), (70.7299, 92.2041))
"""Where the five landmarks lie in the pictures that encoders of the ArcFace family expect, pixels."""


def embed_face(picture: Tensor, landmarks: Tensor, model: str | Path) -> Tensor:
    """The identity of one face: picture (1, H, W, 3), values 0-1, and its landmarks (5, 2) -> (D,) of length 1.

    Raises:
        ACFunError: OpenCV or the file is missing or not SFace.
    """
    try:
        import cv2
    except ImportError as error:
        raise ACFunError(
            f"Faces cannot be compared without OpenCV: {error}.",
            "OpenCV 4.8 or newer",
            "pip install opencv-python-headless, or set face_encoder to none",
        ) from error
    if not Path(model).is_file():
        raise ACFunError(f"There is no face encoder at {model}.", "SFace as an ONNX file", "check the path")
    aligned, _ = warp(picture.cpu(), Similarity.fit(torch.tensor(TEMPLATE), landmarks.cpu()), SIDE, SIDE)
    pixels = (aligned[0].clamp(0, 1) * 255).round().byte().numpy()[..., ::-1]
    try:
        net = cv2.dnn.readNetFromONNX(str(model))
        # By name: some copies of the file list their weights as inputs too, which OpenCV 5's FaceRecognizerSF refuses.
        net.setInput(cv2.dnn.blobFromImage(np.ascontiguousarray(pixels), size=(SIDE, SIDE), swapRB=True), "data")
        features = net.forward()
    except cv2.error as error:
        raise ACFunError(
            f"{Path(model).name} does not work as a face encoder: {str(error).strip()[:200]}.",
            "SFace as an ONNX file",
            "use OpenCV's face_recognition_sface model",
        ) from error
    return torch.nn.functional.normalize(torch.from_numpy(np.asarray(features)).flatten().double(), dim=0)
