"""Sweeps: options crossed with one another, a picture for each, and the best of them measured."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from PIL import Image

from impasto.errors import OptionError
from impasto.figures.contact_sheet import arrange, draw_sheet, fit_tile, save_sheet
from impasto.figures.plots import (
    Mark,
    plot_curves,
    plot_distances,
)
from impasto.images.picture import ImageSource
from impasto.images.reading import read_image
from impasto.lab.options import SweepOptions
from impasto.lab.run_folder import Record, describe_work
from impasto.lab.run_painter import Easel, check_painting
from impasto.lab.runs import Row, Run, describe_row, find_best, find_front, name_run
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
from impasto.system.files import resolve_path, working_in
from impasto.video.film import Film, check_film
from impasto.work import Step

Style = ImageSource | Sequence[ImageSource]

LONG_SIDE = 256  # of each picture, if no size is asked for: many are painted
LONGEST_ROW = 5  # tiles that stand side by side where nothing else arranges them
FRAME_SIDE, FRAME_SECONDS = 480, 0.6


# --- what is asked for --------------------------------------------------------------------------


def check_axes(axes: Sequence[Axis], options: SweepOptions) -> None:
    names = [name for axis in axes for name in names_in(axis)]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise OptionError(f"{twice} is varied twice; give all its values at once")
    if options.chain and "init" in names:
        raise OptionError("chain starts each picture from the one before it; do not vary init")


def choose_size(content: ImageSource, options: PaintOptions) -> int:
    """The long side of each of many pictures: as asked, else no larger than the photograph."""
    if options.size is not None:
        return options.size
    return min(LONG_SIDE, max(read_image(content, max_megapixels=options.max_megapixels).size))


def only_painting(options: PaintOptions) -> PaintOptions:
    """The options of each painting alone; those that were said are known as such."""
    said = {name: getattr(options, name) for name in options.model_fields_set}
    return PaintOptions.read({n: v for n, v in said.items() if n in PaintOptions.model_fields})


# --- sweeps -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class SweepResult:
    """What a sweep came to so far."""

    folder: Path
    rows: list[Row]
    best: Row | None
    notes: list[str]
    finished: bool


class Sweep:
    """A picture for each crossing of the options that are varied. ``steps()`` paints what the
    folder does not hold yet; whenever it ends, tables, sheet and figures tell of what there is."""

    operation = "sweep"
    subject: str | None = None
    about = ""  # what it shows, in words
    keep_at: Sequence[int] = ()

    def __init__(
        self,
        content: ImageSource,
        style: Style,
        options: SweepOptions,
        folder: str | Path,
        *,
        film: str | Path | None = None,
    ) -> None:
        if not options.vary:
            raise OptionError("a sweep varies an option; give --vary style_weight=1,0.1,0.01")
        self._begin((content, style), options, [*map(read_axis, options.vary)], folder, film)

    def _begin(
        self,
        pictures: tuple[ImageSource, Style],
        options: SweepOptions,
        axes: Sequence[Axis],
        folder: str | Path,
        film: str | Path | None,
    ) -> None:
        check_axes(axes, options)
        own_folder = film is not None and resolve_path(film).parent == resolve_path(folder)
        if film is not None:
            # What lies in the folder that is made below has a place there.
            check_film(Path(film).name if own_folder else film)
        self.film = None if film is None else Path(film)
        self.axes, self.chain, self.finished = axes, options.chain, False
        self.asked = only_painting(options)
        base = self.asked.model_copy(update={"size": choose_size(pictures[0], options)})
        points = cross_axes(axes)
        self.runs = [
            Run(name_run(i, len(points), point), point, base.model_copy(update=point))
            for i, point in enumerate(points, 1)
        ]
        vary: dict[str, list[Any]] = {}
        for name in dict.fromkeys(name for point in points for name in point):
            values = [getattr(run.options, name) for run in self.runs]
            vary[name] = [v for i, v in enumerate(values) if v not in values[:i]]
        what = {
            "operation": self.operation,
            "subject": self.subject,
            "chain": self.chain,
            "runs": [run.name for run in self.runs],
        }
        facts = describe_work(*pictures, base, vary, what)
        # Told by the record, and no part of what the work is known by: how many, and in words.
        facts |= {"runs": len(self.runs)}
        if self.about:
            facts |= {"about": self.about}
        turns = [run for i, run in enumerate(self.runs) if i == 0 or is_turn(points, i)]
        notes = [note for run in turns for note in check_painting(*pictures, run.options)]
        self.record = Record.open(folder, facts)
        self.easel = Easel(self.record, *pictures, base)
        if options.size is None and not any("size" in names_in(axis) for axis in axes):
            self.easel.note([f"each picture has a long side of {base.size}; --size for another"])
        self.easel.note(notes)

    @property
    def notes(self) -> list[str]:
        return [*self.easel.notes, *self.record.notes()]

    def steps(self) -> Iterator[Step]:
        """Paint, yielding how far it has come after each step of each picture."""
        with working_in(self.record.folder):
            try:
                yield from self._paint()
                self.finished = True
            finally:
                self._tell()

    def _paint(self) -> Iterator[Step]:
        total, done = sum(run.options.steps for run in self.runs), 0
        for number, run in enumerate(self.runs, 1):
            text = f"{number}/{len(self.runs)} {describe_values(run.values)}".strip()
            with closing(self.easel.paint(self._link(run), self.keep_at)) as steps:
                for step in steps:
                    yield Step(done + step.number, total, text)
            done += run.options.steps
            self._write_tables()
            yield Step(done, total, text)

    def result(self) -> SweepResult:
        rows = list(self.easel.rows.values())
        folder = self.record.folder
        return SweepResult(folder, rows, find_best(rows), self.notes, self.finished)

    def _link(self, run: Run) -> Run:
        """In a chain, the run that starts from the last picture there is."""
        rows = [row for row in self.easel.rows.values() if row.distances is not None]
        if not (self.chain and rows):
            return run
        before = str(self.record.picture(rows[-1].run))
        return replace(run, options=run.options.model_copy(update={"init": before}))

    # --- what is told

    def _write_tables(self) -> None:
        result = self.result()
        best = {result.best.run.name} if result.best else set()
        self.record.write_results(result.rows, {"best": best})
        self.record.write_losses(result.rows)

    def _tell(self) -> None:
        """Tables, sheet, figures, the best as a recipe, and the film, of all that is finished."""
        rows = self.result().rows
        if not rows:
            return
        self._write_tables()
        if any(row.distances for row in rows):
            save_sheet(self._draw_sheet(), self.record.folder / "sheet.png")
            self._write_best()
            if self.film:
                self.easel.note(self._write_film(self.film))
        self._draw_figures(rows)

    def _title(self) -> str:
        facts = self.record.facts
        title = f"{facts['content']} after {', '.join(facts['style'])}"
        return f"{self.about}: {title}" if self.about else title

    def _draw_sheet(self) -> Image.Image:
        """Crossed options as rows and columns; one alone beside the photograph and its styles."""
        best = self.result().best
        images: list[Image.Image | None] = []
        captions = []
        for run in self.runs:
            row = self.easel.rows.get(run.name)
            painted = row is not None and row.distances is not None
            images.append(self.easel.show(run) if painted else None)
            captions.append(describe_row(row, "best" if row is not None and row is best else ""))
        if len(self.axes) > 1:
            count = len(self.axes[-1])
            return draw_sheet(
                arrange(images, count),
                captions=arrange(captions, count),
                row_labels=[*map(describe_values, cross_axes(self.axes[:-1]))],
                column_labels=[*map(describe_values, self.axes[-1])],
                title=self._title(),
            )
        photograph, *styles = map(self.easel.show_input, range(1 + len(self.easel.styles)))
        # Cut to the photograph's shape: all tiles are of one, and nothing stands in white.
        styles = [fit_tile(style, *photograph.size, crop=True) for style in styles]
        images = [photograph, *styles, *images]
        values = [describe_values(run.values) for run in self.runs]
        texts = [f"{value}\n{text}" for value, text in zip(values, captions, strict=True)]
        captions = ["photograph", *["style"] * len(styles), *texts]
        columns = len(images) if len(images) <= LONGEST_ROW else None
        return draw_sheet(
            arrange(images, columns), captions=arrange(captions, columns), title=self._title()
        )

    def _draw_figures(self, rows: Sequence[Row]) -> None:
        curves = {describe_values(row.run.values): row.history for row in rows if row.history}
        self.record.draw_figure("losses.png", lambda: plot_curves(curves))
        if best := find_best(rows):
            self.record.draw_figure("distances.png", lambda: plot_rows(self.easel, rows, best))

    def _write_best(self) -> None:
        result = self.result()
        if result.best is None:
            return
        self.easel.note_choice(result.best, "best")
        names = ", ".join(self.record.facts["vary"])
        of = f"{self.record.facts['content']} after {', '.join(self.record.facts['style'])}"
        choice = f"the best of {len(result.rows)} that vary {names}: {of}"
        about = choice if names else self._title()
        # The size is the sweep's own unless it was asked for: the best is painted at any.
        options = self.asked.model_copy(update=result.best.run.values)
        linked = self.chain and result.best is not result.rows[0]
        start = Path(result.best.run.options.init) if linked else None
        self.record.write_recipe("best.toml", about, options, start)

    def _write_film(self, path: Path) -> tuple[str, ...]:
        """A frame for each run, its values written below it."""
        frames = [
            draw_sheet(
                [[self.easel.show(row.run)]],
                captions=[[describe_values(row.run.values)]],
                tile=FRAME_SIDE,
            )
            for row in self.result().rows
            if row.distances is not None
        ]
        # Words in more lines make a taller frame.
        size = max(frame.width for frame in frames), max(frame.height for frame in frames)
        film = Film(path, long_side=max(size), seconds_per_frame=FRAME_SECONDS)
        for frame in frames:
            canvas = Image.new("RGB", size, "white")
            canvas.paste(frame)
            film.add(read_image(canvas).pixels)
        return film.write()


def plot_rows(easel: Easel, rows: Sequence[Row], best: Row) -> Any:
    """What the runs came to, and which of them none is better than in both distances."""
    places = [(row.run, row.place) for row in rows if row.place]
    front = find_front([place for _, place in places])
    marks = [
        Mark(*place, describe_values(run.values), best=run is best.run, front=i in front)
        for i, (run, place) in enumerate(places)
    ]
    return plot_distances(marks, thumbnails=[easel.show(run) for run, _ in places])


def is_turn(points: Sequence[Point], number: int) -> bool:
    """Whether a point holds a value that none before it has."""
    before = points[:number]
    return any(
        all(other.get(name) != value for other in before) for name, value in points[number].items()
    )


# --- in one call --------------------------------------------------------------------------------


def sweep(
    content: ImageSource,
    style: Style,
    vary: Mapping[str, Sequence[Any]] | Sequence[str],
    folder: str | Path,
    options: PaintOptions | Mapping[str, Any] | None = None,
    *,
    film: str | Path | None = None,
    on_step: Callable[[Step], None] | None = None,
) -> SweepResult:
    """Paint a picture for each crossing of ``vary``, {option: values}, into a folder."""
    if isinstance(vary, Mapping):
        vary = [
            f"{name}={','.join(show_value('', value) for value in values)}"
            for name, values in vary.items()
        ]
    asked = SweepOptions.read({**list_said(options), "vary": tuple(vary)})
    work = Sweep(content, style, asked, folder, film=film)
    follow(work.steps(), on_step)
    return work.result()


def list_said(options: PaintOptions | Mapping[str, Any] | None) -> dict[str, Any]:
    """The options that were given, by name."""
    if isinstance(options, PaintOptions):
        return {name: getattr(options, name) for name in options.model_fields_set}
    return dict(options or {})


def follow(steps: Iterator[Step], on_step: Callable[[Step], None] | None) -> None:
    for moment in steps:
        if on_step is not None:
            on_step(moment)
