"""What is varied, as it is written and as it is shown."""

from __future__ import annotations

import pytest

from impasto.errors import OptionError
from impasto.lab.varied_options import (
    cross_axes,
    describe_values,
    parse_vary,
    read_axis,
    show_value,
)


@pytest.mark.parametrize(
    ("text", "name", "values"),
    [
        ("style_weight=1,0.1", "style_weight", [1.0, 0.1]),
        ("style-weight = 1, 0.1", "style_weight", [1.0, 0.1]),
        ("style_weight=1:100:5", "style_weight", [1, 3.162, 10, 31.62, 100]),
        ("style_weight=1:16", "style_weight", [1, 2, 4, 8, 16]),
        ("tv_weight=0:10:3", "tv_weight", [0, 5, 10]),
        ("tv_weight=10:0:3", "tv_weight", [10, 5, 0]),
        ("steps=10:1000:3", "steps", [10, 100, 1000]),
        ("seed=0:3:4", "seed", [0, 1, 2, 3]),
        ("seed=1:3:9", "seed", [1, 2, 3]),
        ("size=64,128", "size", [64, 128]),
        ("recolor=none,moments", "recolor", ["none", "moments"]),
        ("tileable=true,false", "tileable", [True, False]),
        ("optimizer=adam,lbfgs", "optimizer", ["adam", "lbfgs"]),
        ("init=noise,a:b:3", "init", ["noise", "a:b:3"]),
        ("init=a:b", "init", ["a:b"]),
        ("style_size=256,512+128", "style_size", [(256,), (512, 128)]),
        (
            "style_layer=relu1_1,relu1_1=0.5+relu2_1",
            "style_layer",
            [("relu1_1",), ("relu1_1=0.5", "relu2_1")],
        ),
    ],
)
def test_options_and_their_values(text, name, values):
    found, read = parse_vary(text)
    assert found == name
    assert read == values
    assert read_axis(text) == [{name: value} for value in values]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("style_wieght=1", "unknown option 'style_wieght'; did you mean 'style_weight'?"),
        ("vary=1", "unknown option 'vary'; "),
        ("style_weight", "'style_weight' names no values of an option; give it as"),
        ("style_weight=", "names no values"),
        ("style_weight=1,-1", "style_weight: '-1' is wrong: input should be greater than"),
        ("style_weight=1,x", "style_weight: 'x' is wrong: input should be a valid number"),
        ("style_weight=1,,2", "style_weight: '' is wrong"),
        ("style_weight=1,1.0", "style_weight: 1 is given twice"),
        ("style_weight=1:2:1", "a range has at least 2 values, not 1"),
        ("optimizer=adam,lbgfs", "optimizer: 'lbgfs' is wrong"),
    ],
)
def test_what_is_wrong_is_said_with_the_options_name(text, said):
    with pytest.raises(OptionError) as error:
        parse_vary(text)
    assert said in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("count", ["1001", "99999999", "9" * 5000])
def test_a_range_of_too_many_values_is_refused_before_it_is_made(count):
    with pytest.raises(OptionError, match=r"^style_weight: too many values; give at most 1000$"):
        parse_vary(f"style_weight=1:10:{count}")


def test_too_many_values_and_pictures_are_refused():
    numbers = ",".join(map(str, range(1001)))
    with pytest.raises(OptionError, match=r"^seed: too many values; give at most 1000$"):
        parse_vary(f"seed={numbers}")
    assert len(parse_vary("style_weight=1:10:1000")[1]) == 1000
    axes = [[{name: value} for value in range(1000)] for name in "abcdef"]
    with pytest.raises(OptionError, match=r"^10{18} pictures are too many: at most 10000 in one"):
        cross_axes(axes)
    assert len(cross_axes([axes[0], axes[1][:10]])) == 10_000


def test_values_in_one_word():
    assert show_value("style_weight", 15.0) == "15"
    assert show_value("style_weight", 1e-5) == "1e-05"
    assert show_value("style_layer", ("relu1_1", "relu2_1")) == "relu1_1+relu2_1"
    assert show_value("mask", "/home/me/mask.png") == "mask.png"
    assert show_value("init", "/home/me/a.png") == "a.png"
    assert show_value("style_mask", ("/home/me/a.png", "b.png")) == "a.png+b.png"
    assert describe_values({"seed": 1, "init": "noise"}) == "seed=1 init=noise"


def test_axes_are_crossed_the_last_turning_fastest():
    crossed = cross_axes([[{"a": 1}, {"a": 2, "b": 3}], [{"c": 0}, {"c": 1}]])
    assert crossed == [
        {"a": 1, "c": 0},
        {"a": 1, "c": 1},
        {"a": 2, "b": 3, "c": 0},
        {"a": 2, "b": 3, "c": 1},
    ]
    assert cross_axes([]) == [{}]
