"""Live previews of the region strengths: what is queued and when; the logic of web/live_preview.js, run by Node.js."""

from __future__ import annotations

import json
import shutil
import subprocess

import pytest

from tools.comfy.install import REPO
from tools.workflows import api

pytestmark = pytest.mark.skipif(shutil.which("node") is None, reason="Node.js is not installed")

SETUP = """
import { LivePreview, previewsBehind, QUIET } from "./live_preview.mjs";
const wait = (milliseconds) => new Promise((done) => setTimeout(done, milliseconds));
const settle = () => wait(QUIET + 100);
const did = [];
const prompt = JSON.parse(process.argv[2]);
const outputs = ["PreviewImage", "MaskPreview", "SaveImage", "ACFunFaceParts"];
const isOutput = (type) => outputs.includes(type);
let clock = 0, made = 0, sources = ["9"], queued = async () => `prompt ${++made}`;
const host = {
  ask: async () => ({ prompt: { output: prompt }, sources }),
  isOutput,
  queue: async (asked, targets) => { const id = await queued(targets); did.push(["queue", id, ...targets]); return id; },
  drop: async (id) => { did.push(["drop", id]); },
};
const told = (state) => did.push(["tell", state.phase ?? state.picture, state.seconds ?? state.message ?? null]);
const live = new LivePreview(host, told, () => clock);
const shown = (id, node = "14") => live.heard({ prompt_id: id, node, output: { images: [`picture of ${id}`] } });
"""

PROMPT = {
    "3": {"class_type": "ACFunExampleImage", "inputs": {"picture": "a"}},
    "4": {"class_type": "PreviewImage", "inputs": {"images": ["3", 0]}},
    "9": {"class_type": "ACFunFaceParts", "inputs": {"image": ["3", 0], "regions": "{}"}},
    "10": {"class_type": "MaskPreview", "inputs": {"mask": ["9", 0]}},
    "11": {"class_type": "ACFunSampler", "inputs": {"mask": ["9", 0], "steps": 4}},
    "12": {"class_type": "SaveImage", "inputs": {"images": ["11", 0], "filename_prefix": "a"}},
    "13": {"class_type": "ImagePreviewOfNoOutput", "inputs": {"images": ["11", 0]}},
    "14": {"class_type": "PreviewImage", "inputs": {"images": ["13", 0]}},
}
"""One preview of the photo, one of the mask, one of the portrait, which is saved, too."""


