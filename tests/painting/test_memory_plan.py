"""Plans: what fits into which memory, what is said of it, and that it is kept to.

Pictures here have sizes but no pixels of their own: a plan asks for no more.
"""

from __future__ import annotations

import math
import re

import numpy as np
import pytest
import torch
from conftest import draw_picture

import impasto
from impasto.errors import ImageError, OptionError
from impasto.images.opening import read_recipe
from impasto.images.picture import Picture
from impasto.images.resizing import fit_size
from impasto.images.tiles import choose_grid, cut_picture
from impasto.options import format_memory, parse_memory
from impasto.painting import memory_plan as plan
from impasto.painting import optimizers
from impasto.painting.canvas import CANVASES
from impasto.painting.inputs import SceneOptions
from impasto.painting.loss_plan import plan_painting_losses
from impasto.painting.memory_plan import Costs, Plan, grant_memory, largest_side, make_plan
from impasto.painting.optimizers import OPTIMIZERS
from impasto.painting.options import PaintOptions
from impasto.painting.painter import Painter
from impasto.recipes import parse_recipe
from impasto.system.devices import Machine

CPU = Machine(torch.device("cpu"))
SHORT = Machine(torch.device("cpu"), torch.bfloat16)
ALONE = {"start_size": 65536}  # one size
SIZE = (3000, 2000)
MIB = 2**20


def of_size(width: int, height: int) -> Picture:
    return Picture(torch.zeros(1, 3, 1, 1).expand(1, 3, height, width))


def costs_of(backbone, machine=CPU, own=SIZE, styles=((900, 700),), **values) -> Costs:
    options = PaintOptions.read(values)
    losses, scene = plan_painting_losses(backbone, options), SceneOptions.of(options)
    pictures = [of_size(*style) for style in styles]
    return Costs(backbone, machine, losses, options, scene, of_size(*own), pictures)


def plan_for(
    backbone, grant=None, size=SIZE, *, machine=CPU, own=None, styles=((900, 700),), **values
) -> Plan | None:
    costs = costs_of(backbone, machine, own or size, styles, **values)
    return make_plan(costs, size, costs.options.start_size, grant)


def needed_for(backbone, *args, **values) -> int:
    found = plan_for(backbone, *args, **values)
    assert found is not None
    return found.needed


def least_grant(backbone, **values) -> int:
    """The smallest grant, to a MiB, that there is a plan for."""
    low, high = 0, needed_for(backbone, **values) // MIB + 1
    while low < high:
        middle = (low + high) // 2
        fits = plan_for(backbone, middle * MIB, **values)
        low, high = (low, middle) if fits else (middle + 1, high)
    return low * MIB


def shrinking_grants(backbone, count=12, **values) -> list[int]:
    """From all that is needed to the least that will do."""
    most, least = needed_for(backbone, **values) + 1, least_grant(backbone, **values)
    return [int(most + (least - most) * i / (count - 1)) for i in range(count)]


def look_at(level: plan.Level, costs: Costs) -> tuple[int, int]:
    """(tiles, pixels in the largest window) of a level, cut as the objective cuts it."""
    width, height = level.size
    if math.isinf(level.window):
        return 1, width * height
    grid = choose_grid(height, width, level.window, *costs.losses.tiling)
    assert grid is not None
    tiles = cut_picture(height, width, grid, *costs.losses.tiling)
    return len(tiles), max(tile.window.area for tile in tiles)


# --- plans --------------------------------------------------------------------------------------


@pytest.mark.parametrize("machine", [CPU, SHORT])
def test_without_a_grant_every_size_is_seen_whole(compact, machine):
    found = plan_for(compact, machine=machine)
    assert found is not None
    assert [level.size for level in found.levels] == plan.plan_sizes(*SIZE, 256)
    assert [level.steps for level in found.levels] == plan.share_steps(80, len(found.levels))
    assert all(level.tiles == 1 and math.isinf(level.window) for level in found.levels)
    assert found.grant is None
    assert not found.is_tight
    assert plan_for(compact, found.needed + 1, machine=machine).levels == found.levels


