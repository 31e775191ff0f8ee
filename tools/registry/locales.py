"""Write locales/<language>/nodeDefs.json for all languages, and say which phrases still have to be translated.

Usage: ``python -m tools.registry.locales`` (starts a ComfyUI to ask the nodes for their schemas).

English comes from the schemas, the others from tools/registry/phrases/<language>.json, which maps an English phrase to
its translation, so that every phrase is translated once and a changed one shows up as missing.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from tools.comfy.server import ComfyServer

REPO = Path(__file__).resolve().parents[2]
LOCALES, PHRASES = REPO / "locales", Path(__file__).with_name("phrases")
LANGUAGES = ("zh", "ja", "ko", "fr", "es")


def english(object_info: dict[str, dict], module: str) -> dict[str, dict]:
    """nodeDefs.json in English from a server's /object_info, for the nodes of one pack.

    Args:
        module: ``python_module`` of the pack, such as "custom_nodes.ComfyUI-ACFun".
    """
    nodes = {}
    for name, info in sorted(object_info.items()):
        if info["python_module"] != module:
            continue
        inputs = {
            key: {"name": key, "tooltip": options[0].get("tooltip", "") if options else ""}
            for group in ("required", "optional")
            for key, (_, *options) in info["input"].get(group, {}).items()
        }
        tooltips = info.get("output_tooltips") or []
        outputs = {
            str(index): {"name": output, "tooltip": (tooltips[index] if index < len(tooltips) else "") or ""}
            for index, output in enumerate(info["output_name"])
        }
        node = {"display_name": info["display_name"], "description": info["description"]}
        nodes[name] = {**node, "inputs": inputs, "outputs": outputs}
    return nodes


def phrases_of(tree: dict | str) -> set[str]:
    """All phrases in a nodeDefs tree."""
    if isinstance(tree, str):
        return {tree}
    return set().union(*map(phrases_of, tree.values())) if tree else set()


def translated(tree: dict | str, phrases: dict[str, str]):
    """The tree with every phrase translated; those without a translation stay English."""
    if isinstance(tree, str):
        return phrases.get(tree, tree)
    return {key: translated(value, phrases) for key, value in tree.items()}


def load_phrases(language: str) -> dict[str, str]:
    path = PHRASES / f"{language}.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def to_text(tree: dict) -> str:
    return json.dumps(tree, ensure_ascii=False, indent=2) + "\n"


def locale_files(tree: dict[str, dict]) -> dict[Path, str]:
    """Path -> text of every nodeDefs.json for the English tree."""
    files = {LOCALES / "en" / "nodeDefs.json": to_text(tree)}
    for language in LANGUAGES:
        files[LOCALES / language / "nodeDefs.json"] = to_text(translated(tree, load_phrases(language)))
    return files


def missing(tree: dict, language: str) -> list[str]:
    return sorted(phrases_of(tree) - set(load_phrases(language)))


def unused(tree: dict, language: str) -> list[str]:
    return sorted(set(load_phrases(language)) - phrases_of(tree))


def main() -> int:
    with ComfyServer() as server, server.client() as client:
        tree = english(client.object_info(), "custom_nodes.ComfyUI-ACFun")
    for path, text in locale_files(tree).items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    complete = True
    for language in LANGUAGES:
        for kind, phrases in (("missing", missing(tree, language)), ("unused", unused(tree, language))):
            complete = complete and not phrases
            for phrase in phrases:
                print(f"{language}: {kind}: {phrase}")
    print(f"{len(tree)} nodes, {len(phrases_of(tree))} phrases, {'complete' if complete else 'not complete'}")
    return 0 if complete else 1


if __name__ == "__main__":
    sys.exit(main())
