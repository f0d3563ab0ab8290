"""What layers give for a picture: numbers worked by hand, and the files that tell them."""

from __future__ import annotations

import csv
import json
import sys

import numpy as np
import pytest
import torch
from conftest import draw_picture
from PIL import Image

from impasto.errors import DependencyError, ImageError, OptionError
from impasto.lab.feature_maps import STATISTICS, Features, LayerFeatures, features
from impasto.lab.options import FeaturesOptions
from impasto.networks.weights import load_tensors

pytestmark = pytest.mark.arithmetic


def convolve_colour(colour: tuple[float, ...]) -> np.ndarray:
    """conv1_1 of a picture that has one colour everywhere: each kernel's sum times that colour."""
    tensors = {name: tensor.double().numpy() for name, tensor in load_tensors("compact").items()}
    seen = tensors["preprocess.weight"][:, :, 0, 0] @ colour + tensors["preprocess.bias"]
    return tensors["conv1_1.weight"].sum((2, 3)) @ seen + tensors["conv1_1.bias"]


def test_a_constant_picture_gives_what_the_weights_say():
    colour = (0.2, 0.6, 1.0)
    plain = torch.tensor(colour).view(1, 3, 1, 1).expand(1, 3, 20, 30).contiguous()
    seen = features(plain, options={"layer": ("conv1_1", "relu1_1")})
    expected = convolve_colour(colour)
    assert (expected < 0).any()
    for name, values in (("conv1_1", expected), ("relu1_1", expected.clip(0))):
        found = seen[name].features.double().numpy()
        assert found.shape == (16, 20, 30)
        np.testing.assert_allclose(
            found, np.broadcast_to(values[:, None, None], found.shape), atol=1e-5
        )


def test_gram_matrix_and_statistics_by_hand():
    maps = torch.tensor([[[1.0, 2.0], [-3.0, 4.0]], [[0.0, 1.0], [1.0, -2.0]]])
    seen = LayerFeatures("conv1_1", maps, (0, 1))
    # (1 + 4 + 9 + 16, 0 + 2 - 3 - 8, 0 + 1 + 1 + 4) / 4
    assert seen.gram.tolist() == [[7.5, -2.25], [-2.25, 1.5]]
    assert [dict(zip(STATISTICS, row, strict=True)) for row in seen.rows()] == [
        {
            "layer": "conv1_1",
            "channel": 0,
            "mean": "1",
            "deviation": "2.54951",  # the root of 7.5 - 1
            "least": "-3",
            "most": "4",
            "alight": "0.75",
            "mean_square": "7.5",
        },
        {
            "layer": "conv1_1",
            "channel": 1,
            "mean": "0",
            "deviation": "1.22474",
            "least": "-2",
            "most": "1",
            "alight": "0.5",
            "mean_square": "1.5",
        },
    ]


def test_the_channels_shown_are_those_that_vary_most(photo):
    seen = features(photo, options={"layer": ("relu2_1",), "top": 5})["relu2_1"]
    spread = seen.features.numpy().reshape(32, -1).std(1)
    assert list(seen.shown) == np.argsort(-spread, kind="stable")[:5].tolist()
    every = features(photo, options={"layer": ("relu2_1",), "top": 512})["relu2_1"]
    assert sorted(every.shown) == list(range(32))


def test_channels_that_are_named_are_shown_in_that_order_and_once(photo):
    seen = features(photo, options={"layer": ("relu1_1",), "channel": (9, 2, 9)})
    assert seen["relu1_1"].shown == (9, 2)


def test_layers_are_looked_at_once_and_all_is_every_relu(photo):
    assert list(features(photo, options={"layer": ("relu2_1", "block2_conv1")})) == ["relu2_1"]
    seen = features(photo, options={"layer": ("all",)})
    assert len(seen) == 16
    assert list(seen)[::15] == ["relu1_1", "relu5_4"]


def test_a_picture_is_never_enlarged_and_seen_at_the_size_asked_for(photo):
    for size, expected in ((None, (64, 48)), (512, (64, 48)), (32, (32, 24))):
        options = FeaturesOptions(layer=("relu1_1",), size=size)
        assert Features(photo, options).size == expected


