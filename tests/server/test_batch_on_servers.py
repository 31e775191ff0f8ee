"""A plan drawn by ComfyUI servers: queued over their API, resumed, and with failures as rows."""

from __future__ import annotations

import json
from concurrent.futures import Future
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image

from acfun_core.batch.jobs import Source
from acfun_core.batch.plan import read_plan
from acfun_core.batch.results import Results
from acfun_core.batch.run import carry_out, held_against, sources_of
from acfun_core.batch.work import Outcome
from acfun_core.errors import ACFunError
from tools.batch import servers
from tools.batch.servers import Prompt, Servers, main, prompts_of, read_workflow
from tools.comfy.client import NodeError, WorkflowRejected


def titled(kind: str, title: str, **inputs) -> dict:
    return {"class_type": kind, "inputs": inputs, "_meta": {"title": title}}


MIXED = {
    "1": titled("EmptyImage", "Style", width=8, height=8, batch_size=1, color=0),
    "2": titled("EmptyImage", "Face", width=8, height=8, batch_size=1, color=0),
    "3": titled("ImageBlend", "Sampler", image1=["1", 0], image2=["2", 0], blend_factor=0.5, blend_mode="normal"),
    "4": titled("SaveImage", "Result", images=["3", 0], filename_prefix="batch"),
}
"""Style and face mixed half and half, which needs no training."""


@pytest.fixture
def workflow(tmp_path) -> Path:
    path = tmp_path / "mixed.json"
    path.write_text(json.dumps(MIXED))
    return path


@pytest.fixture
def plan(tmp_path) -> Path:
    """Two styles and two faces; one face is no picture."""
    for name, colour in (("red", (255, 0, 0)), ("blue", (0, 0, 255)), ("face", (0, 100, 0))):
        Image.new("RGB", (16, 16), colour).save(tmp_path / f"{name}.png")
    (tmp_path / "bad.png").write_text("no picture")
    rows = [{"style": f"{style}.png", "face": f"{face}.png"} for style in ("red", "blue") for face in ("face", "bad")]
    path = tmp_path / "plan.yaml"
    path.write_text(json.dumps(rows))
    return path


def told(capsys) -> list[dict]:
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_a_plan_is_drawn_by_servers_and_resumed(comfy, plan, workflow, tmp_path, capsys):
    """Two clients of one server stand for two servers."""
    words = [str(plan), "--servers", comfy.url, comfy.url + "/", "--out", str(tmp_path / "out")]
    words += ["--workflow", str(workflow)]
    assert main(words) == 0
    events = told(capsys)
    assert (events[-1]["done"], events[-1]["failed"]) == (2, 2)
    failed = [event for event in events if event.get("event") == "failed"]
    assert {event["name"] for event in failed} == {"bad_red", "bad_blue"} and "LoadImage" in failed[0]["reason"]
    [picture] = (tmp_path / "out" / "pictures").glob("face_red_*.png")
    with Image.open(picture) as drawn:
        red, green, blue = drawn.convert("RGB").getpixel((5, 5))
    assert abs(red - 127) <= 1 and abs(green - 50) <= 1 and blue == 0
    assert main(words) == 0
    assert told(capsys)[-1]["drawn"] == 0


class Imagined(Servers):
    """Servers whose drawing is a function of the test's."""

    def __init__(self, urls, results, draw):
        super().__init__(urls, results)
        self.draw, self.log = draw, []
        self._threads = self

    def submit(self, function, url, job):
        future = Future()
        try:
            future.set_result(self.draw(url, job))
            self.log.append((url, job.style.digest))
        except Exception as error:
            future.set_exception(error)
        return future


def drawn_by(results):
    def draw(url, job):
        written = BytesIO()
        Image.new("RGB", (8, 8)).save(written, "PNG")
        return Outcome(job.key, results.keep_picture(job, written.getvalue(), {"seconds": 1.0, "machine": url}))

    return draw


def run(plan, results, draw, urls=("http://a", "http://b")) -> tuple[dict, Imagined]:
    rows = read_plan(plan)
    sources = {source.address: source for source in sources_of(rows, "plan")}
    work = held_against(prompts_of(rows, sources, MIXED, "plan"), results, False)
    engine = Imagined(urls, results, draw)
    return carry_out(work, results, lambda: engine, lambda kind, event: None), engine


