"""The panel asks the server when no word comes; its logic, run by Node.js, and what the server then answers."""

from __future__ import annotations

import json
import shutil
import subprocess

import pytest

from tools.comfy.install import REPO

SCRIPT = """
import { Silence } from "FILE";
let now = 0, asked = 0, waiting = true, answer;
const silence = new Silence(() => waiting, () => { asked += 1; return new Promise((done) => { answer = done; }); }, () => now);
const seen = [];
const at = async (seconds) => { now = 1000 * seconds; silence.check(); await null; seen.push(asked); };
await at(4);              // not yet
await at(6);              // silent for more than 5 s: asked
await at(20);             // no answer yet: not asked again
answer(); await new Promise((done) => setTimeout(done));
await at(24); await at(26);   // silent again: not yet, then asked
answer(); await new Promise((done) => setTimeout(done));
silence.heard(); waiting = false;
await at(99);             // nothing runs: never asked
console.log(JSON.stringify(seen));
"""


@pytest.mark.skipif(shutil.which("node") is None, reason="Node.js is not installed")
def test_the_panel_asks_the_server_when_no_word_comes(tmp_path):
    script = tmp_path / "script.mjs"
    # Node takes a .js file for a module only if something says so; the browser is told by ComfyUI.
    (tmp_path / "silence.mjs").write_text((REPO / "web" / "silence.js").read_text(encoding="utf-8"), encoding="utf-8")
    script.write_text(SCRIPT.replace("FILE", "./silence.mjs"), encoding="utf-8")
    ended = subprocess.run(["node", str(script)], capture_output=True, text=True, timeout=120)
    assert ended.returncode == 0, ended.stderr
    assert json.loads(ended.stdout) == [0, 1, 1, 1, 2, 2]
