"""The pages a person reads: short enough, with names, links, paths and commands that exist."""

from __future__ import annotations

import ast
import json
import re
from functools import cache
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parents[2]
README_WORDS = 900
HELP = REPO / "web" / "docs"
PAGES = sorted(
    [
        *REPO.glob("*.md"),
        *(REPO / "docs").glob("*.md"),
        *HELP.glob("*.md"),
        *(REPO / folder / "README.md" for folder in ("base", "benchmarks", "pictures")),
        *(REPO / "benchmarks").glob("*.md"),
    ]
)
TOP = {path.name for path in REPO.iterdir() if path.is_dir() and path.name not in ("out", ".venv", ".cache")}
STOCK = {"Image From Batch", "Latent From Batch", "Rebatch Images"}
"""Nodes of ComfyUI itself that help pages set in bold as they do the pack's."""

FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
BOLD = re.compile(r"\*\*([^*]+)\*\*")
NAMED = re.compile(r"\b(?:[A-Z][a-z]+ )?ACFun(?: [A-Z][a-z]+)+\b")
"""What reads as the name of a node: words with capitals around ACFun."""

each_page = pytest.mark.parametrize("page", sorted(set(PAGES)), ids=lambda page: str(page.relative_to(REPO)))


def read(page: Path) -> str:
    return page.read_text(encoding="utf-8")


@cache
def schemas() -> dict[str, str]:
    """Node id -> display name, of every call ``schema(node_id=..., display_name=...)`` in ``nodes/``."""
    found = {}
    for path in (REPO / "nodes").rglob("*.py"):
        for call in ast.walk(ast.parse(read(path))):
            if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "schema":
                fields = {keyword.arg: keyword.value for keyword in call.keywords}
                found[fields["node_id"].value] = fields["display_name"].value
    return found


def names() -> set[str]:
    return set(schemas().values())


def unknown_names(text: str) -> list[str]:
    """Names like those of nodes that no node has. A word before ACFun may be the sentence's own."""
    found = NAMED.findall(text)
    return [name for name in found if not {name, name[name.index("ACFun") :]} & names()]


def headings(page: Path) -> set[str]:
    """The anchors GitHub makes of a page's headings."""
    lines = re.findall(r"^#+ (.+)$", FENCE.sub("", read(page)), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", line.lower()).replace(" ", "-") for line in lines}


def test_the_schemas_are_those_of_the_locales():
    """What the server says of the nodes is in the locales; the reading of the sources here must find the same."""
    english = json.loads(read(REPO / "locales" / "en" / "nodeDefs.json"))
    assert {node: entry["display_name"] for node, entry in english.items()} == schemas()


def test_the_readme_is_short():
    assert len(read(REPO / "README.md").split()) < README_WORDS


def test_the_page_of_nodes_has_all_of_them_and_no_other():
    text = read(REPO / "docs" / "nodes.md")
    linked = dict(re.findall(r"^\| \[\*\*([^*]+)\*\*\]\(\.\./web/docs/(\w+)\.md\)", text, re.MULTILINE))
    assert linked == {name: node for node, name in schemas().items()}


@pytest.mark.parametrize("page", ["README.md", "docs/nodes.md"])
def test_bold_words_are_nodes(page):
    """Both pages keep bold for the pack's nodes, so that a name that no node has is seen."""
    bold = set(BOLD.findall(read(REPO / page)))
    assert bold - names() <= {"ACFun"}


@each_page
def test_pages_use_the_names_of_the_ui(page):
    """README and a help page once spoke of an "ACFun Export Adapter", which the menu calls Export ACFun Adapter."""
    assert unknown_names(FENCE.sub("", read(page))) == []


def test_texts_in_the_sources_use_the_names_of_the_ui():
    """Errors, tooltips, the panel, and the notes and workflows of the template browser name nodes too."""
    globs = (
        "acfun_core/**/*.py",
        "nodes/**/*.py",
        "web/*.js",
        "tools/workflows/notes/*.md",
        "workflows/*.json",
        "subgraphs/*.json",
    )
    wrong = {str(path.relative_to(REPO)): unknown_names(read(path)) for pattern in globs for path in REPO.glob(pattern)}
    assert len(wrong) > 50 and {path: found for path, found in wrong.items() if found} == {}


def test_the_rooms_of_the_core_are_in_the_order_of_the_core():
    """The page and the package say one order, and each room of the core is in it."""
    said = re.findall(
        r":mod:`~acfun_core\.(\w+)`", ast.get_docstring(ast.parse(read(REPO / "acfun_core" / "__init__.py")))
    )
    page = re.findall(r"^\| `acfun_core/(\w+)(?:/|\.py)`", read(REPO / "docs" / "architecture.md"), re.MULTILINE)
    rooms = {path.parent.name for path in (REPO / "acfun_core").glob("*/__init__.py")}
    assert page == said and rooms <= set(said)


def test_a_wrong_name_would_be_seen():
    assert unknown_names("An ACFun Export Adapter; Mix ACFun Adapters.") == [
        "An ACFun Export Adapter",
        "Mix ACFun Adapters",
    ]
    assert unknown_names("In ACFun Sampler, after Train ACFun Style, ACFun is drawn.") == []


def test_help_pages_carry_the_name_of_their_node_and_name_others_rightly():
    for page in HELP.glob("*.md"):
        text = read(page)
        assert text.splitlines()[0] == f"# {schemas()[page.stem]}"
        [also] = re.findall(r"^See also: .+$", text, re.MULTILINE)
        assert set(BOLD.findall(also)) <= names(), page.name
        others = re.findall(r"\*\*((?:[A-Z]\w*|of)(?: (?:[A-Z]\w*|of))+)\*\*", text)
        assert set(others) <= names() | STOCK, page.name


@each_page
def test_links_point_at_files_and_headings(page):
    broken = []
    for target in LINK.findall(FENCE.sub("", read(page))):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        if not file.exists() or (anchor and anchor not in headings(file)):
            broken.append(target)
    assert broken == []


@each_page
def test_paths_that_are_named_exist(page):
    """`folder/file` in code spans, for the folders of this repository; `out/` is made by the commands."""
    spans = re.findall(r"`([^`\s]+)`", FENCE.sub("", read(page)))
    paths = [
        span
        for span in spans
        if re.fullmatch(r"[\w.\-]+(/[\w.\-]+)*/?", span) and span.split("/")[0] in TOP and "/" in span
    ]
    assert [path for path in paths if not any((root / path).exists() for root in (REPO, page.parent))] == []


@each_page
def test_commands_that_are_named_exist(page):
    """`make target` and `python -m module`, in code blocks and code spans."""
    text = read(page)
    code = "\n".join([*FENCE.findall(text), *re.findall(r"`([^`]+)`", FENCE.sub("", text))])
    targets = set(re.findall(r"^([\w-]+):", read(REPO / "Makefile"), re.MULTILINE))
    assert set(re.findall(r"\bmake ([a-z][\w-]*)", code)) <= targets
    for module in re.findall(r"python -m ((?:acfun_core|tools|tests|benchmarks)(?:\.\w+)*)", code):
        path = REPO.joinpath(*module.split("."))
        assert path.with_suffix(".py").is_file() or (path / "__main__.py").is_file(), module
