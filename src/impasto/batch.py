"""Many pictures: which photograph is painted after which style into which file, and doing it.

One bad file stops nothing: it is told at the end. A painting that is there already is left alone,
so a batch that was stopped goes on where it was.
"""

from __future__ import annotations

import glob
import os
import signal
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from impasto.errors import ImpastoError, MissingFileError, OptionError
from impasto.operations import OPERATIONS
from impasto.options import PaintOptions

if TYPE_CHECKING:
    from impasto.objective import Targets

Pairs = Literal["every", "step"]


@dataclass(frozen=True)
class Task:
    """One painting of a batch."""

    content: Path
    styles: tuple[Path, ...]
    output: Path


@dataclass(frozen=True)
class Outcome:
    """How a task went: what was wrong, if anything."""

    task: Task
    seconds: float
    error: str | None = None


def is_many(source: str) -> bool:
    """Whether this names a folder or a pattern, and not one file."""
    path = Path(source)
    return path.is_dir() or (not path.exists() and glob.has_magic(source))


def find_pictures(source: str) -> list[Path]:
    """The pictures in a folder, those that a pattern fits, or the one file."""
    from impasto.images import list_suffixes

    readable = list_suffixes()
    path = Path(source)
    if not is_many(source):
        return [path]
    found = path.iterdir() if path.is_dir() else map(Path, glob.glob(source, recursive=True))  # noqa: PTH207
    pictures = sorted(
        each
        for each in found
        if each.is_file() and each.suffix.lower() in readable and not each.name.startswith(".")
    )
    if not pictures:
        raise MissingFileError(f"no pictures in {source!r}")
    return pictures


def plan_batch(
    contents: Sequence[str], styles: Sequence[str], folder: Path, pairs: Pairs, suffix: str
) -> list[Task]:
    """Every photograph with every style, or the first with the first and so on.

    Several styles that are files are blended in each painting; a folder of styles gives one
    painting for each.
    """
    photos = [photo for source in contents for photo in find_pictures(source)]
    manners: list[tuple[Path, ...]] = [tuple(Path(style) for style in styles)]
    if any(map(is_many, styles)):
        if len(styles) > 1:
            raise OptionError("a folder or pattern of styles stands alone: one --style")
        manners = [(style,) for style in find_pictures(styles[0])]
    if pairs == "step":
        if len(manners) == 1:
            manners *= len(photos)
        if len(manners) != len(photos):
            raise OptionError(f"--pairs step: {len(photos)} photographs and {len(manners)} styles")
        couples = list(zip(photos, manners, strict=True))
    else:
        # By style, so that what is measured of one serves all photographs.
        couples = [(photo, manner) for manner in manners for photo in photos]
    tasks = [Task(photo, m, folder / f"{name_pair(photo, m)}{suffix}") for photo, m in couples]
    if len({task.output for task in tasks}) < len(tasks):  # a.jpg and a.png
        tasks = [
            Task(photo, m, folder / f"{name_pair(photo, m, whole=True)}{suffix}")
            for photo, m in couples
        ]
    outputs = [task.output for task in tasks]
    if clash := next((path for path in outputs if outputs.count(path) > 1), None):
        raise OptionError(f"two of these would both be {clash.name!r}; rename one of them")
    return tasks


def name_pair(photo: Path, styles: Sequence[Path], *, whole: bool = False) -> str:
    """``photo-style``, and with whole names where stems are not enough."""
    return "-".join(path.name if whole else path.stem for path in (photo, *styles))


def run_task(
    task: Task, options: PaintOptions, metadata: bool = True, targets: Targets | None = None
) -> Outcome:
    """Paint one; what goes wrong with it is said in its outcome."""
    began = time.perf_counter()
    error = None
    try:
        styles = [str(style) for style in task.styles]
        work = OPERATIONS["paint"].start(
            str(task.content), styles, options=options, targets=targets
        )
        for _ in work.steps():
            pass
        work.result().save(task.output, metadata=metadata)
    except ImpastoError as problem:
        error = str(problem)
    except (RuntimeError, MemoryError, OSError) as problem:  # no memory, a full disk
        error = " ".join(str(problem).split()) or type(problem).__name__
    return Outcome(task, time.perf_counter() - began, error)


def run_batch(
    tasks: Sequence[Task], options: PaintOptions, *, jobs: int = 1, metadata: bool = True
) -> Iterator[Outcome]:
    """Do them all, in this process or in ``jobs`` others; outcomes as they come."""
    if jobs > 1 and len(tasks) > 1:
        yield from _run_in_processes(tasks, options, min(jobs, len(tasks)), metadata)
        return
    from impasto.objective import Targets

    targets = Targets()
    for task in tasks:
        yield run_task(task, options, metadata, targets)


_targets: list[Any] = []  # a worker's own, made when it starts


def _begin_worker(jobs: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends its workers
    import torch

    from impasto.devices import granted_cores
    from impasto.objective import Targets

    torch.set_num_threads(max(1, granted_cores() // jobs))
    _targets.append(Targets())


def _run_in_worker(task: Task, options: PaintOptions, metadata: bool) -> Outcome:
    return run_task(task, options, metadata, _targets[0])


def _run_in_processes(
    tasks: Sequence[Task], options: PaintOptions, jobs: int, metadata: bool
) -> Iterator[Outcome]:
    # Imported here: what lists commands and their flags does without them.
    from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
    from concurrent.futures.process import BrokenProcessPool
    from multiprocessing import get_context

    # Threads of several processes that wait by spinning take each other's cores.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    pool = ProcessPoolExecutor(
        jobs, mp_context=get_context("spawn"), initializer=_begin_worker, initargs=(jobs,)
    )
    running: dict[Future[Outcome], Task] = {}
    try:
        for task in tasks:
            running[pool.submit(_run_in_worker, task, options, metadata)] = task
        while running:
            finished, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in finished:
                task = running.pop(future)
                try:
                    yield future.result()
                except BrokenProcessPool:
                    yield Outcome(task, 0.0, "its process was killed (out of memory?)")
    finally:
        for process in list((pool._processes or {}).values()):
            if running:
                process.terminate()
        pool.shutdown(wait=True, cancel_futures=True)
