"""Figures: what they show, that it can be read, and that they need no display."""

from __future__ import annotations

import io
import math
import sys
from itertools import combinations

import numpy as np
import pytest
import torch
from conftest import draw_picture
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.offsetbox import AnnotationBbox
from matplotlib.text import Text
from PIL import Image

from impasto.errors import DependencyError, ImpastoError, OptionError
from impasto.figures.plots import (
    Mark,
    choose_powers,
    figure_bytes,
    fit_line,
    plot_curves,
    plot_distances,
    plot_losses,
    plot_maps,
    plot_matrix,
    plot_progress,
    plot_times,
    save_figure,
    settle,
)
from impasto.work import LOSSES, Step


def step_of(number, steps, *losses, seconds=1.0, width=32):
    measured = dict(zip(LOSSES, losses, strict=True))
    return Step(number, steps, size=(width, width), measured=measured, seconds=seconds)


HISTORY = [
    step_of(n, 4, 10.0 / n, 5.0 / n, 1.0 / n, 0.1, seconds=0.5 * n, width=32 * (1 + n // 3))
    for n in (1, 2, 3, 4)
]
FLAT = [step_of(n, 3, 5.0, 5.0, 0.0, 0.0) for n in (1, 2, 3)]
LONG = "style_layer=relu1_1+relu2_1+relu3_1, content_layer=relu4_1, style_weight=46.4"
THUMBNAIL = Image.fromarray(draw_picture(24, 16))


def lines_of(axes) -> dict[str, list[tuple[float, float]]]:
    """The points of every line, by its label."""
    return {
        str(line.get_label()): [tuple(point) for point in line.get_xydata().tolist()]
        for line in axes.get_lines()
    }


def squeeze(text: str) -> str:
    return "".join(text.split())


def legend_of(figure) -> list[str]:
    return [text.get_text() for text in figure.legends[0].get_texts()]


def check_text(figure) -> list[str]:
    """No text is cut off, and none stands on another; what they say."""
    settle(figure)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    renderer, edge = canvas.get_renderer(), figure.bbox
    shown = {id(text): text for text in figure.findobj(Text) if text.get_text()}
    for axis in [axis for axes in figure.axes for axis in (axes.xaxis, axes.yaxis)]:
        drawn = axis._update_ticks() if axis.axes.axison else []  # others are kept and not drawn
        for tick in [*axis.majorTicks, *axis.minorTicks]:
            for label in (tick.label1, tick.label2):
                if tick not in drawn or not label.get_visible():
                    shown.pop(id(label), None)
    boxes = [(text.get_text(), text.get_window_extent(renderer)) for text in shown.values()]
    for text, box in boxes:
        assert edge.x0 - 1 <= box.x0 <= box.x1 <= edge.x1 + 1, (text, box)
        assert edge.y0 - 1 <= box.y0 <= box.y1 <= edge.y1 + 1, (text, box)
    for (one, a), (other, b) in combinations(boxes, 2):
        across = min(a.x1, b.x1) - max(a.x0, b.x0)
        down = min(a.y1, b.y1) - max(a.y0, b.y0)
        assert across < 1.5 or down < 1.5, (one, other, a, b)
    return [text for text, _ in boxes]


def measure_grey(figure) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(figure_bytes(figure, "png"))).convert("L"))


# --- losses -------------------------------------------------------------------------------------


def test_the_lines_are_the_losses():
    axes = plot_losses(HISTORY).axes[0]
    lines = lines_of(axes)
    assert lines["total"] == [(1, 10.0), (2, 5.0), (3, 10.0 / 3), (4, 2.5)]
    assert lines["style"] == [(1, 5.0), (2, 2.5), (3, 5.0 / 3), (4, 1.25)]
    assert {"content", "tv"} <= set(lines)
    assert axes.get_xlabel() == "step"
    assert axes.get_yscale() == "log"
    changes = [line for line in axes.get_lines() if list(line.get_xdata()) == [2.5, 2.5]]
    assert len(changes) == 1  # where the size changed


def test_losses_are_told_apart_without_colour():
    lines = [
        line for line in plot_losses(HISTORY).axes[0].get_lines() if line.get_label()[0] != "_"
    ]
    assert len({line.get_linestyle() for line in lines}) == 4
    assert all(len({*line.get_color()}) <= 4 for line in lines)


