"""Where adapters live: the models folder ``acfun``, names that cannot leave it, and space before work starts."""

from __future__ import annotations

import re
import shutil
import tempfile
from pathlib import Path

import folder_paths

from ...acfun_core.errors import ACFunError

FOLDER, EMBEDDINGS = "acfun", "embeddings"
_NAME = re.compile(r"[\w][\w .()+-]{0,119}")
MEGABYTE = 1_000_000


def register_folder() -> None:
    """Make ``models/acfun`` known to ComfyUI; only safetensors files count."""
    folder_paths.add_model_folder_path(FOLDER, str(Path(folder_paths.models_dir) / FOLDER), is_default=True)
    paths, _ = folder_paths.folder_names_and_paths[FOLDER]
    folder_paths.folder_names_and_paths[FOLDER] = (paths, {".safetensors"})


def list_adapters() -> list[str]:
    return folder_paths.get_filename_list(FOLDER)


def adapter_path(name: str) -> Path:
    """Full path of a listed adapter."""
    path = folder_paths.get_full_path(FOLDER, name) if name in list_adapters() else None
    if path is None:
        raise ACFunError(
            f"There is no adapter {name!r}.",
            f"one of: {', '.join(list_adapters()) or '(none trained yet)'}",
            f"train one, or put a file into models/{FOLDER} and press R to refresh the list",
        )
    return Path(path)


def check_name(name: str) -> str:
    """A file name without folders or extension."""
    stem = (name or "").strip().removesuffix(".safetensors")
    if not _NAME.fullmatch(stem) or ".." in stem:
        raise ACFunError(
            f"{name!r} cannot be the name of an adapter.",
            "letters, digits, spaces and . _ - ( ) +, no folders",
            "choose a plain name such as my_style",
        )
    return stem


def new_adapter_path(name: str) -> Path:
    """A free path ``name_00001.safetensors`` in the first adapter folder; existing files are never replaced."""
    return _new_path(name, FOLDER)


def new_embedding_path(name: str) -> Path:
    """A free path in the first folder for textual-inversion embeddings, numbered as adapters are."""
    return _new_path(name, EMBEDDINGS)


def _new_path(name: str, kind: str) -> Path:
    stem = check_name(name)
    folder = Path(folder_paths.get_folder_paths(kind)[0])
    number = 1
    while (path := folder / f"{stem}_{number:05}.safetensors").exists():
        number += 1
    return path


def check_writable(path: Path, needed_bytes: int) -> None:
    """Raise before any long work if the file could not be written."""
    fix = "free disk space or change the folder's permissions, then queue again"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path.parent):
            pass
        free = shutil.disk_usage(path.parent).free
    except OSError as error:
        raise ACFunError(
            f"The folder {path.parent} cannot be written to: {error}.", "a writable folder", fix
        ) from error
    if free < needed_bytes:
        raise ACFunError(
            f"Only {free // MEGABYTE} MB are free in {path.parent}.", f"at least {needed_bytes // MEGABYTE + 1} MB", fix
        )