def ran(tmp_path, script: str, prompt: dict = PROMPT) -> list:
    """What a script printed last, as JSON."""
    # Node takes a .js file for a module only if something says so; the browser is told by ComfyUI.
    module = (REPO / "web" / "live_preview.js").read_text(encoding="utf-8")
    (tmp_path / "live_preview.mjs").write_text(module, encoding="utf-8")
    (tmp_path / "script.mjs").write_text(SETUP + script, encoding="utf-8")
    command = ["node", str(tmp_path / "script.mjs"), json.dumps(prompt)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert ended.returncode == 0, ended.stderr
    return json.loads(ended.stdout)


def test_only_previews_behind_the_node_are_queued(tmp_path):
    found = ran(
        tmp_path, 'console.log(JSON.stringify(["9", "3", "14"].map((id) => previewsBehind(prompt, [id], isOutput))))'
    )
    assert [sorted(each) for each in found] == [["10", "14"], ["10", "14", "4"], []]


def test_the_workflow_has_one_preview_behind_its_regions(tmp_path):
    workflow = api.load("face_parts")
    script = f'console.log(JSON.stringify(previewsBehind(prompt, ["{api.node_id(workflow, "Parts")}"], isOutput)))'
    assert ran(tmp_path, script, workflow) == [api.node_id(workflow, "Live preview")]


def test_ten_moves_of_a_slider_queue_one_preview_and_a_newer_one_replaces_what_has_not_begun(tmp_path):
    did = ran(
        tmp_path,
        """
        live.settled(); await settle();                  // off: nothing
        await live.turn(true);                           // at once
        clock = 1000;
        for (let move = 0; move < 10; move += 1) { live.moving(); live.settled(); await wait(5); }
        await settle();
        clock = 3000;
        shown("prompt 1"); shown("prompt 2", "10"); shown("prompt 2", "4"); shown("prompt 2");
        live.settled(); live.moving(); await settle();   // a slider is being dragged
        await live.turn(false); shown("prompt 2");
        console.log(JSON.stringify(did));
        """,
    )
    targets = ["10", "14"]
    assert did == [
        ["tell", "drawing", None],
        ["queue", "prompt 1", *targets],
        ["tell", "drawing", None],
        ["drop", "prompt 1"],
        ["queue", "prompt 2", *targets],
        ["tell", "picture of prompt 1", None],
        ["tell", "picture of prompt 2", None],
        ["tell", "drawn", 2],
        ["tell", "off", None],
    ]


def test_what_becomes_of_a_preview_is_told(tmp_path):
    """Nothing to draw, a refusal, a failure, a picture that comes before the answer, and off while something waits."""
    did = ran(
        tmp_path,
        """
        sources = ["14"]; await live.turn(true);
        sources = ["9"]; queued = async () => { throw new Error("refused"); }; await live.draw();
        queued = async () => "second"; await live.draw();
        live.ended({ prompt_id: "of somebody else", exception_message: "not ours" }, false);
        live.ended({ prompt_id: "second", exception_message: "no face" }, false);
        queued = async () => { shown("cached"); return "cached"; }; await live.draw();
        queued = async () => "without a picture"; await live.draw();
        live.ended({ prompt_id: "without a picture" }, true);
        queued = async () => "waits"; live.draw(); await live.turn(false);
        console.log(JSON.stringify(did.filter(([what, phase]) => what !== "queue" && phase !== "drawing")));
        """,
    )
    assert did == [
        ["tell", "nothing", None],
        ["tell", "failed", "refused"],
        ["tell", "failed", "no face"],
        ["tell", "picture of cached", None],
        ["tell", "drawn", 0],
        ["tell", "drawn", 0],
        ["drop", "waits"],
        ["tell", "off", None],
    ]


def test_a_change_while_a_preview_is_being_queued_is_drawn_afterwards(tmp_path):
    did = ran(
        tmp_path,
        """
        let let_go;
        queued = () => new Promise((done) => { let_go = () => done(`prompt ${++made}`); });
        const first = live.turn(true);
        await wait(20);
        live.draw(); live.draw();
        let_go(); await wait(20); let_go(); await first;
        console.log(JSON.stringify(did.filter(([what]) => what !== "tell").map(([what, id]) => [what, id])));
        """,
    )
    assert did == [["queue", "prompt 1"], ["drop", "prompt 1"], ["queue", "prompt 2"]]


def test_a_preview_that_ended_before_the_queue_answered_stayed_drawing(tmp_path):
    did = ran(
        tmp_path,
        """
        queued = async () => { live.ended({ prompt_id: "a", exception_message: "no face" }, false); return "a"; };
        await live.turn(true);
        queued = async () => { live.ended({ prompt_id: "b" }, true); return "b"; }; await live.draw();
        console.log(JSON.stringify(did.filter(([what, phase]) => what === "tell" && phase !== "drawing")));
        """,
    )
    assert did == [["tell", "failed", "no face"], ["tell", "drawn", 0]]


def test_off_and_on_again_at_once_ended_as_off(tmp_path):
    did = ran(
        tmp_path,
        """
        await live.turn(true);
        let dropped;
        host.drop = (id) => new Promise((done) => { dropped = () => { did.push(["drop", id]); done(); }; });
        const off = live.turn(false);
        await wait(20);
        const on = live.turn(true);
        await wait(20); dropped(); await off; await on;
        shown("prompt 2");
        console.log(JSON.stringify(did.map(([what, one]) => [what, one])));
        """,
    )
    assert ["tell", "off"] not in did and did[-1] == ["tell", "drawn"]
