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
    path = _found(pattern, name)
    if path is not None:
        return path
    kind, expected, fix = _WANTED[pattern]
    raise ACFunError(f"There is no {kind}." if name == NO_MODEL else f"There is no {kind} {name!r}.", expected, fix)


def fingerprint_of_model(pattern: str, name: str) -> tuple[int, int] | None:
    """Time and size of a listed file; None where it is not there. Files come, go and are replaced without a change in the
    graph."""
    path = _found(pattern, name)
    try:
        status = None if path is None else path.stat()
    except OSError:
        return None
    return None if status is None else (status.st_mtime_ns, status.st_size)


def _found(pattern: str, name: str) -> Path | None:
    """Full path of a listed file, if there is one of this name."""
    meant = listed(name, list_files(pattern))
    for folder in map(Path, folder_paths.get_folder_paths(FOLDER)):
        if meant is not None and (folder / meant).is_file():
            return folder / meant
    return None
