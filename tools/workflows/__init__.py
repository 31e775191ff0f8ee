"""The pack's workflows and blueprint: one Python source for the editor's format, the API format and the thumbnails.

- ``node_types.py`` what the server tells about nodes: inputs, widgets, outputs
- ``graph.py``      a graph and both of its file formats
- ``parts.py``      what all workflows are put together from
- ``graphs.py``     the main job; ``lessons.py``, ``chains.py``, ``apps.py`` what else an adapter can do
- ``catalogue.py``  all of them, in the order in which one learns
- ``blueprint.py``  the node "ACFun portrait", a graph inside
- ``build.py``      writes ``workflows/*.json``, ``workflows/api/*.json`` and ``subgraphs/*.json``
- ``stand_in.py``   lets a workflow run without the files that only a user has
- ``thumbnails.py`` runs the workflows and writes ``workflows/*.jpg``
"""

from pathlib import Path

REPO = Path(__file__).resolve().parents[2]
WORKFLOWS = REPO / "workflows"
SUBGRAPHS = REPO / "subgraphs"
