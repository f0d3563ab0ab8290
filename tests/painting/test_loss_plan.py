"""What is minimised, by the options: which losses look at which layers, and with which weights."""

from __future__ import annotations

from typing import Any

import pytest
from conftest import draw_picture

import impasto
from impasto.errors import ImageError, OptionError
from impasto.losses.style import STYLE_LOSSES
from impasto.painting.loss_plan import PIXELS, LossPlan, plan_losses, plan_painting_losses
from impasto.painting.options import PaintOptions

QUICK = {"steps": 3, "start_size": 64, "precision": "float32", "recolor": "none"}


def read_options(**values: Any) -> PaintOptions:
    given = {"layer_weights": "given", "style_layer": ["relu1_1", "relu3_1"]}
    return PaintOptions.read({**given, **values})


def plan_for(compact, **values: Any) -> LossPlan:
    return plan_painting_losses(compact, read_options(**values))


def name_groups(compact, **values: Any) -> tuple[list[tuple[str, ...]], list[tuple[str, ...]]]:
    plan = plan_for(compact, **values)
    return [each.group for each in plan.style], [each.group for each in plan.content]


def test_each_layer_is_a_term_with_its_share(compact):
    plan = plan_for(compact, style_layer=["relu1_1=3", "relu3_1"], style_loss=["gram=2", "moments"])
    assert [(each.group, each.weight) for each in plan.style] == [
        (("relu1_1",), pytest.approx(1.5)),
        (("relu3_1",), pytest.approx(0.5)),
        (("relu1_1",), pytest.approx(0.75)),
        (("relu3_1",), pytest.approx(0.25)),
    ]
    assert [(each.group, each.weight) for each in plan.content] == [(("relu4_1",), 1.0)]


@pytest.mark.parametrize(
    ("values", "layers"),
    [
        ({}, ["relu1_1", "relu3_1", "relu4_1"]),
        ({"content_weight": 0}, ["relu1_1", "relu3_1"]),
        ({"style_weight": 0}, ["relu4_1"]),
        ({"style_weight": 0, "content_weight": 0}, []),
        ({"style_layer": ["relu1_1", "relu5_1=0"]}, ["relu1_1", "relu4_1"]),
        ({"style_loss": ["gram", "chained=0"]}, ["relu1_1", "relu3_1", "relu4_1"]),
        ({"content_layer": ["relu2_2=0", "relu3_2"]}, ["relu1_1", "relu3_1", "relu3_2"]),
        ({"content_loss": ["features=0", "laplacian"]}, ["relu1_1", "relu3_1"]),
        ({"style_loss": ["histogram-pixels"], "content_loss": ["laplacian"]}, []),
    ],
    ids=str,
)
def test_what_weighs_nothing_is_not_looked_at(compact, values, layers):
    assert plan_for(compact, **values).layers == layers


def test_no_weight_no_terms(compact):
    assert name_groups(compact, style_weight=0) == ([], [("relu4_1",)])
    assert name_groups(compact, content_weight=0) == ([("relu1_1",), ("relu3_1",)], [])
    assert name_groups(compact, content_weight=0, style_weight=0) == ([], [])
    assert name_groups(compact, content_loss=["laplacian"])[1] == [(PIXELS,)]


def test_what_weighs_nothing_is_checked_all_the_same(compact):
    with pytest.raises(OptionError, match="unknown loss 'grams'; did you mean 'gram'"):
        plan_for(compact, style_weight=0, style_loss=["grams"])
    with pytest.raises(OptionError, match="unknown layer 'relu9_1' for compact"):
        plan_for(compact, content_weight=0, content_layer=["relu9_1"])
    with pytest.raises(OptionError, match="chained needs more layers than relu1_1"):
        plan_losses(STYLE_LOSSES, ("chained",), {"relu1_1": 1.0})


def test_a_layer_that_weighs_nothing_asks_for_no_size():
    """30 pixels do not reach relu5_1, which matters only where it is looked at."""
    photo, style = draw_picture(30, 30, 1), draw_picture(40, 40, 2)
    shallow = {**QUICK, "content_layer": ["relu2_1"]}
    with pytest.raises(ImageError, match="30 x 30 is too small for layer relu5_1"):
        impasto.paint(photo, style, shallow)
    painting = impasto.paint(photo, style, {**shallow, "style_weight": 0, "init": "noise"})
    assert painting.history[-1].total < painting.history[0].total
    deep = {**QUICK, "style_layer": ["relu1_1", "relu2_1"], "content_layer": ["relu5_1"]}
    with pytest.raises(ImageError, match="30 x 30 is too small for layer relu5_1"):
        impasto.paint(photo, style, deep)
    painting = impasto.paint(photo, style, {**deep, "content_weight": 0})
    assert all(step.content == 0 for step in painting.history)
    assert painting.history[-1].style < painting.history[0].style


@pytest.mark.parametrize("how", ["none", "l1", "pixel"])
def test_neither_style_nor_content_leaves_total_variation(how):
    options = {**QUICK, "style_weight": 0, "content_weight": 0, "normalize_gradients": how}
    painting = impasto.paint(draw_picture(64, 48, 1), draw_picture(40, 40, 2), options)
    first, last = painting.history[0], painting.history[-1]
    assert first.style == first.content == 0
    assert first.total == pytest.approx(5 * first.tv, rel=1e-5)
    assert last.tv < first.tv


def test_content_counts_more_at_coarser_sizes(compact):
    plan = plan_for(compact, content_weight=3.0, coarse_content=2.0)
    weights = [plan.at_size(side).content_weight for side in (1024, 512, 256, 64, 362)]
    assert weights == pytest.approx([1.5, 3.0, 6.0, 24.0, 3 * 2**0.5], rel=1e-3)
    assert plan_for(compact).at_size(100).content_weight == 1.0


@pytest.mark.parametrize(
    ("guide", "loss", "kept"),
    [
        (0.3, "neighbour-columns", {"relu1_1", "relu3_1"}),
        (0.3, "neighbours", set()),
        (0.3, "gram", set()),
        (0.0, "neighbour-columns", set()),
    ],
)
def test_a_guide_keeps_the_photograph_s_features(compact, guide, loss, kept):
    plan = plan_for(compact, style_loss=[loss], guide=guide, content_weight=0.0)
    assert set(plan.kept) == kept
