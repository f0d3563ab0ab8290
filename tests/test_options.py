"""Options: what is allowed, what errors say, recipes and who wins."""

from __future__ import annotations

import pytest

from impasto.datasets.options import AugmentOptions, parse_range
from impasto.errors import MissingFileError, OptionError, plural, shorten, suggest
from impasto.lab.options import (
    DreamOptions,
    FeaturesOptions,
    InvertOptions,
    SweepOptions,
    TextureOptions,
    TuneOptions,
    parse_size,
)
from impasto.options import parse_weights
from impasto.painting.options import LoopOptions, PaintOptions
from impasto.recipes import list_recipes, read_recipe_file


def test_layers_with_and_without_weights():
    assert parse_weights(["relu1_1", "relu4_1=0.5", "relu5_1=0"]) == {
        "relu1_1": 1.0,
        "relu4_1": 0.5,
        "relu5_1": 0.0,
    }


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({"style_weight": -1}, "style_weight: -1 is wrong: input should be greater than or equal"),
        ({"style_weight": "much"}, "style_weight: 'much' is wrong: input should be a valid number"),
        ({"content_weight": float("nan")}, "content_weight: nan is wrong: input should be"),
        ({"tv_weight": float("inf")}, "tv_weight: inf is wrong: input should be a finite number"),
        ({"size": 0}, "size: 0 is wrong: input should be greater than or equal to 16"),
        ({"steps": 0}, "steps: 0 is wrong"),
        ({"steps": 1.5}, "steps: 1.5 is wrong"),
        ({"seed": -1}, "seed: -1 is wrong"),
        ({"pooling": "mean"}, "pooling: 'mean' is wrong: input should be 'max' or 'avg'"),
        ({"backbone": "vgg11"}, "input should be 'compact', 'vgg19' or 'vgg16'"),
        ({"style_layer": ["relu1_1=x"]}, "give NAME or NAME=WEIGHT"),
        ({"style_layer": ["relu1_1=-2"]}, "give NAME or NAME=WEIGHT"),
        ({"style_layer": ["relu1_1=nan"]}, "give NAME or NAME=WEIGHT"),
        ({"content_layer": []}, "at least one needs a weight above 0"),
        ({"content_layer": ["relu1_1=0"]}, "at least one needs a weight above 0"),
        ({"style_wieght": 1}, "unknown option 'style_wieght'; did you mean 'style_weight'?"),
        ({"zzz": 1}, "unknown option 'zzz'; choose from device, precision"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(values, text):
    with pytest.raises(OptionError) as caught:
        PaintOptions.read(values)
    assert text in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "values",
    [
        {"precision": "x" * 50_000_000},
        {"x" * 5_000_000: 1},
        {"seed": 10**10_000},
        {"style_weight": 10**4000},
        {"content_layer": ["relu1_1=" + "9" * 5_000_000]},
        {"mask": ["x"] * 100_000},
    ],
    ids=["text", "name", "digits", "number", "layer", "list"],
)
def test_long_values_are_not_echoed_whole(values):
    with pytest.raises(OptionError) as caught:
        PaintOptions.read(values)
    assert len(str(caught.value)) < 800  # with the names of all options
    assert "\n" not in str(caught.value)


def test_every_error_is_of_bounded_length():
    error = MissingFileError("no file " + "x" * 100_000 + "; name another")
    assert len(str(error)) == 2000
    assert str(error).startswith("no file xxx")
    assert str(error).endswith("xxx; name another")
    assert str(MissingFileError(2, "no file")) == "2 no file"
    assert shorten("12345678", 8) == "12345678"
    assert shorten("123456789", 8) == "12345…89"


def test_option_errors_are_value_errors():
    with pytest.raises(ValueError, match="steps"):
        PaintOptions.read({"steps": 0})


def test_options_cannot_be_changed_behind_ones_back():
    with pytest.raises(Exception, match="frozen"):
        PaintOptions().steps = 3


@pytest.mark.parametrize("name", list_recipes())
def test_every_recipe_is_valid_and_says_what_it_is_for(name):
    assert len(list_recipes()[name]) > 10
    PaintOptions.read(read_recipe_file(name))


def test_the_issue_s_recipes_are_there():
    named = {"default", "draft", "fine", "gatys-2015", "slides", "report"}
    assert named <= set(list_recipes())


def test_the_default_recipe_is_the_default():
    assert PaintOptions.read(read_recipe_file("default")) == PaintOptions()


def test_recipes_of_older_pictures_name_recolouring_by_true_and_false():
    for given, name in ((True, "moments"), (False, "none"), ("histogram", "histogram")):
        assert PaintOptions.read({"recolor": given}).recolor == name


