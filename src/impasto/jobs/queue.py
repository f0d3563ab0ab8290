"""The queue: what clients ask of it. The store keeps it; leases are what workers ask."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from impasto.errors import JobStateError, MissingJobError, QueueFullError, shorten
from impasto.jobs.job import ENDED_STATES, Job, JobOrder, JobState, Wish
from impasto.jobs.store import (
    Connection,
    JobRow,
    JobStore,
    change_job,
    find_unused,
    next_version,
    read_job,
    unpack_job,
)

# Clients take turns: the first of each client's queue, then the second of each, and so on.
IN_TURN = """
SELECT jobs.id, row_number() OVER (PARTITION BY jobs.client ORDER BY jobs.place) AS turn,
  COALESCE(clients.served, 0) AS served, jobs.place AS place
FROM jobs LEFT JOIN clients ON clients.name = jobs.client WHERE state = 'queued'
ORDER BY turn, served, place
"""


@dataclass(frozen=True)
class Submission:
    """A job that a client asks for."""

    order: JobOrder
    client: str = ""
    key: str | None = None  # the same key of the same client is the same job
    label: str = ""


class JobQueue:
    """The queue: what clients ask of it."""

    def __init__(
        self,
        store: JobStore,
        *,
        longest: int = 1000,
        share: int | None = None,
        has_file: Callable[[str], bool] = lambda _: True,
    ) -> None:
        """Open the queue of a store.

        ``longest`` is how many jobs may wait, and ``share`` how many of one client; ``has_file``
        says whether the file with a digest is there.
        """
        self.store, self.has_file = store, has_file
        self.longest, self.share = longest, share or longest

    # --- looking

    def get(self, job: str) -> Job:
        """Return a job; an id that is unknown is an error."""
        with_results = self._read("SELECT * FROM jobs WHERE id = ?", (job,))
        if not with_results:
            raise MissingJobError(f"unknown job {shorten(job)!r}")
        return with_results[0]

    def list_jobs(
        self, states: Collection[JobState] = (), *, most: int = -1, before: str | None = None
    ) -> list[Job]:
        """Return jobs, the newest first; ``before`` goes on after the last of an earlier list."""
        where, values = ["1"], list[Any]()
        if states:
            where.append(f"state IN ({', '.join('?' * len(states))})")
            values += states
        if before is not None:
            last = self.get(before)
            where.append("(created, id) < (?, ?)")
            values += [last.created, last.id]
        order = "ORDER BY created DESC, id DESC LIMIT ?"
        query = f"SELECT * FROM jobs WHERE {' AND '.join(where)} {order}"
        return self._read(query, [*values, most])

    def list_queue(self) -> list[str]:
        """Return the ids of the jobs that wait, in the order in which they will begin."""
        return [row["id"] for row in self.store.read(IN_TURN)]

    def list_changed(self, since: int) -> list[Job]:
        """Return the jobs that have changed after a version."""
        return self._read("SELECT * FROM jobs WHERE version > ? ORDER BY version", (since,))

    def count(self) -> dict[str, int]:
        """Return how many jobs there are in each state."""
        rows = self.store.read("SELECT state, COUNT(*) AS number FROM jobs GROUP BY state")
        return {row["state"]: row["number"] for row in rows}

    def store_version(self) -> int:
        """Return the number of the last change."""
        return int(self.store.read("SELECT version FROM counter")[0][0])

    def list_steps(self, job: str) -> list[dict[str, Any]]:
        """Return what was measured at each step."""
        query = "SELECT packed FROM steps WHERE job = ? ORDER BY number"
        return [json.loads(row["packed"]) for row in self.store.read(query, (job,))]

    def _read(self, query: str, values: Sequence[Any] = ()) -> list[Job]:
        rows = self.store.read(query, values)
        results: dict[str, list[JobRow]] = {row["id"]: [] for row in rows}
        for first in range(0, len(rows), 500):
            ids = [row["id"] for row in rows[first : first + 500]]
            marks = ", ".join("?" * len(ids))
            found = f"SELECT * FROM results WHERE job IN ({marks}) ORDER BY rowid"
            for each in self.store.read(found, ids):
                results[each["job"]].append(each)
        return [unpack_job(row, results[row["id"]]) for row in rows]

    # --- asking

    def submit(
        self, order: JobOrder, *, client: str = "", key: str | None = None, label: str = ""
    ) -> tuple[Job, bool]:
        """Accept a job, which is then on the disk; return it, and whether it is new.

        The same ``key`` of the same client is the same job, however often it is sent.
        """
        (accepted,) = self.submit_all([Submission(order, client, key, label)])
        if isinstance(accepted, Exception):
            raise accepted
        return accepted

    def submit_all(self, submissions: Sequence[Submission]) -> list[tuple[Job, bool] | Exception]:
        """Accept jobs that come at the same time: one look at the disk, however many they are."""
        outcomes = self.store.write_all([partial(self._accept, each) for each in submissions])
        ids = {each[0] for each in outcomes if not isinstance(each, Exception)}
        jobs = self._find_all(sorted(ids))
        return [
            each if isinstance(each, Exception) else (jobs[each[0]], each[1]) for each in outcomes
        ]

    def _find_all(self, ids: Sequence[str]) -> dict[str, Job]:
        found: dict[str, Job] = {}
        for first in range(0, len(ids), 500):
            some = ids[first : first + 500]
            marks = ", ".join("?" * len(some))
            rows = self._read(f"SELECT * FROM jobs WHERE id IN ({marks})", some)
            found |= {job.id: job for job in rows}
        return found

    def _accept(self, given: Submission, run: Connection) -> tuple[str, bool]:
        query = "SELECT id, digest FROM jobs WHERE client = ? AND key = ?"
        asked = (given.client, given.key)
        known = run.execute(query, asked).fetchone() if given.key is not None else None
        if known is not None:
            if known["digest"] != given.order.digest():
                raise JobStateError("this idempotency key was used for another job")
            return str(known["id"]), False
        return self._add(run, given.order, given.client, given.key, given.label), True

    def _add(
        self, run: Connection, order: JobOrder, client: str, key: str | None, label: str
    ) -> str:
        waiting = "SELECT COUNT(*) FROM jobs WHERE state IN ('queued', 'paused')"
        (all_waiting,) = run.execute(waiting).fetchone()
        (own,) = run.execute(f"{waiting} AND client = ?", (client,)).fetchone()
        if all_waiting >= self.longest or own >= self.share:
            raise QueueFullError(f"{all_waiting} jobs are waiting already; try again later")
        if not all(map(self.has_file, order.list_digests())):
            raise MissingJobError("a file that the job needs was deleted")
        job, version = secrets.token_hex(10), next_version(run)
        run.execute(
            "INSERT INTO jobs (id, packed, state, client, label, version, place, attempts, "
            "created, key, digest) VALUES (?, ?, 'queued', ?, ?, ?, ?, 0, ?, ?, ?)",
            (job, order.packed, client, label, version, version, time.time(), key, order.digest()),
        )
        uses = [(job, digest) for digest in order.list_digests()]
        run.executemany("INSERT INTO used VALUES (?, ?)", uses)
        return job

    def run_again(self, job: str, *, client: str | None = None) -> Job:
        """Accept the same work anew."""

        def add(run: Connection) -> str:
            row = read_job(run, job)
            owner = row["client"] if client is None else client
            return self._add(run, JobOrder.unpack(row["packed"]), owner, None, row["label"])

        return self.get(self.store.write(add))

    def ask(self, job: str, wish: Wish) -> Job:
        """Cancel or pause a job: at once where it waits, else as soon as its worker stops."""
        self.store.write(lambda run: self._ask(run, job, wish))
        return self.get(job)

    def _ask(self, run: Connection, job: str, wish: Wish) -> None:
        state = read_job(run, job)["state"]
        if state in ENDED_STATES:
            raise JobStateError(f"the job is {state} already")
        if state == "running":
            change_job(run, job, wish=wish)
        elif wish == "pause":
            change_job(run, job, state="paused")
        else:
            change_job(run, job, state="cancelled", ended=time.time())

    def resume(self, job: str) -> Job:
        """Let a paused job go on where it was."""

        def change(run: Connection) -> None:
            row = read_job(run, job)
            if row["state"] == "paused":
                change_job(run, job, state="queued")
            elif row["state"] == "running" and row["wish"] == "pause":
                change_job(run, job, wish=None)
            elif row["state"] not in ("queued", "running"):
                raise JobStateError(f"the job is {row['state']}; only a paused one goes on")

        self.store.write(change)
        return self.get(job)

    def move(self, job: str, before: str | None) -> Job:
        """Put a waiting job before another of its client's queue, or at that queue's end."""

        def change(run: Connection) -> None:
            row = read_job(run, job)
            if row["state"] not in ("queued", "paused"):
                raise JobStateError(f"the job is {row['state']}; only one that waits is moved")
            query = "SELECT id, place FROM jobs WHERE client = ? AND state IN ('queued', 'paused') "
            rows = run.execute(f"{query} ORDER BY place", (row["client"],)).fetchall()
            order = [each["id"] for each in rows if each["id"] != job]
            if before is not None and before != job and before not in order:
                raise JobStateError("a job is moved before one that waits in the same queue")
            if before != job:
                order.insert(len(order) if before is None else order.index(before), job)
                for each, old in zip(order, rows, strict=True):
                    if each != old["id"]:
                        change_job(run, each, place=old["place"])

        self.store.write(change)
        return self.get(job)

    def mark_favourite(self, job: str, is_favourite: bool) -> Job:
        """Keep whether somebody likes what a job made."""

        def change(run: Connection) -> None:
            read_job(run, job)
            change_job(run, job, favourite=int(is_favourite))

        self.store.write(change)
        return self.get(job)

    def cancel_others(self, job: str) -> list[str]:
        """Cancel all that wait or run, but for one; return which."""

        def change(run: Connection) -> list[str]:
            read_job(run, job)
            query = "SELECT id FROM jobs WHERE state IN ('queued', 'paused', 'running') AND id != ?"
            others = [row["id"] for row in run.execute(query, (job,)).fetchall()]
            for other in others:
                self._ask(run, other, "cancel")
            return others

        return self.store.write(change)

    def delete(self, job: str) -> set[str]:
        """Delete a job that has ended or waits; return digests of which it was the last user."""

        def change(run: Connection) -> set[str]:
            if read_job(run, job)["state"] == "running":
                raise JobStateError("the job is running; cancel it before it is deleted")
            query = "SELECT digest FROM used WHERE job = ? UNION SELECT digest FROM results WHERE "
            digests = {row[0] for row in run.execute(f"{query}job = ?", (job, job))}
            run.execute("DELETE FROM jobs WHERE id = ?", (job,))
            next_version(run)
            return find_unused(run, digests)

        return self.store.write(change)