def test_what_is_granted_beyond_need_changes_nothing(compact):
    need = needed_for(compact)
    for grant in (need + 1, 2 * need, 2**50):
        found = plan_for(compact, grant)
        assert found is not None
        assert found.needed == need
        assert not found.is_tight


@pytest.mark.parametrize("values", [{}, ALONE, {"optimizer": "adam"}], ids=str)
@pytest.mark.parametrize("machine", [CPU, SHORT])
def test_as_the_grant_shrinks_windows_do(compact, values, machine):
    costs = costs_of(compact, machine, **values)
    last, before = math.inf, 0
    for grant in shrinking_grants(compact, machine=machine, **values):
        found = plan_for(compact, grant, machine=machine, **values)
        assert found is not None
        assert found.grant == grant
        assert found.needed <= grant
        level = found.levels[-1]
        assert level.window <= last
        last = level.window
        for each in found.levels:
            tiles, area = look_at(each, costs)
            assert tiles == each.tiles
            assert area <= each.window
            assert area <= each.size[0] * each.size[1]
        assert found.is_tight == any(each.tiles > 1 for each in found.levels)
        # All that is looked at: it is the least there is, so it grows as windows shrink.
        seen = sum(
            tile.window.area
            for each in found.levels
            if not math.isinf(each.window)
            for tile in cut_picture(
                *each.size[::-1],
                choose_grid(*each.size[::-1], each.window, *costs.losses.tiling),
                *costs.losses.tiling,
            )
        )
        assert seen >= 0.98 * before  # the choice counts margins that the border cuts off
        before = seen
    assert level.tiles > 10


def test_windows_pay_for_what_the_grant_lacks(compact):
    """At one size: what is not seen at once is what is not there, at the price of a pixel."""
    for machine in (CPU, SHORT):
        need = needed_for(compact, machine=machine, **ALONE)
        costs = costs_of(compact, machine, **ALONE)
        for grant in shrinking_grants(compact, machine=machine, **ALONE)[1:]:
            level = plan_for(compact, grant, machine=machine, **ALONE).levels[0]
            missing = SIZE[0] * SIZE[1] - level.window
            price = (1 + plan.PIECES) * costs.of_window()
            assert need - missing * price == pytest.approx(grant, abs=16)
            _, area = look_at(level, costs)
            assert need - (SIZE[0] * SIZE[1] - area) * price <= grant + 1