@pytest.mark.parametrize("count", [1, 5, 30])
def test_curves_have_a_line_for_each_run_in_each_panel(count):
    runs = {f"style_weight={n}": HISTORY[: 1 + n % 4] for n in range(count)}
    figure = plot_curves(runs)
    total, style, content = figure.axes
    for name, history in runs.items():
        assert lines_of(total)[name] == [(s.number, s.total) for s in history]
        assert lines_of(style)[name] == [(s.number, s.style) for s in history]
        assert lines_of(content)[name] == [(s.number, s.content) for s in history]
    assert legend_of(figure) == list(runs)
    assert total.get_xlabel() == ""
    assert content.get_xlabel() == "step"
    looks = {(line.get_marker(), str(line._unscaled_dash_pattern)) for line in total.get_lines()}
    assert len(looks) == count  # no two have the same marks and the same dashes
    check_text(figure)


@pytest.mark.parametrize("count", [2, 30])
def test_long_names_stand_whole_beside_the_data(count):
    figure = plot_curves({f"{n}: {LONG}": HISTORY for n in range(count)})
    check_text(figure)
    assert squeeze(legend_of(figure)[1]) == squeeze(f"1: {LONG}")
    legend = figure.legends[0].get_window_extent()
    assert all(not legend.overlaps(axes.get_window_extent()) for axes in figure.axes)
    assert figure.bbox.y0 <= legend.y0
    assert legend.x1 <= figure.bbox.x1 + 1


def test_a_name_is_no_formula_and_no_secret():
    figure = plot_curves({"_costs $x and $y_1": HISTORY, "^": HISTORY})
    assert legend_of(figure) == ["_costs $x and $y_1", "^"]
    check_text(figure)


@pytest.mark.parametrize(
    "draw", [plot_losses, plot_times, lambda history: plot_curves({"a": history})]
)
@pytest.mark.parametrize("history", [HISTORY, HISTORY[:1], FLAT, FLAT[:1], []])
def test_short_flat_and_empty_histories(draw, history):
    figure = draw(history)
    assert check_text(figure)
    for axes in figure.axes:
        low, high = axes.get_ylim()
        assert math.isfinite(low)
        assert low < high


def test_nothing_but_zeros_is_not_logarithmic():
    total, _, content = plot_curves({"a": FLAT}).axes
    assert total.get_yscale() == "log"
    assert content.get_yscale() == "linear"
    assert lines_of(content)["a"] == [(1, 0.0), (2, 0.0), (3, 0.0)]


@pytest.mark.parametrize("span", [1.5, 30, 1e4, 1e12])
def test_logarithmic_axes_have_plain_numbers(span):
    history = [step_of(n, 9, 0.4 * span ** (n / 9), 1, 1, 1, seconds=n, width=8) for n in range(10)]
    figure = plot_progress(history, [])
    check_text(figure)
    (axes,) = figure.axes
    low, high = axes.get_ylim()
    ticks = zip(axes.get_yticks(), axes.get_yticklabels(), strict=True)
    texts = [label.get_text() for at, label in ticks if low <= at <= high]
    assert len(texts) >= 2
    assert [float(text) for text in texts] == sorted(float(text) for text in texts)


def test_progress_marks_the_kept_pictures():
    history = [step_of(n, 50, 100.0 / n, 1, 1, 1, seconds=n, width=8) for n in range(1, 51)]
    figure = plot_progress(history, [25, 1, 50, 2, 900])
    (axes,) = figure.axes
    lines = lines_of(axes)
    assert lines["picture kept, and its step"] == [(1, 100), (2, 50), (25, 4), (50, 2)]
    verticals = [xy for name, xy in lines.items() if name.startswith("_child")]
    assert [xy[0][0] for xy in verticals] == [1, 2, 25, 50]
    assert [text.get_text() for text in axes.texts] == ["1", "25", "50"]  # 2 would stand on 1
    check_text(figure)


# --- times --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("xs", "ys", "line"),
    [
        ([1, 2, 3], [2, 4, 6], (2, 0, 1)),
        ([0, 1, 2], [5, 3, 1], (-2, 5, 1)),
        ([0, 1, 2], [0, 0, 3], (1.5, -0.5, 0.75)),  # residuals .5, -1, .5; spread 6
        ([0, 1, 2, 3], [0, 1, 1, 0], (0, 0.5, 0)),
        ([4], [7], (0, 7, 1)),
        ([1, 2, 3], [0.1, 0.1, 0.1], (0, 0.1, 1)),
        ([2, 2, 2], [1, 2, 3], (0, 2, 0)),
    ],
)
def test_lines_fit(xs, ys, line):
    assert fit_line(xs, ys) == pytest.approx(line)


