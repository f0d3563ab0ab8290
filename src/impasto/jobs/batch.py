"""Many pictures: which photograph is painted after which style into which file, and doing it.

One bad file stops nothing: it is told at the end. A painting that is there already is left alone,
so a batch that was stopped goes on where it was.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Generator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Literal

from impasto.errors import ImpastoError, MissingFileError, OptionError
from impasto.images.folders import find_pictures, is_many
from impasto.operations import DEFAULT_OPERATION, Operation, find_operation
from impasto.options import DeviceOptions
from impasto.system.files import resolve_path
from impasto.system.processes import work_in_processes
from impasto.work import Request, Work, finish

Pairs = Literal["every", "step"]
StylePaths = tuple[Path, ...]  # a style, or several that are blended


@dataclass(frozen=True)
class PaintingTask:
    """One painting of a batch."""

    content: Path
    styles: StylePaths
    output: Path


@dataclass(frozen=True)
class PaintingOutcome:
    """How a task went: what was wrong, if anything."""

    task: PaintingTask
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
    """Return whether this lies in the folder and carries a recipe."""
    if resolve_path(path).parent != resolve_path(folder):
        return False
    from impasto.images.opening import read_recipe

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
) -> list[PaintingTask]:
    """Plan paintings of every photograph after every style, or of the first after the first.

    Several styles that are files are blended in each painting, but with pairs in step; a folder of
    styles gives one painting for each. Styles ``by_name`` are a network's own, and no files.
    """
    photos = [photo for source in contents for photo in find_unpainted(source, folder)]
    blends: list[StylePaths] = [tuple(Path(style) for style in styles)]
    if pairs == "step" or (not by_name and any(map(is_many, styles))):
        if len(styles) > 1 and pairs != "step":
            raise OptionError("a folder or pattern of styles stands alone: one --style")
        blends = [(style,) for source in styles for style in find_unpainted(source, folder)]
    if pairs == "step":
        if len(blends) == 1:
            blends *= len(photos)
        if len(blends) != len(photos):
            raise OptionError(f"--pairs step: {len(photos)} photographs and {len(blends)} styles")
        couples = list(zip(photos, blends, strict=True))
    else:
        # By style, so that what is measured of one serves all photographs. A style that lies among
        # the photographs is not painted after itself.
        couples = [
            (photo, blend)
            for blend in blends
            for photo in photos
            if resolve_path(photo) not in [resolve_path(style) for style in blend]
        ]
    if not couples:
        raise OptionError("no photograph that is not the style itself")
    names = name_paintings(couples)
    return [
        PaintingTask(photo, blend, folder / f"{name}{suffix}")
        for (photo, blend), name in zip(couples, names, strict=True)
    ]


def name_paintings(couples: Sequence[tuple[Path, StylePaths]]) -> list[str]:
    """Name paintings ``photo-style``; with suffixes where stems are alike: a.jpg and a.png."""
    stems = ["-".join(path.stem for path in (photo, *blend)) for photo, blend in couples]
    known = Counter(map(str.casefold, stems))  # some file systems take A for a
    names = [
        "-".join(path.name for path in (photo, *blend)) if known[stem.casefold()] > 1 else stem
        for stem, (photo, blend) in zip(stems, couples, strict=True)
    ]
    known = Counter(map(str.casefold, names))
    if clash := next((name for name in names if known[name.casefold()] > 1), None):
        raise OptionError(f"two of these would both be {clash!r}; rename one of them")
    return names


# --- doing it -----------------------------------------------------------------------------------


def run_task(
    task: PaintingTask, begin: Callable[[Request], Work[object]], request: Request, metadata: bool
) -> PaintingOutcome:
    """Paint one; what goes wrong with it is said in its outcome."""
    from impasto.painting.result import Painting

    began = time.perf_counter()
    error = None
    try:
        inputs = {"content": (str(task.content),), "style": tuple(map(str, task.styles))}
        painting = finish(begin(replace(request, inputs=inputs)))
        assert isinstance(painting, Painting)
        painting.save(task.output, metadata=metadata)
    except ImpastoError as problem:
        error = str(problem)
    except Exception as problem:  # no memory, a full disk: the others may fare better
        error = " ".join(f"{type(problem).__name__}: {problem}".split())
    return PaintingOutcome(task, time.perf_counter() - began, error)


def run_batch(
    tasks: Sequence[PaintingTask],
    options: DeviceOptions,
    *,
    operation: str = DEFAULT_OPERATION,
    jobs: int = 1,
    metadata: bool = True,
) -> Generator[PaintingOutcome, None, None]:
    """Paint them all, in this process or in ``jobs`` others; yield outcomes as they come."""
    jobs = min(jobs, len(tasks))
    if jobs > 1:
        make_worker = partial(share_machine, jobs, operation, options, metadata)
        yield from work_in_processes(make_worker, tasks, jobs, lose_task)
        return
    run = make_runner(find_operation(operation), options, metadata)
    yield from map(run, tasks)


def make_runner(
    operation: Operation, options: DeviceOptions, metadata: bool
) -> Callable[[PaintingTask], PaintingOutcome]:
    """Return what does one task after the other, with all that is known already of its styles."""
    begin = operation.start_many(options)
    return partial(run_task, begin=begin, request=Request({}, options), metadata=metadata)


def share_machine(
    jobs: int, operation: str, options: DeviceOptions, metadata: bool
) -> Callable[[PaintingTask], PaintingOutcome]:
    """Return what does tasks in one process of ``jobs``, with its share of cores and memory."""
    import torch

    from impasto.painting.memory_plan import grant_memory
    from impasto.system.devices import choose_device, granted_cores

    torch.set_num_threads(max(1, granted_cores() // jobs))
    with suppress(ImpastoError):  # which each task says for itself
        granted = grant_memory(choose_device(options.device), options.memory)
        if granted is not None:
            options = options.model_copy(update={"memory": str(granted // jobs)})
    return make_runner(find_operation(operation), options, metadata)


def lose_task(task: PaintingTask, how: str) -> PaintingOutcome:
    """Return the outcome of a task whose process died."""
    return PaintingOutcome(task, 0.0, f"its process {how}")
