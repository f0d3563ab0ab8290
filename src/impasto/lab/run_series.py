"""Many runs in one folder: one after the other, whatever each of them is, and told of together."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from PIL import Image

from impasto.cluster.crew import Crew, TaskNeeds, hire_crew
from impasto.cluster.places import HERE, WorkPlace
from impasto.cluster.worker import WorkerSpec
from impasto.errors import OptionError
from impasto.figures.contact_sheet import save_sheet
from impasto.figures.plots import Mark, plot_distances
from impasto.lab.run_folder import Pictures, RunFolder, describe_work
from impasto.lab.run_painter import RunPainter, check_painting
from impasto.lab.run_worker import RunTask
from impasto.lab.runs import Row, Run, describe_row, find_front
from impasto.lab.varied_options import describe_values
from impasto.painting.options import PaintOptions
from impasto.system.files import working_in
from impasto.work import Request, Step

if TYPE_CHECKING:
    from impasto.figures.plots import Figure

_Given = TypeVar("_Given", bound=PaintOptions)
_LONG_SIDE = 256  # of each picture, if no size is asked for: many are painted


class Part(NamedTuple):
    """One run among those of a series."""

    text: str  # what it is of, in a few words
    steps: int  # how many of all steps it counts for
    work: Generator[Step, None, None]  # makes the run, or what is left of it


class RunSeries(ABC):
    """Runs in a folder.

    ``steps()`` makes those that the folder does not hold yet; whenever it ends, tables, sheet and
    figures tell of what there is.
    """

    def __init__(self, folder: RunFolder) -> None:
        self.folder, self.finished = folder, False

    @property
    def notes(self) -> list[str]:
        """What was done in the user's stead, so far."""
        return self.folder.notes

    def steps(self) -> Iterator[Step]:
        """Make the runs, yielding how far they have come after each step of each."""
        began = perf_counter()
        with working_in(self.folder.path):
            try:
                with closing(self._make_all(*self._count())) as steps:
                    for step in steps:
                        yield replace(step, seconds=perf_counter() - began)
                self.finished = True
            finally:
                self._tell()

    def _make_all(self, count: int, total: int) -> Generator[Step, None, None]:
        done = 0
        for number, part in enumerate(self._list_parts(), 1):
            text = f"{number}/{count} {part.text}".strip()
            with closing(part.work) as steps:
                for step in steps:
                    so_far = done + min(step.number, part.steps)
                    yield replace(step, number=so_far, steps=total, text=text)
            done += part.steps
            yield Step(done, total, text)

    @abstractmethod
    def _count(self) -> tuple[int, int]:
        """Return how many runs there are to be, and how many steps in all."""

    @abstractmethod
    def _list_parts(self) -> Iterator[Part]:
        """Yield the runs; whenever it goes on, the one before is finished."""

    @abstractmethod
    def _tell(self) -> None:
        """Tell of all that is finished."""


class PaintedSeries(RunSeries):
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
        place: WorkPlace = HERE,
    ) -> None:
        """Take up or make the folder.

        ``vary`` are all values of the options that are varied, ``what`` and ``told`` facts for the
        record of which ``told`` are no part of what the work is known by, and ``tried`` what
        must be possible to paint.
        """
        self.pictures, self.asked, self.place = pictures, options, place
        base = set_size(pictures, options)
        facts = describe_work(pictures, base, vary, what) | told
        checks = [check_painting(pictures, each) for each in tried]
        self.memory = max((memory for _, memory in checks), default=None)  # bytes, of the largest
        super().__init__(RunFolder.open(folder, facts))
        if options.size is None and "size" not in vary:
            self.folder.note([f"each picture has a long side of {base.size}; --size for another"])
        self.folder.note([note for notes, _ in checks for note in notes])
        self.painter = RunPainter(self.folder, pictures, base)

    @property
    def rows(self) -> list[Row]:
        """What the finished runs came to, in the order of their numbers."""
        return sorted(self.painter.rows.values(), key=lambda row: int(row.run.name.split("-")[0]))

    def _paint_together(
        self, runs: Sequence[Run], crew: Crew, keep_at: Sequence[int] = ()
    ) -> Iterator[tuple[Run | None, str]]:
        """Paint runs that are not there yet, several at a time; yield each that is done.

        With it come the machines; now and then it is None, to stop at.
        """
        left = [run for run in runs if not self.folder.is_done(run.name)]
        for run in runs:
            if run not in left:
                self.painter.take_in(run)
                yield run, ""
        spec = WorkerSpec("impasto.lab.run_worker:make_run_worker", (self.pictures, crew.share))
        tasks = [RunTask(run, tuple(keep_at)) for run in left]
        reports = crew.share_out(spec, tasks, list_files=lambda task: task.run.options.list_files())
        for task, report in reports:
            if report is None:
                yield None, crew.describe()
            else:
                self.painter.keep(task.run, report.outcome)
                yield task.run, crew.describe()
        self.folder.note(crew.notes)

    @contextmanager
    def _hire(self, most: int) -> Iterator[Crew]:
        """Yield who paints up to ``most`` runs at a time."""
        needs = TaskNeeds(self.memory, gpu=self.asked.device != "cpu")
        with hire_crew(self.place, most, needs) as crew:
            self.folder.note(crew.notes)
            yield crew

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
    model: type[_Given], options: PaintOptions | Mapping[str, Any] | None, **more: Any
) -> _Given:
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
