"""Figures: what they show, and that they need no display."""

from __future__ import annotations

import sys

import pytest

from impasto.errors import DependencyError
from impasto.painter import Step
from impasto.plots import plot_losses, save_figure

HISTORY = [
    Step(n, 4, (32 * (1 + n // 3), 32), 10.0 / n, 5.0 / n, 1.0 / n, 0.1, 0.5 * n)
    for n in (1, 2, 3, 4)
]


def test_the_lines_are_the_losses():
    axes = plot_losses(HISTORY).axes[0]
    lines = {line.get_label(): list(line.get_ydata()) for line in axes.get_lines()}
    assert lines["total"] == [10.0, 5.0, 10.0 / 3, 2.5]
    assert lines["style"] == [5.0, 2.5, 5.0 / 3, 1.25]
    assert {"content", "tv"} <= set(lines)
    assert axes.get_xlabel() == "step"
    changes = [line for line in axes.get_lines() if list(line.get_xdata()) == [2.5, 2.5]]
    assert len(changes) == 1  # where the size changed


@pytest.mark.parametrize("name", ["a plot.png", "a plot.svg", "a plot.pdf"])
def test_plots_are_written(tmp_path, name):
    save_figure(plot_losses(HISTORY), tmp_path / name)
    assert (tmp_path / name).stat().st_size > 1000
    assert len(list(tmp_path.glob(".*"))) == 0


def test_without_matplotlib_one_line_says_what_mends_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(DependencyError, match=r"pip install 'impasto\[plots\]'"):
        plot_losses(HISTORY)