def test_only_sizes_that_need_it_are_seen_in_tiles(compact):
    need = needed_for(compact)
    found = plan_for(compact, need // 2)
    assert found is not None
    whole = [level.tiles == 1 for level in found.levels]
    assert whole[0]
    assert not whole[-1]
    assert whole == sorted(whole, reverse=True)
    assert [level.size for level in found.levels] == plan.plan_sizes(*SIZE, 256)


@pytest.mark.parametrize("grant", [0, 1, 2**20])
def test_the_smallest_grant_has_no_plan(compact, grant):
    assert plan_for(compact, grant) is None
    assert plan_for(compact, grant, (16, 16)) is None


def test_there_is_no_plan_where_windows_would_be_all_margin(compact):
    """Not of a fixed size: of the one that is said."""
    grant = least_grant(compact, **ALONE)
    level = plan_for(compact, grant, **ALONE).levels[0]
    assert level.window >= plan.LEAST_WINDOW
    assert plan_for(compact, grant - MIB, **ALONE) is None


def test_small_windows_are_refused_where_they_are_said_to_be(compact, monkeypatch):
    values = {"style_layer": ["relu1_1"], "content_layer": ["relu1_1"], **ALONE}
    before = least_grant(compact, **values)
    monkeypatch.setattr(plan, "LEAST_WINDOW", 4 * plan.LEAST_WINDOW)
    assert least_grant(compact, **values) > before


def test_a_plan_depends_on_what_it_is_given_alone(compact):
    grants = (None, needed_for(compact) // 2)
    before = [plan_for(compact, grant) for grant in grants]
    taken = torch.ones(50 * MIB)  # 200 MiB that this process holds
    assert [plan_for(compact, grant) for grant in grants] == before
    assert plan_for(compact, grant_memory(CPU.device, "3G")) == plan_for(compact, 3 * 2**30)
    del taken


@pytest.mark.parametrize(
    ("grant", "tiles", "text"),
    [
        (None, [1, 1], "up to 1.5 GiB"),
        (4 * 2**30, [1, 1], "up to 1.5 GiB of the 4.0 GiB granted"),
        (
            1536 * MIB,
            [1, 6],
            "up to 1.5 GiB of the 1.5 GiB granted; seen in tiles from 800 pixels on, 6 at the last "
            "size",
        ),
        (
            2**29,
            [4, 12],
            "up to 1.5 GiB of the 512 MiB granted; seen in tiles from 400 pixels on, 12 at the "
            "last size",
        ),
    ],
)
def test_what_is_said_of_a_plan(grant, tiles, text):
    levels = [plan.Level((300 * i, 400 * i), 3, 9e9, n) for i, n in enumerate(tiles, 1)]
    assert Plan(tuple(levels), grant, 1536 * MIB, False).describe() == text


# --- what it costs ------------------------------------------------------------------------------


def test_costs_grow_with_pixels(compact):
    sizes = [(200, 150), (400, 300), (900, 600), (2000, 1500), (4000, 3000), (12000, 9000)]
    needs = [needed_for(compact, None, size, own=(12000, 9000)) for size in sizes]
    assert needs == sorted(set(needs))
    # More than the features of the first layer alone, which has 16 channels.
    assert needs[-1] - needs[-2] > (12000 * 9000 - 4000 * 3000) * 16 * 4


def test_costs_grow_with_the_pictures_that_are_read(compact):
    base = needed_for(compact, None, (300, 200))
    assert needed_for(compact, None, (300, 200), own=(6000, 4000)) - base >= 6000 * 4000 * 12
    large = needed_for(compact, None, (300, 200), styles=[(6000, 4000)])
    assert large - base >= (6000 * 4000 - 900 * 700) * 12
    assert needed_for(compact, None, (300, 200), styles=[(6000, 4000)] * 2) - large >= 288e6


def test_styles_that_are_seen_large_cost_what_they_are_seen_at(compact):
    """Of a style of 900 x 700, by hand, and of the plan as a whole."""

    def seen(long_side: int, whole: int, **values) -> int:
        costs = costs_of(compact, CPU, **values)
        return costs.of_styles(long_side, whole)[1]

    assert seen(450, 1800) == 450 * 350 * 12
    assert seen(450, 1800, style_scale=[2]) == 900 * 700 * 12
    assert seen(450, 1800, style_size=[900]) == pytest.approx(225 * 175 * 12, abs=1)
    assert seen(450, 1800, style_size=[900], style_scale=[4]) == 900 * 700 * 12
    assert seen(450, 1800, turn_style=True) == 4 * 450 * 350 * 12
    small = needed_for(compact, None, (300, 200))
    needs = [
        needed_for(compact, None, (300, 200), style_scale=[scale]) for scale in (1, 40, 60, 80)
    ]
    assert needs == sorted(needs)
    assert needs[0] == small
    more = (80**2 - 60**2) * 300 * 700 / 3 * 12
    assert needs[3] - needs[2] == pytest.approx((1 + plan.PIECES) * more, rel=1e-6)


@pytest.mark.parametrize(
    ("less", "more"),
    [
        ({}, {"average": 0.9}),
        ({}, {"mask": "a.png"}),
        ({"style_mask": ["a.png"]}, {"style_mask": ["a.png", "b.png"]}),
        ({"mask": "a.png"}, {"labels": ["a.png", "b.png"]}),
        ({}, {"canvas": "pyramid"}),
        ({}, {"canvas": "fourier"}),
        ({"optimizer": "sgd"}, {"optimizer": "rmsprop"}),
        ({"optimizer": "rmsprop"}, {"optimizer": "adam"}),
        ({"optimizer": "adam"}, {"optimizer": "lbfgs"}),
        ({"content_layer": ["relu4_1"]}, {"content_layer": ["relu4_1", "relu2_1"]}),
        ({"content_layer": ["relu4_1"]}, {"content_layer": ["relu1_1"]}),
    ],
    ids=str,
)
def test_costs_of_what_is_asked_for(compact, less, more):
    pixels = 200_000
    costs = [costs_of(compact, CPU, **values).of_picture(pixels, 50) for values in (less, more)]
    assert costs[0] < costs[1]


def test_an_average_costs_one_picture_more(compact):
    pixels = 200_000
    with_it, without = (
        costs_of(compact, CPU, **{"average": average}).of_picture(pixels, 50)
        for average in (0.9, 0)
    )
    assert with_it - without == pixels * 3 * 4


def test_steps_that_are_remembered_cost_two_pictures_each(compact):
    costs = costs_of(compact)
    pixels = 200_000
    price = {steps: costs.of_picture(pixels, steps) for steps in (0, 1, 2, 5, 11, 12, 500)}
    assert price[0] == price[1]  # there is none before the first
    assert price[2] - price[1] == 2 * pixels * 12
    assert price[5] - price[1] == 4 * 2 * pixels * 12
    assert price[11] - price[1] == optimizers.HISTORY * 2 * pixels * 12
    assert price[500] == price[11]


@pytest.mark.parametrize("large", [False, True])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("canvas", CANVASES)
def test_what_optimisers_and_canvases_take_is_within_the_estimate(
    compact, monkeypatch, canvas, optimizer, large
):
    """Every tensor that lies in memory between two steps is counted, on a picture of 128 x 96."""
    if large:
        monkeypatch.setattr(optimizers, "LARGE_CANVAS", 1000)
        monkeypatch.setattr(plan, "LARGE_CANVAS", 1000)
    painted = CANVASES[canvas](torch.rand(1, 3, 96, 128))
    made = OPTIMIZERS[optimizer].make(painted, None)

    def measure() -> torch.Tensor:
        made.zero_grad(set_to_none=True)
        total = (painted.pixels() - 0.5).pow(4).sum()
        total.backward()
        return total.detach()

    for _ in range(14):
        made.step(measure)
    values = painted.values
    state = [t for t in made.state[values].values() if isinstance(t, torch.Tensor)]
    # The values, their slope, what is remembered, and the best picture of all.
    taken = 2 * values.nbytes + sum(t.nbytes for t in state) + 3 * 96 * 128 * 4
    costs = costs_of(compact, canvas=canvas, optimizer=optimizer)
    assert taken <= costs.of_picture(96 * 128, 14) + 4096
    assert taken >= 0.2 * costs.of_picture(96 * 128, 14)


@pytest.mark.parametrize("layers", [["relu1_1"], ["relu1_1", "relu3_1"], ["conv2_2", "relu4_1"]])
@pytest.mark.parametrize("machine", [CPU, SHORT])
def test_what_a_tile_keeps_is_within_the_estimate(compact, machine, layers):
    """All that the network keeps for its way back, and what it gives, counted."""
    values = {"style_layer": layers, "content_layer": layers}
    costs = costs_of(compact, machine, **values)
    network = impasto.load_backbone("compact").place(machine)
    kept: dict[int, int] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        kept[tensor.data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    pictures = torch.rand(1, 3, 64, 96).requires_grad_()
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        seen = network(pictures, layers)
    kept |= {t.data_ptr(): t.untyped_storage().nbytes() for t in seen.values()}
    assert sum(kept.values()) <= costs.of_window() * 64 * 96
    assert sum(kept.values()) >= 0.1 * costs.of_window() * 64 * 96


def test_deeper_layers_and_wider_numbers_cost_more(compact):
    def price(machine=CPU, **values) -> float:
        return costs_of(compact, machine, **values).of_window()

    shallow = {"style_layer": ["relu1_1"], "content_layer": ["relu1_1"]}
    assert price(**shallow) < price(**{**shallow, "style_layer": ["relu3_1"]}) < price()
    assert price(SHORT) < price()
    assert price(SHORT) < price(SHORT, style_loss=["gaussian", "chained"]) <= price()


def test_another_device_does_not_hold_what_was_read(compact):
    """Its memory is its own: neither the process nor the pictures as they were read lie there."""
    elsewhere = Machine(torch.device("cuda"))
    need = {machine: needed_for(compact, machine=machine) for machine in (CPU, elsewhere)}
    assert need[elsewhere] < need[CPU]
    huge = {
        machine: needed_for(compact, machine=machine, styles=[(20000, 10000)])
        for machine in (CPU, elsewhere)
    }
    assert huge[CPU] > need[CPU] + 20000 * 10000 * 12
    assert huge[elsewhere] == pytest.approx(need[elsewhere], rel=0.1)


# --- what is granted ----------------------------------------------------------------------------


def test_what_is_asked_for_is_granted_and_else_a_share_of_what_is_free(monkeypatch):
    monkeypatch.setattr(plan, "free_memory", lambda _: 1000 * MIB)
    monkeypatch.setattr(plan, "resident_memory", lambda: 300 * MIB)
    monkeypatch.setattr(plan, "SHARE_OF_MEMORY", 0.5)
    assert grant_memory(CPU.device, "800M") == 800 * MIB
    assert grant_memory(CPU.device, None) == (300 + 500) * MIB  # what it holds already is its own
    assert grant_memory(torch.device("cuda"), None) == 500 * MIB
    monkeypatch.setattr(plan, "resident_memory", lambda: None)
    assert grant_memory(CPU.device, None) == 500 * MIB
    monkeypatch.setattr(plan, "free_memory", lambda _: None)
    assert grant_memory(CPU.device, None) is None
    assert grant_memory(CPU.device, "2G") == 2**31


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("4G", 4 * 2**30),
        ("4.5GiB", 9 * 2**29),
        ("800M", 800 * 2**20),
        ("800MB", 800 * 2**20),
        ("1000", 1000),
        (" 2 g ", 2**31),
        ("0.5k", 512),
        ("1T", 2**40),
        ("7B", 7),
        ("0", 0),
    ],
)
def test_sizes_of_memory(text, count):
    assert parse_memory(text) == count
    assert PaintOptions.read({"memory": text}).memory == text


@pytest.mark.parametrize("text", ["4X", "-1", "", " ", "G", "4GG", "1e9", "4,5G", ".5G", "4 G 2"])
def test_sizes_of_memory_that_are_none(text):
    with pytest.raises(ValueError, match="give a number of bytes, or of K, M, G or T as in 4G"):
        parse_memory(text)
    with pytest.raises(OptionError) as caught:
        PaintOptions.read({"memory": text})
    assert str(caught.value) == (
        f"memory: {text!r} is wrong: give a number of bytes, or of K, M, G or T as in 4G"
    )


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 MiB"),
        (2**20, "1 MiB"),
        (800 * 2**20 + 100, "800 MiB"),
        (2**30, "1.0 GiB"),
        (4.5 * 2**30, "4.5 GiB"),
        (2**40, "1024.0 GiB"),
    ],
)
def test_sizes_of_memory_in_words(count, text):
    assert format_memory(count) == text