def test_a_style_stays_on_the_server_that_has_it(plan, tmp_path):
    results = Results(str(tmp_path / "out"))
    ended, engine = run(plan, results, drawn_by(results))
    assert ended["done"] == 4 and len({url for url, _ in engine.log}) == 2
    assert len(set(engine.log)) == 2, "a style was drawn on both servers"


def test_a_server_that_goes_away_leaves_its_jobs_to_the_others(plan, tmp_path):
    results = Results(str(tmp_path / "out"))
    good = drawn_by(results)

    def draw(url, job):
        if url == "http://a":
            raise ConnectionRefusedError("nobody is there")
        return good(url, job)

    assert run(plan, results, draw)[0]["done"] == 4
    with pytest.raises(ACFunError, match="No server is left"):
        run(plan, Results(str(tmp_path / "other")), draw, urls=["http://a"])


def test_a_node_that_fails_is_a_row_and_a_workflow_that_is_refused_ends_all(plan, tmp_path):
    results = Results(str(tmp_path / "out"))

    def failing(url, job):
        raise NodeError("3", "Sampler", "out of paint", "ValueError", "")

    def refused(url, job):
        raise WorkflowRejected("unknown node", {})

    assert run(plan, results, failing)[0]["failed"] == 4
    with pytest.raises(ACFunError, match="refuses the workflow: unknown node"):
        run(plan, Results(str(tmp_path / "other")), refused)


def test_what_a_row_sets_goes_into_the_workflow_of_the_pack(plan):
    row = {
        "style": "red.png",
        "face": "face.png",
        "draw.steps": 3,
        "strength.decoder": 1,
        "prompt": "S*",
    }
    plan.write_text(json.dumps([row]))
    rows = read_plan(plan)
    sources = {address: Source(address, "0" * 32) for address in (rows[0].style, rows[0].face)}
    work = prompts_of(rows, sources, read_workflow("any_photo"), "plan")
    [job] = work.drawings.values()
    nodes = {node["_meta"]["title"]: node for node in job.graph.values()}
    assert nodes["Sampler"]["inputs"]["steps"] == 3
    assert nodes["Apply"]["inputs"]["decoder_strength"] == 1 and nodes["Sampler"]["inputs"]["prompt"] == "S*"
    assert not any("somebody else" in title.lower() or "preview" in title for title in nodes)
    assert nodes["Style"]["class_type"] == nodes["Face"]["class_type"] == "LoadImage"


@pytest.mark.parametrize("option", ["train.steps", "draw.cfg"])
def test_an_option_that_the_nodes_preset_overrules_was_taken_without_a_word(plan, option):
    plan.write_text(json.dumps([{"style": "red.png", "face": "face.png", option: 7}]))
    rows = read_plan(plan)
    sources = {address: Source(address, "0" * 32) for address in (rows[0].style, rows[0].face)}
    graph = read_workflow("any_photo")
    with pytest.raises(ACFunError, match=f"preset keep_person, beside which {option} has no say"):
        prompts_of(rows, sources, graph, "plan")
    for node in graph.values():
        node["inputs"] |= {"preset": "custom"} if "preset" in node["inputs"] else {}
    [job] = prompts_of(rows, sources, graph, "plan").drawings.values()
    title = {"train": "Train", "draw": "Sampler"}[option.partition(".")[0]]
    [node] = [node for node in job.graph.values() if node["_meta"]["title"] == title]
    assert node["inputs"][option.partition(".")[2]] == 7


def test_options_without_an_input_and_workflows_that_do_not_fit(plan, tmp_path):
    rows = [{"style": "red.png", "face": "face.png", "train.steps": 7}]
    plan.write_text(json.dumps(rows))
    with pytest.raises(ACFunError, match="row 1: The workflow has no input for train.steps"):
        run(plan, Results(str(tmp_path / "out")), None)
    with pytest.raises(ACFunError, match="cannot be read"):
        read_workflow(str(plan))
    with pytest.raises(ACFunError, match="nodes titled Style, Face and Result|does not fit"):
        prompts_of([], {}, {"1": titled("EmptyImage", "Other")}, "plan")


def test_names_of_uploads_are_those_of_contents():
    source = Source("s3://bucket/A b.JPG", "1" * 32)
    assert servers.uploaded_name(source) == f"acfun_{'1' * 32}.jpg"
    assert Prompt("k" * 32, source, source, "anna", {}).file == "pictures/anna_kkkkkkkk.png"
