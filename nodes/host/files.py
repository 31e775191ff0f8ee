"""Where adapters live: the models folder ``acfun``, names that cannot leave it, and space before work starts."""

from __future__ import annotations

import fnmatch
import itertools
import re
import tempfile
from pathlib import Path

import folder_paths
import yaml
from comfy.cli_args import args

from ...acfun_core.errors import ACFunError
from ...acfun_core.whole_files import clean

FOLDER, EMBEDDINGS = "acfun", "embeddings"
_NAME = re.compile(r"[\w][\w .()+-]{0,119}")


def register_folder() -> None:
    """Make ``models/acfun`` known to ComfyUI, first unless the user names another default; only safetensors files count."""
    own = str(Path(folder_paths.models_dir) / FOLDER)
    folder_paths.add_model_folder_path(FOLDER, own, is_default=not user_names_default())
    paths, _ = folder_paths.folder_names_and_paths[FOLDER]
    folder_paths.folder_names_and_paths[FOLDER] = (paths, {".safetensors"})


def user_names_default() -> bool:
    """Whether an extra_model_paths.yaml says ``is_default`` of a folder for adapters: ComfyUI keeps the paths, but not that."""
    beside = Path(folder_paths.__file__).resolve().parent / "extra_model_paths.yaml"
    named = itertools.chain(*(args.extra_model_paths_config or []))
    for path in map(Path, (beside, *named)):
        sections = yaml.safe_load(path.read_text(encoding="utf-8")) if path.is_file() else None
        for section in (sections or {}).values():
            if isinstance(section, dict) and section.get("is_default") and FOLDER in section:
                return True
    return False


def list_adapters() -> list[str]:
    return folder_paths.get_filename_list(FOLDER)


def list_files(pattern: str) -> list[str]:
    """Files in the adapter folders, linked folders too, whose names match; as paths relative to their folder."""
    found = set()
    for folder in folder_paths.get_folder_paths(FOLDER):
        files, _ = folder_paths.recursive_search(folder, excluded_dir_names=[".git"])
        found.update(file for file in files if fnmatch.fnmatch(Path(file).name.lower(), pattern))
    return sorted(found)


def listed(name: str, names: list[str]) -> str | None:
    """The one of these names that is meant; a workflow that was saved on Windows has the other separator of folders."""
    if not isinstance(name, str) or name in names:
        return name if isinstance(name, str) else None
    meant = name.replace("\\", "/")
    return next((one for one in names if one.replace("\\", "/") == meant), None)


def adapter_path(name: str) -> Path:
    """Full path of a listed adapter."""
    meant = listed(name, list_adapters())
    path = None if meant is None else folder_paths.get_full_path(FOLDER, meant)
    if path is None:
        raise ACFunError(
            f"There is no adapter {name!r}.",
            f"one of: {', '.join(list_adapters()) or '(none trained yet)'}",
            f"train one, or put a file into models/{FOLDER} and press R to refresh the list",
        )
    return Path(path)


def embedding_path(name: str) -> Path:
    """Full path of a textual inversion, by the name that it has in prompts, with or without ``embedding:`` and extension."""
    asked = (name or "").strip().removeprefix("embedding:").strip()
    there = folder_paths.get_filename_list(EMBEDDINGS)
    meant = next((one for name in (asked, f"{asked}.safetensors") if (one := listed(name, there)) in there), None)
    path = None if meant is None else folder_paths.get_full_path(EMBEDDINGS, meant)
    if path is None:
        raise ACFunError(
            f"There is no embedding {asked!r}.",
            f"one of: {', '.join(there[:20]) or '(none there)'}",
            f"put the file into models/{EMBEDDINGS}, or leave the name empty",
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


def folders_elsewhere() -> list[Path]:
    """Where an adapter goes whose own folder cannot be written to: the output folder, or the temporary one."""
    return [Path(folder_paths.get_output_directory()) / FOLDER, Path(folder_paths.get_temp_directory()) / FOLDER]


def check_writable(path: Path) -> None:
    """Raise before any long work if the file could not be written; clear away what killed processes left there."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise ACFunError(
            f"The folder {path.parent} cannot be written to: {error}.",
            "a writable folder",
            "free disk space or change the folder's permissions, then queue again",
        ) from error
    clean(path.parent)


def fingerprint_of_embedding(name: str | None) -> tuple[int, int] | None:
    """Time and size of an embedding's file; None without a name, or where it is not there, which the node says when it runs."""
    try:
        status = embedding_path(name).stat() if name and name.strip() else None
    except (ACFunError, OSError):
        return None
    return None if status is None else (status.st_mtime_ns, status.st_size)


def fingerprint_of_all() -> list[tuple[str, int, int]]:
    """Name, time and size of every adapter: the fingerprint of a loader whose adapter's name comes on a wire."""
    found = []
    for name in list_adapters():
        path = folder_paths.get_full_path(FOLDER, name)
        if path is not None:
            status = Path(path).stat()
            found.append((name, status.st_mtime_ns, status.st_size))
    return found
