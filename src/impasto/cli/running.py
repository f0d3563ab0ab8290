"""Work in the terminal: its progress, what is written while it goes on, and Ctrl-C."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from impasto.cli.console import INTERRUPTED, ProgressBar, catch_interrupt, choose_tell, say
from impasto.cli.flags import Extras
from impasto.cli.outputs import (
    NAME_ANOTHER,
    check_outputs,
    describe_result,
    list_read,
    write_losses,
)
from impasto.operations import find_operation
from impasto.work import Described, Request, Resumable, Step, Work, watch

if TYPE_CHECKING:
    from impasto.painting.result import Painting

# --- any work -----------------------------------------------------------------------------------


def describe_step(step: Step) -> str:
    """Return what a step is at, or measured: ``512 x 341  style 0.03  content 0.4``."""
    if step.text:
        return step.text
    parts = {"style": step.style, "content": step.content, "score": step.more.get("score", 0.0)}
    shown = [f"{name} {value:.3g}" for name, value in parts.items() if value]
    size = [f"{step.size[0]} x {step.size[1]}"] if any(step.size) else []
    return "  ".join([*size, *shown])


def drive(
    work: Work[object],
    *watchers: Callable[[Step], None],
    quiet: bool = False,
    notes: Callable[[Sequence[str]], None] = lambda _: None,
) -> bool:
    """Do the work behind a progress bar until its end or Ctrl-C; return whether it was the end.

    ``notes`` is given the work's notes before the bar appears, which no line breaks into.
    """
    with ProgressBar(quiet) as bar, catch_interrupt() as asked:

        def show(step: Step) -> None:
            if bar.shown is None:
                notes(work.notes)
            if step.steps > 1:
                bar.update(step.number, step.steps, describe_step(step))
            for watcher in watchers:
                watcher(step)

        try:
            return watch(work, show, is_stopped=asked.is_set)
        except KeyboardInterrupt:
            return False


class Notes:
    """Tells each note of a work once."""

    def __init__(self, tell: Callable[[str], None]) -> None:
        self.tell, self.told = tell, set[str]()

    def __call__(self, notes: Sequence[str]) -> None:
        for note in notes:
            if note not in self.told:
                self.told.add(note)
                self.tell(f"note: {note}")


# --- one picture --------------------------------------------------------------------------------


def make_picture(
    name: str,
    request: Request,
    output: Path,
    extras: Extras,
    *,
    read: Sequence[Path] | None = None,
    mend: str = NAME_ANOTHER,
) -> int:
    """Do the work of one picture, show how it goes, and write all that was asked for.

    ``read`` are the files that must not be written over; those of the request if not given.
    """
    from impasto.painting.result import Painting

    began = time.perf_counter()
    check_outputs(output, list_read(request) if read is None else read, extras, mend=mend)
    work = find_operation(name).start(replace(request, checkpoint=extras.checkpoint))
    notes = Notes(extras.tell)
    notes(work.notes)
    for line in work.describe() if isinstance(work, Described) else ():
        extras.tell(line)
    resumable = work if isinstance(work, Resumable) else None
    if extras.film and resumable and resumable.steps_done:
        notes([f"the film begins at step {resumable.steps_done + 1}"])
    watchers = list_watchers(output, extras)
    finished = drive(work, *watchers, quiet=extras.quiet)
    notes(work.notes)
    if not finished and not (resumable and resumable.steps_done):
        say("stopped before the first step; nothing was written")
        return INTERRUPTED
    if not finished and resumable:
        resumable.save_progress()  # before the picture, from which the run may have started
    result = work.result()
    assert isinstance(result, Painting)
    notes(result.notes)
    notes(result.save(output, metadata=extras.metadata))
    for watcher in watchers:
        if isinstance(watcher, FilmGrowth):
            notes(watcher.write(result))
    write_losses(result, extras)
    if finished and resumable:
        resumable.discard_checkpoint()
    seconds = time.perf_counter() - began
    extras.tell(describe_result(result, output, finished=finished, seconds=seconds))
    if not finished and extras.checkpoint and extras.checkpoint.exists():
        extras.tell(f"the same command goes on from there, by {extras.checkpoint}")
    return 0 if finished else INTERRUPTED


def list_watchers(output: Path, extras: Extras) -> list[Callable[[Step], None]]:
    """Return what writes pictures while the work goes on."""
    watchers: list[Callable[[Step], None]] = []
    if extras.every:
        watchers.append(KeepEvery(output, extras.every, metadata=extras.metadata))
    if extras.film:
        watchers.append(FilmGrowth(extras.film))
    return watchers


def look_at(step: Step) -> Painting:
    """Return the picture as it stands after a step."""
    from impasto.painting.result import Painting

    painting = step.look() if step.look else None
    assert isinstance(painting, Painting)
    return painting


class KeepEvery:
    """Writes the picture as it stands every so many steps."""

    def __init__(self, output: Path, every: int, *, metadata: bool) -> None:
        self.output, self.every, self.metadata = output, every, metadata

    def __call__(self, step: Step) -> None:
        if step.number % self.every == 0:
            digits = max(4, len(str(step.steps)))
            name = f"{self.output.stem}-{step.number:0{digits}}{self.output.suffix}"
            look_at(step).save(self.output.with_name(name), metadata=self.metadata)


class FilmGrowth:
    """Shows the picture grow."""

    def __init__(self, path: Path) -> None:
        from impasto.video.film import Film

        self.film = Film(path)

    def __call__(self, step: Step) -> None:
        if (step.number - 1) % max(1, step.steps // 100) == 0:
            self.film.add(look_at(step).pixels)

    def write(self, last: Painting) -> tuple[str, ...]:
        """Write the film, its last frame the finished picture; return notes."""
        self.film.add(last.pixels)
        return self.film.write()


# --- many pictures ------------------------------------------------------------------------------


def make_folder_of_pictures(
    name: str, request: Request, *, quiet: bool, goes_on: bool = True
) -> int:
    """Do work that goes to a folder; ``goes_on``: the same command goes on after Ctrl-C."""
    tell = choose_tell(quiet)
    work = find_operation(name).start(request)
    notes = Notes(tell)
    notes(work.notes)
    finished = drive(work, quiet=quiet, notes=notes)
    notes(work.notes)
    tell(f"{'all is' if finished else 'stopped; what is done is'} in {request.output}")
    if not finished and goes_on:
        tell("the same command goes on from there")
    return 0 if finished else INTERRUPTED
