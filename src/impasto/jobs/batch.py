"""Many pictures: which photograph is painted after which style into which file, and doing it.

One bad file stops nothing: it is told at the end. A painting that is there already is left alone,
so a batch that was stopped goes on where it was.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Generator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Literal

from impasto.cluster.crew import TaskNeeds, hire_crew
from impasto.cluster.places import HERE, WorkPlace
from impasto.cluster.worker import DoTask, Find, TaskShare, WorkerSpec, find_in
from impasto.errors import ImpastoError, MissingFileError, OptionError
from impasto.images.folders import find_pictures, is_many
from impasto.operations import DEFAULT_OPERATION, find_operation
from impasto.options import DeviceOptions, Options
from impasto.system.files import resolve_path
from impasto.work import Planned, Request, Work, finish

Pairs = Literal["every", "step"]
StylePaths = tuple[Path, ...]  # a style, or several that are blended


@dataclass(frozen=True)
class PaintingTask:
    """One painting of a batch."""

    content: Path
    styles: StylePaths
    output: Path
    takes: str = "style"  # the input that the styles are


@dataclass(frozen=True)
class PaintingOutcome:
    """How a task went: what was wrong, if anything."""

    task: PaintingTask
    seconds: float
    error: str | None = None
    content: bytes | None = field(default=None, repr=False)  # the file, until it is written
    pace: str = ""  # how many machines paint, and how fast
    notes: tuple[str, ...] = ()  # what was done in the user's stead


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
    takes: str = "style",
) -> list[PaintingTask]:
    """Plan paintings of every photograph after every style, or of the first after the first.

    Several styles that are files are blended in each painting, but with pairs in step; a folder of
    styles gives one painting for each. Styles ``by_name`` are a network's own, and no files.
    ``takes`` is the input that the styles are.
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
        PaintingTask(photo, blend, folder / f"{name}{suffix}", takes)
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


@dataclass(frozen=True)
class BatchOrder:
    """What holds for every painting of a batch, as plain data."""

    operation: str
    options: Options
    metadata: bool
    share: TaskShare


def run_batch(
    tasks: Sequence[PaintingTask],
    options: Options,
    *,
    operation: str = DEFAULT_OPERATION,
    place: WorkPlace = HERE,
    metadata: bool = True,
    tell: Callable[[Sequence[str]], None] = lambda _: None,
) -> Generator[PaintingOutcome, None, None]:
    """Paint them all, in this process or elsewhere; yield outcomes as they are written.

    ``tell`` is given notes on the machines that paint.
    """
    if not tasks:
        return
    if place.is_here or (len(tasks) < 2 and not place.is_cluster):
        tell(place.describe_idle(len(tasks)))
        order = BatchOrder(operation, options, metadata, TaskShare())
        paint = make_runner(order)
        for task in tasks:
            yield write_painting(paint(task, find_in({})))
        return
    with hire_crew(place, len(tasks), count_needs(tasks, options, operation)) as crew:
        tell(crew.notes)
        order = BatchOrder(operation, options, metadata, crew.share)
        spec = WorkerSpec("impasto.jobs.batch:share_machine", order, tuple(options.list_files()))
        reports = crew.share_out(spec, tasks, list_files=list_task_files, lose=lose_task)
        for _, report in reports:
            if report is not None:
                outcome = write_painting(report.outcome)
                yield replace(outcome, pace=crew.describe())
        tell(crew.notes)


def list_task_files(task: PaintingTask) -> list[str]:
    """Return the files that a task reads."""
    return [str(task.content), *map(str, task.styles)]


def count_needs(tasks: Sequence[PaintingTask], options: Options, operation: str) -> TaskNeeds:
    """Return what each is to be given on a cluster, as far as it can be said beforehand."""
    if not isinstance(options, DeviceOptions):
        return TaskNeeds()
    is_gpu = options.device == "auto" or options.device.startswith("cuda")
    memory = None
    with suppress(Exception):  # a picture that cannot be read is told when it is its turn
        work = find_operation(operation).start(name_request(tasks[0], options))
        memory = work.memory_needed if isinstance(work, Planned) else None
    return TaskNeeds(memory, is_gpu)


def name_request(task: PaintingTask, options: Options, find: Find = str) -> Request:
    """Return the request of one painting, with its files as ``find`` names them."""
    styles = tuple(find(str(style)) for style in task.styles)
    return Request({"content": (find(str(task.content)),), task.takes: styles}, options)


def write_painting(outcome: PaintingOutcome) -> PaintingOutcome:
    """Write what was painted; what goes wrong with that is said in the outcome."""
    if outcome.content is None:
        return outcome
    from impasto.images.writing import write_encoded

    error = None
    try:
        write_encoded(outcome.task.output, outcome.content)
    except ImpastoError as problem:
        error = str(problem)
    except Exception as problem:
        error = describe_bug(problem)
    return replace(outcome, content=None, error=error)


def lose_task(task: PaintingTask, how: str) -> PaintingOutcome:
    """Return the outcome of a task whose process died."""
    return PaintingOutcome(task, 0.0, f"its process {how}")


def describe_bug(problem: Exception) -> str:
    """Return an error that is no one's mistake in one line."""
    return " ".join(f"{type(problem).__name__}: {problem}".split())


# --- where it is done ---------------------------------------------------------------------------


def share_machine(order: BatchOrder, find: Find) -> DoTask:
    """Return what does tasks in one process of several, with its share of cores and memory."""
    from impasto.painting.memory_plan import grant_memory
    from impasto.system.devices import choose_device

    order.share.set_threads()
    options = order.options.with_files(find)
    if isinstance(options, DeviceOptions):
        with suppress(ImpastoError):  # which each task says for itself
            granted = grant_memory(choose_device(options.device), options.memory)
            if granted is not None:
                options = options.model_copy(update={"memory": str(granted // order.share.count)})
    return make_runner(replace(order, options=options))


def make_runner(order: BatchOrder) -> Callable[[PaintingTask, Find], PaintingOutcome]:
    """Return what does one task after the other, with all that is known already of its styles."""
    begin = find_operation(order.operation).start_many(order.options)
    return partial(paint_task, begin, order)


def paint_task(
    begin: Callable[[Request], Work[object]], order: BatchOrder, task: PaintingTask, find: Find
) -> PaintingOutcome:
    """Paint one; what goes wrong with it is said in its outcome."""
    from impasto.painting.result import Painting

    began = time.perf_counter()
    content, error = None, None
    notes: tuple[str, ...] = ()
    try:
        work = begin(name_request(task, order.options, find))
        painting = finish(work)
        assert isinstance(painting, Painting)
        content, written = painting.encode(task.output.name, metadata=order.metadata)
        notes = (*work.notes, *painting.notes, *written)
    except ImpastoError as problem:
        error = str(problem)
    except Exception as problem:  # no memory, for example: the others may fare better
        error = describe_bug(problem)
    return PaintingOutcome(task, time.perf_counter() - began, error, content, notes=notes)
