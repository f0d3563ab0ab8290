"""Studies: sweeps whose axes the papers chose, to show the method in the user's own pictures."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PIL import Image

from impasto.errors import OptionError, suggest
from impasto.figures.contact_sheet import draw_sheet
from impasto.figures.plots import (
    plot_losses,
    plot_progress,
    plot_times,
)
from impasto.images.picture import ImageSource
from impasto.lab.options import SweepOptions
from impasto.lab.runs import Row
from impasto.lab.sweep import Style, Sweep, SweepResult, follow, list_said
from impasto.lab.varied_options import (
    Axis,
    names_in,
    read_axis,
)
from impasto.painting.options import PaintOptions
from impasto.work import Step


@dataclass(frozen=True)
class Subject:
    """What a study shows: its axes, rows first and columns last, and the options that it sets."""

    about: str
    axes: tuple[str | Axis, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)
    keep_at: tuple[int, ...] = ()  # steps at which the picture is kept


RELUS = [f"relu{block}_1" for block in range(1, 6)]
STUDIES = {
    "layers": Subject(
        "the layer that keeps the content, by the style's weight",
        (f"content_layer={','.join(RELUS)}", "style_weight=1.5,15,150,1500"),
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
            f"style_layer={','.join('+'.join(RELUS[:count]) for count in range(1, 6))}",
            "style_weight=1.5,15,150",
        ),
    ),
}


# --- studies ------------------------------------------------------------------------------------


class Study(Sweep):
    """One of ``STUDIES``: a sweep whose axes are known. What the user varies takes the place of the
    axis of that option, or is another; what the user sets is as it is set."""

    operation = "study"

    def __init__(
        self,
        subject: str,
        content: ImageSource,
        style: Style,
        options: SweepOptions,
        folder: str | Path,
        *,
        film: str | Path | None = None,
    ) -> None:
        if subject not in STUDIES:
            raise OptionError(f"unknown study {subject!r}{suggest(subject, STUDIES)}")
        self.subject, known = subject, STUDIES[subject]
        self.about = known.about
        if known.keep_at and options.vary:
            raise OptionError(f"study {subject} is of one run: it varies nothing")
        said = {name: getattr(options, name) for name in options.model_fields_set}
        options = SweepOptions.read({**known.options, **said})
        given = [*map(read_axis, options.vary)]
        taken = {name for axis in given for name in names_in(axis)}
        kept = [axis for axis in map(read_axis, known.axes) if not names_in(axis) & taken]
        if known.keep_at:
            kept = [[{}]]
            steps = options.steps
            self.keep_at = [*(each for each in known.keep_at if each < steps), steps]
        self._begin((content, style), options, [*given, *kept], folder, film)

    def _draw_sheet(self) -> Image.Image:
        if not self.keep_at:
            return super()._draw_sheet()
        kept = self._kept_steps()
        images = [self.easel.show(self.runs[0], step) for step in kept]
        captions = [f"step {step}" for step in kept]
        return draw_sheet([images], captions=[captions], title=self._title())

    def _kept_steps(self) -> list[int]:
        return [step for step in self.keep_at if self.record.picture(self.runs[0], step).exists()]

    def _draw_figures(self, rows: Sequence[Row]) -> None:
        if not self.keep_at:
            super()._draw_figures(rows)
            return
        history, record = rows[0].history, self.record
        if history:
            record.draw_figure("losses.png", lambda: plot_losses(history))
            record.draw_figure("progress.png", lambda: plot_progress(history, self._kept_steps()))
            record.draw_figure("times.png", lambda: plot_times(history))


def study(
    subject: str,
    content: ImageSource,
    style: Style,
    folder: str | Path,
    options: PaintOptions | Mapping[str, Any] | None = None,
    *,
    film: str | Path | None = None,
    on_step: Callable[[Step], None] | None = None,
) -> SweepResult:
    """Paint one of the papers' figures, ``STUDIES``, of these pictures into a folder."""
    asked = SweepOptions.read(list_said(options))
    work = Study(subject, content, style, asked, folder, film=film)
    follow(work.steps(), on_step)
    return work.result()
