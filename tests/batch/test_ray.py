"""Batches on Ray: what becomes of workers that are lost, and a real cluster of two nodes, killed and resumed."""

from __future__ import annotations

import os
from itertools import count
from types import SimpleNamespace

import pytest

from acfun_core.backends.chosen import ChosenBase
from acfun_core.batch import on_ray
from acfun_core.batch.drive import Driver
from acfun_core.batch.jobs import Drawing
from acfun_core.batch.keys import identity_of
from acfun_core.batch.on_ray import MOST_DEATHS, Cluster, OnRay, Settings, Worker
from acfun_core.batch.plan import crossed
from acfun_core.batch.results import Results
from acfun_core.batch.run import planned, tally_of
from acfun_core.batch.work import Outcome
from acfun_core.command_line import main
from acfun_core.errors import ACFunError
from tools.batch.kills import is_right, tried

from .made_up import BASE, Faked, folders

pytest.importorskip("ray")


class Lost(Exception):
    """In place of Ray's error of an actor that died."""

    preempted = False


class MadeUpRay:
    """Ray as far as the engine uses it; actors are faked workers, and calls are done when somebody looks.

    Args:
        dies_of: name of a job -> how many workers it kills. "ready" is the loading.

    Attributes:
        together: all jobs that run end in one look; otherwise the one that began first.
    """

    exceptions = SimpleNamespace(RayActorError=Lost)

    def __init__(self, results: Results, dies_of: dict[str, int] | None = None, refuses: tuple | None = None):
        self.results, self.dies_of, self.refuses = results, dict(dies_of or {}), refuses
        self.hired, self.most_at_once, self.killed = 0, 0, 0
        self.workers: list[Faked] = []
        self.together = True

    def remote(self, kind):
        return SimpleNamespace(options=self.with_options)

    def with_options(self, **options):
        self.options = options
        return SimpleNamespace(remote=self.hire)

    def hire(self, settings):
        self.hired += 1
        worker = Faked(self.results)
        self.workers.append(worker)
        ready = SimpleNamespace(remote=lambda: Call(None, worker))
        return SimpleNamespace(ready=ready, do=SimpleNamespace(remote=lambda job: Call(job, worker)))

    def wait(self, calls, num_returns, timeout):
        self.most_at_once = max(self.most_at_once, sum(call.job is not None for call in calls))
        if not self.together:
            calls, num_returns = sorted(calls, key=lambda call: call.number), 1
        return calls[:num_returns], calls[num_returns:]

    def get(self, call):
        name = "ready" if call.job is None else getattr(call.job, "name", "training")
        if self.dies_of.get(name, 0) > 0:
            self.dies_of[name] -= 1
            raise Lost("killed")
        if call.job is None:
            return self.refuses
        call.worker.start(call.job)
        [outcome] = call.worker.wait(0)
        return outcome

    def kill(self, actor, no_restart):
        assert no_restart
        self.killed += 1


class Call:
    numbers = count()

    def __init__(self, job, worker):
        self.job, self.worker, self.number = job, worker, next(self.numbers)


@pytest.fixture
def results(tmp_path):
    return Results(str(tmp_path / "out"))


def driven(tmp_path, results, ray, workers=3, styles=2, faces=6):
    """A batch on the made-up cluster. -> the driver, what was noticed."""
    plan = planned(crossed(*folders(tmp_path, styles, faces), "keep_person", [0], {}), BASE, results)
    driver, noticed = Driver(plan.work, plan.trainings, plan.drawings, tally_of(plan), lambda kind, told: None), []
    settings = Settings(ChosenBase(), "identity", results.folder.address, "token", threads=2, gpus=0.5)
    driver.run(OnRay(SimpleNamespace(ray=ray), settings, workers, noticed.append))
    return driver, noticed


def test_workers_get_one_job_at_a_time_and_their_share_of_a_machine(tmp_path, results):
    ray = MadeUpRay(results)
    driver, noticed = driven(tmp_path, results, ray)
    assert len(driver.records) == 12 and noticed == [] and ray.most_at_once <= 3
    assert ray.options == {
        "num_cpus": 2,
        "num_gpus": 0.5,
        "max_restarts": 0,
        "max_task_retries": 0,
        "max_concurrency": 1,
    }


