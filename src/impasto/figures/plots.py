"""Every figure: how losses fell, what options gave, what a layer shows.

Figures are drawn by matplotlib, an optional library, without a display, and can be read in grey:
lines differ in lightness and in dashes or marks, never in colour alone. Legends stand beside the
data. One figure is always the same bytes.
"""

from __future__ import annotations

import io
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import ceil, floor, fsum, log10, sqrt
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from torch import Tensor

from impasto.errors import OptionError, suggest
from impasto.figures.contact_sheet import flatten
from impasto.figures.text import wrap_text
from impasto.figures.thumbnails import Room, trace_steps
from impasto.system.files import check_place, replace_file
from impasto.system.optional import require
from impasto.work import LOSSES

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Figure
    from PIL import Image

    from impasto.work import Step

_Corner = Literal["outside upper center", "outside right upper"]

_FIGURE_SUFFIXES = (".png", ".svg", ".pdf")
_DPI = 120
_UNDATED = {"png": {}, "svg": {"Date": None}, "pdf": {"CreationDate": None}}
_DASHES: tuple[Any, ...] = ("-", (0, (5, 2)), (0, (1, 1.2)), (0, (6, 2, 1, 2)), (0, (9, 2, 3, 2)))
_MARKERS = "osD^vPX"  # with the dashes, 35 looks before one comes again
_LEGEND_LETTERS = 34  # to a line
_WIDE_RANGE = 20  # most over least, from which an axis is logarithmic
_THUMBNAIL = 46.0  # points on its long side
_RINGS = "osD^"  # a shape for each of several that are best
_GREY, _PALE = "0.45", "0.8"


@dataclass(frozen=True)
class Mark:
    """One picture among others."""

    x: float  # its distances
    y: float
    name: str  # the options that made it
    best: bool = False  # the one to take
    front: bool = False  # no other is better in both distances


def check_figure(path: str | os.PathLike[str]) -> None:
    """Refuse a figure that could not be drawn or written, before the work."""
    check_place(path, "a figure", _FIGURE_SUFFIXES)
    new_figure(1, 1)


def new_figure(width: float, height: float) -> Figure:
    """Make a figure, without global state and windows."""
    library = require("matplotlib.figure", "plots need matplotlib", extra="plots")
    figure: Figure = library.Figure(figsize=(width, height), layout="constrained")
    return figure


def settle(figure: Figure) -> None:
    """Lay a figure out once: matplotlib would change the layout a little at each drawing."""
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    if isinstance(figure.get_layout_engine(), ConstrainedLayoutEngine):
        figure.draw_without_rendering()
        figure.set_layout_engine("none")


def figure_bytes(figure: Figure, kind: str) -> bytes:
    """Return a figure as png, svg or pdf, the same bytes each time."""
    import matplotlib

    if kind not in _UNDATED:
        raise OptionError(f"unknown kind of figure {kind!r}{suggest(kind, _UNDATED)}")
    settle(figure)
    written = io.BytesIO()
    with matplotlib.rc_context({"svg.hashsalt": "impasto"}):
        figure.savefig(written, format=kind, dpi=_DPI, metadata=_UNDATED[kind])
    return written.getvalue()


def save_figure(figure: Figure, path: str | os.PathLike[str]) -> None:
    """Write a figure, whole or not at all; its format is what the name ends in."""
    place = check_place(path, "a figure", _FIGURE_SUFFIXES)
    replace_file(place, figure_bytes(figure, place.suffix.lower().removeprefix(".")))


# --- losses over steps --------------------------------------------------------------------------


