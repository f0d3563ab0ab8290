"""Jobs done on a cluster, slice by slice: each goes on from the folder that the last one left.

So any machine may do the next slice, a worker that dies costs one, and what is paused keeps what is
done. Only the driver writes into a job's folder. Work whose state cannot be kept is one slice.
"""

from __future__ import annotations

import os
import shutil
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any
from weakref import WeakSet

from impasto.cluster.courier import RemoteExecutor
from impasto.cluster.crew import FileHandles, TaskNeeds
from impasto.cluster.executors import (
    LOOK,
    JobExecutor,
    ProcessExecutor,
    TalkingTask,
    TaskFuture,
    TaskLimits,
    Tell,
)
from impasto.cluster.places import WorkPlace
from impasto.cluster.worker import (
    DoTask,
    Find,
    TaskReport,
    WorkerSpec,
    do_task,
    make_scratch,
    pack_spec,
)
from impasto.errors import ClusterError, ImpastoError, LimitError, LostProcessError
from impasto.jobs.task import SLICE_OVER, JobTask, TaskOutcome, TaskProgress, run_task_in_folder
from impasto.system.files import LOCK, replace_file

_SLICE = 10.0  # seconds of work, after which its state comes back
_REJOIN = 20.0  # seconds between two tries to reach a cluster that is gone
_HALF = ".part"  # suffix of a file that is not whole


def make_job_executor(
    place: WorkPlace, limits: TaskLimits, *, slice_seconds: float = _SLICE
) -> JobExecutor:
    """Return what does jobs at that place."""
    if place.kind == "local":
        return ProcessExecutor(place.count, limits)
    return ClusterJobExecutor(place, limits, slice_seconds=slice_seconds)


# --- on a worker --------------------------------------------------------------------------------


@dataclass(frozen=True)
class JobSlice:
    """A part of a job: what is in its folder, and how long it may be worked on."""

    task: JobTask
    names: tuple[str, ...]  # files, by their paths below the folder
    seconds: float | None  # None: to the end


@dataclass(frozen=True)
class SliceOutcome:
    """What came of a slice: what is new in the folder, what is gone, and what was told."""

    outcome: TaskOutcome
    told: tuple[TaskProgress, ...]
    files: Mapping[str, bytes]
    gone: tuple[str, ...]


def make_slicer(given: Any, find: Find) -> DoTask:  # noqa: ARG001
    """Return what does slices; it needs nothing beforehand."""
    return do_slice


def do_slice(part: JobSlice, find: Find) -> SliceOutcome:
    """Work on a job in a folder of this machine, for as long as a slice is."""
    here, end = Path.cwd(), time.monotonic() + (part.seconds or float("inf"))
    told: list[TaskProgress] = []
    with make_scratch() as folder:
        for name in part.names:
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(find(str(Path(part.task.folder) / name)), path)
        before = {name: _look_at_file(folder / name) for name in part.names}
        try:
            outcome = run_task_in_folder(
                replace(part.task, folder=str(folder), threads=part.task.threads or 1),
                told.append,  # type: ignore[arg-type]
                lambda: SLICE_OVER if time.monotonic() > end else "",
            )
        finally:
            os.chdir(here)
        names = list_folder(folder)
        changed = [n for n in names if before.get(n) != _look_at_file(folder / n)]
        files = {name: (folder / name).read_bytes() for name in changed}
    return SliceOutcome(outcome, _thin(told), files, tuple(set(part.names) - set(names)))


def _thin(told: Sequence[TaskProgress]) -> tuple[TaskProgress, ...]:
    """Return what was told with the last preview alone."""
    last = max((i for i, each in enumerate(told) if each.preview is not None), default=-1)
    return tuple(
        each if i == last else replace(each, preview=None, preview_step=0)
        for i, each in enumerate(told)
    )


def list_folder(folder: Path) -> list[str]:
    """Return the files of a job's folder by their paths below it; none that are half done."""
    found = (path for path in sorted(folder.rglob("*")) if path.is_file())
    kept = (path for path in found if path.suffix != _HALF and path.name != LOCK)
    return [path.relative_to(folder).as_posix() for path in kept]


