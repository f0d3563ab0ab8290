"""Work in the terminal: its progress, and Ctrl-C."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from impasto.cli.console import catch_interrupt, make_progress, say

if TYPE_CHECKING:
    from impasto.work import Step
from impasto.cli.outputs import Extras, describe_result, write_losses

INTERRUPTED = 130


# --- one picture --------------------------------------------------------------------------------


def follow(work: Any, output: Path, extras: Extras, *, bare: bool = False) -> int:
    """Do one picture's work, show how it goes, and write all that was asked for; ``bare`` work has
    no steps to count."""
    tell, told, count = extras.tell, len(work.notes), work.options.steps
    watchers: list[Callable[[Step], None]] = []
    if extras.every:
        watchers.append(KeepEvery(work, output, extras.every, metadata=extras.metadata))
    growing = FilmGrowth(work, extras.film, count) if extras.film else None
    if growing:
        watchers.append(growing)
        if work.steps_done:
            tell(f"note: the film begins at step {work.steps_done + 1}")
    finished = run_steps(work.steps(), count, watchers, quiet=bare or extras.quiet)
    for note in work.notes[told:]:
        tell(f"note: {note}")
    result = work.result()
    if not result.history and not (finished and bare):
        say("stopped before the first step; nothing was written")
        return INTERRUPTED
    if not finished:
        work.save_progress()  # before the picture, from which the run may have started
    notes = result.save(output, metadata=extras.metadata)
    for note in (*notes, *(growing.write() if growing else ())):
        tell(f"note: {note}")
    write_losses(result, extras)
    if finished and work.checkpoint_path:
        work.discard_checkpoint()
    tell(describe_result(result, output, finished=finished))
    if not finished and work.checkpoint_path and work.checkpoint_path.exists():
        tell(f"the same command goes on from there, by {extras.checkpoint}")
    return 0 if finished else INTERRUPTED


def run_steps(
    steps: Iterable[Step],
    count: int,
    watchers: Sequence[Callable[[Step], None]] = (),
    *,
    quiet: bool,
) -> bool:
    """Do the work behind a progress bar; whether it came to its end."""
    with make_progress(quiet) as progress, catch_interrupt() as asked:
        task = progress.add_task("", total=count, losses="")
        try:
            for step in steps:
                progress.update(task, completed=step.number, losses=describe_step(step))
                for watcher in watchers:
                    watcher(step)
                if asked.is_set():
                    return False
        except KeyboardInterrupt:
            return False
    return True


def describe_step(step: Step) -> str:
    """``512 x 341  style 0.03  content 0.4``: what is measured of it."""
    parts = {"style": step.style, "content": step.content, "score": step.more.get("score", 0.0)}
    shown = [f"{name} {value:.3g}" for name, value in parts.items() if value]
    return "  ".join([f"{step.size[0]} x {step.size[1]}", *shown])


class KeepEvery:
    """Writes the picture as it stands every so many steps."""

    def __init__(self, work: Any, output: Path, every: int, *, metadata: bool) -> None:
        self.work, self.output, self.every, self.metadata = work, output, every, metadata

    def __call__(self, step: Step) -> None:
        if step.number % self.every == 0:
            digits = max(4, len(str(step.steps)))
            name = f"{self.output.stem}-{step.number:0{digits}}{self.output.suffix}"
            self.work.result().save(self.output.with_name(name), metadata=self.metadata)


class FilmGrowth:
    """Shows the picture grow."""

    def __init__(self, work: Any, path: Path, steps: int) -> None:
        from impasto.video.film import Film

        self.work, self.film, self.every = work, Film(path), max(1, steps // 100)

    def __call__(self, step: Step) -> None:
        if (step.number - 1) % self.every == 0:
            self.film.add(self.work.result().pixels)

    def write(self) -> tuple[str, ...]:
        self.film.add(self.work.result().pixels)
        return self.film.write()


# --- many pictures ------------------------------------------------------------------------------


def follow_moments(work: Any, *, quiet: bool) -> bool:
    """Do the work of many pictures behind a progress bar, its notes after it; whether it came to
    its end."""
    told = set()
    for note in work.notes:
        told.add(note)
        if not quiet:
            say(f"note: {note}")
    finished = True
    with make_progress(quiet) as progress, catch_interrupt() as asked:
        bar = progress.add_task("", total=None, losses="")
        try:
            with closing(work.steps()) as moments:
                for moment in moments:
                    progress.update(
                        bar, completed=moment.number, total=moment.steps, losses=moment.text
                    )
                    if asked.is_set():
                        finished = False
                        break
        except KeyboardInterrupt:
            finished = False
    for note in work.notes:
        if note not in told and not quiet:
            say(f"note: {note}")
    return finished
