"""The pack's workflows: one Python source for the editor's format, the API format and the thumbnails.

- ``node_types.py`` what the server tells about nodes: inputs, widgets, outputs
- ``graph.py``      a graph and both of its file formats
- ``graphs.py``     the two workflows
- ``build.py``      writes ``workflows/*.json`` and ``workflows/api/*.json``
- ``thumbnails.py`` runs the workflows and writes ``workflows/*.jpg``
"""

import sys
from pathlib import Path

REPO = Path(__file__).resolve().parents[2]
WORKFLOWS = REPO / "workflows"

# The host of the tests, imported under the same name as in the tests.
if str(REPO / "tests") not in sys.path:
    sys.path.insert(0, str(REPO / "tests"))
