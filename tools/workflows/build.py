"""Write workflows and blueprints: ``python -m tools.workflows.build`` from the repository's root.

Names, order and widgets of all inputs come from a running server, so that the files fit it.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from tools.comfy.client import ComfyClient
from tools.comfy.server import ComfyServer, ServerError

from . import SUBGRAPHS, WORKFLOWS
from .blueprint import NAME, acfun_portrait
from .catalogue import all_graphs
from .node_types import GraphError, NodeTypes


def to_text(content: dict[str, Any]) -> str:
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


def workflow_files(client: ComfyClient) -> dict[Path, str]:
    """Path -> content of every file, for the server that the client talks to."""
    system = client.system_stats()["system"]
    types = NodeTypes(client.object_info())
    files = {}
    for graph in all_graphs(types):
        ui = graph.to_ui(system["comfyui_version"], system["required_frontend_version"])
        files[WORKFLOWS / f"{graph.name}.json"] = to_text(ui)
        files[WORKFLOWS / "api" / f"{graph.name}.json"] = to_text(graph.to_api())
    files[SUBGRAPHS / f"{NAME}.json"] = to_text(acfun_portrait(types).to_ui(system["comfyui_version"]))
    return files


def main() -> int:
    try:
        with ComfyServer() as server, server.client() as client:
            files = workflow_files(client)
    except (GraphError, ServerError) as error:
        print(f"[workflows] {error}", file=sys.stderr)
        return 1
    for path, text in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        print(f"[workflows] {path.relative_to(WORKFLOWS.parent)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
