"""A picture seen in tiles against the same picture seen whole: all losses and their gradients."""

from __future__ import annotations

import itertools
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import draw_picture, random_tensors
from PIL import Image
from torch import Tensor

import impasto
from impasto.backbones import BACKBONES, Backbone
from impasto.devices import choose_machine
from impasto.errors import DeviceError
from impasto.images import Picture, read_image
from impasto.losses import CONTENT_LOSSES
from impasto.objective import Objective
from impasto.options import PaintOptions
from impasto.scene import Scene
from impasto.style_losses import STYLE_LOSSES
from impasto.tiles import Box, Tile, choose_grid, cut_picture, find_reach, find_stride, lay_out

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


# --- tiled equals whole -------------------------------------------------------------------------


def see(backbone, content, styles, window=math.inf, **values) -> Objective:
    sides = [max(style.shape[-2:]) for style in styles]
    base = {"style_layer": LAYERS, "content_layer": ["relu2_2"], "style_size": sides}
    options = PaintOptions.read({**base, **values})
    size = (content.shape[-1], content.shape[-2])
    scene = Scene(Picture(content), [Picture(style) for style in styles], options, size)
    machine = choose_machine("cpu")
    view = scene.at(size, 1, machine.device)
    return Objective(backbone, machine, view, options, None, window)


def evaluate(objective: Objective, pixels: Tensor) -> tuple[float, dict[str, float], Tensor]:
    leaf = pixels.clone().requires_grad_()
    total, parts = objective(leaf, 3)
    total.backward()
    return float(total.detach()), {n: float(p.detach()) for n, p in parts.items()}, leaf.grad


def check_same(backbone, size, window, *, styles=1, grain=True, **values) -> None:
    """Losses, targets and gradients, the latter against the root mean square over the picture: a
    seam of a ten-thousandth of it is found."""
    content, pixels = pixels_of(*size, 1), pixels_of(*size, 3)
    if grain:  # neither flat nor in the range
        pixels = pixels + 0.2 * torch.randn(
            pixels.shape, generator=torch.Generator().manual_seed(1)
        )
    pictures = [pixels_of(57, 83, 2), pixels_of(90, 61, 4)][:styles]
    whole = see(backbone, content, pictures, **values)
    tiled = see(backbone, content, pictures, window, **values)
    assert len(whole.tiles) == 1
    assert len(tiled.tiles) > 1
    total, parts, gradient = evaluate(whole, pixels)
    tiled_total, tiled_parts, tiled_gradient = evaluate(tiled, pixels)
    assert tiled_total == pytest.approx(total, rel=1e-4)
    assert tiled_parts == pytest.approx(parts, rel=1e-4)
    apart = (tiled_gradient - gradient).abs().max()
    assert apart <= 1e-4 * gradient.square().mean().sqrt() * 10
    assert (tiled_gradient - gradient).norm() <= 1e-4 * gradient.norm()


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


@pytest.mark.parametrize("optimizer", ["lbfgs", "adam"])
@pytest.mark.parametrize("canvas", ["pixels", "pyramid"])
def test_a_painting_in_tiles_is_the_painting(monkeypatch, optimizer, canvas):
    values = {"steps": 4, "start_size": 128, "optimizer": optimizer, "canvas": canvas}
    values |= {"precision": "float32", "style_layer": LAYERS, "content_layer": ["relu2_2"]}
    photo, style = draw_picture(128, 99, 1), draw_picture(56, 72, 2)
    whole = impasto.paint(photo, style, values)

    class InTiles(Objective):
        def __init__(self, *inputs):
            super().__init__(*inputs[:5], window=80 * 80)
            assert len(self.tiles) > 1

    monkeypatch.setattr("impasto.painter.Objective", InTiles)
    tiled = impasto.paint(photo, style, values)
    losses = [[step.total for step in each.history] for each in (whole, tiled)]
    assert losses[1] == pytest.approx(losses[0], rel=1e-3)
    # Rounding grows from step to step, but there is no seam.
    assert (tiled.pixels - whole.pixels).abs().max() < 2 / 255


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

    monkeypatch.setattr(objective, "look", fail)
    with pytest.raises(RuntimeError, match="something else"):
        objective(pixels_of(123, 97, 3), 0)
