"""Runs of a sweep, a study or a search: one painting each, and what it came to."""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

from impasto.lab.distances import Distances
from impasto.lab.varied_options import show_value
from impasto.painting.options import PaintOptions
from impasto.painting.result import Painting
from impasto.work import LOSSES, Step

MEASURED = (
    *("style_distance", "content_distance", "distance"),
    *("total_loss", "style_loss", "content_loss", "steps", "seconds"),
)
_LONGEST_NAME = 120  # characters; file systems take 255 bytes


@dataclass(frozen=True)
class Run:
    """One painting of many: its name, the options in which it differs, and all of them."""

    name: str
    values: dict[str, Any]
    options: PaintOptions


@dataclass(frozen=True)
class Row:
    """What a finished run came to; without distances if its loss was no longer a number."""

    run: Run
    history: list[Step]
    distances: Distances | None

    @property
    def place(self) -> tuple[float, float] | None:
        """(content, style) distance."""
        return None if self.distances is None else (self.distances.content, self.distances.style)

    @property
    def kept(self) -> Step | None:
        """The step whose picture was kept, or stands for it: the least loss at the last size."""
        steps = [s for s in self.history if s.size == self.history[-1].size]
        return min(steps, key=lambda step: step.total, default=None)


@dataclass(frozen=True)
class RunSummary:
    """One line of ``results.csv``."""

    name: str
    values: dict[str, str]  # of the options that are varied, each as one word
    measured: tuple[float | None, ...]  # in the order of ``MEASURED``
    marks: dict[str, bool]  # best, and whatever else the run was found to be

    @classmethod
    def of(cls, row: Row, varied: Iterable[str], marks: Mapping[str, Collection[str]]) -> Self:
        """Return a row's line; ``marks`` name the runs that each of them is given to."""
        measured: list[float | None] = [None] * 6
        if row.distances is not None:
            measured[:3] = [row.distances.style, row.distances.content, row.distances.overall]
            if (kept := row.kept) is not None:
                measured[3:] = [kept.total, kept.style, kept.content]
        seconds = row.history[-1].seconds if row.history else None
        return cls(
            row.run.name,
            {name: show_value(name, getattr(row.run.options, name)) for name in varied},
            (*measured, len(row.history), seconds),
            {mark: row.run.name in names for mark, names in marks.items()},
        )

    def write(self) -> list[Any]:
        """Return the cells of the line."""
        formats = ["{:.6f}"] * 3 + ["{}"] * 4 + ["{:.3f}"]
        measured = [
            "" if value is None else text.format(value)
            for text, value in zip(formats, self.measured, strict=True)
        ]
        return [self.name, *self.values.values(), *measured, *map(int, self.marks.values())]

    @property
    def is_best(self) -> bool:
        """Whether the run is the one to take."""
        return self.marks.get("best", False)

    @property
    def distance(self) -> float | None:
        """The distance from both, the style and the photograph; None if it was not measured."""
        value = self.measured[MEASURED.index("distance")]
        return value if value is not None and math.isfinite(value) else None


def read_summaries(text: str) -> list[RunSummary]:
    """Read the text of ``results.csv``; a ``ValueError`` if it is none."""
    head, *lines = csv.reader(io.StringIO(text, newline=""))
    # By place: an option that is varied may be called as a measure is, such as steps.
    first = head.index(MEASURED[0])
    last = first + len(MEASURED)
    if tuple(head[first:last]) != MEASURED or any(len(line) != len(head) for line in lines):
        raise ValueError("its columns are others")
    return [
        RunSummary(
            line[0],
            dict(zip(head[1:first], line[1:first], strict=True)),
            tuple(float(cell) if cell else None for cell in line[first:last]),
            {name: cell == "1" for name, cell in zip(head[last:], line[last:], strict=True)},
        )
        for line in lines
    ]


def name_run(number: int, count: int, values: Mapping[str, Any]) -> str:
    """Return ``03-style_weight=0.1-tv_weight=5``: it sorts, and is a file's name everywhere."""
    digits = max(2, len(str(count)))
    words = [f"{name}={show_value(name, value)}" for name, value in values.items()]
    name = "-".join([f"{number:0{digits}}", *words])
    return re.sub(r"[^\w.=+-]", "_", name, flags=re.ASCII)[:_LONGEST_NAME].strip("-")


def has_diverged(history: Sequence[Step]) -> bool:
    """Return whether the last step measured no number."""
    return bool(history) and not math.isfinite(history[-1].total)


def read_step(line: Mapping[str, str]) -> Step:
    """Read a step from a line of a run's losses."""
    measured = {name: float(line[f"{name}_loss"]) for name in LOSSES}
    size, seconds = (int(line["width"]), int(line["height"])), float(line["seconds"])
    return Step(int(line["epoch"]), 0, size=size, measured=measured, seconds=seconds)


def describe_row(row: Row | None, rank: str = "") -> str:
    """Return what a run came to, in a few words."""
    if row is None:
        return ""
    if row.distances is None:
        return "diverged"
    measured = f"style {row.distances.style:.2f}, content {row.distances.content:.2f}"
    return f"{rank}: {measured}" if rank else measured


def mark_diverged(painting: Painting) -> Painting:
    """Add a last step that measured no number, by which a diverged run is known."""
    last = painting.history[-1] if painting.history else None
    size = last.size if last else (painting.pixels.shape[-1], painting.pixels.shape[-2])
    seconds = last.seconds if last else 0.0
    measured = dict.fromkeys(LOSSES, math.nan)
    number = len(painting.history) + 1
    lost = Step(number, 0, size=size, measured=measured, seconds=seconds)
    return replace(painting, history=[*painting.history, lost])


def find_best(rows: Iterable[Row]) -> Row | None:
    """Return the row nearest to both, its style and its photograph."""
    measured = [(row.distances.overall, row) for row in rows if row.distances is not None]
    return min(measured, key=lambda pair: pair[0])[1] if measured else None


def find_front(points: Sequence[tuple[float, float]]) -> list[int]:
    """Return the places of the points that no other is better than in both coordinates.

    They go from the least first coordinate to the least second one; of equal points the first
    counts.
    """
    front: list[int] = []
    for i in sorted(range(len(points)), key=lambda i: (*points[i], i)):
        if not front or points[i][1] < points[front[-1]][1]:
            front.append(i)
    return front