def test_each_of_two_workers_found_the_ways_to_noise_of_nearly_all_photos(tmp_path, results):
    """Drawn in the plan's order, style by style, each met them all; a way serves every style, and is a quarter of the work."""
    ray = MadeUpRay(results)
    ray.together = False
    driver, _ = driven(tmp_path, results, ray, workers=2, styles=4, faces=5)
    drawn = [[job.face.digest for job in worker.done if isinstance(job, Drawing)] for worker in ray.workers]
    assert len(driver.records) == 20 and [len(faces) for faces in drawn] == [10, 10]
    # Of five faces one worker has two; at the end it helps the other.
    assert sum(len(set(faces)) for faces in drawn) <= 6


def test_a_worker_without_a_job_takes_over_faces_of_another(tmp_path, results):
    """Memory decides the order, never whether somebody works."""
    engine = OnRay(SimpleNamespace(ray=MadeUpRay(results)), Settings(ChosenBase(), "", "", ""), 2, print)
    work = planned(crossed(*folders(tmp_path, 2, 2), "instant", [0], {}), BASE, results).work
    one, other, again, _ = work.drawings.values()
    engine.wait(0)
    assert engine.room() == 2 and engine.suits(one) == 1
    engine.start(one)
    assert engine.suits(again) == 0 and engine.suits(other) == 1
    engine.start(again)
    assert engine.room() == 0


def test_a_lost_worker_is_replaced_and_its_job_done_by_another(tmp_path, results):
    ray = MadeUpRay(results, {"face0_style0": MOST_DEATHS - 1, "training": 1, "ready": 1})
    driver, noticed = driven(tmp_path, results, ray)
    lost = MOST_DEATHS + 1
    assert len(driver.records) == 12 and driver.failures == {}
    assert len(noticed) == ray.killed == lost and ray.hired == 3 + lost


def test_a_job_that_kills_its_workers_fails_and_the_others_are_done(tmp_path, results):
    ray = MadeUpRay(results, {"face0_style0": 100})
    driver, _ = driven(tmp_path, results, ray)
    [reason] = driver.failures.values()
    assert len(driver.records) == 11 and f"{MOST_DEATHS} workers died" in reason
    assert len(results.folder.sizes("failures")) == 1


def test_a_machine_that_is_taken_back_is_no_fault_of_the_job(tmp_path, results, monkeypatch):
    monkeypatch.setattr(Lost, "preempted", True)
    driver, _ = driven(tmp_path, results, MadeUpRay(results, {"face0_style0": 3 * MOST_DEATHS}))
    assert len(driver.records) == 12


def test_workers_that_die_before_they_are_ready_end_the_batch(tmp_path, results):
    with pytest.raises(ACFunError, match="died before they were ready: killed"):
        driven(tmp_path, results, MadeUpRay(results, {"ready": 100}))


def test_it_is_said_when_no_worker_comes(tmp_path, results, monkeypatch):
    """More workers than fit wait for machines, and a person would wait for them."""
    monkeypatch.setattr(on_ray, "SECONDS_WITHOUT_WORKERS", 0.0)
    ray, noticed = MadeUpRay(results), []
    monkeypatch.setattr(ray, "wait", lambda calls, num_returns, timeout: ([], calls))
    settings = Settings(ChosenBase(), "identity", results.folder.address, "token", threads=2, gpus=0.5)
    engine = OnRay(SimpleNamespace(ray=ray), settings, 1, noticed.append)
    assert engine.wait(0.0) == [] and "2 cores and 0.5 GPUs" in noticed[0]


def test_a_machine_that_cannot_do_the_work_ends_the_batch(tmp_path, results):
    with pytest.raises(ACFunError, match="the base is another"):
        driven(tmp_path, results, MadeUpRay(results, refuses=("the base is another", "", "")))


def test_results_that_cannot_be_written_end_the_batch(tmp_path, results, monkeypatch):
    monkeypatch.setattr(Faked, "wait", lambda self, seconds: [Outcome(self.job.key, stop=("no room", "room", "make"))])
    with pytest.raises(ACFunError, match="no room"):
        driven(tmp_path, results, MadeUpRay(results))