def test_a_fit_is_that_of_numpy():
    rng = np.random.default_rng(5)
    xs, ys = rng.uniform(0, 9, 40), rng.uniform(-3, 3, 40)
    slope, offset, r2 = fit_line(xs.tolist(), ys.tolist())
    assert [slope, offset] == pytest.approx(np.polyfit(xs, ys, 1).tolist())
    assert r2 == pytest.approx(np.corrcoef(xs, ys)[0, 1] ** 2)


def test_far_from_the_origin_a_fit_stays_sharp():
    xs = [1e9 + n for n in range(10)]
    slope, _, r2 = fit_line(xs, [3.0 * n for n in range(10)])
    assert slope == pytest.approx(3)
    assert r2 == pytest.approx(1)


@pytest.mark.parametrize(("xs", "ys"), [([], []), ([1, 2], [1])])
def test_no_points_fit_no_line(xs, ys):
    with pytest.raises(OptionError, match="no line fits"):
        fit_line(xs, ys)


def test_times_say_what_a_step_takes():
    figure = plot_times(HISTORY)
    (axes,) = figure.axes
    assert legend_of(figure) == ["measured", "fit: 500 ms per step, R² = 1.0000"]
    assert lines_of(axes)["measured"] == [(1, 0.5), (2, 1), (3, 1.5), (4, 2)]
    assert lines_of(axes)[legend_of(figure)[1]] == [(1, 0.5), (4, 2)]
    assert axes.get_ylabel().endswith("(s)")
    assert legend_of(plot_times(HISTORY[:1])) == ["measured"]


# --- distances ----------------------------------------------------------------------------------

MARKS = [
    Mark(0.1, 0.9, "a", front=True),
    Mark(0.5, 0.2, "c", front=True),
    Mark(0.3, 0.4, LONG, front=True, best=True),
    Mark(0.6, 0.7, "d"),
]


def scatter(count: int) -> list[Mark]:
    points = np.random.default_rng(count).uniform(0.1, 1, (count, 2)).tolist()
    front = [not any(a < x and b < y for a, b in points) for x, y in points]
    best = min(range(count), key=lambda n: sum(points[n]))
    return [
        Mark(x, y, f"{n}: {LONG}", best=n == best, front=f)
        for n, ((x, y), f) in enumerate(zip(points, front, strict=True))
    ]


def test_distances_join_the_front_and_ring_the_best():
    figure = plot_distances(MARKS)
    (axes,) = figure.axes
    lines = list(lines_of(axes).values())
    assert lines == [[(0.6, 0.7)], [(0.1, 0.9), (0.3, 0.4), (0.5, 0.2)], [(0.3, 0.4)]]
    others, front, ring = axes.get_lines()
    assert others.get_linestyle() == "None"
    assert front.get_drawstyle() == "steps-post"  # what is worse in both lies above it
    assert ring.get_markerfacecolor() == "none"
    assert ring.get_markersize() > 2 * front.get_markersize()
    names = legend_of(figure)
    assert names[:2] == ["others", "front"]
    assert names[2].startswith("best:")
    assert squeeze(names[2]) == squeeze(f"best: {LONG}")
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("content distance", "style distance")
    check_text(figure)


def test_wide_ranges_are_logarithmic():
    axes = plot_distances([Mark(0.01, 1, "a"), Mark(0.5, 2, "b")]).axes[0]
    assert (axes.get_xscale(), axes.get_yscale()) == ("log", "linear")
    axes = plot_distances([Mark(0, 1, "a"), Mark(0.5, 200, "b")]).axes[0]
    assert (axes.get_xscale(), axes.get_yscale()) == ("linear", "log")


@pytest.mark.parametrize("count", [1, 5, 30, 150])
def test_thumbnails_stand_apart_and_hide_no_point(count):
    marks = scatter(count)
    figure = plot_distances(marks, thumbnails=[THUMBNAIL] * count)
    check_text(figure)
    (axes,) = figure.axes
    canvas = figure.canvas
    boxes = [artist for artist in axes.artists if isinstance(artist, AnnotationBbox)]
    extents = [box.offsetbox.get_window_extent(canvas.get_renderer()) for box in boxes]
    assert len(boxes) == count if count <= 5 else 5 < len(boxes) < count
    best = next(mark for mark in marks if mark.best)
    assert tuple(boxes[0].xy) == (best.x, best.y)  # it is the first to find room
    spots = axes.transData.transform([(mark.x, mark.y) for mark in marks])
    for extent in extents:
        assert axes.get_window_extent().count_contains(extent.corners()) == 4
        assert extent.count_contains(spots) == 0
    assert not any(one.overlaps(other) for one, other in combinations(extents, 2))


