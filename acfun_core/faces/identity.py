"""Who is in a picture, by the SFace encoder, where OpenCV is installed and its ONNX file was given. Never needed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ..errors import ACFunError
from .landmarks import Similarity, warp
from .opencv import opencv

SIDE = 112
TEMPLATE = ((38.2946, 51.6963), (73.5318, 51.5014), (56.0252, 71.7366), (41.5493, 92.3655), (70.7299, 92.2041))
"""Where the five landmarks lie in the pictures that encoders of the ArcFace family expect, pixels."""


class FaceEncoder:
    """SFace from a file, read once.

    Raises:
        ACFunError: OpenCV or the file is missing, or OpenCV cannot read it.
    """

    def __init__(self, model: str | Path):
        self._cv2, self._model = opencv("compared", "set face_encoder to none"), Path(model)
        if not self._model.is_file():
            raise ACFunError(f"There is no face encoder at {model}.", "SFace as an ONNX file", "check the path")
        try:
            self._net = self._cv2.dnn.readNetFromONNX(str(model))
        except self._cv2.error as error:
            raise self._unfit(error) from error

    def __call__(self, picture: Tensor, landmarks: Tensor) -> Tensor:
        """The identity of one face: picture (1, H, W, 3), values 0-1, and its landmarks (5, 2) -> (D,) of length 1.

        Raises:
            ACFunError: the file is not SFace.
        """
        aligned, _ = warp(picture.cpu(), Similarity.fit(torch.tensor(TEMPLATE), landmarks.cpu()), SIDE, SIDE)
        return self.of_crop((aligned[0].clamp(0, 1) * 255).round().byte().numpy())

    def of_crop(self, pixels: np.ndarray) -> Tensor:
        """The same of a face that lies as in :data:`TEMPLATE`, uint8 (112, 112, 3)."""
        try:
            # By name: some copies of the file list their weights as inputs too, which OpenCV 5's FaceRecognizerSF refuses.
            self._net.setInput(self._cv2.dnn.blobFromImage(pixels), "data")
            features = self._net.forward()
        except self._cv2.error as error:
            raise self._unfit(error) from error
        return torch.nn.functional.normalize(torch.from_numpy(np.asarray(features)).flatten().double(), dim=0)

    def _unfit(self, error: Exception) -> ACFunError:
        return ACFunError(
            f"{self._model.name} does not work as a face encoder: {str(error).strip()[:200]}.",
            "SFace as an ONNX file",
            "use OpenCV Zoo's face_recognition_sface_2021dec.onnx; its quantized versions need OpenCV 4.11",
        )