def test_a_worker_looks_at_folder_and_base_before_it_loads(tmp_path, results, monkeypatch):
    monkeypatch.setattr(ChosenBase, "load", lambda self: pytest.fail("the base was loaded"))
    token = results.token()
    assert Results(results.folder.address).token() == token
    chosen, elsewhere = ChosenBase(), str(tmp_path / "elsewhere")
    other_folder = Worker(Settings(chosen, identity_of(chosen), elsewhere, token)).ready()
    assert "does not see the results folder" in other_folder[0]
    other_base = Worker(Settings(chosen, "another", results.folder.address, token)).ready()
    assert "is another than where the batch was started" in other_base[0]


@pytest.mark.parametrize(
    ("nodes", "threads", "gpus", "expected"),
    [
        ([{"CPU": 1.0}, {"CPU": 1.0}], 1, None, (2, 0.0)),
        ([{"CPU": 3.0}, {"CPU": 1.0}], 2, None, (1, 0.0)),
        ([{"CPU": 16.0, "GPU": 2.0}, {"CPU": 8.0}], 1, None, (2, 1.0)),
        ([{"CPU": 16.0, "GPU": 1.0}], 1, 0.1, (10, 0.1)),
        ([{"CPU": 4.0, "GPU": 1.0}], 1, 0.1, (4, 0.1)),
        ([{"CPU": 4.0, "GPU": 1.0}], 2, 0.0, (2, 0.0)),
        ([{}], 1, None, (0, 0.0)),
    ],
)
def test_as_many_workers_as_fit_on_each_machine(nodes, threads, gpus, expected):
    told = [{"Alive": True, "Resources": node} for node in nodes] + [{"Alive": False, "Resources": {"CPU": 99.0}}]
    assert Cluster("local", SimpleNamespace(nodes=lambda: told)).fitting(threads, gpus) == expected


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--ray", "plan.yaml"], "taken for the address"),
        (["plan.yaml", "--workers", "2"], "are of a cluster"),
        (["plan.yaml", "--gpus", "1"], "are of a cluster"),
        (["plan.yaml", "--ray", "--workers", "0"], "--workers is 0"),
        (["plan.yaml", "--ray", "--gpus", "-1"], "--gpus is -1"),
    ],
)
def test_mistakes_about_the_cluster(arguments, words, tmp_path, capsys):
    assert main(["batch", *arguments, "--out", str(tmp_path / "out")]) == 1
    assert words in capsys.readouterr().err


def test_what_ray_prints_does_not_come_between_the_events(monkeypatch, capsys):
    """It tells of a dead worker on standard output; a program that read events from there stumbled over it."""
    import ray

    monkeypatch.setattr(ray, "init", lambda address, **settings: None)
    monkeypatch.setattr(ray, "shutdown", lambda: None)
    with Cluster():
        print("A worker died.")
    print("event")
    shown = capsys.readouterr()
    assert shown.out == "event\n" and shown.err == "A worker died.\n"


def test_a_cluster_that_does_not_start_is_a_mistake_that_is_said(monkeypatch):
    """Ray raises a plain Exception when its programs need more than 30 seconds."""
    import ray

    def init(address, **settings):
        raise Exception("The current node timed out during startup.")

    monkeypatch.setattr(ray, "init", init)
    with pytest.raises(ACFunError, match="Ray did not start on this machine: The current node timed out"), Cluster():
        pass
    with pytest.raises(ACFunError, match="There is no Ray cluster at here:6379"), Cluster("here:6379"):
        pass


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="kills POSIX processes")
def test_two_kills_cost_no_picture_and_no_bit(users_noises, tmp_path, capsys):
    """A worker and the driver die; what is there in the end is what this process draws, each picture once."""

    # One worker: most of a small batch is the start of its processes.
    def here(words: list[str]) -> float:
        assert main(words[words.index("batch") :]) == 0
        return 0.0

    few = {"train.steps": 2, "draw.steps": 2, "resolution": 64}
    told = tried(
        tmp_path, ["worker", "driver"], styles=1, faces=3, options=few, longest=0.5, seed=1, run=here, workers=1
    )
    assert is_right(told), told
