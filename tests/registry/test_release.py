"""The archive of the Comfy Registry: what is in it and what is not; tests/imports loads it."""

from __future__ import annotations

import re
import zipfile

import pytest
from PIL import Image

from tools.comfy.install import REPO
from tools.registry import draw, release

LEFT_OUT = (
    "tests/",
    "tools/",
    "benchmarks/",
    ".github/",
    ".ci/",
    "Makefile",
    "requirements-host.txt",
    "out/",
    ".cache/",
    ".comfyignore",
)
NEEDED = (
    "__init__.py",
    "pyproject.toml",
    "README.md",
    "LICENSE",
    "requirements.txt",
    "acfun_core/training/loop.py",
    "nodes/train.py",
    "nodes/host/unet.py",
    "web/acfun_panel.js",
    "web/acfun_regions.js",
    "web/face_regions.png",
    "web/docs/ACFunTrainStyle.md",
    "subgraphs/ACFun portrait.json",
    "locales/en/main.json",
    "workflows/stylization.json",
    "workflows/stylization.jpg",
    "pictures/face_astronaut.png",
    "base/README.md",
)


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    return release.build(tmp_path_factory.mktemp("release") / "acfun.zip")


def test_it_holds_the_pack_without_tests_and_tools(archive):
    names = zipfile.ZipFile(archive).namelist()
    assert [name for name in names if name.startswith(LEFT_OUT)] == []
    assert [name for name in NEEDED if name not in names] == []
    assert any(name.startswith("base/unet/") and name.endswith(".safetensors") for name in names)
    assert archive.stat().st_size < 100e6


def test_the_same_files_give_the_same_bytes(archive, tmp_path):
    assert release.build(tmp_path / "again.zip").read_bytes() == archive.read_bytes()


@pytest.mark.parametrize(
    ("path", "ignored"),
    [
        ("tests/core/test_cfun.py", True),
        ("acfun_core/tests/data.py", True),
        ("tests.md", False),
        ("docs/banner.jpg", True),
        ("docs/contact_sheet.jpg", False),
        ("web/docs/banner.jpg", False),
        ("Makefile", True),
        ("base/Makefile", True),
        ("notes.tmp", True),
        ("a/tools/x/y.py", False),
    ],
)
def test_the_ignore_file_is_read_as_git_would(path, ignored):
    patterns = release.ignore_patterns("# comment\ntests/\n/tools/\n\ndocs/banner.jpg\nMakefile\n*.tmp\n")
    assert release.is_ignored(path, patterns) == ignored


def test_patterns_it_cannot_read_are_refused():
    for pattern in ("!keep", "a/**/b"):
        with pytest.raises(ValueError, match="comfyignore"):
            release.ignore_patterns(pattern)


def test_the_links_are_filled_in_once():
    text = (REPO / "pyproject.toml").read_text(encoding="utf-8")
    linked = release.with_links(text, "someone/ComfyUI-ACFun")
    assert 'Repository = "https://github.com/someone/ComfyUI-ACFun"' in linked
    for key, path in (("Icon", "docs/icon.png"), ("Banner", "docs/banner.jpg")):
        assert f'{key} = "https://raw.githubusercontent.com/someone/ComfyUI-ACFun/HEAD/{path}"' in linked
        assert (REPO / path).is_file()
    for repository in ("someone", "https://github.com/a/b", "a/b/c"):
        with pytest.raises(ValueError):
            release.with_links(text, repository)
    with pytest.raises(ValueError):
        release.with_links(linked, "someone/ComfyUI-ACFun")


def test_icon_and_banner_are_what_the_script_draws():
    icon, banner = Image.open(REPO / "docs" / "icon.png"), Image.open(REPO / "docs" / "banner.jpg")
    assert icon.size == (draw.ICON_SIDE, draw.ICON_SIDE) and icon.mode == "RGBA" and draw.ICON_SIDE <= 400
    assert banner.width * 9 == banner.height * 21, "21 to 9, as the registry asks for"
    drawn = draw.draw_icon()
    difference = [abs(a - b) for a, b in zip(icon.resize((20, 20)).tobytes(), drawn.resize((20, 20)).tobytes())]
    assert sum(difference) / len(difference) < 2


def test_help_pictures_are_those_the_pages_show():
    docs = REPO / "web" / "docs"
    shown = {
        name
        for page in docs.glob("*.md")
        for name in re.findall(r"!\[[^\]]+\]\(pictures/([^)]+)\)", page.read_text("utf-8"))
    }
    drawn = {path.name for path in (docs / "pictures").iterdir()}
    assert shown == drawn
    assert sum((docs / "pictures" / name).stat().st_size for name in drawn) < 1e6