def test_a_recipe_of_one_s_own(tmp_path):
    path = tmp_path / "my own.toml"
    path.write_text('style_weight = 3\nstyle_layer = ["relu1_1=2"]\n')
    options = PaintOptions.read(read_recipe_file(path))
    assert options.style_weight == 3
    assert parse_weights(options.style_layer) == {"relu1_1": 2}


def test_recipes_that_are_not_there_or_broken(tmp_path):
    with pytest.raises(OptionError, match="unknown recipe 'gatys-2051'; did you mean 'gatys-2015'"):
        read_recipe_file("gatys-2051")
    with pytest.raises(MissingFileError, match=r"there is no recipe file 'none\.toml'"):
        read_recipe_file("none.toml")
    broken = tmp_path / "broken.toml"
    broken.write_text("steps = = 3")
    with pytest.raises(OptionError, match="cannot be read"):
        read_recipe_file(broken)
    wrong = tmp_path / "wrong.json"
    wrong.write_text('{"options": 3}')
    with pytest.raises(OptionError, match="has no options"):
        read_recipe_file(wrong)


def test_counts_have_the_right_noun():
    assert [plural(count, "step") for count in (0, 1, 2)] == ["0 steps", "1 step", "2 steps"]
    assert [plural(count, "copy", "copies") for count in (1, 3)] == ["1 copy", "3 copies"]


def test_suggestions():
    assert suggest("relu4-2", ["relu4_2", "conv1_1"]) == "; did you mean 'relu4_2'?"
    assert suggest("zzz", ["a", "b"]) == "; choose from a, b"


# --- the laboratory's ---------------------------------------------------------------------------


def test_sizes_and_ranges():
    assert parse_size("1024x512") == (1024, 512)
    assert parse_size("64X 128") == (64, 128)
    assert parse_size("300") == (300, 300)
    assert parse_range("0.3:0.9") == (0.3, 0.9)
    assert parse_range("0.5") == (0.5, 0.5)
    assert parse_range("0:1") == (0, 1)


@pytest.mark.parametrize(
    ("options", "values", "text"),
    [
        (TextureOptions, {"size": "9x40"}, "size: '9x40' is wrong: each side must be from 16 to"),
        (TextureOptions, {"size": "1x2x3"}, "give WIDTHxHEIGHT in pixels, as 1024x512"),
        (TextureOptions, {"size": ""}, "give WIDTHxHEIGHT in pixels, as 1024x512"),
        (TextureOptions, {"style_weight": 1}, "unknown option 'style_weight'; did you mean"),
        (InvertOptions, {"tv_power": 0.5}, "tv_power: 0.5 is wrong"),
        (DreamOptions, {"octave_scale": 1}, "octave_scale: 1 is wrong"),
        (DreamOptions, {"class": 3}, "class: 3 is wrong: input should be a valid string"),
        (FeaturesOptions, {"top": 513}, "top: 513 is wrong"),
        (TuneOptions, {"trials": 0}, "trials: 0 is wrong"),
        (AugmentOptions, {"strength": "0.9:0.3"}, "give LEAST:MOST, both from 0 to 1"),
        (AugmentOptions, {"strength": "nan"}, "give LEAST:MOST, both from 0 to 1"),
        (AugmentOptions, {"noise": ("blurr",)}, "unknown noise 'blurr'; did you mean 'blur'?"),
        (AugmentOptions, {"max_megapixels": 0}, "max_megapixels: 0 is wrong"),
    ],
)
def test_what_is_wrong_in_the_laboratory_is_said_in_one_line(options, values, text):
    with pytest.raises(OptionError) as caught:
        options.read(values)
    assert text in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "options",
    [TextureOptions, InvertOptions, DreamOptions, FeaturesOptions, SweepOptions, TuneOptions],
)
@pytest.mark.parametrize(
    ("name", "value"),
    [("steps", 0), ("plateau", 1), ("tv_weight", -1), ("memory", "x"), ("max_megapixels", 0)],
)
def test_options_declared_again_with_another_default_allow_no_more(options, name, value):
    if name in options.model_fields:
        with pytest.raises(OptionError, match=f"{name}: .* is wrong"):
            options.read({name: value})


def test_noises_are_split_at_commas():
    assert AugmentOptions(noise=("gaussian, blur", "spots")).noise == ("gaussian", "blur", "spots")


def test_a_class_goes_by_two_names_and_is_kept_by_one():
    assert DreamOptions(label="bus") == DreamOptions.read({"class": "bus"})
    assert DreamOptions(label="bus").changed() == {"class": "bus"}


@pytest.mark.parametrize("options", [TextureOptions, InvertOptions, DreamOptions])
def test_what_is_left_out_of_a_recipe_is_as_it_was(options):
    assert options.read(options().model_dump(mode="json", by_alias=True)) == options()
    assert options().changed() == {}
    assert set(LoopOptions.model_fields) <= set(options.model_fields)
