"""Jobs and uploads in one SQLite file, which is right after any kill of any process.

What was accepted is on the disk. Several threads and processes may use a store; what comes at the
same time is put on the disk together, in one transaction.
"""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar, cast

from impasto.errors import (
    ImpastoError,
    MissingJobError,
    OptionError,
    StorageFullError,
    StoreError,
    describe_reason,
    shorten,
)
from impasto.jobs.job import Job, JobOrder, JobResult

Connection = sqlite3.Connection
JobRow = sqlite3.Row
_Outcome = TypeVar("_Outcome")

STORE_FILE = "jobs.sqlite"
SCHEMA_VERSION = 2

_SCHEMA = """
CREATE TABLE jobs (
  id TEXT PRIMARY KEY, packed TEXT NOT NULL, state TEXT NOT NULL, client TEXT NOT NULL,
  label TEXT NOT NULL, version INTEGER NOT NULL, place INTEGER NOT NULL, attempts INTEGER NOT NULL,
  created REAL NOT NULL, lease TEXT, lease_until REAL, wish TEXT, started REAL, ended REAL,
  seconds REAL NOT NULL DEFAULT 0, progress TEXT NOT NULL DEFAULT '{}',
  notes TEXT NOT NULL DEFAULT '[]', error TEXT, key TEXT, digest TEXT NOT NULL,
  UNIQUE (client, key)
) STRICT;
CREATE INDEX jobs_by_state ON jobs (state, client, place);
CREATE INDEX jobs_by_version ON jobs (version);
CREATE TABLE results (
  job TEXT NOT NULL REFERENCES jobs (id) ON DELETE CASCADE, name TEXT NOT NULL,
  digest TEXT NOT NULL, size INTEGER NOT NULL, width INTEGER NOT NULL, height INTEGER NOT NULL,
  PRIMARY KEY (job, name)
) STRICT;
CREATE TABLE steps (
  job TEXT NOT NULL REFERENCES jobs (id) ON DELETE CASCADE, number INTEGER NOT NULL,
  packed TEXT NOT NULL, PRIMARY KEY (job, number)
) STRICT, WITHOUT ROWID;
CREATE TABLE used (
  job TEXT NOT NULL REFERENCES jobs (id) ON DELETE CASCADE, digest TEXT NOT NULL,
  PRIMARY KEY (job, digest)
) STRICT, WITHOUT ROWID;
CREATE INDEX used_by_digest ON used (digest);
CREATE INDEX results_by_digest ON results (digest);
CREATE TABLE uploads (
  id TEXT PRIMARY KEY, name TEXT NOT NULL, digest TEXT NOT NULL, size INTEGER NOT NULL,
  kind TEXT NOT NULL, facts TEXT NOT NULL, created REAL NOT NULL
) STRICT;
CREATE INDEX uploads_by_digest ON uploads (digest);
CREATE TABLE clients (name TEXT PRIMARY KEY, served INTEGER NOT NULL) STRICT;
CREATE TABLE counter (version INTEGER NOT NULL) STRICT;
INSERT INTO counter VALUES (0);
"""
# What has been added since the first version, one piece a version.
_CHANGES = ("ALTER TABLE jobs ADD COLUMN favourite INTEGER NOT NULL DEFAULT 0",)


@dataclass
class _Ticket(Generic[_Outcome]):
    """A change that waits to be made, and what came of it."""

    change: Callable[[sqlite3.Connection], _Outcome]
    outcome: _Outcome | None = None
    error: Exception | None = None
    is_done: bool = False

    def settle(self, connection: sqlite3.Connection) -> None:
        """Make the change; what is refused changes nothing."""
        connection.execute("SAVEPOINT change")
        try:
            self.outcome, self.error = self.change(connection), None
        except ImpastoError as error:
            connection.execute("ROLLBACK TO change")
            self.error = error
        connection.execute("RELEASE change")


