"""Many pictures: which photograph is painted after which style into which file, and doing it.

One bad file stops nothing: it is told at the end. A painting that is there already is left alone,
so a batch that was stopped goes on where it was.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Generator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

from impasto.errors import ImpastoError, MissingFileError, OptionError
from impasto.images.folders import find_pictures, is_many
from impasto.instant.options import InstantOptions
from impasto.operations import OPERATIONS, Work
from impasto.painting.options import PaintOptions
from impasto.system.processes import work_in_processes

Pairs = Literal["every", "step"]
Manner = tuple[Path, ...]  # a style, or several that are blended
BatchOptions = PaintOptions | InstantOptions


@dataclass(frozen=True)
class Task:
    """One painting of a batch."""

    content: Path
    styles: Manner
    output: Path


@dataclass(frozen=True)
class Outcome:
    """How a task went: what was wrong, if anything."""

    task: Task
    seconds: float
    error: str | None = None


# --- the plan -----------------------------------------------------------------------------------


def find_unpainted(source: str, painted: Path) -> list[Path]:
    """Return the pictures that ``source`` names, but those an earlier run left in ``painted``."""
    found = find_pictures(source)
    if not is_many(source):
        return found
    pictures = [each for each in found if not is_painting(each, painted)]
    if not pictures:
        raise MissingFileError(f"no pictures in {source!r}")
    return pictures


def is_painting(path: Path, folder: Path) -> bool:
    """Whether this lies in the folder and carries a recipe."""
    if path.resolve().parent != folder.resolve():
        return False
    from impasto.images.reading import read_recipe

    try:
        return read_recipe(path) is not None
    except ImpastoError:
        return False


def plan_batch(
    contents: Sequence[str],
    styles: Sequence[str],
    folder: Path,
    pairs: Pairs,
    suffix: str,
    *,
    by_name: bool = False,
) -> list[Task]:
    """Every photograph with every style, or the first with the first and so on.

    Several styles that are files are blended in each painting, but with pairs in step; a folder of
    styles gives one painting for each. Styles ``by_name`` are a network's own, and no files.
    """
    photos = [photo for source in contents for photo in find_unpainted(source, folder)]
    manners: list[Manner] = [tuple(Path(style) for style in styles)]
    if pairs == "step" or (not by_name and any(map(is_many, styles))):
        if len(styles) > 1 and pairs != "step":
            raise OptionError("a folder or pattern of styles stands alone: one --style")
        manners = [(style,) for source in styles for style in find_unpainted(source, folder)]
    if pairs == "step":
        if len(manners) == 1:
            manners *= len(photos)
        if len(manners) != len(photos):
            raise OptionError(f"--pairs step: {len(photos)} photographs and {len(manners)} styles")
        couples = list(zip(photos, manners, strict=True))
    else:
        # By style, so that what is measured of one serves all photographs. A style that lies among
        # the photographs is not painted after itself.
        couples = [
            (photo, manner)
            for manner in manners
            for photo in photos
            if photo.resolve() not in [style.resolve() for style in manner]
        ]
    if not couples:
        raise OptionError("no photograph that is not the style itself")
    names = name_paintings(couples)
    return [
        Task(photo, manner, folder / f"{name}{suffix}")
        for (photo, manner), name in zip(couples, names, strict=True)
    ]


def name_paintings(couples: Sequence[tuple[Path, Manner]]) -> list[str]:
    """``photo-style``; with whole names where stems are not enough: a.jpg and a.png."""
    stems = ["-".join(path.stem for path in (photo, *manner)) for photo, manner in couples]
    known = Counter(map(str.casefold, stems))  # some file systems take A for a
    names = [
        "-".join(path.name for path in (photo, *manner)) if known[stem.casefold()] > 1 else stem
        for stem, (photo, manner) in zip(stems, couples, strict=True)
    ]
    known = Counter(map(str.casefold, names))
    if clash := next((name for name in names if known[name.casefold()] > 1), None):
        raise OptionError(f"two of these would both be {clash!r}; rename one of them")
    return names


# --- doing it -----------------------------------------------------------------------------------


def begin_tasks(operation: str, options: BatchOptions) -> Callable[[Task], Work]:
    """What makes a task's work, with all that is known already of its styles."""
    start = OPERATIONS[operation].start_many(options)
    return lambda task: start(str(task.content), list(map(str, task.styles)))


def run_task(task: Task, begin: Callable[[Task], Work], metadata: bool = True) -> Outcome:
    """Paint one; what goes wrong with it is said in its outcome."""
    began = time.perf_counter()
    error = None
    try:
        work = begin(task)
        for _ in work.steps():
            pass
        work.result().save(task.output, metadata=metadata)
    except ImpastoError as problem:
        error = str(problem)
    except Exception as problem:  # no memory, a full disk: the others may fare better
        error = " ".join(f"{type(problem).__name__}: {problem}".split())
    return Outcome(task, time.perf_counter() - began, error)


def run_batch(
    tasks: Sequence[Task],
    options: BatchOptions,
    *,
    operation: str = "paint",
    jobs: int = 1,
    metadata: bool = True,
) -> Generator[Outcome, None, None]:
    """Do them all, in this process or in ``jobs`` others; outcomes as they come."""
    if jobs > 1 and len(tasks) > 1:
        jobs = min(jobs, len(tasks))
        make_worker = partial(share_machine, jobs, operation, options, metadata)
        yield from work_in_processes(make_worker, tasks, jobs, lose_task)
        return
    begin = begin_tasks(operation, options)
    for task in tasks:
        yield run_task(task, begin, metadata)


def share_machine(
    jobs: int, operation: str, options: BatchOptions, metadata: bool
) -> Callable[[Task], Outcome]:
    """What does tasks in one process of ``jobs``, with its share of cores and memory."""
    import torch

    from impasto.painting.memory_plan import grant_memory
    from impasto.system.devices import choose_device, granted_cores

    torch.set_num_threads(max(1, granted_cores() // jobs))
    with suppress(ImpastoError):  # which each task says for itself
        granted = grant_memory(choose_device(options.device), options.memory)
        if granted is not None:
            options = options.model_copy(update={"memory": str(granted // jobs)})
    return partial(run_task, begin=begin_tasks(operation, options), metadata=metadata)


def lose_task(task: Task, how: str) -> Outcome:
    return Outcome(task, 0.0, f"its process {how}")