def plot_losses(history: Sequence[Step]) -> Figure:
    """Plot losses over steps, and what else was measured; a thin line where the size changed.

    The axis is logarithmic, unless something falls below 0, as minus a score does.
    """
    figure = new_figure(8, 5)
    axes = figure.add_subplot()
    measured = {name: [getattr(step, name) for step in history] for name in LOSSES}
    if history and history[0].more:
        measured = {name: losses for name, losses in measured.items() if any(losses)}
        measured |= {name: [step.more[name] for step in history] for name in history[0].more}
    dashes = ("-", "--", "-.", ":", (0, (6, 1, 1, 1, 1, 1)))
    looks = zip(dashes, ("0", "0.2", "0.4", "0", "0.3"), strict=True)
    for (name, losses), (line, grey) in zip(measured.items(), looks, strict=False):
        draw_line(axes, history, losses, linestyle=line, color=grey, label=name)
    mark_sizes(axes, history)
    lowest = min((loss for losses in measured.values() for loss in losses), default=0.0)
    parts = [name for name in measured if name != "total"]
    known = f"{', '.join(parts[:-1])} and {parts[-1]}" if len(parts) > 1 else "".join(parts)
    finish_steps(axes, f"loss ({known} before their weights)", log=lowest >= 0)
    add_legend(figure, axes, place="outside upper center")
    return figure


def plot_curves(runs: Mapping[str, Sequence[Step]]) -> Figure:
    """Plot the total, style and content losses of many runs over their steps."""
    names = ["\n".join(wrap_text(name, len, _LEGEND_LETTERS)) for name in runs]
    rows = sum(name.count("\n") + 1 for name in names)
    figure = new_figure(10, max(8.0, 0.155 * rows + 0.06 * len(names) + 0.5))
    panels = figure.subplots(3, 1, sharex=True)
    for number, (name, history) in enumerate(zip(names, runs.values(), strict=True)):
        look = choose_look(number, len(runs), len(history))
        for axes, loss in zip(panels, ("total", "style", "content"), strict=True):
            draw_line(axes, history, [getattr(s, loss) for s in history], label=name, **look)
    for axes, label in zip(
        panels, ("total loss", "style loss, unweighted", "content loss, unweighted"), strict=True
    ):
        finish_steps(axes, label)
        axes.label_outer()
    add_legend(figure, panels[0], place="outside right upper")
    return figure


def plot_progress(history: Sequence[Step], marks: Sequence[int]) -> Figure:
    """Plot the total loss over steps, and at which of them the picture was kept."""
    figure = new_figure(8, 4.5)
    axes = figure.add_subplot()
    losses = {step.number: step.total for step in history}
    draw_line(axes, history, list(losses.values()), color="0", label="total loss")
    kept = [number for number in sorted(set(marks)) if number in losses]
    last = -float("inf")
    for number in kept:
        axes.axvline(number, color=_GREY, linestyle=(0, (4, 3)), linewidth=0.8, zorder=1)
        if number - last > len(history) / 28:  # numbers nearer than this would touch
            axes.annotate(
                str(number),
                (number, 1),
                xycoords=("data", "axes fraction"),
                xytext=(0, 3),
                textcoords="offset points",
                ha="center",
                fontsize=8,
            )
            last = number
    heights = [losses[number] for number in kept]
    axes.plot(kept, heights, "o", color="0", markersize=5, label="picture kept, and its step")
    finish_steps(axes, "total loss")
    add_legend(figure, axes, place="outside upper center")
    return figure


def plot_times(history: Sequence[Step]) -> Figure:
    """Plot when each step was done, and the line that fits best: the time that a step takes."""
    figure = new_figure(8, 4.5)
    axes = figure.add_subplot()
    numbers = [step.number for step in history]
    seconds = [step.seconds for step in history]
    axes.plot(numbers, seconds, "o", color=_GREY, markersize=3, label="measured")
    if len(history) > 1:
        slope, offset, r2 = fit_line(numbers, seconds)
        ends = [numbers[0], numbers[-1]]
        label = f"fit: {1000 * slope:.4g} ms per step, R² = {r2:.4f}"
        axes.plot(ends, [offset + slope * end for end in ends], "--", color="0", label=label)
    mark_sizes(axes, history)
    finish_steps(axes, "time since the start (s)", log=False)
    add_legend(figure, axes, place="outside upper center")
    return figure


