"""Every node explains itself: tooltips, help pages, and six languages without a gap or a leftover."""

from __future__ import annotations

import json
import re

import pytest
from PIL import Image

from acfun_core.demo_base import NATIVE_SIDE
from acfun_core.faces.regions import MAP_STEP, REGIONS
from tools.comfy.install import REPO
from tools.registry import help_pictures, locales

PACK_MODULE = "custom_nodes.ComfyUI-ACFun"
ALL = ("en", *locales.LANGUAGES)
SYNTAX = re.compile(r"[{}@|$]")
NUMBER = re.compile(r"\d+(?:[.,/x]\d+)*")
KEPT = (
    "S*",
    "MODEL",
    "CLIP",
    "VAE",
    "CFun",
    "AFun",
    "ACFun",
    "UNet",
    "ResBlock",
    "Stable Diffusion",
    "models/acfun",
    "LoRA",
)

each_language = pytest.mark.parametrize("language", ALL)
each_translation = pytest.mark.parametrize("language", locales.LANGUAGES)


@pytest.fixture(scope="module")
def pack(comfy) -> dict[str, dict]:
    """This pack's nodes as the server describes them."""
    with comfy.client() as client:
        everything = client.object_info()
    return {name: info for name, info in everything.items() if info["python_module"] == PACK_MODULE}


@pytest.fixture(scope="module")
def english(pack) -> dict:
    return locales.english(pack, PACK_MODULE)


def read(language: str, name: str) -> dict:
    return json.loads((REPO / "locales" / language / f"{name}.json").read_text(encoding="utf-8"))


def leaves(tree, path=()) -> dict[tuple, str]:
    if isinstance(tree, str):
        return {path: tree}
    return {key: text for name, branch in tree.items() for key, text in leaves(branch, (*path, name)).items()}


def test_every_input_and_output_has_a_tooltip(english):
    empty = [".".join(path) for path, text in leaves(english).items() if not text.strip()]
    assert not empty
    assert sum(len(node["inputs"]) for node in english.values()) > 50


def test_tooltips_are_sentences(english):
    """They end with a full stop and are short enough to be read while the pointer rests."""
    for path, text in leaves(english).items():
        if path[-1] in ("tooltip", "description"):
            assert text.endswith("."), path
            assert len(text) <= 420, path


def test_ids_are_ours_and_names_are_for_people(pack):
    for name, info in pack.items():
        assert name.startswith("ACFun"), name
        assert "_" not in info["display_name"] and info["display_name"] != name
    titles = [info["display_name"] for info in pack.values()]
    assert len(set(titles)) == len(titles)


def test_every_node_has_a_help_page_and_every_page_a_node(pack):
    pages = {path.stem for path in (REPO / "web" / "docs").glob("*.md")}
    assert pages == set(pack)


def test_every_help_page_shows_a_picture():
    for page in (REPO / "web" / "docs").glob("*.md"):
        shown = re.findall(r"!\[[^\]]+\]\(([^)]+)\)", page.read_text(encoding="utf-8"))
        assert shown and all((page.parent / name).is_file() for name in shown), page.name


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("ACFunCropFace", "or {side} on the demo base"),
        ("ACFunLoadDemoBase", "heads at {side} x {side} pixels"),
        ("ACFunTrainStyle", "on the demo base {side} "),
    ],
)
def test_help_pages_give_the_demo_bases_own_size(name, sentence):
    page = (REPO / "web" / "docs" / f"{name}.md").read_text(encoding="utf-8")
    assert sentence.format(side=NATIVE_SIDE) in page


# -- languages --------------------------------------------------------------------------


def test_the_files_are_what_the_tool_writes(english):
    stale = [
        str(path.relative_to(REPO))
        for path, text in locales.locale_files(english).items()
        if not path.is_file() or path.read_text(encoding="utf-8") != text
    ]
    assert not stale, "run python -m tools.registry.locales"


@each_translation
def test_every_phrase_is_translated_and_none_is_left_over(english, language):
    assert locales.missing(english, language) == []
    assert locales.unused(english, language) == []


