"""Runs of a sweep, a study or a search: one painting each, and what it came to."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from impasto.lab.distances import Distances
from impasto.lab.varied_options import show_value
from impasto.painting.options import PaintOptions
from impasto.painting.result import Painting
from impasto.work import LOSSES, Step

LONGEST_NAME = 120  # characters; file systems take 255 bytes


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


def name_run(number: int, count: int, values: Mapping[str, Any]) -> str:
    """``03-style_weight=0.1-tv_weight=5``: sorts, and is a file's name on every system."""
    digits = max(2, len(str(count)))
    words = [f"{name}={show_value(name, value)}" for name, value in values.items()]
    name = "-".join([f"{number:0{digits}}", *words])
    return re.sub(r"[^\w.=+-]", "_", name, flags=re.ASCII)[:LONGEST_NAME].strip("-")


def has_diverged(history: Sequence[Step]) -> bool:
    return bool(history) and not math.isfinite(history[-1].total)


def read_step(line: Mapping[str, str], steps: int) -> Step:
    total, style, content, tv = (
        float(line[f"{name}_loss"]) for name in ("total", "style", "content", "tv")
    )
    size, seconds = (int(line["width"]), int(line["height"])), float(line["seconds"])
    measured = {"total": total, "style": style, "content": content, "tv": tv}
    return Step(int(line["epoch"]), steps, size=size, measured=measured, seconds=seconds)


def describe_row(row: Row | None, rank: str = "") -> str:
    """What a run came to, in a few words."""
    if row is None:
        return ""
    if row.distances is None:
        return "diverged"
    measured = f"style {row.distances.style:.2f}, content {row.distances.content:.2f}"
    return f"{rank}: {measured}" if rank else measured


def mark_diverged(painting: Painting) -> Painting:
    """With a last step that measured no number, by which a diverged run is known."""
    last = painting.history[-1] if painting.history else None
    size = last.size if last else (painting.pixels.shape[-1], painting.pixels.shape[-2])
    seconds = last.seconds if last else 0.0
    measured = dict.fromkeys(LOSSES, math.nan)
    number = len(painting.history) + 1
    lost = Step(number, 0, size=size, measured=measured, seconds=seconds)
    return replace(painting, history=[*painting.history, lost])


def find_best(rows: Iterable[Row]) -> Row | None:
    """The one nearest to both, its style and its photograph."""
    measured = [row for row in rows if row.distances is not None]
    return min(measured, key=lambda row: row.distances.overall, default=None)  # type: ignore[union-attr]


def find_front(points: Sequence[tuple[float, float]]) -> list[int]:
    """Which of these no other is better than in both, from the least first number to the least
    second one; of equals the first."""
    front: list[int] = []
    for i in sorted(range(len(points)), key=lambda i: (*points[i], i)):
        if not front or points[i][1] < points[front[-1]][1]:
            front.append(i)
    return front
