"""Paint and measure the runs of a folder."""

from __future__ import annotations

import math
from collections.abc import Collection, Generator
from functools import cached_property

import torch
from PIL import Image

from impasto.errors import DivergedError
from impasto.images.transparency import read_opaque
from impasto.lab.distances import Distances, Yardstick
from impasto.lab.run_folder import Pictures, RunFolder
from impasto.lab.run_worker import RunFiles
from impasto.lab.runs import Row, Run, has_diverged, mark_diverged
from impasto.painting.options import PaintOptions
from impasto.painting.painter import Painter
from impasto.painting.starts import STARTS, start_picture
from impasto.painting.style_cache import Targets
from impasto.work import Step


def check_painting(pictures: Pictures, options: PaintOptions) -> tuple[list[str], int]:
    """Refuse what could not be painted before anything is; return notes, and the memory needed."""
    if options.init not in STARTS:
        nothing = torch.zeros(1, 3, 1, 1)
        start_picture(options.init, nothing, nothing, max_megapixels=options.max_megapixels)
    painter = Painter(pictures.content, pictures.styles, options)
    return painter.notes, painter.memory_needed


class RunPainter:
    """Paints every run of a folder from the same pictures, and measures what it came to."""

    def __init__(self, folder: RunFolder, pictures: Pictures, options: PaintOptions) -> None:
        self.folder, self.pictures = folder, pictures
        # The blend that all runs share, and not one that is varied: the yardstick stays as it is.
        self.blend, self.max_megapixels = options.style_blend, options.max_megapixels
        self.targets = Targets()  # what is measured of a style serves all runs
        self.rows: dict[str, Row] = {}  # by the run's name

    @cached_property
    def yardstick(self) -> Yardstick:
        """The distances from the pictures, measured when the first is asked for."""
        return Yardstick(
            self.pictures.content,
            self.pictures.styles,
            blend=self.blend,
            max_megapixels=self.max_megapixels,
        )

    def paint(self, run: Run, keep_at: Collection[int] = ()) -> Generator[Step, None, None]:
        """Paint a run, or what is left of it, and keep what it came to; nothing if it is done.

        ``keep_at`` are steps whose pictures are kept too.
        """
        folder = self.folder
        if not folder.is_done(run.name):
            painter = Painter(
                self.pictures.content,
                self.pictures.styles,
                run.options,
                checkpoint=folder.checkpoint(run.name),
                targets=self.targets,
            )
            try:
                for step in painter.steps():
                    if step.number in keep_at:
                        painter.result().save(folder.picture(run.name, step.number))
                    yield step
                painting = painter.result()
            except DivergedError:
                painting = mark_diverged(painter.result())
            except GeneratorExit:
                painter.save_progress()
                raise
            finally:
                folder.note(painter.notes)
            self.keep(run, RunFiles.of(painting))
        else:
            self.take_in(run)

    def keep(self, run: Run, files: RunFiles) -> None:
        """Keep what a run came to, wherever it was painted."""
        self.folder.note(files.notes)
        self.folder.keep(run.name, files.picture, files.losses, files.kept)
        self.take_in(run)

    def take_in(self, run: Run) -> None:
        """Take in what a finished run came to."""
        self.rows[run.name] = self.read(run)

    def read(self, run: Run) -> Row:
        """Read what a finished run came to, from its files alone."""
        history = self.folder.read_history(run.name) or []
        if has_diverged(history):
            lost = f"{run.name}: the loss was no longer a number at step {len(history)}"
            self.folder.note([lost])
            return Row(run, history[:-1], None)
        return Row(run, history, self.measure(run))

    def measure(self, run: Run) -> Distances:
        """Measure the picture of a run."""
        return self.yardstick.measure(read_opaque(self.folder.picture(run.name), math.inf).pixels)

    def show(self, run: Run, step: int | None = None) -> Image.Image:
        """Read the picture of a run, or as it was at a step."""
        with Image.open(self.folder.picture(run.name, step)) as image:
            return image.copy()