@each_language
def test_a_locale_has_the_keys_of_the_nodes_and_no_other(english, language):
    assert set(leaves(read(language, "nodeDefs"))) == set(leaves(english))


@each_translation
def test_sentences_are_not_left_in_english(english, language):
    translated = leaves(read(language, "nodeDefs"))
    same = [path for path, text in leaves(english).items() if text.count(" ") > 3 and translated[path] == text]
    assert not same


@each_translation
def test_numbers_and_terms_survive_translation(english, language):
    """What a user types or looks for elsewhere is the same in every language."""
    translated, wrong = leaves(read(language, "nodeDefs")), []
    for path, text in leaves(english).items():
        if path[-1] not in ("tooltip", "description"):
            continue
        other = translated[path]
        if sorted(NUMBER.findall(text)) != sorted(NUMBER.findall(other)):
            wrong.append((path, "numbers", other))
        wrong.extend((path, term, other) for term in KEPT if term in text and term not in other)
    assert not wrong


@each_language
def test_no_phrase_holds_what_the_frontend_reads_as_a_command(language):
    """vue-i18n gives {, }, @, | and $ a meaning."""
    bad = {path: text for path, text in leaves(read(language, "nodeDefs")).items() if SYNTAX.search(text)}
    assert not bad


@each_translation
def test_the_panel_speaks_every_language(language):
    ours, other = leaves(read("en", "main")), leaves(read(language, "main"))
    assert set(ours) == set(other)
    for path, text in ours.items():
        assert other[path].strip(), path
        assert sorted(re.findall(r"\{\w+\}", text)) == sorted(re.findall(r"\{\w+\}", other[path])), path


def test_the_panel_uses_every_text_it_has_and_has_every_text_it_uses():
    scripts = "".join(path.read_text(encoding="utf-8") for path in (REPO / "web").glob("*.js"))
    used = set(re.findall(r"\btext\.(\w+)", scripts))
    phases = {"preparing", "training", "finished", "stopped", "guarded", "cancelled", "failed", "lost"}
    used |= {f"phase_{phase}" for phase in phases} | {"asked_stop", "asked_cancel", "style_term", "face_term"}
    used |= {key for key in read("en", "main")["acfun"]["panel"] if key.startswith("readout_")}
    assert used == set(read("en", "main")["acfun"]["panel"])


def test_the_regions_use_every_text_they_have_and_have_every_text_they_use():
    script = (REPO / "web" / "region_view.js").read_text(encoding="utf-8")
    used = set(re.findall(r"\bwords\.(\w+)", script)) | set(REGIONS)
    assert used == set(read("en", "main")["acfun"]["regions"])


def test_the_editor_has_the_regions_and_the_map_of_the_core():
    """Names, their order and the grey values of the map are the same in both languages."""
    script = (REPO / "web" / "region_view.js").read_text(encoding="utf-8")
    names = re.search(r"REGIONS = \{(.*?)\};", script, re.DOTALL)[1]
    assert tuple(re.findall(r"^\s*(\w+): \[", names, re.MULTILINE)) == REGIONS
    assert int(re.search(r"MAP_STEP = (\d+);", script)[1]) == MAP_STEP
    drawn, kept = help_pictures.ordinary_face(), Image.open(help_pictures.ORDINARY_FACE)
    assert kept.size == drawn.size and kept.convert("L").tobytes() == drawn.tobytes()


def test_the_regions_are_a_text_that_a_widget_edits(pack):
    kind, settings = pack["ACFunFaceParts"]["input"]["required"]["regions"]
    assert (kind, settings["widgetType"]) == ("STRING", "ACFUN_REGIONS")
    assert json.loads(settings["default"]) == dict.fromkeys(REGIONS, 1.0)


@each_language
def test_the_server_hands_them_to_the_editor(comfy, english, language):
    with comfy.client() as client:
        served = client.get_json("/i18n")[language]
    assert served["nodeDefs"] == read(language, "nodeDefs")
    assert served["acfun"] == read(language, "main")["acfun"]
    assert set(served) == {"nodeDefs", *read(language, "main")}
