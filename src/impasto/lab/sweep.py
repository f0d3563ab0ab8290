"""Sweeps: options crossed with one another, a picture for each, and the best of them measured."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

from PIL import Image

from impasto.cluster.places import HERE, WorkPlace, choose_place
from impasto.errors import OptionError
from impasto.figures.contact_sheet import arrange, draw_sheet, fit_tile
from impasto.figures.plots import plot_curves
from impasto.images.picture import ImageSource
from impasto.images.reading import read_image
from impasto.images.writing import to_pil
from impasto.lab.options import SweepOptions
from impasto.lab.run_folder import Pictures
from impasto.lab.run_series import (
    PaintedSeries,
    Part,
    folder_of,
    only_painting,
    read_options,
    set_size,
)
from impasto.lab.runs import Row, Run, describe_row, find_best, name_run
from impasto.lab.varied_options import (
    Axis,
    Point,
    cross_axes,
    describe_values,
    names_in,
    read_axis,
    show_value,
)
from impasto.painting.options import PaintOptions
from impasto.system.files import resolve_path
from impasto.video.film import Film, check_film
from impasto.work import Request, Step, finish

_LONGEST_ROW = 5  # tiles that stand side by side where nothing else arranges them
_FRAME_SIDE = 480
# Seconds for which a picture is shown, and, of many, all of them: in motion, not one by one.
_FRAME_SECONDS, _FILM_SECONDS = 0.6, 6.0


@dataclass(frozen=True)
class SweepPlan:
    """What is varied, and what a study says of it."""

    options: SweepOptions
    axes: Sequence[Axis]
    subject: str | None = None  # of a study
    about: str = ""  # what it shows, in words
    keep_at: Sequence[int] = ()  # steps at which the picture is kept


def plan_sweep(options: SweepOptions) -> SweepPlan:
    """Return the plan that options ask for."""
    if not options.vary:
        raise OptionError("a sweep varies an option; give --vary style_weight=1,0.1,0.01")
    return SweepPlan(options, [*map(read_axis, options.vary)])


def check_axes(axes: Sequence[Axis], options: SweepOptions) -> None:
    """Refuse axes that say two things of one option."""
    names = [name for axis in axes for name in names_in(axis)]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise OptionError(f"{twice} is varied twice; give all its values at once")
    if options.chain and "init" in names:
        raise OptionError("chain starts each picture from the one before it; do not vary init")


@dataclass(frozen=True)
class SweepResult:
    """What a sweep came to so far."""

    folder: Path
    rows: list[Row]
    best: Row | None
    notes: list[str]
    finished: bool


class Sweep(PaintedSeries):
    """A picture for each crossing of the options that are varied."""

    def __init__(
        self,
        content: ImageSource,
        style: ImageSource | Sequence[ImageSource],
        options: SweepOptions,
        folder: str | Path,
        *,
        film: str | Path | None = None,
        plan: SweepPlan | None = None,
        place: WorkPlace = HERE,
    ) -> None:
        if not place.is_here and options.chain:
            raise OptionError("chain paints one picture after the other; leave out --jobs and --on")
        self.plan = plan = plan or plan_sweep(options)
        check_axes(plan.axes, plan.options)
        self.film = None if film is None else Path(film)
        if self.film is not None:
            # What lies in the folder that is made below has a place there.
            own_folder = resolve_path(self.film).parent == resolve_path(folder)
            check_film(self.film.name if own_folder else self.film)
        pictures = Pictures.read(content, style, plan.options.max_megapixels)
        asked, points = only_painting(plan.options), cross_axes(plan.axes)
        base = set_size(pictures, asked)
        self.runs = [
            Run(name_run(i, len(points), point), point, base.model_copy(update=point))
            for i, point in enumerate(points, 1)
        ]
        what = {
            "operation": "study" if plan.subject else "sweep",
            "subject": plan.subject,
            "chain": plan.options.chain,
            "runs": [run.name for run in self.runs],
        }
        about = {"about": plan.about} if plan.about else {}
        super().__init__(
            pictures,
            asked,
            folder,
            vary=collect_values(self.runs),
            what=what,
            told={"runs": len(self.runs), **about},
            tried=[run.options for i, run in enumerate(self.runs) if not i or is_turn(points, i)],
            place=place,
        )

    @classmethod
    def from_request(cls, request: Request) -> Self:
        """Make the work from plain data."""
        options = SweepOptions.parse(request.options)
        content, styles = request.one("content"), request.many("style")
        folder = folder_of(request)
        return cls(content, styles, options, folder, film=request.film, place=request.place)

    def result(self) -> SweepResult:
        """Return what was painted and measured so far."""
        return SweepResult(self.folder.path, self.rows, self._choose(), self.notes, self.finished)

    def _count(self) -> tuple[int, int]:
        return len(self.runs), sum(run.options.steps for run in self.runs)

    def _make_all(self, count: int, total: int) -> Generator[Step, None, None]:
        left = sum(not self.folder.is_done(run.name) for run in self.runs)
        if self.place.is_here or not left:
            yield from super()._make_all(count, total)
            return
        done, finished = 0, 0
        with self._hire(left) as crew:
            for run, machines in self._paint_together(self.runs, crew, self.plan.keep_at):
                if run is not None:
                    done, finished = done + run.options.steps, finished + 1
                    self._write_tables()
                yield Step(done, total, f"{finished}/{count} {machines}".strip())

    def _list_parts(self) -> Iterator[Part]:
        for run in self.runs:
            work = self.painter.paint(self._link(run), self.plan.keep_at)
            yield Part(describe_values(run.values), run.options.steps, work)
            self._write_tables()

    def _link(self, run: Run) -> Run:
        """Return, in a chain, the run that starts from the last picture there is."""
        rows = [row for row in self.rows if row.distances is not None]
        if not (self.plan.options.chain and rows):
            return run
        before = str(self.folder.picture(rows[-1].run.name))
        return replace(run, options=run.options.model_copy(update={"init": before}))

    # --- what is told

    def _choose(self) -> Row | None:
        return find_best(self.rows)

    def _tell(self) -> None:
        super()._tell()
        if self.film and self._choose():
            self.folder.note(self._write_film(self.film))

    def _title(self) -> str:
        return f"{self.plan.about}: {self.pictures}" if self.plan.about else str(self.pictures)

    def _draw_sheet(self, chosen: Row) -> Image.Image:
        """Draw crossed options as rows and columns; one alone beside photograph and styles."""
        images: list[Image.Image | None] = []
        captions = []
        for run in self.runs:
            row = self.painter.rows.get(run.name)
            painted = row is not None and row.distances is not None
            images.append(self.painter.show(run) if painted else None)
            captions.append(describe_row(row, self.rank if row is chosen else ""))
        axes = self.plan.axes
        if len(axes) > 1:
            return draw_sheet(
                arrange(images, len(axes[-1])),
                captions=arrange(captions, len(axes[-1])),
                row_labels=[*map(describe_values, cross_axes(axes[:-1]))],
                column_labels=[*map(describe_values, axes[-1])],
                title=self._title(),
            )
        photograph = to_pil(self.pictures.content.pixels)
        # Cut to the photograph's shape: all tiles are of one, and nothing stands in white.
        styles = [
            fit_tile(to_pil(style.pixels), *photograph.size, crop=True)
            for style in self.pictures.styles
        ]
        images = [photograph, *styles, *images]
        values = [describe_values(run.values) for run in self.runs]
        texts = [f"{value}\n{text}" for value, text in zip(values, captions, strict=True)]
        captions = ["photograph", *["style"] * len(styles), *texts]
        columns = len(images) if len(images) <= _LONGEST_ROW else None
        return draw_sheet(
            arrange(images, columns), captions=arrange(captions, columns), title=self._title()
        )

    def _draw_figures(self, chosen: Row | None) -> None:
        curves = {describe_values(row.run.values): row.history for row in self.rows if row.history}
        self.folder.draw_figure("losses.png", lambda: plot_curves(curves))
        if chosen:
            self.folder.draw_figure("distances.png", lambda: self._plot_rows(chosen))

    def _write_recipe(self, chosen: Row) -> None:
        names = ", ".join(self.folder.facts["vary"])
        choice = f"the best of {len(self.rows)} that vary {names}: {self.pictures}"
        # The size is the sweep's own unless it was asked for: the best is painted at any.
        options = self.asked.model_copy(update=chosen.run.values)
        linked = self.plan.options.chain and chosen is not self.rows[0]
        start = Path(chosen.run.options.init) if linked else None
        self.folder.write_recipe("best.toml", choice if names else self._title(), options, start)

    def _write_film(self, path: Path) -> tuple[str, ...]:
        """Write a film with a frame for each run, its values below it."""
        frames = [
            draw_sheet(
                [[self.painter.show(row.run)]],
                captions=[[describe_values(row.run.values)]],
                tile=_FRAME_SIDE,
            )
            for row in self.rows
            if row.distances is not None
        ]
        # Words in more lines make a taller frame.
        size = max(frame.width for frame in frames), max(frame.height for frame in frames)
        seconds = max(0.04, min(_FRAME_SECONDS, _FILM_SECONDS / len(frames)))
        film = Film(path, long_side=max(size), seconds_per_frame=seconds)
        for frame in frames:
            canvas = Image.new("RGB", size, "white")
            canvas.paste(frame)
            film.add(read_image(canvas).pixels)
        return film.write()


def collect_values(runs: Sequence[Run]) -> dict[str, list[Any]]:
    """Return all values of each option that is varied, in the order in which they come."""
    vary: dict[str, list[Any]] = {}
    for name in dict.fromkeys(name for run in runs for name in run.values):
        values = (getattr(run.options, name) for run in runs)
        vary[name] = list(dict.fromkeys(values))
    return vary


def is_turn(points: Sequence[Point], number: int) -> bool:
    """Return whether a point holds a value that none before it has."""
    before = points[:number]
    return any(
        all(other.get(name) != value for other in before) for name, value in points[number].items()
    )


def sweep(
    content: ImageSource,
    style: ImageSource | Sequence[ImageSource],
    vary: Mapping[str, Sequence[Any]] | Sequence[str],
    folder: str | Path,
    options: PaintOptions | Mapping[str, Any] | None = None,
    *,
    film: str | Path | None = None,
    on: str | None = None,
    on_step: Callable[[Step], None] | None = None,
) -> SweepResult:
    """Paint a picture for each crossing of ``vary``, {option: values}, into a folder.

    ``on`` is ``local:N``, ``ray``, ``ray:ADDRESS`` or ``dask:ADDRESS``.
    """
    if isinstance(vary, Mapping):
        vary = [
            f"{name}={','.join(show_value('', value) for value in values)}"
            for name, values in vary.items()
        ]
    asked = read_options(SweepOptions, options, vary=tuple(vary))
    place = choose_place(on)
    return finish(Sweep(content, style, asked, folder, film=film, place=place), on_step)