class JobStore:
    """The SQLite file: its schema, and changes that are put on the disk together."""

    def __init__(self, folder: Path) -> None:
        self._lock, self._line = threading.RLock(), threading.Lock()
        self._reading = threading.Lock()
        self._waiting: list[_Ticket[Any]] = []
        try:
            self._connection = _open(folder)
            self._prepare()
            self._reader = _open(folder)  # who looks does not wait for the disk
        except sqlite3.DatabaseError as error:
            reason = describe_reason(error)
            raise OptionError(f"cannot open the jobs in {str(folder)!r}: {reason}") from None

    def _prepare(self) -> None:
        run = self._connection.execute
        run("PRAGMA journal_mode = WAL")
        run("PRAGMA synchronous = FULL")
        run("PRAGMA foreign_keys = ON")
        run("PRAGMA secure_delete = ON")
        run("BEGIN IMMEDIATE")  # two processes may begin at once
        (found,) = run("PRAGMA user_version").fetchone()
        if found > SCHEMA_VERSION:
            run("ROLLBACK")
            raise OptionError("the jobs here are of a newer version of Impasto; update it")
        steps = [_SCHEMA, *_CHANGES] if found == 0 else _CHANGES[found - 1 :]
        for statement in ";".join(steps).split(";"):
            run(statement)
        run(f"PRAGMA user_version = {SCHEMA_VERSION}")
        run("COMMIT")

    def close(self) -> None:
        """Let go of the file."""
        with self._lock, self._reading:
            self._reader.close()
            self._connection.close()

    def read(self, query: str, values: Sequence[Any] | Mapping[str, Any] = ()) -> list[sqlite3.Row]:
        """Return the rows that a query finds, as they were last put on the disk."""
        try:
            with self._reading:
                return self._reader.execute(query, values).fetchall()
        except sqlite3.Error as error:
            raise _describe_failure(error) from None

    def write(self, change: Callable[[sqlite3.Connection], _Outcome]) -> _Outcome:
        """Make a change, and return what it returns once that is on the disk.

        Threads that come meanwhile wait in a line; the next one puts the changes of all of them on
        the disk at once.
        """
        (outcome,) = self.write_all([change])
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    def write_all(
        self, changes: Sequence[Callable[[sqlite3.Connection], _Outcome]]
    ) -> list[_Outcome | Exception]:
        """Make changes; return what each returns, or the error that it ended in."""
        tickets = [_Ticket(change) for change in changes]
        with self._line:
            self._waiting += tickets
        with self._lock:
            if not all(each.is_done for each in tickets):
                with self._line:
                    batch, self._waiting = self._waiting, []
                self._settle(batch)
        return [
            cast("_Outcome", each.outcome) if each.error is None else each.error for each in tickets
        ]

    def _settle(self, batch: Sequence[_Ticket[Any]]) -> None:
        """Make changes in one transaction; if that fails, each in its own."""
        error = self._commit(batch)
        if error is not None and len(batch) > 1:
            for ticket in batch:
                ticket.error = self._commit([ticket]) or ticket.error
        elif error is not None:
            batch[0].error = error
        for ticket in batch:
            ticket.is_done = True

    def _commit(self, batch: Sequence[_Ticket[Any]]) -> Exception | None:
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            for ticket in batch:
                ticket.settle(self._connection)
            self._connection.execute("COMMIT")
        except Exception as error:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            return _describe_failure(error)
        return None

    def shrink(self) -> None:
        """Take what was deleted out of the journal too."""
        with self._lock, suppress(sqlite3.Error):  # another process reads; it is done next time
            self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def _open(folder: Path) -> sqlite3.Connection:
    """Open the file, for several threads that take turns."""
    connection = sqlite3.connect(
        folder / STORE_FILE, timeout=10, isolation_level=None, check_same_thread=False
    )
    connection.row_factory = sqlite3.Row
    return connection


def _describe_failure(error: Exception) -> Exception:
    """Return what the database says, as an error of ours."""
    if isinstance(error, sqlite3.OperationalError) and "full" in str(error):
        return StorageFullError(f"cannot keep it: {describe_reason(error)}")
    if isinstance(error, sqlite3.Error):
        return StoreError(f"the store of jobs: {describe_reason(error)}")
    return error


def next_version(run: sqlite3.Connection) -> int:
    """Return a number that no change had before."""
    (number,) = run.execute("UPDATE counter SET version = version + 1 RETURNING version").fetchone()
    return int(number)


def read_job(run: sqlite3.Connection, job: str) -> sqlite3.Row:
    """Return a job's row, or raise an error for a job that is unknown."""
    row = run.execute("SELECT * FROM jobs WHERE id = ?", (job,)).fetchone()
    if row is None:
        raise MissingJobError(f"unknown job {shorten(job)!r}")
    return cast("sqlite3.Row", row)


def change_job(run: sqlite3.Connection, job: str, **values: Any) -> None:
    """Set columns of a job's row, which gives it a new version."""
    set_columns(run, job, {**values, "version": next_version(run)})


def set_columns(run: sqlite3.Connection, job: str, values: Mapping[str, Any]) -> None:
    """Set columns of a job's row."""
    named = ", ".join(f"{name} = :{name}" for name in values)
    run.execute(f"UPDATE jobs SET {named} WHERE id = :id", {**values, "id": job})


_SAME: tuple[str, ...] = ("id", "state", "client", "label", "version", "place", "attempts")
_SAME += ("created", "lease", "lease_until", "wish", "started", "ended", "seconds", "error")


def unpack_job(row: sqlite3.Row, results: Iterable[sqlite3.Row] = ()) -> Job:
    """Return a job as it stands in its row."""
    return Job(
        order=JobOrder.unpack(row["packed"]),
        progress=json.loads(row["progress"]),
        notes=tuple(json.loads(row["notes"])),
        results=tuple(
            JobResult(each["name"], each["digest"], each["size"], each["width"], each["height"])
            for each in results
        ),
        is_favourite=bool(row["favourite"]),
        **{name: row[name] for name in _SAME},
    )


def find_unused(run: sqlite3.Connection, digests: Iterable[str]) -> set[str]:
    """Return those digests that no job and no upload has any more."""
    tables = ("used", "results", "uploads")
    return {
        digest
        for digest in digests
        if not any(
            run.execute(f"SELECT 1 FROM {table} WHERE digest = ?", (digest,)).fetchone()
            for table in tables
        )
    }
