"""The commands that look at the queue of ``impasto serve`` and steer it, whether it runs or not."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import App, Parameter

from impasto.cli.console import print_line, print_table, unwrapped
from impasto.cli.serve import find_home
from impasto.errors import MissingFileError, MissingJobError, suggest

if TYPE_CHECKING:
    from impasto.jobs.job import Job
    from impasto.jobs.queue import JobQueue

jobs = App(name="jobs", help="The queue of 'impasto serve': list, show, cancel, run-again.")


@contextmanager
def _opening(folder: Path | None) -> Iterator[JobQueue]:
    """Yield the queue that lies in a folder; there must be one."""
    from impasto.jobs.queue import JobQueue
    from impasto.jobs.store import STORE_FILE, JobStore

    place = folder or find_home()
    if not (place / STORE_FILE).is_file():
        raise MissingFileError(f"there are no jobs in {str(place)!r}; 'impasto serve' takes some")
    store = JobStore(place)
    try:
        yield JobQueue(store)
    finally:
        store.close()


def _find(queue: JobQueue, start: str) -> Job:
    """Return the job whose id begins so."""
    known = [job.id for job in queue.list_jobs()]
    found = [each for each in known if each.startswith(start)]
    if len(found) == 1:
        return queue.get(found[0])
    if found:
        raise MissingJobError(f"{start!r} begins the ids of {len(found)} jobs; give more of it")
    raise MissingJobError(f"unknown job {start!r}{suggest(start, known[:5]) if known else ''}")


@jobs.command(name="list")
@unwrapped
def list_all(
    *,
    folder: Path | None = None,
    all_jobs: Annotated[bool, Parameter(name="--all", negative=())] = False,
) -> None:
    """List jobs, those that run and wait first.

    Parameters
    ----------
    folder
        Where they are kept, if not where 'impasto serve' keeps them by itself.
    all_jobs
        All of them, and not only the last 20 that have ended.
    """
    from impasto.jobs.job import ENDED_STATES

    with _opening(folder) as queue:
        line = queue.list_queue()
        ended = queue.list_jobs(ENDED_STATES, most=-1 if all_jobs else 20)
        waiting = sorted(
            queue.list_jobs(("running", "queued", "paused")),
            key=lambda job: line.index(job.id) if job.id in line else -1,
        )
        rows = [_describe(job) for job in (*waiting, *ended)]
    if rows:
        print_table(rows, ("job", "state", "what", "of", "done"))
    else:
        print_line("no jobs")


def _describe(job: Job) -> list[str]:
    files = [each.name for values in job.order.inputs.values() for each in values]
    step, steps = job.progress.get("number", 0), job.progress.get("steps", 0)
    done = f"{step}/{steps}" if steps else ""
    state = f"{job.state} (to {job.wish})" if job.wish else job.state
    return [job.id, state, job.order.operation, ", ".join(files), job.error or done]


@jobs.command
@unwrapped
def show(job: str, /, *, folder: Path | None = None) -> None:
    """Show a job: what it is made from, how, and what came of it.

    Parameters
    ----------
    job
        Its id, or enough of its beginning.
    folder
        Where the jobs are kept, if not where 'impasto serve' keeps them by itself.
    """
    from impasto.jobs.file_store import locate_file

    with _opening(folder) as queue:
        found = _find(queue, job)
    said = {**found.order.options, **{n: _names(v) for n, v in found.order.files.items()}}
    rows = [
        ["job", found.id],
        ["state", found.state],
        ["what", found.order.operation],
        *[[name, _names(values)] for name, values in found.order.inputs.items()],
        *[[name, json.dumps(value, ensure_ascii=False)] for name, value in said.items()],
        ["accepted", _tell_time(found.created)],
        *([["ended", _tell_time(found.ended)]] if found.ended else []),
        *([["worked", f"{found.seconds:.1f} s"]] if found.seconds else []),
        *[["note", note] for note in found.notes],
        *([["error", found.error]] if found.error else []),
    ]
    print_table(rows)
    for result in found.results:
        path = locate_file(folder or find_home(), result.digest)
        print_line(f"{result.name}: {path}")


def _names(values: tuple[object, ...]) -> str:
    return ", ".join(str(getattr(each, "name", each)) for each in values)


def _tell_time(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))


@jobs.command
@unwrapped
def cancel(*job: str, folder: Path | None = None) -> None:
    """Cancel jobs; one that runs stops within seconds.

    Parameters
    ----------
    job
        Its id, or enough of its beginning; several may be given.
    folder
        Where the jobs are kept, if not where 'impasto serve' keeps them by itself.
    """
    with _opening(folder) as queue:
        for each in job:
            found = queue.ask(_find(queue, each).id, "cancel")
            print_line(f"{found.id} {'will be cancelled' if found.wish else found.state}")


@jobs.command(name="run-again")
@unwrapped
def run_again(*job: str, folder: Path | None = None) -> None:
    """Put the same jobs into the queue once more; 'impasto serve' does them.

    Parameters
    ----------
    job
        Its id, or enough of its beginning; several may be given.
    folder
        Where the jobs are kept, if not where 'impasto serve' keeps them by itself.
    """
    with _opening(folder) as queue:
        for each in job:
            again = queue.run_again(_find(queue, each).id)
            print_line(f"{again.id} {again.state}")
