"""Every figure. matplotlib is an extra, and draws without a display."""

from __future__ import annotations

import os
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from impasto.errors import DependencyError
from impasto.files import check_place, replacing

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from impasto.paintings import Step

FIGURE_SUFFIXES = (".png", ".svg", ".pdf")


def check_figure(path: str | os.PathLike[str]) -> None:
    """What would keep a figure from being drawn is said before the work."""
    check_place(path, "a figure", FIGURE_SUFFIXES)
    new_figure(1, 1)


def new_figure(width: float, height: float) -> Figure:
    """A figure of its own: no global state, no window."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise DependencyError(
            "plots need matplotlib, which is not installed; pip install 'impasto[plots]'"
        ) from None
    return Figure(figsize=(width, height), layout="constrained")


def plot_losses(history: Sequence[Step]) -> Figure:
    """Losses over steps, logarithmic; a thin line where the size changed."""
    figure = new_figure(8, 5)
    axes = figure.add_subplot()
    numbers = [step.number for step in history]
    lines = {"total": "-", "style": "--", "content": "-.", "tv": ":"}
    for name, line in lines.items():
        axes.plot(numbers, [getattr(step, name) for step in history], line, label=name)
    for before, after in pairwise(history):
        if before.size != after.size:
            axes.axvline(after.number - 0.5, color="0.8", linewidth=0.8, zorder=0)
    axes.set_yscale("log")
    axes.set_xlabel("step")
    axes.set_ylabel("loss (style, content and tv before their weights)")
    axes.legend()
    axes.grid(alpha=0.3)
    return figure


def save_figure(figure: Figure, path: str | os.PathLike[str]) -> None:
    """Write a figure, whole or not at all; its format is what the name ends in."""
    with replacing(Path(path)) as beside:
        figure.savefig(beside, dpi=120)