def fit_line(xs: Sequence[float], ys: Sequence[float]) -> tuple[float, float, float]:
    """Return (slope, offset, R²) by least squares; a flat line where no slope is determined."""
    if not xs or len(xs) != len(ys):
        raise OptionError(f"no line fits {len(xs)} x and {len(ys)} y; give as many, at least one")
    if min(ys) == max(ys):
        return 0.0, float(ys[0]), 1.0
    x_mean, y_mean = fsum(xs) / len(xs), fsum(ys) / len(ys)
    spread = fsum((x - x_mean) ** 2 for x in xs)
    if spread == 0:
        return 0.0, y_mean, 0.0
    slope = fsum((x - x_mean) * (y - y_mean) for x, y in zip(xs, ys, strict=True)) / spread
    offset = y_mean - slope * x_mean
    missed = fsum((y - offset - slope * x) ** 2 for x, y in zip(xs, ys, strict=True))
    return slope, offset, max(0.0, 1 - missed / fsum((y - y_mean) ** 2 for y in ys))


def choose_look(number: int, count: int, points: int) -> dict[str, Any]:
    """Choose how a run's line looks: lightness from first to last, dashes and marks in turn."""
    import matplotlib

    every = max(1, ceil(points / 5))
    first = int(every * (number * 0.618 % 1))  # marks of neighbours make no line of their own
    return {
        "color": matplotlib.colormaps["viridis"](0.8 * number / max(1, count - 1)),
        "linestyle": _DASHES[number % len(_DASHES)],
        "linewidth": 1.3,
        "marker": _MARKERS[number % len(_MARKERS)],
        "markersize": 4,
        "markevery": (first, every),
    }


def draw_line(
    axes: Axes, history: Sequence[Step], losses: Sequence[float], *, label: str, **look: Any
) -> None:
    """Draw a loss over steps; one of a single step as a dot."""
    if len(history) == 1:
        look.setdefault("marker", "o")
    axes.plot([step.number for step in history], losses, label=label, **look)


def mark_sizes(axes: Axes, history: Sequence[Step]) -> None:
    """Draw a thin line at each step from which the picture has another size."""
    for before, after in pairwise(history):
        if before.size != after.size:
            axes.axvline(after.number - 0.5, color=_PALE, linewidth=0.8, zorder=0)


def finish_steps(axes: Axes, y_label: str, *, log: bool = True) -> None:
    """Add labels, a grid, and a logarithmic axis if anything above 0 is shown on it.

    What is 0 is then a gap in its line.
    """
    if log:
        use_log(axes, "y", [y for line in list_data_lines(axes) for y in line.get_ydata()])
    axes.locator_params("x", integer=True, min_n_ticks=1)
    axes.set_xlabel("step")
    axes.set_ylabel(y_label)
    axes.grid(alpha=0.3)


def use_log(axes: Axes, axis: Literal["x", "y"], values: Sequence[float]) -> None:
    """Make an axis logarithmic, with plain numbers, some between powers of ten if those are few."""
    from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter, StrMethodFormatter

    shown = [value for value in values if value > 0]
    if not shown:
        return
    along = axes.xaxis if axis == "x" else axes.yaxis
    axes.set(**{f"{axis}scale": "log"})
    if 1 < max(shown) / min(shown) < 10:  # of one value alone, matplotlib shows two decades
        along.set_major_locator(MaxNLocator(6, steps=[1, 2, 2.5, 5, 10]))
    elif max(shown) < 1000 * min(shown):
        along.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    along.set_major_formatter(StrMethodFormatter("{x:g}"))
    along.set_minor_formatter(NullFormatter())


def list_data_lines(axes: Axes) -> list[Any]:
    """Return the lines that show data."""
    return [line for line in axes.get_lines() if not str(line.get_label()).startswith("_child")]


def add_legend(figure: Figure, axes: Axes, *, place: _Corner) -> None:
    """Add a legend beside the data, never on it."""
    handles = list_data_lines(axes)
    if not handles:
        return
    columns = 1 if "right" in place else len(handles)
    names = [str(line.get_label()) for line in handles]
    legend = figure.legend(
        handles, [""] * len(names), loc=place, ncols=columns, fontsize=8, handlelength=3.5
    )
    for text, name in zip(legend.get_texts(), names, strict=True):
        text.set_parse_math(False)  # a name is no formula, whatever signs it has
        text.set_text(name)


# --- distances ----------------------------------------------------------------------------------


