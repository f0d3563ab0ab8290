"""The driver of the queue: takes jobs, has them executed, and alone changes the store.

One thread takes jobs and renews leases; executors call back with what is told and with outcomes.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from impasto.cluster.executors import JobExecutor, TaskFuture
from impasto.errors import (
    ClusterError,
    ImpastoError,
    JobStateError,
    LostProcessError,
    MissingJobError,
    StorageFullError,
    StoreError,
)
from impasto.jobs.file_store import FileStore, telling_full
from impasto.jobs.job import Job, JobInput, JobOrder, JobResult
from impasto.jobs.leases import Leases, merge_notes
from impasto.jobs.task import (
    OUTPUT,
    JobTask,
    TaskOutcome,
    TaskProgress,
    clean_name,
    run_task_in_folder,
)

_OFTEN = 1.0  # seconds between two looks at what is wished, and what is written to the store
_GATHER = 0.05  # seconds in which news is gathered
_FULL_PAUSE = 30.0  # seconds until a full disk is tried again
LEAST_FREE = 100 << 20  # bytes of disk, below which no job is begun


@dataclass
class ActiveJob:
    """A job that is being worked on: what was told of it since it was written down last."""

    job: Job
    future: TaskFuture | None = None
    began: float = field(default_factory=time.monotonic)
    steps: list[Mapping[str, Any]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    progress: Mapping[str, Any] = field(default_factory=dict)
    preview: bytes | None = None
    preview_step: int = 0


Listener = Callable[[str, ActiveJob], None]  # "progress" or "preview", and of which


class JobRunner:
    """Works through the queue as long as it is open."""

    def __init__(
        self,
        leases: Leases,
        files: FileStore,
        executor: JobExecutor,
        *,
        on_change: Callable[[], None] = lambda: None,
        listener: Listener = lambda *_: None,
        threads: int = 0,
    ) -> None:
        self.leases, self.files, self.executor = leases, files, executor
        self.on_change, self.listener, self.threads = on_change, listener, threads
        self.active: dict[str, ActiveJob] = {}
        self._lock, self._writing = threading.RLock(), threading.Lock()
        self._wake, self._closing = threading.Event(), threading.Event()
        self._full_until = 0.0
        self._thread = threading.Thread(target=self._run, name="runner", daemon=True)

    def begin(self) -> list[str]:
        """Take up what an earlier process left, and start; return what was taken up."""
        taken_up = self.take_up()
        self.start()
        return taken_up

    def take_up(self) -> list[str]:
        """Take up what an earlier process left; return what that is."""
        taken_up = self.leases.recover()
        self._clear_work()
        return taken_up

    def start(self) -> None:
        """Begin to work."""
        self._thread.start()

    def _clear_work(self) -> None:
        """Remove what is half done of jobs that will not go on: those cancelled as they waited."""
        left = self.files.list_work()
        if not left:
            return
        going_on = {j.id for j in self.leases.queue.list_jobs(("queued", "paused", "running"))}
        for job in left:
            if job not in going_on:
                self.files.remove_work(job)

    def wake(self) -> None:
        """Look at the queue now: something has changed there."""
        self._wake.set()

    def close(self, seconds: float = 8.0) -> None:
        """Let jobs stop where nothing is half done; they go on when the store is served again."""
        self._closing.set()
        self.wake()
        end = time.monotonic() + seconds
        for active in self._list_active():
            if active.future is not None:
                active.future.stop("halt")
        while self._list_active() and time.monotonic() < end:
            time.sleep(0.02)
        for active in self._list_active():
            if active.future is not None:
                active.future.kill()
        self.executor.shutdown(wait=True, cancel_futures=True)
        if self._thread.ident is not None:
            self._thread.join()

    def find(self, job: str) -> ActiveJob | None:
        """Return what is known of a job beyond the store, if it is being worked on."""
        with self._lock:
            return self.active.get(job)

    def _list_active(self) -> list[ActiveJob]:
        with self._lock:
            return list(self.active.values())

    # --- the thread

    def _run(self) -> None:
        while not self._closing.is_set():
            try:
                self._take_jobs()
            except StorageFullError:
                self._full_until = time.monotonic() + _FULL_PAUSE
            except StoreError:
                pass  # for the moment
            self._wake.wait(_OFTEN)
            self._closing.wait(_GATHER)
            self._wake.clear()
            for active in self._list_active():
                self._keep_up(active)
            with suppress(StoreError, StorageFullError):
                self._clear_work()
                if self.leases.expire():
                    self.on_change()

    def _take_jobs(self) -> None:
        """Begin jobs as long as there is room for one."""
        while len(self._list_active()) < self.executor.slots and not self._closing.is_set():
            if time.monotonic() < self._full_until or self.files.free_bytes() < LEAST_FREE:
                return
            job = self.leases.take()
            if job is None:
                return
            active = ActiveJob(job, progress=job.progress)
            with self._lock:
                self.active[job.id] = active
            self.on_change()
            self._begin_job(active)

    def _begin_job(self, active: ActiveJob) -> None:
        job = active.job
        try:
            task = place_task(job, self.files, threads=self.threads)
            on_message = partial(self._hear, active)
            active.future = self.executor.submit_task(run_task_in_folder, task, on_message)
        except Exception as error:
            self._settle(active, error=error)
            return
        active.future.add_done_callback(partial(self._end, active))

    def _keep_up(self, active: ActiveJob) -> None:
        """Write down what was told, renew the lease, and pass on what is wished."""
        try:
            self._write_down(active)
            wish = self.leases.renew(active.job)
        except (JobStateError, MissingJobError):  # it was given to another
            if active.future is not None:
                active.future.kill()
            return
        except (StoreError, StorageFullError):
            return  # what was measured is not what was accepted
        if wish and active.future is not None:
            active.future.stop(wish)

    def _write_down(self, active: ActiveJob) -> None:
        """Put into the store what was told; until it is there, who asks finds it here."""
        with self._writing:
            with self._lock:
                steps, notes = list(active.steps), list(active.notes)
            if steps or notes:
                self.leases.record(active.job, steps, notes)
            with self._lock:
                del active.steps[: len(steps)]
                active.notes = active.notes[len(notes) :]

    # --- called by the executor

    def _hear(self, active: ActiveJob, message: object) -> None:
        """Take in what a task tells."""
        if not isinstance(message, TaskProgress):
            return
        with self._lock:
            active.steps += message.steps
            active.notes = merge_notes(active.notes, message.notes)
            if message.steps:
                active.progress = message.steps[-1]
            if message.preview is not None:
                active.preview, active.preview_step = message.preview, message.preview_step
        if message.steps:
            self.listener("progress", active)
        if message.preview is not None:
            self.listener("preview", active)

    def _end(self, active: ActiveJob, future: Any) -> None:
        """Take in how a task ended."""
        if future.cancelled():
            self._settle(active, error=LostProcessError("was not begun"))
        elif error := future.exception():
            self._settle(active, error=error)
        else:
            self._settle(active, outcome=future.result())

    def _settle(
        self,
        active: ActiveJob,
        *,
        outcome: TaskOutcome | None = None,
        error: BaseException | None = None,
    ) -> None:
        """Write down how it ended; whatever fails here, the job is not lost."""
        seconds = time.monotonic() - active.began
        try:
            self._keep_up(active)
            if outcome is not None:
                self._settle_outcome(active.job, outcome, seconds)
            elif error is not None:
                self._settle_error(active, error, seconds)
        except (JobStateError, MissingJobError):
            pass  # it was given to another
        except (StoreError, StorageFullError):
            self._give_back_full(active.job, seconds)
        finally:
            with self._lock:
                self.active.pop(active.job.id, None)
            self.on_change()
            self.wake()

    def _settle_outcome(self, job: Job, outcome: TaskOutcome, seconds: float) -> None:
        if not outcome.is_done:
            self.leases.give_back(job, seconds=seconds)
            return
        folder = self.files.work_folder(job.id) / OUTPUT
        with self.files.turn:
            results = [
                JobResult(m.name, self.files.keep_file(folder / m.name), m.size, m.width, m.height)
                for m in outcome.files
            ]
            self.leases.finish(job, results, seconds=seconds, notes=outcome.notes)
        self.files.remove_work(job.id)  # only now: until then, a kill costs a few seconds

    def _settle_error(self, active: ActiveJob, error: BaseException, seconds: float) -> None:
        job = active.job
        if isinstance(error, StorageFullError) or "no space left" in str(error).lower():
            self._give_back_full(job, seconds)
            return
        if isinstance(error, ClusterError):  # it is gone: jobs wait until it is back
            self.leases.give_back(job, seconds=seconds)
        elif isinstance(error, LostProcessError):
            if self._closing.is_set():
                self.leases.give_back(job, seconds=seconds)
            else:
                self.leases.lose(job, str(error), seconds=seconds)
        else:
            text = str(error) if isinstance(error, ImpastoError) else f"{error!r}"
            self.leases.fail(job, text, seconds=seconds)

    def _give_back_full(self, job: Job, seconds: float) -> None:
        """Let a job wait until there is room for what comes of it."""
        self._full_until = time.monotonic() + _FULL_PAUSE
        with suppress(ImpastoError, OSError):  # its lease runs out, and it is taken up again
            self.leases.give_back(job, seconds=seconds)


# --- a job's folder -----------------------------------------------------------------------------


def place_task(job: Job, files: FileStore, *, threads: int = 0) -> JobTask:
    """Put a job's inputs into its folder, and return the task of it."""
    folder, order = files.work_folder(job.id), job.order
    with telling_full():
        folder.mkdir(exist_ok=True, mode=0o700)
    inputs = {
        name: tuple(
            _place_input(each, files, folder, f"inputs/{name}/{number}")
            for number, each in enumerate(values)
        )
        for name, values in order.inputs.items()
    }
    options = dict(order.options)
    for name, values in order.files.items():
        paths = [
            _place_input(each, files, folder, f"options/{name}/{number}")
            for number, each in enumerate(values)
        ]
        options[name] = paths if isinstance(options[name], list) else paths[0]
    return JobTask(str(folder), order.operation, inputs, options, order.picture, threads)


def _place_input(given: JobInput, files: FileStore, folder: Path, place: str) -> str:
    """Put one value of an input below the folder; return its path there, or the word it is."""
    if given.is_word:
        return given.name
    path = f"{place}/{clean_name(given.name)}"
    if given.digest is not None:
        files.lend(given.digest, folder / path)
    for member, digest in given.members:
        files.lend(digest, folder / path / member)
    return path


def list_files_of(order: JobOrder) -> list[tuple[str, int, JobInput]]:
    """Return every value of a job's inputs that is a file, with the input and its number."""
    return [
        (name, number, each)
        for name, values in order.inputs.items()
        for number, each in enumerate(values)
        if each.digest is not None
    ]
