"""The files that clients sent, as the store knows them, and all that is kept of files."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from impasto.errors import JobStateError, MissingJobError, shorten
from impasto.jobs.job import Upload
from impasto.jobs.store import Connection, JobStore, find_unused, next_version

_KEPT = "SELECT digest, size FROM uploads UNION SELECT digest, size FROM results"


class UploadList:
    """Uploads by their ids, which follow from name and bytes: the same file is the same upload."""

    def __init__(self, store: JobStore) -> None:
        self.store = store

    def add(self, name: str, digest: str, size: int, kind: str, facts: Mapping[str, Any]) -> Upload:
        """Accept a file that is kept already; return it as it is known from now on."""
        own = hashlib.sha256(f"{digest}/{name}".encode()).hexdigest()[:20]

        def change(run: Connection) -> None:
            run.execute(
                "INSERT INTO uploads VALUES (?, ?, ?, ?, ?, ?, ?) "
                "ON CONFLICT (id) DO UPDATE SET created = excluded.created",
                (own, name, digest, size, kind, json.dumps(facts), time.time()),
            )
            next_version(run)

        self.store.write(change)
        return self.get(own)

    def get(self, upload: str) -> Upload:
        """Return an upload; an id that is unknown is an error."""
        rows = self.store.read("SELECT * FROM uploads WHERE id = ?", (upload,))
        if not rows:
            raise MissingJobError(f"unknown upload {shorten(upload)!r}")
        return _unpack(rows[0])

    def list_uploads(self, *, most: int = -1, before: str | None = None) -> list[Upload]:
        """Return uploads, the newest first; ``before`` goes on after an earlier list's last."""
        where, values = "1", []
        if before is not None:
            last = self.get(before)
            where, values = "(created, id) < (?, ?)", [last.created, last.id]
        query = f"SELECT * FROM uploads WHERE {where} ORDER BY created DESC, id DESC LIMIT ?"
        return [_unpack(row) for row in self.store.read(query, [*values, most])]

    def find_by_start(self, digits: str) -> list[Upload]:
        """Return the uploads whose digest begins so: what recipes know of a picture."""
        query = "SELECT * FROM uploads WHERE substr(digest, 1, ?) = ? ORDER BY created DESC"
        return [_unpack(row) for row in self.store.read(query, (len(digits), digits))]

    def delete(self, upload: str) -> set[str]:
        """Forget an upload; return digests of which it was the last user.

        One that a job waits with, or works on, stays.
        """

        def change(run: Connection) -> set[str]:
            query = "SELECT digest FROM uploads WHERE id = ?"
            row = run.execute(query, (upload,)).fetchone()
            if row is None:
                raise MissingJobError(f"unknown upload {shorten(upload)!r}")
            needed = run.execute(
                "SELECT 1 FROM used JOIN jobs ON jobs.id = used.job WHERE used.digest = ? AND "
                "jobs.state IN ('queued', 'paused', 'running')",
                (row["digest"],),
            ).fetchone()
            if needed:
                raise JobStateError("a job that waits or runs needs this upload")
            run.execute("DELETE FROM uploads WHERE id = ?", (upload,))
            next_version(run)
            return find_unused(run, [row["digest"]])

        return self.store.write(change)

    def release(self, digests: Iterable[str], remove: Callable[[set[str]], None]) -> None:
        """Have files removed that nothing has any more.

        That is looked at once more, and no job is accepted meanwhile.
        """
        self.store.write(lambda run: remove(find_unused(run, digests)))

    def list_stale(self, since: float) -> list[str]:
        """Return uploads that are older, and that no job has."""
        query = (
            "SELECT id FROM uploads WHERE created < ? AND digest NOT IN (SELECT digest FROM used)"
        )
        return [row["id"] for row in self.store.read(query, (since,))]

    def list_digests(self) -> set[str]:
        """Return the digests of all files that anything has."""
        tables = ("used", "results", "uploads")
        query = " UNION ".join(f"SELECT digest FROM {table}" for table in tables)
        return {row["digest"] for row in self.store.read(query)}

    def count_bytes(self) -> int:
        """Return the bytes that uploads and results take, each file once."""
        query = f"SELECT COALESCE(SUM(size), 0) FROM (SELECT digest, MAX(size) AS size FROM ({_KEPT}) GROUP BY digest)"  # noqa: E501
        return int(self.store.read(query)[0][0])


def _unpack(row: Any) -> Upload:
    facts = json.loads(row["facts"])
    return Upload(
        row["id"], row["name"], row["digest"], row["size"], row["kind"], facts, row["created"]
    )
