"""Runs painted anywhere: from plain data to the files that a folder of runs keeps."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Self

from impasto.cluster.worker import Find, TaskShare
from impasto.errors import DivergedError
from impasto.lab.run_folder import Pictures
from impasto.lab.runs import Run, has_diverged, mark_diverged
from impasto.painting.options import PaintOptions
from impasto.painting.painter import Painter
from impasto.painting.result import Painting, format_history
from impasto.painting.style_cache import Targets


@dataclass(frozen=True)
class RunTask:
    """A run to be painted, and the steps whose pictures are kept too."""

    run: Run
    keep_at: tuple[int, ...] = ()


@dataclass(frozen=True)
class RunFiles:
    """What a run came to, as files; without a picture if its loss was no longer a number."""

    losses: bytes
    picture: bytes | None = field(repr=False)
    kept: Mapping[int, bytes] = field(default_factory=dict, repr=False)  # pictures, by their steps
    notes: tuple[str, ...] = ()

    @classmethod
    def of(cls, painting: Painting) -> Self:
        """Return the files of a painting."""
        picture = None if has_diverged(painting.history) else encode_run(painting)
        return cls(format_history(painting), picture)


def encode_run(painting: Painting) -> bytes:
    """Return the picture of a run as a file."""
    return painting.encode("run.png")[0]


def make_run_worker(
    given: tuple[Pictures, TaskShare], _: Find
) -> Callable[[RunTask, Find], RunFiles]:
    """Return what paints one run after the other; what is measured of a style serves them all."""
    pictures, share = given
    share.set_threads()
    targets = Targets()

    def work(task: RunTask, find: Find) -> RunFiles:
        options = PaintOptions.parse(task.run.options)
        named = options.with_files(find)
        painter = Painter(pictures.content, pictures.styles, named, targets=targets)
        kept = {}
        try:
            for step in painter.steps():
                if step.number in task.keep_at:
                    kept[step.number] = encode_run(painter.result())
            painting = painter.result()
        except DivergedError:
            painting = mark_diverged(painter.result())
        files = RunFiles.of(painting)
        return RunFiles(files.losses, files.picture, kept, tuple(painter.notes))

    return work