def test_points_without_thumbnails_have_none():
    axes = plot_distances(MARKS, thumbnails=[None, THUMBNAIL]).axes[0]
    (box,) = [artist for artist in axes.artists if isinstance(artist, AnnotationBbox)]
    assert tuple(box.xy) == (0.5, 0.2)
    assert not plot_distances(MARKS, thumbnails=[None]).axes[0].artists
    assert not plot_distances([]).axes[0].get_lines()


# --- features -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("count", "height", "width"), [(1, 4, 6), (5, 8, 8), (16, 24, 4), (30, 3, 40), (64, 6, 6)]
)
def test_maps_are_shown_as_they_are(count, height, width):
    maps = torch.rand(count, height, width, generator=torch.Generator().manual_seed(1))
    names = [f"channel {n}" for n in range(count)]
    figure = plot_maps(maps, names, f"{count} channels of relu4_1")
    axes, bar = figure.axes
    images = axes.get_images()
    assert all(np.array_equal(image.get_array(), m) for image, m in zip(images, maps, strict=True))
    assert {image.get_clim() for image in images} == {images[0].get_clim()}
    assert {image.get_interpolation() for image in images} == {"nearest"}
    assert [text.get_text() for text in axes.texts] == names
    assert bar.get_ylabel() == "activation"
    check_text(figure)
    for image, text in zip(images, axes.texts, strict=True):
        shape, name = image.get_window_extent(), text.get_window_extent()
        assert shape.width / shape.height == pytest.approx(width / height, rel=0.01)
        assert 0 <= name.y0 - shape.y1 < 12
        assert name.x0 + name.width / 2 == pytest.approx(shape.x0 + shape.width / 2, abs=1)


def test_a_peak_leaves_the_rest_to_see():
    maps = torch.rand(4, 20, 20)
    maps[0, 0, 0] = 1000
    figure = plot_maps(maps, list("abcd"), "one peak")
    low, high = figure.axes[0].get_images()[0].get_clim()
    assert low == maps.min()
    assert 0.9 < high <= 1.1
    assert figure.axes[0].get_images()[-1].colorbar.extend == "max"


def test_empty_maps_are_black():
    figure = plot_maps(torch.zeros(2, 4, 4), ["a", LONG], LONG * 3)
    check_text(figure)


@pytest.mark.parametrize(("shape", "names"), [((0, 4, 4), 0), ((4, 4), 4), ((2, 4, 4), 3)])
def test_maps_of_another_shape_are_an_error(shape, names):
    with pytest.raises(OptionError, match=r"shape \(n, h, w\) and n names"):
        plot_maps(torch.zeros(shape), ["a"] * names, "none")


def test_a_correlation_is_shown_from_minus_one_to_one():
    matrix = torch.tensor([[1.0, -0.5], [-0.5, 1.0]])
    figure = plot_matrix(matrix, "correlation of relu1_1")
    axes, bar = figure.axes
    (image,) = axes.get_images()
    assert np.array_equal(image.get_array(), matrix)
    assert image.get_clim() == (-1, 1)
    assert (axes.get_xlabel(), axes.get_ylabel(), bar.get_ylabel()) == (
        "channel",
        "channel",
        "correlation",
    )
    check_text(figure)


def test_one_dominant_entry_leaves_the_rest_to_see():
    matrix = torch.rand(16, 16, generator=torch.Generator().manual_seed(2)) + 0.1
    matrix[3, 3] = 1e6
    figure = plot_matrix(matrix, "Gram matrix")
    (image,) = figure.axes[0].get_images()
    shades = np.asarray(image.norm(matrix.double().numpy()))
    assert shades[3, 3] == pytest.approx(1)
    assert 0.05 < np.median(shades) < 0.5
    assert image.get_clim() == (0, 1e6)
    assert "logarithmic" in figure.axes[1].get_ylabel()
    check_text(figure)