def plot_distances(
    points: Sequence[Mark],
    *,
    thumbnails: Sequence[Image.Image | None] = (),
    x_label: str = "content distance",
    y_label: str = "style distance",
) -> Figure:
    """Plot how far each picture is from the photograph and from the style.

    Nearer is lower and further left; on the stepped line are those that no other is better than in
    both distances.

    An axis is logarithmic where the most is over 20 times the least. A thumbnail is shown beside
    its point where there is room, those of the best and the front first.
    """
    figure = new_figure(10, 6.5)
    axes = figure.add_subplot()
    front = sorted(
        (point for point in points if point.front), key=lambda point: (point.x, -point.y)
    )
    others = [point for point in points if not point.front]
    best = [point for point in points if point.best]
    draw_points(axes, others, "others", linestyle="", marker="o", markersize=5, color="0.6")
    draw_points(axes, front, "front", drawstyle="steps-post", marker="D", markersize=5, color="0")
    for number, one in enumerate(best):
        ring = {"linestyle": "", "marker": _RINGS[number % len(_RINGS)], "markersize": 13}
        label = "\n".join(wrap_text(f"best: {one.name}", len, _LEGEND_LETTERS))
        draw_points(axes, [one], label, markerfacecolor="none", markeredgecolor="0", **ring)
    across, down = [point.x for point in points], [point.y for point in points]
    if points and max(across) > _WIDE_RANGE * min(across) > 0:
        use_log(axes, "x", across)
    if points and max(down) > _WIDE_RANGE * min(down) > 0:
        use_log(axes, "y", down)
    axes.margins(0.16)  # room for thumbnails
    axes.set_xlabel(x_label)
    axes.set_ylabel(y_label)
    axes.grid(alpha=0.3)
    add_legend(figure, axes, place="outside right upper")
    if any(thumbnails):
        add_thumbnails(figure, axes, points, thumbnails)
    return figure


def draw_points(axes: Axes, points: Sequence[Mark], label: str, **look: Any) -> None:
    """Draw points that look alike, if there are any."""
    if points:
        axes.plot([p.x for p in points], [p.y for p in points], label=label, **look)


def add_thumbnails(
    figure: Figure,
    axes: Axes,
    points: Sequence[Mark],
    thumbnails: Sequence[Image.Image | None],
) -> None:
    """Add pictures beside their points, where there is room for them."""
    from matplotlib.offsetbox import AnnotationBbox, OffsetImage

    settle(figure)
    scale = 72 / figure.dpi
    spots = axes.transData.transform([(point.x, point.y) for point in points]) * scale
    frame = np.array(axes.get_window_extent().extents) * scale
    front = sorted((s for s, point in zip(spots, points, strict=True) if point.front), key=tuple)
    room = Room(frame, spots, trace_steps(front))
    pairs = zip(points, spots, thumbnails, strict=False)
    for point, spot, image in sorted(pairs, key=lambda p: (not p[0].best, not p[0].front)):
        if image is None:
            continue
        small = flatten(image)
        small.thumbnail((160, 160))
        zoom = _THUMBNAIL / max(small.size)
        center = room.take(spot, (small.width * zoom, small.height * zoom))
        if center is None:
            continue
        edge = {"linewidth": 1.6 if point.best else 0.7, "edgecolor": "0" if point.front else "0.6"}
        box = AnnotationBbox(
            OffsetImage(np.asarray(small), zoom=zoom),
            (point.x, point.y),
            xybox=tuple(center - spot),
            boxcoords="offset points",
            pad=0.1,
            bboxprops=edge,
            arrowprops={"arrowstyle": "-", "linewidth": 0.6, "color": _GREY},
        )
        axes.add_artist(box)


# --- features -----------------------------------------------------------------------------------


