"""A picture seen in tiles against the same picture seen whole: all losses and their gradients."""

from __future__ import annotations

import copy
import itertools
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import draw_picture, random_tensors
from PIL import Image
from torch import Tensor

import impasto
from impasto.errors import DeviceError
from impasto.images.picture import Picture
from impasto.images.reading import read_image
from impasto.images.tiles import (
    Box,
    Cells,
    Tile,
    choose_grid,
    cut_picture,
    find_margin,
    find_reach,
    find_stride,
    lay_out,
    wrap,
)
from impasto.losses.content import CONTENT_LOSSES
from impasto.losses.style import STYLE_LOSSES
from impasto.networks.layers import BACKBONES
from impasto.networks.vgg import Backbone
from impasto.networks.weights import load_backbone
from impasto.painting.inputs import SceneOptions
from impasto.painting.loss_plan import plan_painting_losses
from impasto.painting.objective import Objective
from impasto.painting.options import PaintOptions
from impasto.painting.scene import Scene, View
from impasto.system.devices import choose_machine

pytestmark = pytest.mark.arithmetic

LAYERS = ("relu1_1", "relu2_1", "relu3_1")  # reach: 14 pixels, so tiles of 48 are small enough
EVERY_STYLE_LOSS = pytest.mark.parametrize("loss", STYLE_LOSSES)
EVERY_CONTENT_LOSS = pytest.mark.parametrize("loss", CONTENT_LOSSES)


def pixels_of(width: int, height: int, seed: int) -> Tensor:
    return read_image(draw_picture(width, height, seed)).pixels


def save_mask(path: Path, width: int, height: int) -> str:
    """White, black and all shades between, in a slope and a hole."""
    y, x = np.mgrid[0:height, 0:width]
    shades = np.clip(2.2 * x / width - 0.4, 0, 1)
    shades[(y - height / 2) ** 2 + (x - width / 1.6) ** 2 < (height / 6) ** 2] = 0
    Image.fromarray((shades * 255).astype(np.uint8)).save(path)
    return str(path)


# --- geometry -----------------------------------------------------------------------------------


def test_what_a_layer_sees_by_hand(compact):
    # relu2_1: two convolutions of 1 pixel, then one of cells of 2.
    assert find_reach(compact.path("relu2_1")) == 1 + 1 + 2
    assert find_stride(compact.path("relu2_1")) == 2
    assert find_reach(compact.path("relu5_1")) == 2 * 1 + 2 * 2 + 4 * 4 + 4 * 8 + 16
    assert lay_out([compact.path("relu2_1"), []]) == (2, 4)
    assert lay_out([[]]) == (1, 1)


@pytest.mark.parametrize("layer", ["relu1_1", "conv2_2", "relu3_4", "relu5_1"])
def test_no_pixel_beyond_the_reach_matters(compact, layer):
    """And one at its end does: the reach is neither too small nor too large."""
    stride, reach = find_stride(compact.path(layer)), find_reach(compact.path(layer))
    pixels = pixels_of(320, 32, 1).double()
    double = Backbone.from_tensors(random_tensors("compact"), BACKBONES["compact"]).double()
    leaf = pixels.clone().requires_grad_()
    cell = 160 // stride
    features = double(leaf, [layer])[layer]
    (slope,) = torch.autograd.grad(features[..., cell].abs().sum(), leaf)
    seen = slope.abs().sum((0, 1, 2)).nonzero().squeeze(1)
    assert int(seen.min()) >= 160 - reach
    assert int(seen.max()) <= 160 + stride - 1 + reach
    assert int(seen.max()) - int(seen.min()) > 2 * reach - stride  # max pools choose


@pytest.mark.parametrize("size", [(100, 70), (33, 257), (16, 16), (1, 90)])
@pytest.mark.parametrize("grid", [(1, 1), (2, 3), (5, 1), (9, 9)])
@pytest.mark.parametrize(("stride", "reach"), [(1, 1), (4, 14), (16, 70)])
def test_cores_cover_once_and_windows_reach_far_enough(size, grid, stride, reach):
    covered = torch.zeros(size)
    for tile in cut_picture(*size, grid, stride, reach):
        tile.core.of(covered).add_(1)
        for begin in (tile.core.top, tile.core.left, tile.window.top, tile.window.left):
            assert begin % stride == 0
        window, core = tile.window, tile.core
        assert window.top == 0 or core.top - window.top >= reach
        assert window.left == 0 or core.left - window.left >= reach
        assert window.bottom == size[0] or window.bottom - core.bottom >= reach
        assert window.right == size[1] or window.right - core.right >= reach
        assert window.bottom <= size[0]
        assert window.right <= size[1]
    assert (covered == 1).all()


