"""Studies: sweeps whose axes the papers chose, to show the method in the user's own pictures."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from PIL import Image

from impasto.cluster.places import HERE, WorkPlace, choose_place
from impasto.errors import OptionError, suggest
from impasto.figures.contact_sheet import draw_sheet
from impasto.figures.plots import plot_losses, plot_progress, plot_times
from impasto.images.picture import ImageSource
from impasto.lab.options import SweepOptions
from impasto.lab.run_series import folder_of, list_said, read_options
from impasto.lab.runs import Row
from impasto.lab.sweep import Sweep, SweepPlan, SweepResult
from impasto.lab.varied_options import Axis, names_in, read_axis
from impasto.painting.options import PaintOptions
from impasto.work import Request, Step, finish


@dataclass(frozen=True)
class Subject:
    """What a study shows: its axes, rows first and columns last, and the options that it sets."""

    about: str
    axes: tuple[str | Axis, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)
    keep_at: tuple[int, ...] = ()  # steps at which the picture is kept


_RELUS = [f"relu{block}_1" for block in range(1, 6)]
STUDIES = {
    "layers": Subject(
        "the layer that keeps the content, by the style's weight",
        (f"content_layer={','.join(_RELUS)}", "style_weight=1.5,15,150,1500"),
    ),
    "weights": Subject("the style's weight", ("style_weight=0.15,1.5,15,150,1500",)),
    "starts": Subject(
        "what the picture starts from",
        (
            (
                *({"init": init} for init in ("content", "style", "grey", "statistics")),
                *({"init": "noise", "seed": seed} for seed in (0, 1, 2)),
            ),
        ),
        {"steps": 200},  # noise takes its time
    ),
    "steps": Subject(
        "how the picture grows",
        options={"steps": 400, "plateau": 0.0, "start_size": 65536},
        keep_at=(1, 10, 50, 100, 400),
    ),
    "depth": Subject(
        "how many layers carry the style, by its weight",
        (
            f"style_layer={','.join('+'.join(_RELUS[:count]) for count in range(1, 6))}",
            "style_weight=1.5,15,150",
        ),
    ),
}


def plan_study(subject: str, options: SweepOptions) -> SweepPlan:
    """Return the plan of one of ``STUDIES``.

    What the user varies takes the place of the axis of that option, or is another; what the user
    sets goes before what the study sets.
    """
    if subject not in STUDIES:
        raise OptionError(f"unknown study {subject!r}{suggest(subject, STUDIES)}")
    known = STUDIES[subject]
    if known.keep_at and options.vary:
        raise OptionError(f"study {subject} is of one run: it varies nothing")
    options = read_options(SweepOptions, {**known.options, **list_said(options)})
    if known.keep_at:
        steps = options.steps
        keep_at = [*(each for each in known.keep_at if each < steps), steps]
        return SweepPlan(options, [[{}]], subject, known.about, keep_at)
    given = [*map(read_axis, options.vary)]
    taken = {name for axis in given for name in names_in(axis)}
    kept = [axis for axis in map(read_axis, known.axes) if not names_in(axis) & taken]
    return SweepPlan(options, [*given, *kept], subject, known.about)


class Study(Sweep):
    """One of ``STUDIES``: a sweep whose axes are known."""

    def __init__(
        self,
        subject: str,
        content: ImageSource,
        style: ImageSource | Sequence[ImageSource],
        options: SweepOptions,
        folder: str | Path,
        *,
        film: str | Path | None = None,
        place: WorkPlace = HERE,
    ) -> None:
        plan = plan_study(subject, options)
        super().__init__(content, style, plan.options, folder, film=film, plan=plan, place=place)

    @classmethod
    def from_request(cls, request: Request) -> Self:
        """Make the work from plain data."""
        options = SweepOptions.parse(request.options)
        content, styles = request.one("content"), request.many("style")
        folder = folder_of(request)
        return cls(
            request.one("subject"),
            content,
            styles,
            options,
            folder,
            film=request.film,
            place=request.place,
        )

    def _draw_sheet(self, chosen: Row) -> Image.Image:
        if not self.plan.keep_at:
            return super()._draw_sheet(chosen)
        kept = self._kept_steps()
        images = [self.painter.show(self.runs[0], step) for step in kept]
        captions = [f"step {step}" for step in kept]
        return draw_sheet([images], captions=[captions], title=self._title())

    def _kept_steps(self) -> list[int]:
        name = self.runs[0].name
        return [step for step in self.plan.keep_at if self.folder.picture(name, step).exists()]

    def _draw_figures(self, chosen: Row | None) -> None:
        if not self.plan.keep_at:
            super()._draw_figures(chosen)
            return
        history, draw = self.rows[0].history, self.folder.draw_figure
        if history:
            draw("losses.png", lambda: plot_losses(history))
            draw("progress.png", lambda: plot_progress(history, self._kept_steps()))
            draw("times.png", lambda: plot_times(history))


def study(
    subject: str,
    content: ImageSource,
    style: ImageSource | Sequence[ImageSource],
    folder: str | Path,
    options: PaintOptions | Mapping[str, Any] | None = None,
    *,
    film: str | Path | None = None,
    on: str | None = None,
    on_step: Callable[[Step], None] | None = None,
) -> SweepResult:
    """Paint one of the papers' figures, ``STUDIES``, of these pictures into a folder.

    ``on`` says where, as for ``sweep``.
    """
    asked = read_options(SweepOptions, options)
    place = choose_place(on)
    return finish(Study(subject, content, style, asked, folder, film=film, place=place), on_step)
