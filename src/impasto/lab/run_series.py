"""Many runs in one folder: one after the other, whatever each of them is, and told of together."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from PIL import Image

from impasto.errors import OptionError
from impasto.figures.contact_sheet import save_sheet
from impasto.figures.plots import Mark, plot_distances
from impasto.lab.run_folder import Pictures, RunFolder, describe_work
from impasto.lab.run_painter import RunPainter, check_painting
from impasto.lab.runs import Row, Run, describe_row, find_front
from impasto.lab.varied_options import describe_values
from impasto.painting.options import PaintOptions
from impasto.system.files import working_in
from impasto.work import Request, Step

if TYPE_CHECKING:
    from impasto.figures.plots import Figure

AnyRun = TypeVar("AnyRun")
Given = TypeVar("Given", bound=PaintOptions)
_LONG_SIDE = 256  # of each picture, if no size is asked for: many are painted


class RunSeries(ABC, Generic[AnyRun]):
    """Runs in a folder. ``steps()`` makes those that the folder does not hold yet; whenever it
    ends, tables, sheet and figures tell of what there is."""

    def __init__(self, folder: RunFolder) -> None:
        self.folder, self.finished = folder, False

    @property
    def notes(self) -> list[str]:
        """What was done in the user's stead, so far."""
        return self.folder.notes

    def steps(self) -> Iterator[Step]:
        """Make the runs, yielding how far they have come after each step of each."""
        with working_in(self.folder.path):
            try:
                yield from self._make_all()
                self.finished = True
            finally:
                self._tell()

    def _make_all(self) -> Iterator[Step]:
        (count, total), done, began = self._count(), 0, perf_counter()
        for number, run in enumerate(self._list_runs(), 1):
            text = f"{number}/{count} {self._describe(run)}".strip()
            share = self._count_steps(run)
            with closing(self._make(run)) as steps:
                for step in steps:
                    so_far = done + min(step.number, share)
                    seconds = perf_counter() - began
                    yield replace(step, number=so_far, steps=total, text=text, seconds=seconds)
            done += share
            self._take_in(run)
            yield Step(done, total, text, seconds=perf_counter() - began)

    @abstractmethod
    def _count(self) -> tuple[int, int]:
        """Return how many runs there are to be, and how many steps in all."""

    @abstractmethod
    def _list_runs(self) -> Iterator[AnyRun]:
        """Yield the runs; each is taken in before the next is asked for."""

    @abstractmethod
    def _count_steps(self, run: AnyRun) -> int:
        """Return how many of all steps are for a run."""

    @abstractmethod
    def _describe(self, run: AnyRun) -> str:
        """Return in a few words what a run is of."""

    @abstractmethod
    def _make(self, run: AnyRun) -> Generator[Step, None, None]:
        """Make a run, or what is left of it."""

    @abstractmethod
    def _take_in(self, run: AnyRun) -> None:
        """Note what a finished run came to, and write the table so far."""

    @abstractmethod
    def _tell(self) -> None:
        """Tell of all that is finished."""


class PaintedSeries(RunSeries[Run]):
    """Runs that are paintings of the same pictures, and one of them chosen as the one to take."""

    rank = "best"  # what the chosen one is called, and the recipe of it

    def __init__(
        self,
        pictures: Pictures,
        options: PaintOptions,
        folder: str | Path,
        *,
        vary: Mapping[str, Sequence[Any]],
        what: Mapping[str, Any],
        told: dict[str, Any],
        tried: Sequence[PaintOptions],
    ) -> None:
        """Take up or make the folder.

        ``vary`` are all values of the options that are varied, ``what`` and ``told`` facts for the
        record of which ``told`` are no part of what the work is known by, and ``tried`` what
        must be possible to paint.
        """
        self.pictures, self.asked = pictures, options
        base = set_size(pictures, options)
        facts = describe_work(pictures, base, vary, what) | told
        notes = [note for each in tried for note in check_painting(pictures, each)]
        super().__init__(RunFolder.open(folder, facts))
        if options.size is None and "size" not in vary:
            self.folder.note([f"each picture has a long side of {base.size}; --size for another"])
        self.folder.note(notes)
        self.painter = RunPainter(self.folder, pictures, base)

    @property
    def rows(self) -> list[Row]:
        """What the finished runs came to."""
        return list(self.painter.rows.values())

    def _describe(self, run: Run) -> str:
        return describe_values(run.values)

    def _count_steps(self, run: Run) -> int:
        return run.options.steps

    def _make(self, run: Run) -> Generator[Step, None, None]:
        return self.painter.paint(run)

    def _take_in(self, run: Run) -> None:  # noqa: ARG002
        self._write_tables()

    # --- what is told

    @abstractmethod
    def _choose(self) -> Row | None:
        """Return the row that is the one to take, if there is one."""

    @abstractmethod
    def _draw_sheet(self, chosen: Row) -> Image.Image:
        """Draw the runs that are shown."""

    @abstractmethod
    def _draw_figures(self, chosen: Row | None) -> None:
        """Draw what the losses and distances came to."""

    @abstractmethod
    def _write_recipe(self, chosen: Row) -> None:
        """Write the options of the chosen run."""

    def _marks(self) -> dict[str, set[str]]:
        """Return the columns of marks, and the runs that each is given to."""
        chosen = self._choose()
        return {"best": {chosen.run.name} if chosen else set()}

    def _write_tables(self) -> None:
        self.folder.write_results(self.rows, self._marks())
        self.folder.write_losses(self.rows)

    def _tell(self) -> None:
        if not self.rows:
            return
        self._write_tables()
        if chosen := self._choose():
            name = self.folder.picture(chosen.run.name).relative_to(self.folder.path).as_posix()
            self.folder.note([f"the {self.rank} is {name}: {describe_row(chosen)}"])
            save_sheet(self._draw_sheet(chosen), self.folder.path / "sheet.png")
            self._write_recipe(chosen)
        self._draw_figures(chosen)

    def _plot_rows(self, chosen: Row) -> Figure:
        """Plot the distances of the runs, and which of them none is better than in both."""
        places = [(row.run, row.place) for row in self.rows if row.place]
        front = find_front([place for _, place in places])
        marks = [
            Mark(*place, describe_values(run.values), best=run is chosen.run, front=i in front)
            for i, (run, place) in enumerate(places)
        ]
        return plot_distances(marks, thumbnails=[self.painter.show(run) for run, _ in places])


def set_size(pictures: Pictures, options: PaintOptions) -> PaintOptions:
    """Set the long side of each picture: as asked, else no larger than the photograph."""
    size = options.size
    if size is None:
        size = min(_LONG_SIDE, max(pictures.content.size))
    return options.model_copy(update={"size": size})


def only_painting(options: PaintOptions) -> PaintOptions:
    """Return the options of each painting alone; those that were said are known as such."""
    fields = PaintOptions.model_fields
    return PaintOptions.read({n: v for n, v in list_said(options).items() if n in fields})


def read_options(
    model: type[Given], options: PaintOptions | Mapping[str, Any] | None, **more: Any
) -> Given:
    """Return the options of a series from what a Python caller gave, a painting's options too."""
    if isinstance(options, PaintOptions):
        options = list_said(options)
    return model.parse({**list_said(model.parse(options)), **more})


def list_said(options: PaintOptions) -> dict[str, Any]:
    """Return the options that were said, by name."""
    return {name: getattr(options, name) for name in options.model_fields_set}


def folder_of(request: Request) -> Path:
    """Return the folder that the work is to go to."""
    if request.output is None:
        raise OptionError("many pictures go to a folder; name one")
    return request.output
