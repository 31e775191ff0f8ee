"""Give exported embeddings to the readers of other programs: ``python -m tools.embedding_readers`` from the repository's root.

ComfyUI and diffusers read them in the tests. The programs named here are too large for that, so each reader is brought along,
a file or a package of the program itself; what surrounds it is stood in for. One JSON line a file and reader; the exit status
says whether all agree.
"""

from __future__ import annotations

import argparse
import importlib.abc
import importlib.machinery
import importlib.util
import json
import sys
import tempfile
import types
from collections.abc import Callable, Mapping
from pathlib import Path
from unittest.mock import MagicMock

import torch
from torch import Tensor

from acfun_core.config import AdapterConfig
from acfun_core.method.adapter import StyleAdapter
from acfun_core.storage.export import SDXL_EMBEDDINGS, embedding, save_embedding
from tools.comfy.launcher import define_torchvision_operators

WIDTHS = {"sd1": 768, "sd2": 1024, "sdxl": sum(SDXL_EMBEDDINGS.values())}
"""Of one row of S* for each kind of base, in values."""
IN_INVOKE = {"sd1": "sd-1", "sd2": "sd-2", "sdxl": "sdxl"}

Reader = Callable[[Path, str], Mapping[str, Tensor]]
"""(file, kind of base) -> the rows that the program would use, by their names in the file."""


def exported(family: str, folder: Path) -> tuple[Path, dict[str, Tensor]]:
    """An embedding as the node and the command line export it, of random values -> (its file, its rows by name)."""
    row = torch.randn(WIDTHS[family], generator=torch.Generator().manual_seed(0))
    adapter = StyleAdapter(AdapterConfig("a portrait in S* style"), row, torch.zeros(1, 8), {"enc.0.0": 8}, family)
    path = save_embedding(adapter, folder / f"acfun_{family}.safetensors")
    row = embedding(adapter)
    if family != "sdxl":
        return path, {"emb_params": row}
    return path, dict(zip(SDXL_EMBEDDINGS, row.split(list(SDXL_EMBEDDINGS.values()), dim=1)))


def invoke_reader() -> Reader:
    """InvokeAI: what it takes the file for when it is imported, then its loader. The package has to be importable."""
    define_torchvision_operators()
    from invokeai.backend.model_manager.configs.factory import ModelConfigFactory
    from invokeai.backend.textual_inversion import TextualInversionModelRaw

    def read(path: Path, family: str) -> dict[str, Tensor]:
        told = ModelConfigFactory.from_model_on_disk(path, allow_unknown=False).config
        if told is None or (told.type.value, told.base.value) != ("embedding", IN_INVOKE[family]):
            raise ValueError(f"taken for {told}")
        model = TextualInversionModelRaw.from_checkpoint(path)
        if model.embedding_2 is None:
            return {"emb_params": model.embedding}
        return {"clip_g": model.embedding, "clip_l": model.embedding_2}

    return read


def webui_reader(file: Path) -> Reader:
    """A1111 (modules/textual_inversion/textual_inversion.py) or Forge (backend/text_processing/textual_inversion.py)."""
    finder = _StandIns("modules")
    sys.meta_path.insert(0, finder)
    try:
        spec = importlib.util.spec_from_file_location(f"reader_{file.parent.name}", file)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    finally:
        sys.meta_path.remove(finder)

    def read(path: Path, family: str) -> dict[str, Tensor]:
        is_forge = not hasattr(module, "shared")
        database = module.EmbeddingDatabase(MagicMock()) if is_forge else module.EmbeddingDatabase()
        database.expected_shape = WIDTHS[family]
        database.load_from_file(str(path), path.name)
        rows = database.word_embeddings[path.stem].vec
        return rows if isinstance(rows, dict) else {"emb_params": rows}

    return read


class _StandIns(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Everything of a program's package but the reader: any name of it is there and does nothing."""

    def __init__(self, package: str):
        self.package = package

    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == self.package:
            return importlib.machinery.ModuleSpec(name, self, is_package=True)
        return None

    def create_module(self, spec):
        module = types.ModuleType(spec.name)
        module.__getattr__ = lambda name: MagicMock(device="cpu")
        return module

    def exec_module(self, module):
        pass


def compared(reader: Reader, path: Path, family: str, rows: Mapping[str, Tensor]) -> dict:
    """What a reader made of a file."""
    try:
        read = reader(path, family)
    except Exception as error:  # whatever another program says
        return {"agrees": False, "said": f"{type(error).__name__}: {error}"}
    same = set(read) == set(rows) and all(torch.equal(read[name].float(), rows[name]) for name in rows)
    return {"agrees": same, "shapes": {name: list(row.shape) for name, row in read.items()}}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--invokeai", action="store_true", help="the package invokeai, importable in this environment")
    parser.add_argument("--forge", type=Path, help="backend/text_processing/textual_inversion.py of a clone of Forge")
    parser.add_argument("--a1111", type=Path, help="modules/textual_inversion/textual_inversion.py of a clone of A1111")
    options = parser.parse_args()
    readers = {name: webui_reader(file) for name in ("forge", "a1111") if (file := getattr(options, name))}
    if options.invokeai:
        readers["invokeai"] = invoke_reader()
    if not readers:
        parser.error("name at least one reader")
    agree = True
    with tempfile.TemporaryDirectory() as folder:
        for family in WIDTHS:
            path, rows = exported(family, Path(folder))
            for name, reader in readers.items():
                told = compared(reader, path, family, rows)
                agree &= told["agrees"]
                print(json.dumps({"program": name, "base": family, **told}))
    return 0 if agree else 1


if __name__ == "__main__":
    sys.exit(main())