def test_what_is_transparent_hides_nothing():
    shown = draw_picture(40, 32)
    hidden = [shown.copy(), shown.copy()]
    hidden[0][:, 20:] = 0
    hidden[1][:, 20:] = (255, 0, 90)
    alpha = np.where(np.arange(40) < 20, 255, 0).astype(np.uint8)[None].repeat(32, 0)
    black, red = (
        features(np.dstack([each, alpha]), options={"layer": ("relu2_1",)}) for each in hidden
    )
    assert torch.equal(black["relu2_1"].features, red["relu2_1"].features)


def test_the_folder_holds_maps_matrices_and_a_table(photo, tmp_path):
    folder = tmp_path / "new" / "what it sees ü"
    moments = []
    layers = ("relu1_1", "relu3_1")
    seen = features(photo, folder, {"layer": layers, "top": 3}, on_step=moments.append)
    files = ["gram.png", "grid.png", "maps.png"]
    assert sorted(path.name for path in folder.iterdir()) == [
        "maps.json",
        *(f"{layer}-{name}" for layer in layers for name in files),
        "statistics.csv",
    ]
    assert [(moment.number, moment.steps, moment.text) for moment in moments] == [
        (1, 2, "relu1_1"),
        (2, 2, "relu3_1"),
    ]
    with (folder / "statistics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 16 + 64
    deepest = rows[16 + 7]
    assert (deepest["layer"], deepest["channel"]) == ("relu3_1", "7")
    assert float(deepest["mean"]) == pytest.approx(float(seen["relu3_1"].features[7].mean()), 1e-5)
    for path in folder.glob("*-[mr]*.png"):
        with Image.open(path) as image:
            assert min(image.size) > 200
    facts = json.loads((folder / "maps.json").read_text())
    assert [*facts] == [*layers]
    for layer, grid in facts.items():
        _, height, width = seen[layer].features.shape
        assert (grid["width"], grid["height"]) == (width, height)
        assert grid["channels"] == list(seen[layer].shown)
        with Image.open(folder / f"{layer}-grid.png") as image:
            assert image.size == (2 * width, 2 * height)  # three channels, two beside each other
            third = np.asarray(image)[height:, :width]
        values = seen[layer].features[grid["channels"][2]].numpy()
        assert np.corrcoef(third.ravel(), values.ravel())[0, 1] > 0.98  # a few peaks are white
    again = tmp_path / "again"
    features(photo, again, {"layer": layers[:1], "top": 3})
    for path in again.glob("*.png"):
        assert path.read_bytes() == (folder / path.name).read_bytes()


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"layer": ("relu9_1",)}, "unknown layer 'relu9_1' for compact; did you mean"),
        ({"channel": (16,)}, "relu1_1 has 16 channels, 0 to 15, and no 16"),
        ({"channel": (3, 40), "layer": ("relu3_1", "relu2_1")}, "relu2_1 has 32 channels, 0 to 31"),
        ({"channel": (-1,)}, "channel: -1 is wrong"),
        ({"top": 0}, "top: 0 is wrong: input should be greater than or equal to 1"),
        ({"precision": "float32"}, "unknown option 'precision'"),  # it is always in full
    ],
)
def test_options_that_cannot_be(options, text, photo, tmp_path):
    with pytest.raises(OptionError) as caught:
        features(photo, tmp_path / "out", options)
    assert text in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_a_picture_that_is_too_small(tmp_path):
    with pytest.raises(ImageError, match="1 x 1 is too small for layer relu5_1 of compact"):
        features(np.zeros((1, 1, 3), np.uint8), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_file_is_no_folder(photo):
    with pytest.raises(OptionError, match=r"features go to a folder; 'a photo\.png' is a file"):
        features(photo, photo, {"layer": ("relu1_1",)})


def test_without_matplotlib_there_are_numbers_and_no_folder(photo, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    assert features(photo, options={"layer": ("relu1_1",)})["relu1_1"].gram.shape == (16, 16)
    with pytest.raises(DependencyError, match="pip install 'impasto"):
        features(photo, tmp_path / "out", {"layer": ("relu1_1",)})
    assert not (tmp_path / "out").exists()
