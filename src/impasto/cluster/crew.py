"""The driver's side of shared work: hands tasks to an executor, and takes their outcomes.

A task whose worker dies is given to another; an error that a worker tells is raised here. Only the
driver writes what comes back.
"""

from __future__ import annotations

import hashlib
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError, Future
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, NoReturn

from impasto.cluster.executors import JobExecutor, ProcessExecutor
from impasto.cluster.places import WorkPlace
from impasto.cluster.worker import (
    SentFile,
    TaskReport,
    TaskShare,
    WorkerMachine,
    WorkerSpec,
    describe_worker,
    do_task,
    pack_spec,
)
from impasto.errors import DeviceError, LostProcessError, plural

_IDLE = 0.5  # seconds without an outcome, after which it is said that there is none
_AHEAD = 2  # tasks for each place of work that are handed out: the next waits there
_HELD = 32  # files of tasks that a cluster holds for the next

Lose = Callable[[Any, str], Any]  # a task and how its worker died -> what stands for its outcome
ListFiles = Callable[[Any], Sequence[str]]  # the files that a task reads


@dataclass(frozen=True)
class TaskNeeds:
    """What a task is to be given on a cluster."""

    memory: int | None = None  # bytes
    gpu: bool = False  # a graphics card, where there are some


def give_up_work(_: Any, how: str) -> NoReturn:
    """End the work where a task cannot be done: what is lost with it would be missing."""
    raise DeviceError(
        f"a process {how}; the same command goes on, with fewer --jobs if memory is short"
    )


@contextmanager
def hire_crew(place: WorkPlace, most: int, needs: TaskNeeds | None = None) -> Iterator[Crew]:
    """Yield who does up to ``most`` tasks at a time at that place; afterwards all is ended."""
    if place.kind == "local":
        count = max(1, min(place.count, most))
        executor: JobExecutor = ProcessExecutor(count, nice=0)
        crew = Crew(executor, TaskShare(count), place.describe_idle(most))
    else:
        from impasto.cluster.courier import RemoteExecutor

        remote = executor = RemoteExecutor(place, needs or TaskNeeds())
        crew = Crew(executor, TaskShare(remote.facts.cores, threads=1), remote.facts.notes)
    try:
        yield crew
    finally:
        executor.end()


@dataclass
class _Given:
    """A task that was handed out, and how often."""

    number: int
    task: Any
    tries: int = 0