def plot_maps(maps: Tensor, names: Sequence[str], title: str) -> Figure:
    """Plot feature maps (n, h, w), a name over each, on one scale from black to white.

    White is what all but one value in 200 stay below, so that a few peaks leave the rest to see.
    """
    if maps.ndim != 3 or not maps.numel() or len(names) != len(maps):
        raise OptionError(
            "maps to plot have shape (n, h, w) and n names, "
            f"not {tuple(maps.shape)} and {len(names)}"
        )
    values = maps.detach().float().cpu().numpy()
    tall = values.shape[1] / values.shape[2]
    columns = min(len(values), max(1, round(sqrt(1.5 * len(values) * tall))))
    rows = ceil(len(values) / columns)
    columns = ceil(len(values) / rows)
    inches = min(max(10 / columns, 0.95), 2.6)  # that a map is wide
    lines = [wrap_text(name, len, int(inches * 13)) for name in names]
    head = max(map(len, lines)) * 0.15 / inches + 0.04  # in widths of a map, as all below
    gap = 0.08
    pitch = tall + head + gap
    figure = new_figure(max(columns * (1 + gap) * inches + 1.2, 4), rows * pitch * inches + 0.6)
    axes = figure.add_subplot()
    least, most, peak = np.quantile(values, [0, 0.995, 1]).tolist()
    most = most if most > least else peak
    for number, (value, text) in enumerate(zip(values, lines, strict=True)):
        left, top = number % columns * (1 + gap), number // columns * pitch
        extent = (left, left + 1, top + tall, top)
        shown = axes.imshow(
            value, "gray", interpolation="nearest", extent=extent, vmin=least, vmax=most
        )
        axes.text(
            left + 0.5,
            top - 0.03,
            "\n".join(text),
            ha="center",
            va="bottom",
            fontsize=8,
            linespacing=1.05,
            parse_math=False,
        )
    axes.set_xlim(0, columns * (1 + gap) - gap)
    axes.set_ylim(rows * pitch - head - gap, -head)
    axes.set_axis_off()
    write_title(figure, title)
    figure.colorbar(
        shown,
        label="activation",
        extend="max" if peak > most else "neither",
        aspect=30,
        shrink=min(1, 4 / (rows * pitch * inches)),
    )
    return figure


def plot_matrix(matrix: Tensor, title: str) -> Figure:
    """Plot a matrix (C, C) of channels by channels, on one scale for any matrix of its kind.

    With ones on its diagonal it is a correlation, shown from -1 to 1. A Gram matrix has a few
    entries far above all others: its scale is logarithmic (for either sign, where there are both),
    and linear only below the median of what is not 0.
    """
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or not matrix.numel():
        raise OptionError(f"a matrix to plot has shape (C, C), not {tuple(matrix.shape)}")
    figure = new_figure(7, 5.4)
    from matplotlib.colors import Normalize, SymLogNorm

    values = matrix.detach().double().cpu().numpy()
    sizes = np.abs(values)
    largest = float(sizes.max()) or 1.0
    if np.allclose(np.diagonal(values), 1, atol=1e-3) and largest <= 1.001:
        norm, label, ticks = Normalize(-1, 1), "correlation", [-1, -0.5, 0, 0.5, 1]
    else:
        threshold = float(np.median(sizes[sizes > 0])) if sizes.any() else 1.0
        least = -largest if values.min() < 0 else 0.0
        norm = SymLogNorm(threshold, vmin=least, vmax=largest, base=10)
        powers = choose_powers(threshold, largest)
        label, ticks = "entry (logarithmic scale)", [0, *powers]
        ticks += [-power for power in powers] if least else []
    axes = figure.add_subplot()
    shown = axes.imshow(values, cmap="cividis", norm=norm, interpolation="nearest")
    axes.set_xlabel("channel")
    axes.set_ylabel("channel")
    axes.locator_params(integer=True, min_n_ticks=1)
    write_title(figure, title)
    bar = figure.colorbar(shown, label=label, ticks=ticks, format="{x:.4g}")
    bar.minorticks_off()
    return figure


def choose_powers(least: float, most: float) -> list[float]:
    """Choose at most 6 powers of ten for the ticks of an axis; ``most`` itself, if none fits."""
    powers = [10.0**n for n in range(ceil(log10(least)), floor(log10(most)) + 1)]
    return powers[:: -ceil(len(powers) / 6)] if powers else [most]


def write_title(figure: Figure, title: str) -> None:
    """Write a title over the figure, in as many lines as its width asks for."""
    letters = int(figure.get_figwidth() * 10)
    figure.suptitle("\n".join(wrap_text(title, len, letters)), fontsize=10, parse_math=False)
