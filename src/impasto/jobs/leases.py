"""The queue as those see it that do the work: a job is taken with a lease, and given back.

A lease is a word of chance that is named with each change, and void once the job went to another.
So what a driver that was taken for dead still says changes nothing.
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from impasto.errors import JobStateError
from impasto.jobs.job import Job, JobResult, JobState, Wish
from impasto.jobs.queue import IN_TURN, JobQueue
from impasto.jobs.store import Connection, JobRow, change_job, next_version, read_job, set_columns

MOST_ATTEMPTS = 3  # begun without coming further, before a job is given up
MOST_STEPS = 2000  # of a job that are kept; of more, every second one


class Leases:
    """Jobs that are being worked on, for who hands them out."""

    def __init__(
        self, queue: JobQueue, *, seconds: float = 60.0, clock: Callable[[], float] = time.time
    ) -> None:
        """``seconds`` is how long a lease lasts that is not renewed."""
        self.queue, self.seconds, self.clock = queue, seconds, clock
        self.store = queue.store

    def take(self) -> Job | None:
        """Take the job whose turn it is; None if none waits."""

        def change(run: Connection) -> str | None:
            row = run.execute(f"{IN_TURN} LIMIT 1").fetchone()
            if row is None:
                return None
            found, now = read_job(run, row["id"]), self.clock()
            run.execute(
                "INSERT INTO clients VALUES (?, ?) ON CONFLICT DO UPDATE SET served = ?",
                (found["client"], *[next_version(run)] * 2),
            )
            change_job(
                run,
                found["id"],
                state="running",
                attempts=found["attempts"] + 1,
                lease=secrets.token_hex(8),
                lease_until=now + self.seconds,
                started=found["started"] or now,
                error=None,
            )
            return str(found["id"])

        taken = self.store.write(change)
        return None if taken is None else self.queue.get(taken)

    def renew(self, job: Job) -> Wish | None:
        """Say that a job is still worked on, as often as need be; return what is wished of it."""
        found = self.queue.get(job.id)
        if found.state != "running" or found.lease != job.lease:
            raise _describe_loss(job)
        if (found.lease_until or 0.0) - self.clock() < self.seconds / 2:
            self.store.write(lambda run: self._renew(run, job))
        return found.wish

    def _renew(self, run: Connection, job: Job) -> None:
        _check_lease(run, job)
        until = self.clock() + self.seconds
        run.execute("UPDATE jobs SET lease_until = ? WHERE id = ?", (until, job.id))

    def record(self, job: Job, steps: Sequence[Mapping[str, Any]], notes: Sequence[str]) -> None:
        """Keep what was measured, and renew the lease; who comes further has all attempts again.

        That gives the job no new version: pages hear of it from its worker, and sooner.
        """

        def change(run: Connection) -> None:
            row = _check_lease(run, job)
            values: dict[str, Any] = {"lease_until": self.clock() + self.seconds}
            if steps and steps[-1]["number"] > json.loads(row["progress"]).get("number", 0):
                values["attempts"] = 1
            if steps:
                values["progress"] = json.dumps(steps[-1])
                rows = [(job.id, step["number"], json.dumps(step)) for step in steps]
                run.executemany("INSERT OR REPLACE INTO steps VALUES (?, ?, ?)", rows)
                _thin_steps(run, job.id)
            if notes:
                values["notes"] = json.dumps(merge_notes(json.loads(row["notes"]), notes))
            set_columns(run, job.id, values)

        self.store.write(change)

    def finish(
        self,
        job: Job,
        results: Sequence[JobResult],
        *,
        seconds: float = 0.0,
        notes: Sequence[str] = (),
    ) -> None:
        """Say that a job is done, and what came of it; its files are kept already."""

        def change(run: Connection) -> None:
            row = _check_lease(run, job)
            run.executemany(
                "INSERT INTO results VALUES (?, ?, ?, ?, ?, ?)",
                [(job.id, r.name, r.digest, r.size, r.width, r.height) for r in results],
            )
            merged = json.dumps(merge_notes(json.loads(row["notes"]), notes))
            self._end(run, row, "done", seconds, notes=merged)

        self.store.write(change)

    def fail(self, job: Job, reason: str, *, seconds: float = 0.0) -> None:
        """Say that a job cannot be done, and why."""

        def change(run: Connection) -> None:
            self._end(run, _check_lease(run, job), "failed", seconds, error=reason)

        self.store.write(change)

    def give_back(self, job: Job, *, seconds: float = 0.0, charged: bool = False) -> None:
        """Let go of a job that is not at its end: as was wished of it, or to go on later.

        ``charged``: it counts as an attempt that failed. Without, it was not the job's fault.
        """
        self.store.write(
            lambda run: self._give_back(run, _check_lease(run, job), seconds, charged=charged)
        )

    def lose(self, job: Job, reason: str, *, seconds: float = 0.0) -> None:
        """Say that the process at the job died: another one tries, unless it was the last try."""

        def change(run: Connection) -> None:
            row = _check_lease(run, job)
            if row["attempts"] < MOST_ATTEMPTS or row["wish"]:
                self._give_back(run, row, seconds, charged=True)
            else:
                why = f"given up after {MOST_ATTEMPTS} attempts: its process {reason}"
                self._end(run, row, "failed", seconds, error=why)

        self.store.write(change)

    def recover(self) -> list[str]:
        """Take up what a driver that died had taken; it is the only one. Return which jobs."""
        return self.store.write(lambda run: self._recover(run, "state = 'running'", ()))

    def expire(self) -> list[str]:
        """Take up what has not been renewed in time; return which jobs."""
        late, now = "state = 'running' AND lease_until < ?", self.clock()
        if not self.store.read(f"SELECT 1 FROM jobs WHERE {late}", (now,)):
            return []
        return self.store.write(lambda run: self._recover(run, late, (now,)))

    def _recover(self, run: Connection, where: str, values: Sequence[Any]) -> list[str]:
        rows = run.execute(f"SELECT * FROM jobs WHERE {where}", values).fetchall()
        for row in rows:
            self._give_back(run, row, 0.0, charged=False)
        return [row["id"] for row in rows]

    def _give_back(self, run: Connection, row: JobRow, seconds: float, *, charged: bool) -> None:
        after: dict[str | None, JobState] = {None: "queued", "pause": "paused"}
        state = after.get(row["wish"], "cancelled")
        if state == "cancelled":
            self._end(run, row, state, seconds)
            return
        attempts = row["attempts"] if charged else max(0, row["attempts"] - 1)
        _let_go(run, row, state, seconds, attempts=attempts)

    def _end(
        self, run: Connection, row: JobRow, state: JobState, seconds: float, **values: Any
    ) -> None:
        _let_go(run, row, state, seconds, ended=self.clock(), **values)


def _check_lease(run: Connection, job: Job) -> JobRow:
    """Return the job's row, if it still is the caller's."""
    row = read_job(run, job.id)
    if row["state"] != "running" or row["lease"] != job.lease:
        raise _describe_loss(job)
    return row


def _let_go(run: Connection, row: JobRow, state: JobState, seconds: float, **values: Any) -> None:
    """Take a job from who works on it, with the seconds that were spent."""
    values |= {"lease": None, "lease_until": None, "wish": None}
    change_job(run, row["id"], state=state, seconds=row["seconds"] + seconds, **values)


def _describe_loss(job: Job) -> JobStateError:
    return JobStateError(f"job {job.id!r} was given to another")


def _thin_steps(run: Connection, job: str) -> None:
    """Drop every second step, but the last, where there are too many to draw."""
    (count,) = run.execute("SELECT COUNT(*) FROM steps WHERE job = ?", (job,)).fetchone()
    if count > MOST_STEPS:
        run.execute(
            "DELETE FROM steps WHERE job = :job AND number IN (SELECT number FROM (SELECT number, "
            "row_number() OVER (ORDER BY number DESC) AS back FROM steps WHERE job = :job) "
            "WHERE back % 2 = 0)",
            {"job": job},
        )


def merge_notes(known: Sequence[str], more: Sequence[str]) -> list[str]:
    """Return notes in their order, each once."""
    return list(dict.fromkeys([*known, *more]))
