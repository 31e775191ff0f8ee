"""Face detectors and face encoders: ONNX files that a user puts beside the adapters."""

from __future__ import annotations

from pathlib import Path

import folder_paths

from ...acfun_core.errors import ACFunError
from .files import FOLDER, list_files, listed

NO_MODEL = "none"
DETECTORS = "*yunet*.onnx"
FACE_ENCODERS = "*sface*.onnx"
_WANTED = {
    DETECTORS: (
        "face detector",
        f"a YuNet file such as face_detection_yunet_2023mar.onnx in models/{FOLDER}",
        "put OpenCV Zoo's file there, or use what needs none: a box or a mask, face_encoder none",
    ),
    FACE_ENCODERS: (
        "face encoder",
        f"an SFace file such as face_recognition_sface_2021dec.onnx in models/{FOLDER}",
        "put OpenCV Zoo's file there, or choose none",
    ),
}


def list_models(pattern: str) -> list[str]:
    """Files in the adapter folders that match, by their names relative to them; "none" is always there."""
    return [*list_files(pattern), NO_MODEL]


def model_path(pattern: str, name: str) -> Path:
    """Full path of a listed file.

    Raises:
        ACFunError: there is none of this name.
    """
    meant = listed(name, list_files(pattern))
    for folder in map(Path, folder_paths.get_folder_paths(FOLDER)):
        if meant is not None and (folder / meant).is_file():
            return folder / meant
    kind, expected, fix = _WANTED[pattern]
    raise ACFunError(f"There is no {kind}." if name == NO_MODEL else f"There is no {kind} {name!r}.", expected, fix)


def is_there(pattern: str, name: str) -> bool:
    """Whether a choice can be used now: model files may come or go without a change in the graph."""
    return listed(name, list_models(pattern)) is not None