def test_cells_of_odd_sizes_belong_to_one_tile():
    cells = torch.zeros(9, 5)  # of 33 x 18 pixels, four wide
    for tile in cut_picture(33, 18, (3, 2), 4, 6):
        tile.core.shrink(4).of(cells).add_(1)
    assert (cells == 1).all()


def test_inner_cells_by_hand():
    tile = Tile(Box(32, 0, 64, 33), Box(16, 0, 80, 33))
    assert tile.inner(1) == Box(16, 0, 48, 33)
    assert tile.inner(16) == Box(1, 0, 3, 3)  # the third column is cut off


@pytest.mark.parametrize("size", [(300, 200), (100, 900), (64, 64)])
@pytest.mark.parametrize("most", [10_000, 20_000, 40_000])
def test_the_grid_keeps_to_its_room_and_is_the_best(size, most):
    stride, reach = 8, 20
    found = choose_grid(*size, most, stride, reach)

    def look(grid: tuple[int, int]) -> tuple[int, int]:
        areas = [tile.window.area for tile in cut_picture(*size, grid, stride, reach)]
        return max(areas), sum(areas)

    assert found is not None
    largest, total = look(found)
    assert largest <= most
    for grid in itertools.product(range(1, 20), range(1, 20)):
        other, all_of_it = look(grid)
        # The estimate counts margins that the picture's border cuts off.
        assert other > most or all_of_it >= 0.85 * total


def test_no_grid_where_the_smallest_window_is_too_large():
    assert choose_grid(500, 500, 48 * 48 - 1, 8, 20) is None  # 8 + 2 * 24 is 56
    assert choose_grid(500, 500, 56 * 56, 8, 20) == (63, 63)
    assert choose_grid(40, 40, 1600, 8, 20) == (1, 1)


# --- tileable pictures: geometry ----------------------------------------------------------------


def test_margins_are_whole_strides():
    assert [find_margin(16, reach) for reach in (1, 16, 17, 70)] == [16, 16, 32, 80]
    assert find_margin(1, 1) == 1


def test_copies_around_by_hand():
    pixels = torch.arange(6).reshape(1, 1, 2, 3)  # 0 1 2 over 3 4 5
    rows = [[5, 3, 4, 5, 3], [2, 0, 1, 2, 0], [5, 3, 4, 5, 3], [2, 0, 1, 2, 0]]
    assert wrap(pixels, 1)[0, 0].tolist() == rows
    assert wrap(pixels, 0).tolist() == pixels.tolist()


