"""The command line on terminals that lack letters, and the size of portraits from a photo."""

from __future__ import annotations

import argparse
import io
import json
import sys
from pathlib import Path

import pytest
import torch

from acfun_core.command_line import main
from acfun_core.command_line.sample import drawn_size, read_photo
from acfun_core.config import AdapterConfig
from acfun_core.errors import ACFunError
from acfun_core.method.adapter import StyleAdapter
from acfun_core.storage import adapter_file

FACE = Path(__file__).resolve().parents[2] / "pictures" / "face_astronaut.png"


@pytest.fixture
def path(tmp_path):
    config = AdapterConfig("顔 ➜ S*", compact=True, form="low_rank", rank=1)
    adapter = StyleAdapter(config, torch.ones(8), torch.zeros(0, 8), {"enc.0.0": 8})
    return adapter_file.save(adapter, tmp_path / "顔.safetensors")


@pytest.mark.parametrize("flags", [[], ["--json"]])
def test_a_terminal_without_the_letters_ended_with_a_traceback(path, monkeypatch, flags):
    out, err = (io.TextIOWrapper(io.BytesIO(), "cp1252") for _ in range(2))
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setattr(sys, "stderr", err)
    assert main(["info", str(path), *flags]) == 0
    assert main(["info", str(path.with_name("無.safetensors"))]) == 1
    out.flush(), err.flush()
    text = out.buffer.getvalue().decode("cp1252")
    assert "\\u9854" in text and (not flags or json.loads(text)["adapters"][0]["description"] == "顔 ➜ S*")
    assert "\\u7121.safetensors cannot be read" in err.buffer.getvalue().decode("cp1252")
    assert out.errors == err.errors == "strict", "left as it was"


def flags_of(**given) -> argparse.Namespace:
    return argparse.Namespace(
        **{"photo": FACE, "palette": None, "palette_hold": None, "batch": 1, "width": None, "height": None, **given}
    )


@pytest.mark.parametrize(
    ("given", "size"),
    [
        ({"width": 192}, (192, 192)),
        ({"height": 256}, (256, 256)),
        ({"width": 64, "height": 64}, (64, 64)),
        ({}, (512, 512)),
        ({"photo": None, "width": 192}, (512, 192)),
    ],
)
def test_a_photo_with_a_width_alone_was_192_x_none(given, size):
    arguments = flags_of(**given)
    photo, _ = read_photo(arguments, batch=1)
    assert (photo is None) == (arguments.photo is None)
    assert drawn_size(arguments, 512) == size


def test_a_portrait_from_a_photo_that_is_not_square_is_named():
    with pytest.raises(ACFunError, match="one square portrait, not 1 of 192 x 256"):
        read_photo(flags_of(width=192, height=256), batch=1)
    with pytest.raises(ACFunError, match="not 2\\."):
        read_photo(flags_of(width=192), batch=2)