def _look_at_file(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_mtime_ns, found.st_size


# --- the driver ---------------------------------------------------------------------------------


class ClusterJobExecutor(JobExecutor):
    """Does jobs on a cluster; one that is gone is joined again when it is back."""

    def __init__(self, place: WorkPlace, limits: TaskLimits, *, slice_seconds: float) -> None:
        self.limits, self.slice_seconds = limits, slice_seconds
        self._place, self._needs = place, TaskNeeds(limits.memory, gpu=True)
        self._futures: WeakSet[TaskFuture] = WeakSet()
        self._threads: WeakSet[threading.Thread] = WeakSet()
        self._lock, self._closed = threading.Lock(), False
        self._next_try = 0.0
        self._join()

    def _join(self) -> None:
        remote = RemoteExecutor(self._place, self._needs)
        self._remote, self._files = remote, FileHandles(remote)
        self._spec = remote.put(
            pack_spec(WorkerSpec("impasto.jobs.cluster_jobs:make_slicer", None))
        )

    @property
    def notes(self) -> tuple[str, ...]:
        """What is to be said of the cluster, as what listens."""
        return self._remote.facts.notes

    @property
    def slots(self) -> int:  # type: ignore[override]
        """How many jobs it does at a time; none while the cluster is gone."""
        if not self._remote.is_gone:
            return self._remote.slots
        if time.monotonic() > self._next_try and not self._closed:
            self._next_try = float("inf")
            threading.Thread(target=self._rejoin, name="rejoin", daemon=True).start()
        return 0

    def _rejoin(self) -> None:
        with suppress(ImpastoError):
            old = self._remote
            self._join()
            old.shutdown(wait=False)
        self._next_try = time.monotonic() + _REJOIN

    def submit_task(self, function: TalkingTask, task: object, on_message: Tell) -> TaskFuture:
        """Do a job; ``function`` is that of all jobs."""
        if function is not run_task_in_folder or not isinstance(task, JobTask):
            raise NotImplementedError("jobs alone are done on a cluster")
        future = TaskFuture(on_message)
        thread = threading.Thread(target=self._serve, args=(task, future), daemon=True)
        self._futures.add(future)
        self._threads.add(thread)
        thread.start()
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Leave the cluster once its jobs are done, or ended."""
        self._closed = True
        for future in list(self._futures) if cancel_futures else ():
            future.kill()
        for thread in list(self._threads) if wait else ():
            thread.join()
        self._remote.end()

    # --- a job: the life of a thread

    def _serve(self, task: JobTask, future: TaskFuture) -> None:
        if not future.set_running_or_notify_cancel():
            return
        try:
            future.set_result(self._work(task, future))
        except Exception as error:  # the runner's to tell
            future.set_exception(error)

    def _work(self, task: JobTask, future: TaskFuture) -> TaskOutcome:
        """Do slices until the job is done, or something else is wished."""
        folder, tries = Path(task.folder), 0
        seconds: float | None = self.slice_seconds
        reached, began = -1, time.monotonic()
        while True:
            try:
                done = self._do_slice(task, seconds, future, began)
            except LostProcessError:
                tries += 1
                if future.is_killed or tries >= self._remote.tries:
                    raise
                continue
            if done is None:
                return TaskOutcome(False, time.monotonic() - began)
            _write_folder(folder, done)
            if reached >= 0:
                done = _forget_taking_up(done)
            for message in done.told:
                future.on_message(message)
            if done.outcome.is_done or future.word:
                return done.outcome
            number = max((s.get("number", 0) for m in done.told for s in m.steps), default=0)
            if number <= reached:  # it began anew: as one slice, it comes to its end
                seconds = None
            reached, tries = max(reached, number), 0

    def _do_slice(
        self, task: JobTask, seconds: float | None, future: TaskFuture, began: float
    ) -> SliceOutcome | None:
        """Do a slice somewhere; None if it was ended as something else was wished."""
        names = tuple(list_folder(Path(task.folder)))
        paths = [str(Path(task.folder) / name) for name in names]
        with self._lock:
            sent, handles = self._files.pack(paths)
        part = JobSlice(task, names, seconds)
        call = self._remote.submit(do_task, self._spec, part, sent, *handles)
        try:
            report = self._wait(call, future, began)
        finally:
            call.cancel()
        return None if report is None else report.outcome

    def _wait(self, call: Future[Any], future: TaskFuture, began: float) -> TaskReport | None:
        while True:
            with suppress(TimeoutError):
                report = call.result(LOOK)
                assert isinstance(report, TaskReport)
                return report
            now, limits = time.monotonic(), self.limits
            if future.is_killed:
                raise LostProcessError("was ended as it was told to")
            if future.wished and (future.word == "cancel" or now - future.wished > limits.stopping):
                return None
            if limits.seconds is not None and now - began > limits.seconds:
                raise LimitError(f"took more than the {limits.seconds:g} seconds that a job may")


def _forget_taking_up(done: SliceOutcome) -> SliceOutcome:
    """Leave out the notes that each slice begins with."""

    def leave_out(notes: Sequence[str]) -> tuple[str, ...]:
        return tuple(note for note in notes if not note.startswith("taken up at step"))

    told = tuple(replace(each, notes=leave_out(each.notes)) for each in done.told)
    outcome = replace(done.outcome, notes=leave_out(done.outcome.notes))
    return replace(done, told=told, outcome=outcome)


def _write_folder(folder: Path, done: SliceOutcome) -> None:
    """Bring a job's folder to what a slice left."""
    for name in (*done.files, *done.gone):
        if ".." in PurePosixPath(name).parts or PurePosixPath(name).is_absolute():
            raise ClusterError(f"a worker names a file outside of its folder: {name!r}")
    # What it goes on from comes last: a driver that is killed in between repeats a slice.
    for name in sorted(done.files, key=lambda name: (name == "checkpoint", name)):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        replace_file(folder / name, done.files[name])
    for name in done.gone:
        (folder / name).unlink(missing_ok=True)
