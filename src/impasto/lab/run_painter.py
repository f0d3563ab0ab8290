"""Paint and measure the runs of a folder."""

from __future__ import annotations

import math
from collections.abc import Collection, Generator, Iterable, Sequence
from functools import cached_property

import torch
from PIL import Image

from impasto.errors import DivergedError
from impasto.images.picture import ImageSource
from impasto.images.reading import read_image
from impasto.images.transparency import read_opaque
from impasto.images.writing import to_pil
from impasto.lab.distances import Distances, Yardstick
from impasto.lab.run_folder import Record
from impasto.lab.runs import Row, Run, describe_row, has_diverged, mark_diverged
from impasto.painting.options import PaintOptions
from impasto.painting.painter import Painter, list_styles
from impasto.painting.starts import STARTS, start_picture
from impasto.painting.style_cache import Targets
from impasto.work import Step

# --- painting the runs --------------------------------------------------------------------------


def check_painting(
    content: ImageSource, style: ImageSource | Sequence[ImageSource], options: PaintOptions
) -> list[str]:
    """What could not be painted is said before anything is; notes on what can."""
    if options.init not in STARTS:
        nothing = torch.zeros(1, 3, 1, 1)
        start_picture(options.init, nothing, nothing, max_megapixels=options.max_megapixels)
    return Painter(content, style, options).notes


class Easel:
    """A photograph and its styles, from which every run of a record is painted and measured."""

    def __init__(
        self,
        record: Record,
        content: ImageSource,
        style: ImageSource | Sequence[ImageSource],
        options: PaintOptions,
    ) -> None:
        self.record, self.content, self.styles = record, content, list_styles(style)
        # The blend that all runs share, and not one that is varied: the yardstick stays as it is.
        self.blend, self.max_megapixels = options.style_blend, options.max_megapixels
        self.targets = Targets()  # what is measured of a style serves all runs
        self.notes: list[str] = []
        self.rows: dict[str, Row] = {}  # by the run's name

    @cached_property
    def yardstick(self) -> Yardstick:
        return Yardstick(
            self.content, self.styles, blend=self.blend, max_megapixels=self.max_megapixels
        )

    def paint(self, run: Run, keep_at: Collection[int] = ()) -> Generator[Step, None, None]:
        """Paint a run, or what is left of it, and keep what it came to; nothing if it is done.
        ``keep_at`` are steps whose pictures are kept too."""
        record = self.record
        if not record.is_done(run):
            checkpoint = record.checkpoint(run)
            painter = Painter(
                self.content,
                self.styles,
                run.options,
                checkpoint=checkpoint,
                targets=self.targets,
            )
            try:
                for step in painter.steps():
                    if step.number in keep_at:
                        painter.result().save(record.picture(run, step.number))
                    yield step
                painting = painter.result()
            except DivergedError:
                painting = mark_diverged(painter.result())
            except GeneratorExit:
                painter.save_progress()
                raise
            finally:
                self.note(painter.notes)
            record.keep(run, painting)
        self.rows[run.name] = self.read(run)

    def read(self, run: Run) -> Row:
        """What a finished run came to, by its files alone."""
        history = self.record.read_history(run) or []
        if has_diverged(history):
            self.note([f"{run.name}: the loss was no longer a number at step {len(history)}"])
            return Row(run, history[:-1], None)
        return Row(run, history, self.measure(run))

    def measure(self, run: Run) -> Distances:
        return self.yardstick.measure(read_opaque(self.record.picture(run), math.inf).pixels)

    def show_input(self, number: int) -> Image.Image:
        """The photograph, or the style of that number, counted from 1."""
        source = self.styles[number - 1] if number else self.content
        return to_pil(read_image(source, max_megapixels=self.max_megapixels).pixels)

    def show(self, run: Run, step: int | None = None) -> Image.Image:
        with Image.open(self.record.picture(run, step)) as image:
            return image.copy()

    def note_choice(self, row: Row, rank: str) -> None:
        name = self.record.picture(row.run).relative_to(self.record.folder).as_posix()
        self.note([f"the {rank} is {name}: {describe_row(row)}"])

    def note(self, notes: Iterable[str]) -> None:
        """What is so of every run is said once."""
        self.notes += [note for note in dict.fromkeys(notes) if note not in self.notes]