@pytest.mark.parametrize(("size", "margin"), [((5, 3), 2), ((4, 6), 4), ((1, 2), 7), ((3, 3), 10)])
def test_copies_around_are_a_mosaic_s_middle(size, margin):
    pixels = torch.rand(1, 3, *size, generator=torch.Generator().manual_seed(1))
    copies = [-(-margin // side) for side in size]
    mosaic = np.tile(pixels.numpy(), (1, 1, *(2 * count + 1 for count in copies)))
    top, left = (count * side - margin for count, side in zip(copies, size, strict=True))
    middle = mosaic[..., top : top + size[0] + 2 * margin, left : left + size[1] + 2 * margin]
    assert np.array_equal(wrap(pixels, margin).numpy(), middle)


@pytest.mark.parametrize("size", [(100, 70), (33, 257), (16, 16), (1, 90)])
@pytest.mark.parametrize("grid", [(1, 1), (2, 3), (5, 1), (9, 9)])
@pytest.mark.parametrize(("stride", "reach"), [(1, 1), (4, 14), (16, 70)])
def test_tileable_cores_cover_once_and_every_window_reaches_far_enough(size, grid, stride, reach):
    margin = find_margin(stride, reach)
    covered = torch.zeros(size[0] + 2 * margin, size[1] + 2 * margin)
    cells = torch.zeros(Box(0, 0, *size).shrink(stride).shape)
    for tile in cut_picture(*size, grid, stride, reach, tileable=True):
        tile.core.of(covered).add_(1)
        core, window = tile.core, tile.window
        assert min(core.top - window.top, core.left - window.left) >= reach
        assert min(window.bottom - core.bottom, window.right - core.right) >= reach
        assert min(window.top, window.left) >= 0
        assert window.bottom <= covered.shape[0]
        assert window.right <= covered.shape[1]
        for begin in (core.top, core.left, window.top, window.left):
            assert begin % stride == 0
        mine = tile.cells(stride, size)
        assert mine.whole == cells.shape
        assert mine.box.shape == tile.inner(stride).shape
        mine.box.of(cells).add_(1)
    inside = covered[margin:-margin, margin:-margin]
    assert (inside == 1).all()
    assert covered.sum() == inside.sum()  # none of the copies
    assert (cells == 1).all()


def test_a_tileable_tile_by_hand():
    (tile,) = cut_picture(33, 48, (1, 1), 16, 20, tileable=True)
    assert tile == Tile(Box(32, 32, 65, 80), Box(0, 0, 97, 112), 32)
    assert tile.inner(16) == Box(2, 2, 5, 5)  # the last row is half of the next copy's
    assert tile.cells(16, (33, 48)) == Cells(Box(0, 0, 3, 3), (3, 3))
    assert tile.cells(16, (33, 48)).is_whole


@pytest.mark.parametrize("size", [(300, 200), (100, 900), (64, 64)])
@pytest.mark.parametrize("most", [12_000, 20_000, 40_000, math.inf])
def test_the_grid_of_a_tileable_picture_keeps_to_its_room(size, most):
    stride, reach = 8, 20
    found = choose_grid(*size, most, stride, reach, tileable=True)
    assert found is not None
    tiles = cut_picture(*size, found, stride, reach, tileable=True)
    assert max(tile.window.area for tile in tiles) <= most
    if (size[0] + 48) * (size[1] + 48) <= most:
        assert found == (1, 1)


def test_no_grid_where_copies_leave_no_room():
    assert choose_grid(40, 40, 1600, 8, 20) == (1, 1)
    assert choose_grid(40, 40, 1600, 8, 20, tileable=True) is None  # 8 + 2 * 24 is 56
    assert choose_grid(40, 40, 88 * 88, 8, 20, tileable=True) == (1, 1)
    assert choose_grid(40, 40, 88 * 88 - 1, 8, 20, tileable=True) in ((1, 2), (2, 1))


# --- tiled equals whole -------------------------------------------------------------------------


def see(backbone, content, styles, window=math.inf, **values) -> Objective:
    sides = [max(style.shape[-2:]) for style in styles]
    base = {"style_layer": LAYERS, "content_layer": ["relu2_2"], "style_size": sides}
    options = PaintOptions.read({**base, **values})
    size = (content.shape[-1], content.shape[-2])
    asked = SceneOptions.of(options)
    scene = Scene(Picture(content), [Picture(style) for style in styles], asked, size)
    machine = choose_machine("cpu")
    view = scene.at(size, 1, machine.device)
    losses = plan_painting_losses(backbone, options)
    return Objective(backbone, machine, match_masks(view), losses, None, window)


def match_masks(view: View) -> View:
    """The view with masks in the precision of its pictures."""

    def match(mask: Tensor | None) -> Tensor | None:
        return None if mask is None else mask.to(view.content.dtype)

    regions = [
        replace(
            region,
            mask=match(region.mask),
            samples=[replace(each, mask=match(each.mask)) for each in region.samples],
        )
        for region in view.regions
    ]
    return replace(view, mask=match(view.mask), regions=regions)


def evaluate(objective: Objective, pixels: Tensor) -> tuple[float, dict[str, float], Tensor]:
    leaf = pixels.clone().requires_grad_()
    total, parts = objective(leaf, 3)
    total.backward()
    return float(total.detach()), {n: float(p.detach()) for n, p in parts.items()}, leaf.grad


def check_same(backbone, size, window, *, styles=1, grain=True, **values) -> None:
    """Losses, targets and gradients, the latter against the root mean square over the picture.

    In float64: what float32 rounds another way may be the largest of a pool, or a neighbour, and
    its gradient goes to another pixel.
    """
    backbone = copy.deepcopy(backbone).double()
    content, pixels = pixels_of(*size, 1).double(), pixels_of(*size, 3).double()
    if grain:  # neither flat nor in the range
        pixels = pixels + 0.2 * torch.randn(
            pixels.shape, generator=torch.Generator().manual_seed(1)
        )
    pictures = [pixels_of(57, 83, 2).double(), pixels_of(90, 61, 4).double()][:styles]
    whole = see(backbone, content, pictures, **values)
    tiled = see(backbone, content, pictures, window, **values)
    assert len(whole.tiles) == 1
    assert len(tiled.tiles) > 1
    total, parts, gradient = evaluate(whole, pixels)
    tiled_total, tiled_parts, tiled_gradient = evaluate(tiled, pixels)
    assert tiled_total == pytest.approx(total, rel=1e-6)
    assert tiled_parts == pytest.approx(parts, rel=1e-6)
    apart = (tiled_gradient - gradient).abs().max()
    assert apart <= 1e-5 * gradient.square().mean().sqrt()
    assert (tiled_gradient - gradient).norm() <= 1e-6 * gradient.norm()


@EVERY_STYLE_LOSS
@pytest.mark.parametrize(("size", "window"), [((123, 97), 80 * 80), ((90, 131), 56 * 64)])
def test_every_style_loss(compact, loss, size, window):
    check_same(compact, size, window, style_loss=[loss])


@EVERY_CONTENT_LOSS
@pytest.mark.parametrize(("size", "window"), [((123, 97), 80 * 80), ((90, 131), 56 * 64)])
def test_every_content_loss(compact, loss, size, window):
    check_same(compact, size, window, content_loss=[loss], style_weight=0.1)


@EVERY_STYLE_LOSS
def test_every_style_loss_under_masks(compact, loss, tmp_path):
    masks = {
        "mask": save_mask(tmp_path / "mask.png", 123, 97),
        "teach_mask": [save_mask(tmp_path / "teach.png", 57, 83)],
        "feather": 2,
    }
    check_same(compact, (123, 97), 80 * 80, style_loss=[loss], **masks)


@pytest.mark.parametrize("loss", ["gaussian", "chained", "sliced"])
def test_regions_and_several_styles(compact, tmp_path, loss):
    masks = [save_mask(tmp_path / f"{i}.png", 123, 97) for i in range(2)]
    check_same(compact, (123, 97), 80 * 80, styles=2, style_loss=[loss], style_mask=masks)
    check_same(compact, (123, 97), 80 * 80, styles=2, style_loss=[loss], style_blend=[1, 3])


@pytest.mark.parametrize("how", ["l1", "pixel"])
@pytest.mark.parametrize(
    "losses",
    [
        {"style_loss": ["gaussian", "chained"]},
        {"style_loss": ["emd"], "content_loss": ["laplacian", "features"]},
        {"style_loss": ["histogram-pixels"], "content_loss": ["self-similarity"]},
    ],
    ids=str,
)
def test_normalised_gradients(compact, how, losses):
    check_same(compact, (123, 97), 80 * 80, normalize_gradients=how, **losses)


@pytest.mark.parametrize(
    "values",
    [
        {"normalization": "paper", "tv_weight": 1e-3},
        {"tv_power": 1.0},
        {"tv_power": 2.5, "tv_weight": 100.0},
        {"activation_shift": -1.0, "style_loss": ["chained"]},
        {"style_layer": ["conv1_2", "relu3_1"], "content_layer": ["conv2_1", "relu1_2"]},
        {"pooling": "avg"},
        {"style_loss": ["histogram-pixels"], "content_loss": ["laplacian"]},
        {"style_loss": ["emd"], "content_loss": ["self-similarity"], "columns": "vgg19"},
    ],
    ids=str,
)
def test_other_options(compact, values):
    check_same(compact, (101, 113), 70 * 70, **values)


@pytest.mark.parametrize("padding", ["zeros", "reflect", "replicate"])
@pytest.mark.parametrize("pooling", ["max", "avg"])
def test_every_network(padding, pooling):
    tensors = random_tensors("vgg16")
    network = Backbone.from_tensors(tensors, BACKBONES["vgg16"], padding=padding, pooling=pooling)
    check_same(network, (75, 66), 50 * 50)


def test_the_default_s_depth(compact):
    layers = {"style_layer": PaintOptions().style_layer, "content_layer": ["relu4_1"]}
    check_same(compact, (333, 261), 240 * 240, **layers)


def test_one_row_and_one_pixel_more(compact):
    for size in ((129, 20), (20, 129), (128, 33)):
        check_same(compact, size, 60 * 33)


# --- painting in tiles --------------------------------------------------------------------------


@pytest.fixture
def in_double(monkeypatch):
    """Painting in float64: where float32 rounds a pool's two largest the other way round, another
    pixel passes the slope on, and what differs is no longer rounding."""

    def load_double(*names, **values):
        return load_backbone(*names, **values).double()

    def choose_double(_, machine, *__):
        return replace(machine, precision=torch.float64)

    monkeypatch.setattr("impasto.networks.autotune.load_backbone", load_double)
    monkeypatch.setattr("impasto.networks.autotune.choose_precision", choose_double)


@pytest.mark.usefixtures("in_double")
@pytest.mark.parametrize("optimizer", ["lbfgs", "adam"])
@pytest.mark.parametrize("canvas", ["pixels", "pyramid"])
def test_a_painting_in_tiles_is_the_painting(monkeypatch, optimizer, canvas):
    values = {"steps": 4, "start_size": 128, "optimizer": optimizer, "canvas": canvas}
    values |= {"style_layer": LAYERS, "content_layer": ["relu2_2"]}
    photo, style = (
        Picture(pixels_of(*size).double(), name="picture") for size in ((128, 99, 1), (56, 72, 2))
    )
    whole = impasto.paint(photo, style, values)
    tiles = []

    class InTiles(Objective):
        def __init__(self, *inputs):
            super().__init__(*inputs[:5], window=80 * 80)
            tiles.extend(self.tiles)

        def show(self, pixels):
            assert pixels.dtype == torch.float64
            return super().show(pixels)

    monkeypatch.setattr("impasto.painting.style_work.Objective", InTiles)
    tiled = impasto.paint(photo, style, values)
    assert len(tiles) > 1
    losses = [[step.total for step in each.history] for each in (whole, tiled)]
    assert losses[1] == pytest.approx(losses[0], rel=1e-9)
    # Rounding grows from step to step, but there is no seam.
    torch.testing.assert_close(tiled.pixels, whole.pixels, rtol=0, atol=1e-6)


# --- too little memory --------------------------------------------------------------------------


class Cramped(Backbone):
    """Has room for so many pixels."""

    room = 0

    def forward(self, pictures, layers):
        if pictures.shape[-1] * pictures.shape[-2] > self.room:
            raise torch.OutOfMemoryError("out of memory")
        return super().forward(pictures, layers)


def test_out_of_memory_goes_on_in_smaller_tiles():
    cramped = Cramped.from_tensors(
        random_tensors("compact"), BACKBONES["compact"], padding="reflect"
    )
    content, style = pixels_of(123, 97, 1), pixels_of(57, 83, 2)
    cramped.room = math.inf
    expected = evaluate(see(cramped, content, [style]), pixels_of(123, 97, 3))
    cramped.room = 70 * 70
    early = see(cramped, content, [style])
    assert len(early.tiles) > 1
    assert early.remarks[0].startswith("out of memory: on with")
    total, _, gradient = evaluate(early, pixels_of(123, 97, 3))
    assert total == pytest.approx(expected[0], rel=1e-4)
    assert (gradient - expected[2]).norm() < 1e-4 * expected[2].norm()
    before = len(early.tiles)
    cramped.room = 1500  # in the middle of the work
    total, _, gradient = evaluate(early, pixels_of(123, 97, 3))
    assert len(early.tiles) > before
    assert total == pytest.approx(expected[0], rel=1e-4)
    assert (gradient - expected[2]).norm() < 1e-4 * expected[2].norm()


def test_no_room_at_all_is_said():
    cramped = Cramped.from_tensors(random_tensors("compact"), BACKBONES["compact"])
    with pytest.raises(DeviceError, match="out of memory: there is no room for a tile of"):
        see(cramped, pixels_of(123, 97, 1), [pixels_of(57, 83, 2)])


def test_other_errors_are_not_taken_for_it(compact, monkeypatch):
    objective = see(compact, pixels_of(123, 97, 1), [pixels_of(57, 83, 2)])

    def fail(*_: object) -> None:
        raise RuntimeError("something else")

    monkeypatch.setattr(objective.criterion.extractor, "look", fail)
    with pytest.raises(RuntimeError, match="something else"):
        objective(pixels_of(123, 97, 3), 0)


# --- tileable pictures --------------------------------------------------------------------------

EXACT = [name for name, loss in STYLE_LOSSES.items() if not loss.samples]
ROLL = (32, -16)


def roll(pixels: Tensor, by: tuple[int, int]) -> Tensor:
    return torch.roll(pixels, by, (-2, -1))


def evaluate_tileable(
    backbone, size, window=math.inf, by=(0, 0), **values
) -> tuple[float, dict[str, float], Tensor, int]:
    """The total, its parts and the slope of a rolled picture, which is rolled back; and how many
    tiles it was seen in."""
    content, pixels = pixels_of(*size, 1), pixels_of(*size, 3)
    grain = torch.randn(pixels.shape, generator=torch.Generator().manual_seed(1))
    base = {"style_layer": (*LAYERS, "relu4_1"), "content_layer": ["relu4_1"], "tileable": True}
    objective = see(
        backbone, roll(content, by), [pixels_of(57, 83, 2)], window, **{**base, **values}
    )
    leaf = roll(pixels + 0.2 * grain, by).requires_grad_()
    total, parts = objective(objective.show(leaf), 3)
    total.backward()
    back = (-by[0], -by[1])
    values = {name: float(part.detach()) for name, part in parts.items()}
    return float(total.detach()), values, roll(leaf.grad, back), len(objective.tiles)


def check_near(ours, theirs) -> None:
    assert ours[0] == pytest.approx(theirs[0], rel=1e-5)
    assert ours[1] == pytest.approx(theirs[1], rel=1e-5, abs=1e-7)
    # Max pools choose otherwise where two are the same but for rounding.
    assert (ours[2] - theirs[2]).norm() < 1e-3 * theirs[2].norm()


@pytest.mark.parametrize(
    "values",
    [
        *({"style_loss": [name]} for name in EXACT),
        {"normalize_gradients": "l1"},
        {"normalize_gradients": "pixel", "style_loss": ["gram"]},
        {"tv_power": 1.0, "tv_weight": 100.0},
        {"normalization": "paper", "tv_weight": 1e-3},
        {"activation_shift": -1.0, "style_loss": ["gram"], "content_layer": ["pixels"]},
    ],
    ids=str,
)
def test_a_tileable_picture_has_no_edge(compact, values):
    """Where it is cut does not matter, nor in how many tiles it is seen."""
    plain = evaluate_tileable(compact, (96, 80), **values)
    assert plain[3] == 1
    check_near(evaluate_tileable(compact, (96, 80), by=ROLL, **values), plain)
    in_tiles = evaluate_tileable(compact, (96, 80), 112 * 112, ROLL, **values)
    assert in_tiles[3] > 1
    check_near(in_tiles, plain)


def test_a_plain_picture_has_edges(compact):
    plain, rolled = (
        evaluate_tileable(compact, (96, 80), by=by, tileable=False) for by in ((0, 0), ROLL)
    )
    assert abs(plain[0] - rolled[0]) > 1e-3 * plain[0]


@pytest.mark.parametrize("size", [(16, 16), (16, 48), (64, 32)])
def test_a_picture_smaller_than_its_margin(compact, size):
    plain = evaluate_tileable(compact, size)
    check_near(evaluate_tileable(compact, size, by=(16, 16)), plain)
    if max(size) > 16:
        tiles = evaluate_tileable(compact, size, 80 * 90)
        assert tiles[3] > 1
        check_near(tiles, plain)


@pytest.mark.parametrize("size", [(61, 47), (17, 33), (100, 19)])
def test_odd_sizes_are_seen_in_tiles_as_whole(compact, size):
    plain = evaluate_tileable(compact, size)
    tiles = evaluate_tileable(compact, size, 80 * 90)
    assert tiles[3] > 1
    check_near(tiles, plain)


@pytest.mark.parametrize("loss", [name for name in STYLE_LOSSES if name not in EXACT])
def test_sampled_losses_see_the_same_in_tiles(compact, loss):
    values = {"style_loss": [loss], "content_loss": ["self-similarity"]}
    plain = evaluate_tileable(compact, (96, 80), **values)
    tiles = evaluate_tileable(compact, (96, 80), 112 * 112, **values)
    assert tiles[3] > 1
    assert tiles[0] == pytest.approx(plain[0], rel=1e-4)
    assert (tiles[2] - plain[2]).norm() < 1e-3 * plain[2].norm()


def test_out_of_memory_a_tileable_picture_goes_on_in_smaller_tiles():
    cramped = Cramped.from_tensors(
        random_tensors("compact"), BACKBONES["compact"], padding="reflect"
    )
    cramped.room = math.inf
    expected = evaluate_tileable(cramped, (96, 80))
    cramped.room = 120 * 120
    found = evaluate_tileable(cramped, (96, 80))
    assert found[3] > 1
    check_near(found, expected)
