"""The runner: nothing is lost by a kill, nothing is done twice, and workers end with it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import psutil
import pytest
import torch

from benchmarks.runner import Cell, Work, go_on
from benchmarks.store import Store
from benchmarks.workbench import ROOT


class Numbers(Work):
    """Cells that write down which process made them; one of them may fail, and each may take a while."""

    def __init__(self, folder: Path, count: int, fail_at: int = -1, seconds: float = 0.0):
        super().__init__(Store(folder), "run")
        self.count, self.fail_at, self.seconds, self.closed = count, fail_at, seconds, 0

    def cells(self) -> list[Cell]:
        return [Cell("number", {"n": n}, partial(self.make, n), group=str(n % 2)) for n in range(self.count)]

    def make(self, n: int) -> dict:
        if n == self.fail_at:
            raise KeyboardInterrupt
        path = self.store.folder / f"{n}.txt"
        path.write_text("whole")
        time.sleep(self.seconds)
        cores = len(psutil.Process().cpu_affinity()) if hasattr(psutil.Process, "cpu_affinity") else 1
        return {"file": path, "process": os.getpid(), "threads": torch.get_num_threads(), "cores": cores}

    def close(self) -> None:
        self.closed += 1


def rows(folder: Path) -> list[dict]:
    return sorted(Store(folder).rows("run", "number"), key=lambda row: row["n"])


def test_a_run_goes_on_where_it_was_cut(tmp_path, capsys):
    with pytest.raises(KeyboardInterrupt):
        go_on(work := Numbers(tmp_path, 4, fail_at=2))
    assert work.closed == 1 and [row["n"] for row in rows(tmp_path)] == [0, 1]
    capsys.readouterr()
    go_on(Numbers(tmp_path, 4))
    assert len(capsys.readouterr().err.splitlines()) == 2 and [row["n"] for row in rows(tmp_path)] == [0, 1, 2, 3]


def test_a_row_without_its_file_or_from_something_else_is_made_again(tmp_path):
    work = Numbers(tmp_path, 1)
    [cell] = work.cells()
    assert work.kept(cell) is None and work.done(cell)["n"] == 0
    assert work.kept(cell) and not work.kept(Cell(cell.kind, cell.settings, cell.make, made_from={"base": "other"}))
    work.store.file(work.kept(cell)).unlink()
    assert work.kept(cell) is None and len(work.store.rows("run", "number")) == 1


def test_time_ends_a_run_between_two_cells(tmp_path):
    go_on(Numbers(tmp_path, 50, seconds=0.05), minutes=0.2 / 60)
    assert 1 <= len(rows(tmp_path)) < 50


def test_workers_have_one_thread_and_one_core_and_share_no_group(tmp_path):
    go_on(Numbers(tmp_path, 6), workers=2)
    found = rows(tmp_path)
    assert len(found) == 6 and {(row["threads"], row["cores"]) for row in found} == {(1, 1)}
    by_group = [{row["process"] for row in found if row["n"] % 2 == group} for group in (0, 1)]
    assert len(by_group[0]) == len(by_group[1]) == 1 and not by_group[0] & by_group[1]
    assert os.getpid() not in by_group[0] | by_group[1]


def test_a_worker_that_fails_is_said(tmp_path):
    with pytest.raises(SystemExit, match="start again to go on"):
        go_on(Numbers(tmp_path, 4, fail_at=3), workers=2)
    assert {row["n"] for row in rows(tmp_path)} >= {1}


KILLED = """
import sys
from pathlib import Path
from benchmarks.runner import go_on
from tests.benchmarks.test_runner import Numbers
if __name__ == "__main__":
    go_on(Numbers(Path(sys.argv[1]), 10_000, seconds=0.01), workers=int(sys.argv[2]))
"""


@pytest.mark.parametrize("workers", [1, 2])
def test_a_store_survives_a_kill_and_workers_end(tmp_path, workers):
    program = tmp_path / "program.py"
    program.write_text(KILLED)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    child = subprocess.Popen([sys.executable, program, str(tmp_path), str(workers)], env=environment, cwd=ROOT)
    try:
        deadline = time.monotonic() + 120
        while len(list(tmp_path.glob("*.txt"))) < 20 and time.monotonic() < deadline:
            time.sleep(0.1)
        started = psutil.Process(child.pid).children(recursive=True)
    finally:
        child.kill()
        child.wait()
    psutil.wait_procs(started, timeout=60)
    assert not [process for process in started if process.is_running()], "a worker outlives the run"
    found = rows(tmp_path)
    assert len(found) >= 20 - workers and all((tmp_path / row["file"]).read_text() == "whole" for row in found)
    work = Numbers(tmp_path, 10_000)
    assert sum(work.kept(cell) is not None for cell in work.cells()[:100]) == sum(row["n"] < 100 for row in found)
