"""Files are whole or not there, take nobody's place, and leave nothing behind when their process is killed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time

import pytest
import torch
from PIL import Image

from acfun_core import whole_files
from acfun_core.command_line import output
from acfun_core.config import AdapterConfig
from acfun_core.errors import ACFunError
from acfun_core.method.adapter import StyleAdapter
from acfun_core.storage import adapter_file, export
from acfun_core.storage.rescue import rescued, save_or_rescue

TINY = AdapterConfig("a face in S* style", layers=1, heads=1, head_width=8)


@pytest.fixture
def adapter() -> StyleAdapter:
    return StyleAdapter(TINY, torch.randn(32), torch.randn(3, 16), {"enc.0.0": 8}).requires_grad_(False)


def write_adapter(path, adapter, **how):
    return adapter_file.save(adapter, path.with_suffix(".safetensors"), **how)


def write_embedding(path, adapter, **how):
    return export.save_embedding(adapter, path.with_suffix(".safetensors"), **how)


def write_picture(path, adapter, **how):
    return output.save_png(Image.new("RGB", (8, 8)), path.with_suffix(".png"), **how)


WRITERS = pytest.mark.parametrize("writer", [write_adapter, write_embedding, write_picture])


@WRITERS
@pytest.mark.parametrize("links", [True, False], ids=["links", "no-links"])
def test_a_file_that_appeared_during_the_work_is_not_overwritten(writer, links, adapter, tmp_path, monkeypatch):
    if not links:

        def no_links(source, target):
            raise OSError(95, "Operation not supported")

        monkeypatch.setattr(os, "link", no_links)
    first = writer(tmp_path / "style", adapter)
    first.write_bytes(b"somebody else's")
    second, third = writer(tmp_path / "style", adapter), writer(tmp_path / "style_00001", adapter)
    assert [path.stem for path in (first, second, third)] == ["style", "style_00001", "style_00002"]
    assert first.read_bytes() == b"somebody else's" and len(list(tmp_path.iterdir())) == 3
    assert writer(tmp_path / "style", adapter, overwrite=True) == first
    assert first.read_bytes() != b"somebody else's" and len(list(tmp_path.iterdir())) == 3


KILLED = """
import os, signal, sys
from pathlib import Path
from acfun_core import whole_files

def killed(path):
    path.write_bytes(b"half")
    os.kill(os.getpid(), signal.SIGKILL)

whole_files.write(killed, Path(sys.argv[1]) / "style.safetensors")
"""


@pytest.mark.skipif(os.name == "nt", reason="sends a POSIX signal")
def test_what_a_kill_while_saving_leaves_is_removed_by_the_next_start(tmp_path):
    repo = str(adapter_file.__file__).rsplit("acfun_core", 1)[0]
    subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], cwd=repo, timeout=300)
    [left] = tmp_path.iterdir()
    others = [tmp_path / name for name in (".download.partial", ".abcdefgh.partial", "style.partial")]
    for other in others:
        other.write_bytes(b"not ours")
    output.check_out(tmp_path / "next.safetensors", ".safetensors", overwrite=False)
    assert not left.exists() and all(other.exists() for other in others)


def test_a_piece_that_is_being_written_stays(tmp_path):
    with whole_files.piece(tmp_path) as mine:
        foreign = tmp_path / ".acfun-00000000-1-abcd.partial"
        foreign.touch()
        assert whole_files.clean(tmp_path) == [] and mine.exists() and foreign.exists()
        assert whole_files.clean(tmp_path, time.time() + 2 * whole_files.SECONDS_A_DAY)


def test_a_trained_adapter_is_not_thrown_away_when_its_folder_cannot_be_written(adapter, tmp_path):
    """The folder is gone when the training ends, and there again when it is asked for once more."""
    wanted, other = tmp_path / "models" / "style.safetensors", tmp_path / "temp"
    (tmp_path / "models").write_text("in the way")
    with pytest.raises(ACFunError, match="not lost: it is .*temp.style.safetensors") as error:
        save_or_rescue(adapter, wanted, "key", [tmp_path / "models" / "deeper", other])
    assert "start the same training again" in error.value.fix
    assert (other / "style.safetensors").is_file() and rescued("another", [other]) is None
    (tmp_path / "models").unlink()
    again = rescued("key", [other])
    assert save_or_rescue(again, wanted, "key", [other]) == wanted
    written, direct = adapter_file.to_tensors(adapter_file.load(wanted)), adapter_file.to_tensors(adapter)
    assert all(torch.equal(written[key], direct[key]) for key in direct)
    assert rescued("key", [other]) is None


def test_a_note_without_its_adapter_is_no_adapter(tmp_path):
    (tmp_path / ".acfun-key.trained").write_text(json.dumps({"adapter": "../gone.safetensors"}))
    assert rescued("key", [tmp_path]) is None


def test_nowhere_to_write_says_so(adapter, tmp_path):
    (tmp_path / "models").write_text("in the way")
    with pytest.raises(ACFunError, match="could not be written"):
        save_or_rescue(adapter, tmp_path / "models" / "a.safetensors", "key", [tmp_path / "models" / "b"])
