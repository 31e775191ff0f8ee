"""Who may import whom: the core knows no host, the nodes know no tools, nothing but tests knows tests; rooms have an order."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tools.comfy.install import REPO

OURS = ("acfun_core", "nodes", "tools", "benchmarks", "tests")
LIBRARIES_OF_THE_CORE = {"torch", "numpy", "safetensors", "PIL"}
"""Beside the standard library. diffusers and transformers are imported by name, in one place, when a base is loaded."""
OPTIONAL_IN_THE_CORE = {"cv2", "tqdm"}
"""Those of a batch (ray, pyarrow, fsspec, yaml) are imported by name in one place, too."""


def sources(*folders: str) -> list[str]:
    """Python files of this repository, as paths from its root."""
    listed = subprocess.run(["git", "ls-files", *folders], cwd=REPO, capture_output=True, text=True, check=True)
    return [path for path in listed.stdout.split() if path.endswith(".py")]


def imports_of(path: str, text: str) -> set[str]:
    """What a file imports anywhere in it, as full dotted names; of ours with the names that are taken from modules."""
    package, found = list(Path(path).parent.parts), set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            found.update(name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *filter(None, [node.module])])
            found.update(f"{module}.{name.name}".lstrip(".") for name in node.names)
    return found


def imports(path: str) -> set[str]:
    return imports_of(path, (REPO / path).read_text(encoding="utf-8"))


def first(name: str) -> str:
    return name.partition(".")[0]


def rooms() -> list[str]:
    """The core's files and rooms as its docstring lists them, from the one that imports nothing to the one that may all."""
    said = ast.get_docstring(ast.parse((REPO / "acfun_core" / "__init__.py").read_text(encoding="utf-8")))
    listed = "\n".join(line for line in said.splitlines() if line.startswith(("*", "  ")))
    return [single or room for single, room in re.findall(r"``(\w+)``|:mod:`~acfun_core\.(\w+)`", listed)]


def room_of(dotted: str) -> str:
    """``acfun_core.unet.blocks.find_sites`` -> ``unet``."""
    return dotted.split(".")[1]


def forbidden_in_the_core(names: set[str]) -> set[str]:
    allowed = sys.stdlib_module_names | LIBRARIES_OF_THE_CORE | OPTIONAL_IN_THE_CORE | {"acfun_core"}
    return {name for name in names if first(name) not in allowed}


def later_rooms(room: str, names: set[str], order: list[str]) -> set[str]:
    """Which of the core's names lie in rooms behind this one."""
    inside = {name for name in names if name.startswith("acfun_core.") and room_of(name) in order}
    return {name for name in inside if order.index(room_of(name)) > order.index(room)}


def test_every_file_and_room_of_the_core_is_listed_once():
    there = {Path(path).parts[1].removesuffix(".py") for path in sources("acfun_core")} - {"__init__", "__main__"}
    assert sorted(rooms()) == sorted(there)


def test_the_core_knows_no_host():
    wrong = {path: found for path in sources("acfun_core") if (found := forbidden_in_the_core(imports(path)))}
    assert wrong == {}


def test_optional_libraries_are_imported_when_they_are_needed():
    for path in sources("acfun_core"):
        top = [
            node for node in ast.parse((REPO / path).read_text()).body if isinstance(node, (ast.Import, ast.ImportFrom))
        ]
        found = imports_of(path, ast.unparse(ast.Module(top, [])))
        assert not {first(name) for name in found} & OPTIONAL_IN_THE_CORE, path


def test_each_room_imports_only_those_above_it():
    order = rooms()
    wrong = {}
    for path in sources("acfun_core"):
        room = Path(path).parts[1].removesuffix(".py")
        if room in order and (found := later_rooms(room, imports(path), order)):
            wrong[path] = found
    assert wrong == {}


@pytest.mark.parametrize(
    ("folders", "never"),
    [
        (("acfun_core",), {"nodes", "tools", "benchmarks", "tests"}),
        (("__init__.py", "nodes"), {"tools", "benchmarks", "tests"}),
        (("tools", "benchmarks"), {"tests"}),
    ],
    ids=lambda value: "-".join(sorted(value)),
)
def test_nobody_imports_from_behind(folders, never):
    wrong = {
        path: found for path in sources(*folders) if (found := {name for name in imports(path) if first(name) in never})
    }
    assert wrong == {}


def test_only_the_launcher_edits_the_path():
    """Every other module is found because the repository's root is where Python starts."""
    edits = re.compile(r"\bsys\.path(\[|\.(append|insert|extend|remove|pop)| =)")
    assert [path for path in sources() if edits.search((REPO / path).read_text(encoding="utf-8"))] == [
        "tools/comfy/launcher.py"
    ]


def test_what_is_wrong_would_be_seen():
    names = imports_of(
        "acfun_core/unet/blocks.py", "import comfy.sd\nfrom ..training import loop\nfrom . import windows"
    )
    assert names == {"comfy.sd", "acfun_core.training.loop", "acfun_core.unet.windows"}
    assert forbidden_in_the_core(names) == {"comfy.sd"}
    assert later_rooms("unet", names, rooms()) == {"acfun_core.training.loop"}