def test_both_signs_have_one_scale():
    (image,) = plot_matrix(torch.tensor([[4.0, -9.0], [-9.0, 1.0]]), "x").axes[0].get_images()
    assert image.get_clim() == (-9, 9)
    assert image.norm(0) == pytest.approx(0.5)


@pytest.mark.parametrize("matrix", [torch.zeros(3, 3), torch.full((1, 1), 3.0), torch.ones(40, 40)])
def test_plain_matrices(matrix):
    figure = plot_matrix(matrix, LONG * 2)
    shades = figure.axes[0].get_images()[0].norm(matrix.numpy())
    assert np.isfinite(np.asarray(shades)).all()
    check_text(figure)


@pytest.mark.parametrize(
    ("least", "most", "powers"),
    [
        (0.5, 200, [100, 10, 1]),
        (1, 1000, [1000, 100, 10, 1]),
        (1, 1e7, [1e7, 1e5, 1e3, 10]),
        (3, 3, [3]),
        (2, 9, [9]),
    ],
)
def test_ticks_are_a_few_powers_of_ten(least, most, powers):
    assert choose_powers(least, most) == pytest.approx(powers)


@pytest.mark.parametrize("largest", [1.5, 30, 1e4, 1e12])
@pytest.mark.parametrize("sign", [1, -1])
def test_ticks_of_any_matrix_can_be_read(largest, sign):
    matrix = torch.full((5, 5), 0.7)
    matrix[0, 1] = sign * largest
    check_text(plot_matrix(matrix, "any"))


@pytest.mark.parametrize("shape", [(2, 3), (0, 0), (2,)])
def test_a_matrix_is_square(shape):
    with pytest.raises(OptionError, match=r"shape \(C, C\), not"):
        plot_matrix(torch.zeros(shape), "none")


def test_shades_are_in_the_order_of_the_values_in_grey():
    grey = measure_grey(plot_matrix(torch.diag(torch.tensor([0.0, 2.0])), "two"))
    height, width = grey.shape
    darker, lighter = grey[height // 4, width // 4], grey[3 * height // 4, int(width * 0.6)]
    assert lighter > darker + 100


# --- files --------------------------------------------------------------------------------------

FIGURES = {
    "losses": lambda: plot_losses(HISTORY),
    "curves": lambda: plot_curves({"a": HISTORY, "b": HISTORY[:2]}),
    "times": lambda: plot_times(HISTORY),
    "progress": lambda: plot_progress(HISTORY, [1, 4]),
    "distances": lambda: plot_distances(MARKS, thumbnails=[THUMBNAIL] * 4),
    "maps": lambda: plot_maps(torch.arange(32.0).reshape(2, 4, 4), ["a", "b"], "maps"),
    "matrix": lambda: plot_matrix(torch.arange(9.0).reshape(3, 3), "matrix"),
}


@pytest.mark.parametrize("name", FIGURES)
def test_one_figure_is_always_the_same_bytes(name):
    figure, again = FIGURES[name](), FIGURES[name]()
    for kind, start in (("png", b"\x89PNG"), ("svg", b"<?xml"), ("pdf", b"%PDF")):
        written = figure_bytes(figure, kind)
        assert written.startswith(start)
        assert figure_bytes(again, kind) == written
    assert figure_bytes(figure, "png") == figure_bytes(again, "png")


def test_an_unknown_kind_is_said():
    with pytest.raises(OptionError, match="unknown kind of figure 'pgn'; did you mean 'png'"):
        figure_bytes(plot_losses(HISTORY), "pgn")


@pytest.mark.parametrize("name", ["a plot.png", "a plot.svg", "a plot.PDF"])
def test_plots_are_written(tmp_path, name):
    figure = plot_losses(HISTORY)
    save_figure(figure, tmp_path / name)
    written = (tmp_path / name).read_bytes()
    assert written == figure_bytes(figure, name[-3:].lower())
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_a_suffix_that_is_none_is_said(tmp_path):
    with pytest.raises(ImpastoError, match=r"suffix '\.gif'; choose from \.png, \.svg, \.pdf"):
        save_figure(plot_losses(HISTORY), tmp_path / "plot.gif")


@pytest.mark.parametrize("draw", FIGURES.values(), ids=FIGURES)
def test_without_matplotlib_one_line_says_what_mends_it(monkeypatch, draw):
    for name in [name for name in sys.modules if name.split(".")[0] == "matplotlib"]:
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(DependencyError, match=r"pip install 'impasto\[plots\]'"):
        draw()
