"""Kill workers, nodes and drivers of a batch on a Ray cluster at random moments, go on, compare with one that nothing killed.

Usage: ``python -m tools.batch.kills --kills 10``; prints one JSON line. Exit code 1 if a picture is missing, damaged or drawn
twice, or if there is one too many.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import psutil

from acfun_core.backends.chosen import ChosenBase
from acfun_core.batch.keys import identity_of
from acfun_core.batch.plan import read_plan
from acfun_core.batch.results import Results
from acfun_core.batch.run import planned

from .cluster import REPO, Machines, command, digests, machines, made_plan, timed

VICTIMS = ("worker", "driver", "node")
LONGEST_WAIT = 300.0
"""Seconds for a batch to begin its next job."""


class Batch:
    """One driver, and the events that it prints."""

    def __init__(self, words: list[str]):
        self.process = subprocess.Popen(
            words, cwd=REPO, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
        )
        self.events: list[dict] = []
        self.noise: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        for line in self.process.stdout:
            # The last line of one that is killed may be cut short.
            if line.endswith("\n"):
                self._note(line)

    def _note(self, line: str) -> None:
        try:
            self.events.append(json.loads(line))
        except ValueError:
            self.noise.append(line)

    def working(self) -> bool:
        """Whether a job runs, by what the driver said last."""
        told = [event for event in self.events if event.get("event") == "progress"]
        return bool(told) and told[-1]["running"] > 0

    def wait_until_working(self) -> bool:
        """-> whether it works; if not, it has ended."""
        start = time.monotonic()
        while not self.working():
            if self.process.poll() is not None:
                return False
            if time.monotonic() - start > LONGEST_WAIT:
                raise RuntimeError(f"no job began: {self.events[-3:]}")
            time.sleep(0.05)
        return True

    def kill(self) -> None:
        os.killpg(self.process.pid, signal.SIGKILL)
        self.end()

    def end(self) -> int:
        code = self.process.wait()
        self._reader.join()
        return code

    def count(self, kind: str) -> Counter:
        return Counter(event["key"] for event in self.events if event.get("event") == kind)


def kill_worker(both: Machines, chance: random.Random) -> bool:
    """SIGKILL a process that does a job. -> whether there was one."""
    found = [
        process
        for raylet in both.raylets()
        for process in psutil.Process(raylet).children(recursive=True)
        if process.status() != psutil.STATUS_ZOMBIE and "".join(process.cmdline()).startswith("ray::Worker.do")
    ]
    if not found:
        return False
    chance.choice(found).kill()
    return True


def killed(both: Machines, words: list[str], victims: list[str], longest: float, chance: random.Random) -> list[Batch]:
    """Run a batch to its end with so many kills in it. -> every driver that there was, the last one unkilled."""
    drivers, left = [Batch(words)], list(victims)
    try:
        while left and drivers[-1].wait_until_working():
            time.sleep(chance.uniform(0.0, longest))
            victim = left.pop(0)
            if victim == "driver":
                drivers[-1].kill()
                drivers.append(Batch(words))
            elif victim == "node":
                both.lose_second()
            elif not kill_worker(both, chance):
                left.insert(0, victim)
        if drivers[-1].end() != 0:
            raise RuntimeError(f"the batch ended with {drivers[-1].process.returncode}: {drivers[-1].events[-2:]}")
    finally:
        for driver in drivers:
            if driver.process.poll() is None:
                driver.kill()
    if left:
        raise RuntimeError(f"the batch was over before {left} could be killed")
    return drivers


def tried(
    folder: Path,
    victims: list[str],
    styles: int,
    faces: int,
    options: dict,
    longest: float,
    seed: int,
    run: Callable[[list[str]], float] = timed,
    workers: int = 2,
) -> dict:
    """A batch with kills, beside one in a single process without.

    Args:
        longest: seconds; each kill comes so long at most after a job was seen to run.
        run: does the one without kills, given its command line. -> seconds
        workers: each on a node of its own.
    """
    chance, start = random.Random(seed), time.monotonic()
    plan = made_plan(folder, styles, faces, options)
    unkilled = run(command(plan, folder / "here"))
    with machines(workers) as both:
        drivers = killed(both, command(plan, folder / "out", "--ray", both.address), victims, longest, chance)
    left = planned(read_plan(plan), identity_of(ChosenBase()), Results(str(folder / "out")))
    drawn = sum((driver.count("drawn") for driver in drivers), Counter())
    half = [path.name for path in (folder / "out").rglob("*.partial")]
    wanted, found = digests(folder / "here"), digests(folder / "out")
    return {
        "kills": dict(Counter(victims)),
        "pictures": styles * faces,
        "equal": found == wanted,
        "missing": len(set(wanted) - set(found)),
        "damaged": sum(found.get(name) != content for name, content in wanted.items() if name in found),
        "drawn_twice": sum(times > 1 for times in drawn.values()),
        "left_to_do": len(left.trainings) + len(left.drawings),
        "half_written": len(half),
        "lines_that_are_no_events": sum(len(one.noise) for one in drivers),
        "workers_lost": sum("was lost" in event.get("text", "") for one in drivers for event in one.events),
        "seconds_in_one_process": unkilled,
        "seconds": round(time.monotonic() - start, 1),
    }


def is_right(told: dict) -> bool:
    wrong = ("missing", "damaged", "drawn_twice", "left_to_do", "half_written", "lines_that_are_no_events")
    return told["equal"] and not any(told[name] for name in wrong)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--styles", type=int, default=4)
    parser.add_argument("--faces", type=int, default=10)
    parser.add_argument("--longest", type=float, default=6.0, help="seconds from a running job to the kill")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    chance = random.Random(options.seed)
    # Each kind at least once, the rest by chance, in an order by chance.
    victims = [*VICTIMS, *chance.choices(VICTIMS, k=max(0, options.kills - len(VICTIMS)))][: options.kills]
    chance.shuffle(victims)
    few = {"train.steps": 10, "draw.steps": 5, "resolution": 64}
    with tempfile.TemporaryDirectory() as folder:
        told = tried(Path(folder), victims, options.styles, options.faces, few, options.longest, options.seed)
    print(json.dumps(told))
    return 0 if is_right(told) else 1


if __name__ == "__main__":
    sys.exit(main())
