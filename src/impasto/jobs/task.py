"""A job as a task: a folder with its inputs, and what becomes of them there.

Everything that is named is a path below the folder, so that it may be carried to another machine.
The same folder, left by a process that died, goes on from its checkpoint.
"""

from __future__ import annotations

import io
import os
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from impasto.cluster.executors import Asked, Tell
from impasto.errors import OptionError
from impasto.operations import Operation, find_operation
from impasto.work import Request, Resumable, Step, Work, watch

if TYPE_CHECKING:
    from PIL import Image

OUTPUT, CHECKPOINT = "output", "checkpoint"  # in the task's folder
SLICE_OVER = "slice over"  # wished: stop, if the state can be kept
PREVIEW_SIDE = 768  # pixels of the long side
_PREVIEW_SHARE = 0.05  # of the time, at most, goes into previews
_OFTEN = 0.25  # seconds between messages


@dataclass(frozen=True)
class JobTask:
    """What is done, as plain data."""

    folder: str
    operation: str
    inputs: Mapping[str, tuple[str, ...]]  # words, and paths below the folder
    options: Mapping[str, Any]  # with paths below the folder
    picture: str = ".png"
    threads: int = 0  # of torch; 0: its own number


@dataclass(frozen=True)
class TaskProgress:
    """What is told while the work goes on."""

    steps: tuple[Mapping[str, Any], ...] = ()  # packed
    notes: tuple[str, ...] = ()
    preview: bytes | None = None  # a WebP picture
    preview_step: int = 0


@dataclass(frozen=True)
class MadeFile:
    """A file of the output, by its path below it."""

    name: str
    size: int
    width: int = 0
    height: int = 0


@dataclass(frozen=True)
class TaskOutcome:
    """How it went: ``is_done``, or stopped as it was asked to."""

    is_done: bool
    seconds: float
    files: tuple[MadeFile, ...] = ()
    notes: tuple[str, ...] = ()


@runtime_checkable
class Savable(Protocol):
    """A result that writes itself to a file."""

    def save(self, path: Path) -> object: ...


def run_task_in_folder(task: JobTask, tell: Tell, asked: Asked) -> TaskOutcome:
    """Do the work of a job to its end, or until something is wished of it."""
    began = time.perf_counter()
    folder = Path(task.folder)
    os.chdir(folder)  # words that are no files are no paths either
    _set_threads(task.threads)
    operation = find_operation(task.operation)
    output = Path(OUTPUT)
    output.mkdir(exist_ok=True)
    work, request = _begin(task, operation, output, tell)
    teller = _Teller(work, tell)
    finished = watch(work, teller, is_stopped=lambda: _is_over(work, asked()))
    teller.flush()
    if not finished:
        if isinstance(work, Resumable):
            work.save_progress()
        return TaskOutcome(False, time.perf_counter() - began, (), tuple(work.notes))
    result = work.result()
    _save_result(result, request, output)
    notes = (*work.notes, *getattr(result, "notes", ()))
    files = tuple(list_made(output))
    return TaskOutcome(True, time.perf_counter() - began, files, tuple(dict.fromkeys(notes)))


def _is_over(work: Work[object], word: str) -> bool:
    """Return whether work is to stop now."""
    return bool(word) and (word != SLICE_OVER or isinstance(work, Resumable))


def _set_threads(count: int) -> None:
    """Give torch its share of the processor; what else notices is this process alone."""
    if count:
        import torch

        torch.set_num_threads(count)


def _begin(
    task: JobTask, operation: Operation, output: Path, tell: Tell
) -> tuple[Work[object], Request]:
    """Make the work, from its checkpoint if there is one of this very work."""
    options = operation.options.read(task.options)
    name = operation.name_output(options, task.picture)
    target = output if operation.output == "folder" else output / name
    checkpoint = Path(CHECKPOINT)
    request = Request(task.inputs, options, output=target, checkpoint=checkpoint)
    if not checkpoint.exists():
        return operation.start(request), request
    try:
        return operation.start(request), request
    except OptionError as error:
        if "checkpoint" not in str(error):
            raise
        checkpoint.unlink()  # an older version's, or damaged with the disk
        tell(TaskProgress(notes=(f"began anew: {error}",)))
        return operation.start(request), request


def _save_result(result: object, request: Request, output: Path) -> None:
    """Bring the result into the output folder, whatever it is."""
    assert request.output is not None
    if isinstance(result, Savable) and not request.output.is_dir():
        result.save(request.output)
    elif isinstance(result, Path) and not result.resolve().is_relative_to(output.resolve()):
        result.replace(output / result.name)


def list_made(output: Path) -> list[MadeFile]:
    """Return the files of an output folder; what is hidden or half done is none of them."""
    found = []
    for path in sorted(output.rglob("*")):
        parts = path.relative_to(output).parts
        hidden = any(part.startswith(".") for part in parts) or path.suffix == ".checkpoint"
        if path.is_file() and not path.is_symlink() and not hidden:
            name = "/".join(parts)
            found.append(MadeFile(name, path.stat().st_size, *_measure(path)))
    return found


def _measure(path: Path) -> tuple[int, int]:
    """Return (width, height) of a picture; zeros of what is none."""
    from PIL import Image

    from impasto.images.opening import list_suffixes

    if path.suffix.lower() not in list_suffixes():
        return 0, 0
    try:
        with Image.open(path) as image:
            return image.size
    except (OSError, ValueError, Image.DecompressionBombError):
        return 0, 0


class _Teller:
    """Tells steps, notes and now and then a preview."""

    def __init__(self, work: Work[object], tell: Tell) -> None:
        self.work, self.tell = work, tell
        self.steps: list[Mapping[str, Any]] = []
        self.told = self.looked = time.monotonic()
        self.cost = 0.0
        self.flush()

    def __call__(self, step: Step) -> None:
        self.steps.append(step.pack())
        now = time.monotonic()
        if step.look is not None and now - self.looked > max(_OFTEN, self.cost / _PREVIEW_SHARE):
            self._show(step)
        elif now - self.told > _OFTEN or step.number == step.steps:
            self.flush()

    def flush(self) -> None:
        """Tell what has gathered."""
        self.tell(TaskProgress(tuple(self.steps), tuple(self.work.notes)))
        self.steps, self.told = [], time.monotonic()

    def _show(self, step: Step) -> None:
        assert step.look is not None
        began = time.monotonic()
        preview = encode_preview(step.look().to_pil())
        self.tell(TaskProgress(tuple(self.steps), tuple(self.work.notes), preview, step.number))
        self.steps, self.told = [], time.monotonic()
        self.looked = self.told
        self.cost = self.looked - began


def encode_preview(image: Image.Image, side: int = PREVIEW_SIDE) -> bytes:
    """Return a picture as a small WebP."""
    small = image.copy()
    small.thumbnail((side, side))
    encoded = io.BytesIO()
    small.save(encoded, format="WEBP", quality=80, method=2)
    return encoded.getvalue()


def clean_name(name: str, fallback: str = "file") -> str:
    """Return a name that is good for a file in any folder: no separators, nothing hidden."""
    kept = re.sub(r"[^\w .()+,=@-]", "_", name.replace("\\", "/").rpartition("/")[2]).strip(" .")
    stem, dot, suffix = kept.rpartition(".")
    return f"{(stem or suffix)[:80]}{dot if stem else ''}{suffix[:16] if stem else ''}" or fallback