class Crew:
    """Who does the tasks, and how they get on."""

    def __init__(self, executor: JobExecutor, share: TaskShare, notes: Sequence[str] = ()) -> None:
        self.executor, self.share = executor, share
        self.machines: dict[str, WorkerMachine] = {}
        self.done, self.redone = 0, 0
        self._notes = list(notes)
        self._files = FileHandles(executor)
        self._began = time.perf_counter()

    def share_out(
        self,
        spec: WorkerSpec,
        tasks: Sequence[Any],
        *,
        list_files: ListFiles = lambda _: (),
        lose: Lose = give_up_work,
    ) -> Iterator[tuple[Any, TaskReport | None]]:
        """Yield tasks with their reports, as they come; now and then (None, None), to stop at.

        For a task that was lost, the report has what ``lose`` returned.
        """
        packed = self.executor.put(pack_spec(spec))
        shared = self._files.pack(spec.files)
        left = [_Given(number, task) for number, task in enumerate(tasks)][::-1]
        pending: dict[Future[Any], _Given] = {}
        # Not concurrent.futures.wait: Ctrl-C within it leaves futures locked for ever.
        ended: SimpleQueue[Future[Any]] = SimpleQueue()
        try:
            while left or pending:
                while left and len(pending) < _AHEAD * max(1, self.executor.slots):
                    given = left.pop()
                    given.tries += 1
                    sent, handles = self._files.pack(list_files(given.task))
                    files = [*shared[0], *sent], *shared[1], *handles
                    future = self.executor.submit(do_task, packed, given.task, *files)
                    pending[future] = given
                    future.add_done_callback(ended.put)
                try:
                    future = ended.get(timeout=_IDLE)
                except Empty:
                    yield None, None
                    continue
                given = pending.pop(future)
                report = self._take(future, given, lose)
                if report is None:
                    left.append(given)
                else:
                    yield given.task, report
        finally:
            for future in pending:
                future.cancel()

    def _take(self, future: Future[Any], given: _Given, lose: Lose) -> TaskReport | None:
        """Return what came of a task; None if it is to be done again."""
        try:
            report = future.result()
        except (LostProcessError, CancelledError) as loss:
            if given.tries < self.executor.tries:
                self.redone += 1
                return None
            return TaskReport(lose(given.task, str(loss)), describe_worker(), 0.0)
        assert isinstance(report, TaskReport)
        self.machines.setdefault(report.machine.host, report.machine)
        self.done += 1
        return report

    # --- what is told

    def describe(self) -> str:
        """Return ``3 machines, 4.2 a second``; of this machine alone, only the second."""
        speed = self.done / max(time.perf_counter() - self._began, 1e-9)
        told = f"{speed:.1f} a second" if speed >= 0.1 else f"{speed * 60:.1f} a minute"
        return ", ".join(filter(None, [self.count_machines(), told]))

    def count_machines(self) -> str:
        """Return ``3 machines`` that have done something; nothing of this machine alone."""
        hosts = len(self.machines)
        return plural(hosts, "machine") if self.executor.is_remote and hosts else ""

    @property
    def notes(self) -> list[str]:
        """What is to be said of the machines: what listens, what was done again, who is unlike."""
        notes = list(self._notes)
        if self.redone:
            notes.append(f"{plural(self.redone, 'task')} begun again: a worker was lost")
        if unlike := self._list_unlike():
            here = describe_worker()
            names = ", ".join(map(str, unlike))
            notes.append(
                f"machines unlike this one ({here.processor}, {here.numbers}) took part, and may "
                f"round otherwise: {names}"
            )
        return notes

    def _list_unlike(self) -> list[WorkerMachine]:
        if not self.executor.is_remote:
            return []
        here = describe_worker()
        return [place for place in self.machines.values() if not place.is_like(here)]


# --- files that travel --------------------------------------------------------------------------


Packed = tuple[list[SentFile], list[Any]]  # files, and what stands for the bytes of each


class FileHandles:
    """Files as a cluster holds them: each is put there once, by its digest."""

    def __init__(self, executor: JobExecutor) -> None:
        self.executor = executor
        self.held: OrderedDict[str, Any] = OrderedDict()  # what stands for bytes, by their digest

    def pack(self, paths: Sequence[str]) -> Packed:
        """Return how files are called and where they are to lie, with what stands for each."""
        sent: list[SentFile] = []
        handles: list[Any] = []
        for path in map(Path, dict.fromkeys(paths)) if self.executor.is_remote else ():
            members = list_members(path)
            contents = [member.read_bytes() for member in members]
            digests = [hash_bytes(content) for content in contents]
            tree = digests[0] if path.is_file() else hash_bytes("".join(digests).encode())
            for member, content, digest in zip(members, contents, digests, strict=True):
                place = member.relative_to(path.parent).as_posix()
                sent.append(SentFile(str(path), tree, place, path.name))
                handles.append(self._put(digest, content))
        return sent, handles

    def _put(self, digest: str, content: bytes) -> Any:
        if digest not in self.held:
            self.held[digest] = self.executor.put(content)
        self.held.move_to_end(digest)
        while len(self.held) > _HELD:
            self.held.popitem(last=False)  # the cluster drops it with the last task that reads it
        return self.held[digest]


def list_members(path: Path) -> list[Path]:
    """Return the files that a path names: itself, or those of the folder; none of a mere name."""
    if path.is_dir():
        return sorted(each for each in path.iterdir() if each.is_file())
    return [path] if path.is_file() else []


def hash_bytes(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