# --- the largest size ---------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(4000, 3000), (1500, 3100), (500, 333)])
@pytest.mark.parametrize("values", [{}, {"optimizer": "adam", **ALONE}], ids=str)
def test_the_largest_size_fits_and_one_pixel_more_does_not(compact, size, values):
    costs = costs_of(compact, own=size, **values)
    start = costs.options.start_size
    low, high = needed_for(compact, None, (16, 16), own=size), needed_for(compact, None, size)
    found = []
    for grant in range(low, high, (high - low) // 20):
        side = largest_side(costs, size, start, max(size), grant)
        found.append(side)
        if side:
            assert make_plan(costs, fit_size(*size, side), start, grant)
        if 0 < side < max(size):  # 0 is also what the network cannot see
            assert make_plan(costs, fit_size(*size, side + 1), start, grant) is None
    assert found == sorted(found)
    assert found[-1] > found[0]
    assert largest_side(costs, size, start, max(size), 2**60) == max(size)
    assert largest_side(costs, size, start, max(size), 1) == 0


@pytest.mark.parametrize("side", [600, 1100, 1190, 1250, 1400, 2500])
def test_the_largest_size_is_no_smaller_than_one_that_fits(compact, side):
    """Costs do not only grow with size: of a large picture fewer steps are remembered."""
    size = (4000, 3000)
    grant = least_grant(compact, size=fit_size(*size, side), own=size)
    costs = costs_of(compact, own=size)
    assert make_plan(costs, fit_size(*size, side), 256, grant)
    assert largest_side(costs, size, 256, max(size), grant) >= side


# --- paintings ----------------------------------------------------------------------------------

QUICK = {
    "steps": 2,
    "start_size": 65536,
    "precision": "float32",
    "layout": "planes",
    "style_layer": ["relu1_1", "relu2_1"],
    "content_layer": ["relu2_1"],
}


def needed_to_paint(photo, **values) -> int:
    options = PaintOptions.read({**QUICK, **values})
    return Painter(photo, draw_picture(56, 72, 2), options).plan.needed


def try_size(photo, grant: int, **values) -> None:
    options = PaintOptions.read({**QUICK, "memory": str(grant), **values})
    Painter(photo, draw_picture(56, 72, 2), options)


def test_a_size_that_does_not_fit_is_refused_with_one_that_does():
    photo, style = draw_picture(80, 60, 1), draw_picture(56, 72, 2)
    small, large = (needed_to_paint(photo, size=size) for size in (64, 240))
    for share in (0.1, 0.5, 0.9):
        grant = int(small + share * (large - small))
        options = {**QUICK, "size": 240, "memory": str(grant)}
        with pytest.raises(ImageError) as caught:
            impasto.paint(photo, style, options)
        found = re.fullmatch(
            r"240 x 180 needs more than the (.+) granted; --size (\d+) would fit, or more with "
            r"--memory",
            str(caught.value),
        )
        assert found
        assert found[1] == format_memory(grant)
        painting = impasto.paint(photo, style, {**options, "size": int(found[2])})
        assert max(painting.to_pil().size) == int(found[2])
        assert 64 <= int(found[2]) < 240
        with pytest.raises(ImageError, match="needs more than"):
            impasto.paint(photo, style, {**options, "size": int(found[2]) + 1})


@pytest.mark.parametrize("short_side", [21, 25, 30, 33, 37])
def test_the_size_that_would_fit_does_though_sides_are_rounded_twice(short_side):
    """The proposed size is found from the size asked for, and painted from the photograph's."""
    photo = draw_picture(40, short_side)
    asked = fit_size(40, short_side, 250)
    rounded = [n for n in range(200, 250) if fit_size(*asked, n) != fit_size(40, short_side, n)]
    for side in rounded[:4]:
        grant = needed_to_paint(photo, size=side) - 1
        with pytest.raises(ImageError) as caught:
            try_size(photo, grant, size=250)
        found = re.search(r"--size (\d+) would fit", str(caught.value))
        assert found
        try_size(photo, grant, size=int(found[1]))


@pytest.mark.parametrize(("width", "height"), [(400, 30), (30, 400)])
def test_the_size_that_would_fit_is_one_that_the_network_can_see(width, height):
    """A strip of a size that fits may be too narrow for the layers."""
    photo = draw_picture(width, height)
    grant = needed_to_paint(photo, size=40, style_layer=["relu1_1"], content_layer=["relu1_1"])
    with pytest.raises(ImageError) as caught:
        try_size(photo, grant, size=400)
    if found := re.search(r"--size (\d+) would fit", str(caught.value)):
        try_size(photo, grant, size=int(found[1]))
    else:
        assert "and so does any other size; grant more with --memory" in str(caught.value)


@pytest.mark.parametrize("values", [{}, {"size": 64}])
def test_where_nothing_fits_that_is_said(values):
    options = {**QUICK, **values, "memory": "1M"}
    with pytest.raises(ImageError) as caught:
        impasto.paint(draw_picture(64, 48, 1), draw_picture(56, 72, 2), options)
    assert str(caught.value) == (
        "64 x 48 needs more than the 1 MiB granted, and so does any other size; "
        "grant more with --memory"
    )


def test_a_photograph_without_a_size_is_painted_smaller_and_enlarged():
    photo, style = draw_picture(240, 180, 1), draw_picture(56, 72, 2)
    small, large = needed_to_paint(photo, size=64), needed_to_paint(photo)
    options = {**QUICK, "memory": str((small + large) // 2)}
    painting = impasto.paint(photo, style, options)
    assert painting.to_pil().size == (240, 180)
    painted = max(painting.history[-1].size)
    assert 64 <= painted < 240
    grant = format_memory((small + large) // 2)
    assert painting.notes == [
        f"240 x 180 needs more than the {grant} granted: painted at a long side of {painted} and "
        "enlarged"
    ]
    again = impasto.paint(photo, style, painting.recipe["options"])
    assert torch.equal(again.pixels, painting.pixels)


def test_a_painting_in_tiles_says_so_and_its_recipe_paints_the_same(monkeypatch, tmp_path):
    monkeypatch.setattr(plan, "LEAST_WINDOW", 48 * 48)
    photo, style = draw_picture(240, 180, 1), draw_picture(56, 72, 2)
    values = {**QUICK, "steps": 4, "start_size": 128}
    whole = impasto.paint(photo, style, values)
    grant = needed_to_paint(photo) * 0.6 + needed_to_paint(photo, size=64) * 0.4
    options = PaintOptions.read({**values, "memory": str(int(grant))})
    painter = Painter(photo, style, options)
    assert painter.plan.is_tight
    tiles = painter.plan.levels[-1].tiles
    assert tiles > 1
    assert f"{tiles} at the last size" in painter.plan.describe()
    list(painter.steps())
    painting = painter.result()
    assert painting.notes == []
    assert painting.recipe["options"]["memory"] == str(int(grant))
    assert whole.recipe["options"]["memory"] is None  # nothing depends on it
    assert (painting.pixels - whole.pixels).abs().max() < 2 / 255
    painting.save(tmp_path / "tiled.png")
    inside = read_recipe(tmp_path / "tiled.png")
    assert inside is not None
    again = impasto.paint(photo, style, parse_recipe(inside, "tiled.png"))
    assert torch.equal(again.pixels, painting.pixels)


def test_room_to_spare_is_not_part_of_the_recipe():
    photo, style = draw_picture(64, 48, 1), draw_picture(56, 72, 2)
    generous = impasto.paint(photo, style, {**QUICK, "memory": "64G"})
    assert generous.recipe["options"]["memory"] is None
    free = impasto.paint(photo, style, QUICK)
    assert np.array_equal(generous.pixels.numpy(), free.pixels.numpy())
    assert generous.recipe == free.recipe


# --- tileable pictures --------------------------------------------------------------------------


def look_at_tileable(level: plan.Level, costs: Costs) -> tuple[int, int, int]:
    """(tiles, pixels in the largest window, pixels shown) of a level of a tileable picture."""
    width, height = level.size
    grid = choose_grid(height, width, level.window, *costs.losses.tiling, tileable=True)
    assert grid is not None
    tiles = cut_picture(height, width, grid, *costs.losses.tiling, tileable=True)
    shown = max(t.window.bottom for t in tiles) * max(t.window.right for t in tiles)
    return len(tiles), max(tile.window.area for tile in tiles), shown


def test_copies_around_are_paid_for(compact):
    """By hand: 80 pixels on each side of 3000 x 2000, which are shown, with their slope."""
    plain, tileable = (needed_for(compact, tileable=each, **ALONE) for each in (False, True))
    more = (3000 + 160) * (2000 + 160) - 3000 * 2000
    costs = costs_of(compact, CPU, **ALONE)
    price = (1 + plan.PIECES) * more * (costs.of_window() + 2 * 12)
    assert tileable - plain == pytest.approx(price, abs=16)


@pytest.mark.parametrize("machine", [CPU, SHORT])
def test_tileable_windows_keep_to_the_grant(compact, machine):
    costs = costs_of(compact, machine, **{"tileable": True})
    last = math.inf
    for grant in shrinking_grants(compact, 8, machine=machine, tileable=True):
        found = plan_for(compact, grant, machine=machine, tileable=True)
        assert found is not None
        assert found.needed <= grant
        assert found.levels[-1].window <= last
        last = found.levels[-1].window
        for level in found.levels:
            tiles, area, shown = look_at_tileable(level, costs)
            assert tiles == level.tiles
            assert area <= level.window
            assert (tiles == 1) == (area == shown)
        assert found.is_tight == any(level.tiles > 1 for level in found.levels)
    assert found.levels[-1].tiles > 4


def test_what_is_planned_is_what_is_seen(compact):
    """The objective cuts a tileable picture into as many tiles as its plan says."""
    values = {"tileable": True, "size": 320, "start_size": 320, "precision": "float32"}
    values |= {"layout": "planes", "optimizer": "sgd"}
    photo, style = draw_picture(320, 240, 1), draw_picture(60, 50, 2)
    whole = Painter(photo, style, PaintOptions.read({**values, "memory": "8G"}))
    assert [level.tiles for level in whole.levels] == [1]
    assert whole.options.memory is None
    costs = costs_of(compact, own=(320, 240), styles=[(60, 50)], **values)
    needed = make_plan(costs, (320, 240), 320, None).needed
    tight = Painter(photo, style, PaintOptions.read({**values, "memory": str(needed - 4 * MIB)}))
    (level,) = tight.levels
    objective, _ = tight.begin(level)
    assert len(objective.tiles) == level.tiles > 1
    assert max(tile.window.area for tile in objective.tiles) <= level.window


# --- what weighs nothing ------------------------------------------------------------------------


def test_what_weighs_nothing_costs_nothing(compact):
    deep = {"content_layer": ["relu5_4"], **ALONE}
    costs = [
        costs_of(compact, CPU, **{**deep, **more})
        for more in ({}, {"content_weight": 0}, {"style_weight": 0, "content_layer": ["relu1_1"]})
    ]
    tilings = [each.losses.tiling for each in costs]
    assert tilings == [(16, 2 + 4 + 16 + 32 + 64), (16, 2 + 4 + 16 + 32 + 16), (1, 1)]
    assert [each.losses.kept for each in costs] == [("relu5_4",), (), ("relu1_1",)]
    needs = [needed_for(compact, **deep), needed_for(compact, **deep, content_weight=0)]
    assert needs[1] < needs[0]
