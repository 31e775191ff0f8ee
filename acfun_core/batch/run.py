"""A whole batch: from rows to jobs, through an engine, to the table and the contact sheet."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from .drive import Driver, Tell, Workers
from .jobs import Source, Work, work_of
from .keys import digests_of
from .plan import Mistakes, Row
from .report import table, write_table
from .results import Done, Results, needed_jobs
from .sheet import contact_sheet
from .tally import Tally

SHEET = "contact_sheet.jpg"


@dataclass(frozen=True)
class Planned:
    """A plan held against what is done.

    Attributes:
        trainings, drawings: keys of what is left.
        failed: key of a drawing -> reason, of those that failed before and are not tried again.
    """

    work: Work
    done: Done
    trainings: list[str]
    drawings: list[str]
    failed: dict[str, str]

    def as_dict(self) -> dict[str, Any]:
        return {
            "rows": len(self.work.rows),
            "pictures": len(self.work.drawings),
            "done": len(self.done.records),
            "failed": len(self.failed),
            "trainings_left": len(self.trainings),
            "drawings_left": len(self.drawings),
        }


def planned(
    rows: Sequence[Row],
    base: str,
    results: Results,
    retry_failed: bool = False,
    source: str = "This batch",
    bring: bool = True,
) -> Planned:
    """What is to be done.

    Args:
        base: from :func:`~acfun_core.batch.keys.identity_of`.
        source: what messages call the plan.
        bring: copy pictures of this disk to where the results are, if that is elsewhere.

    Raises:
        ACFunError: names each row whose picture cannot be read; or the results cannot be reached.
    """
    found = sources_of(rows, source)
    sources = results.bring(found) if bring else {picture.address: picture for picture in found}
    return held_against(work_of(rows, sources, base), results, retry_failed)


def held_against(work: Work, results: Results, retry_failed: bool) -> Planned:
    """Jobs, and what of them is done."""
    done = results.look(work)
    return Planned(work, done, *needed_jobs(work, done, retry_failed))


def sources_of(rows: Sequence[Row], source: str) -> list[Source]:
    """Every picture of a plan with its content.

    Raises:
        ACFunError: names each row whose picture cannot be read.
    """
    mistakes, using = Mistakes(source), {}
    for row in rows:
        for role, address in (("style", row.style), ("face", row.face)):
            using.setdefault(address, []).append((row.number, role))

    def note(address: str, error: Exception) -> None:
        missing = isinstance(error, FileNotFoundError)
        what = "is not there" if missing else f"cannot be read: {' '.join(str(error).split())[:200]}"
        for number, role in using[address]:
            mistakes.add(number, f"The {role} picture {address} {what}", "Check the path")

    digests = digests_of(using, note)
    mistakes.check()
    return [Source(address, digest) for address, digest in digests.items()]


def carry_out(
    plan: Planned, results: Results, engine: Callable[[], Workers], tell: Tell, tally: Tally | None = None
) -> dict[str, Any]:
    """Do what is left, and write table and contact sheet. -> what there is to say at the end.

    Args:
        engine: makes the workers; not called if nothing is left.
        tell: see :class:`~acfun_core.batch.drive.Driver`.

    Raises:
        ACFunError: something is wrong that is no row's own fault; what is done stays done.
    """
    start, work = time.monotonic(), plan.work
    tally = tally or tally_of(plan)
    driver = Driver(work, plan.trainings, plan.drawings, tally, tell)
    for key in (*plan.trainings, *plan.drawings):
        # Asked for again: what it ended with before is no longer true.
        if key in plan.done.failures:
            results.forget_failure(key)
    if plan.drawings:
        driver.run(engine())
    records = {key: _named(work, key, record, results) for key, record in plan.done.records.items()} | driver.records
    failures = plan.failed | driver.failures
    lines = table(work, records, failures, results)
    told = {"results": results.folder.address_of(write_table(lines, results)), "contact_sheet": None}
    sheet = contact_sheet(work, records, results)
    if sheet is not None:
        results.folder.write(SHEET, sheet)
        told["contact_sheet"] = results.folder.address_of(SHEET)
    return {
        "rows": len(lines),
        "done": sum(line["state"] == "done" for line in lines),
        "failed": sum(line["state"] == "failed" for line in lines),
        "trained": tally.trained,
        "drawn": tally.drawn,
        **told,
        "seconds": round(time.monotonic() - start, 1),
        "pictures_a_minute": round(tally.a_minute, 1),
    }


def tally_of(plan: Planned) -> Tally:
    """The counts of a run that is about to begin."""
    return Tally(len(plan.trainings), len(plan.drawings), len(plan.done.records), len(plan.failed))


def _named(work: Work, key: str, record: dict[str, Any], results: Results) -> dict[str, Any]:
    """The record of a picture, which gets the name that the plan has for it now."""
    job = work.drawings[key]
    return record if record["file"] == job.file else results.rename(job, record)
