"""Scores of classes, against the networks written out, and what classes are called."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch
from conftest import draw_picture, random_tensors
from safetensors.torch import save_file
from torch import Tensor, nn

from impasto.errors import OptionError, WeightsError
from impasto.images.reading import read_image
from impasto.networks.classifier import Classifier, load_classifier
from impasto.networks.vgg import Backbone
from impasto.networks.weights import load_backbone, load_tensors, stored_path
from impasto.system.devices import Machine

pytestmark = pytest.mark.arithmetic


@pytest.fixture(scope="module")
def small() -> Classifier:
    return load_classifier("compact")


@pytest.fixture(scope="module")
def imagenet(small: Classifier) -> Classifier:
    """Only its names are asked for."""
    names = (Path(stored_path("compact")).parent / "imagenet.txt").read_text().splitlines()
    return dataclasses.replace(small, names=names)


def make_layers(seed: int = 5, hidden: int = 6, classes: int = 1000) -> dict[str, Tensor]:
    """VGG's classifier with few neurons."""
    generator = torch.Generator().manual_seed(seed)
    tensors = {}
    sizes = {"fc6": (hidden, 512 * 49), "fc7": (hidden, hidden), "fc8": (classes, hidden)}
    for name, (leaving, entering) in sizes.items():
        weight = torch.randn(leaving, entering, generator=generator)
        tensors[f"{name}.weight"] = weight / entering**0.5
        tensors[f"{name}.bias"] = torch.randn(leaving, generator=generator)
    return tensors


def store(name: str, tensors: dict[str, Tensor]) -> None:
    path = stored_path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(tensors, path)


def run_plain(tensors: dict[str, Tensor], x: Tensor) -> Tensor:
    """torchvision's own ending, its layers written by hand."""
    sizes = [tensors[f"{name}.weight"].shape for name in ("fc6", "fc7", "fc8")]
    plain = nn.Sequential(
        nn.MaxPool2d(kernel_size=2, stride=2),
        nn.AdaptiveAvgPool2d((7, 7)),
        nn.Flatten(1),
        *(nn.Linear(sizes[0][1], sizes[0][0]), nn.ReLU(True), nn.Dropout(0.5)),
        *(nn.Linear(sizes[1][1], sizes[1][0]), nn.ReLU(True), nn.Dropout(0.5)),
        nn.Linear(sizes[2][1], sizes[2][0]),
    ).eval()
    state = {}
    for place, name in ((3, "fc6"), (6, "fc7"), (9, "fc8")):
        state |= {f"{place}.{part}": tensors[f"{name}.{part}"] for part in ("weight", "bias")}
    plain.load_state_dict(state)
    return plain(x)


# --- scores -------------------------------------------------------------------------------------


def test_the_embedded_head_is_a_mean_and_a_product(small: Classifier, compact: Backbone):
    pixels = torch.cat([read_image(draw_picture(64, 96, seed)).pixels for seed in (0, 1)])
    assert small.layer == "relu5_4"
    features = compact(pixels, ["relu5_4"])["relu5_4"]
    tensors = load_tensors("compact", ("head.",))
    weight, bias = tensors["head.weight"].double(), tensors["head.bias"].double()
    expected = torch.zeros(2, 200, dtype=torch.float64)
    for n in range(2):
        means = [channel.double().mean() for channel in features[n]]
        for i in range(200):
            expected[n, i] = bias[i] + sum(weight[i, c] * means[c] for c in range(128))
    assert torch.allclose(small.scores(features).double(), expected, atol=1e-4)


@pytest.mark.parametrize("side", [14, 15, 18, 2])
def test_vggs_classifier_is_the_published_one(side: int):
    layers = make_layers()
    store("vgg19-torchvision", layers)
    features = torch.rand(2, 512, side, side + 1, generator=torch.Generator().manual_seed(side))
    classifier = load_classifier("vgg19")
    assert classifier.layer == "relu5_4"
    expected = run_plain(layers, features)
    assert expected.shape == (2, 1000)
    assert torch.allclose(classifier.scores(features), expected, atol=1e-5)


def test_from_a_picture_through_vgg16_at_224_pixels():
    # Five pools leave 7 x 7: there is nothing left to bring to a size.
    numbers = random_tensors("vgg16") | make_layers()
    store("vgg16-torchvision", numbers)
    backbone, classifier = load_backbone("vgg16"), load_classifier("vgg16")
    pixels = read_image(draw_picture(224, 224, 4)).pixels
    features = backbone(pixels, [classifier.layer])[classifier.layer]
    assert classifier.layer == "relu5_3"
    assert features.shape[2:] == (14, 14)
    x = features.reshape(512, 7, 2, 7, 2).amax((2, 4)).reshape(-1)
    for name in ("fc6", "fc7"):
        x = (numbers[f"{name}.weight"] @ x + numbers[f"{name}.bias"]).clamp(min=0)
    x = numbers["fc8.weight"] @ x + numbers["fc8.bias"]
    assert torch.allclose(classifier.scores(features)[0], x, rtol=1e-4, atol=1e-4)


def test_the_gradient_is_that_of_the_features_alone(small: Classifier):
    features = torch.rand(1, 128, 3, 5, requires_grad=True)
    small.scores(features)[0, 7].backward()
    weight = load_tensors("compact", ("head.",))["head.weight"].float()[7]
    assert torch.allclose(features.grad, (weight / 15).view(1, -1, 1, 1).expand(1, -1, 3, 5))
    assert not any(each.requires_grad for each in small.head.parameters())


def test_sums_are_float32_whatever_the_features(small: Classifier):
    features = torch.rand(1, 128, 4, 4).bfloat16()
    placed = small.place(Machine(torch.device("cpu"), torch.bfloat16))
    scores = placed.scores(features)
    assert scores.dtype == torch.float32
    assert torch.equal(scores, small.scores(features.float()))


def test_a_picture_has_enough_pixels_or_is_refused(small: Classifier, compact: Backbone):
    assert small.least == compact.smallest_side(small.layer)
    features = compact(torch.rand(1, 3, small.least, small.least), [small.layer])[small.layer]
    assert small.scores(features).isfinite().all()
    store("vgg19-torchvision", random_tensors("vgg19") | make_layers())
    large = load_classifier("vgg19")
    features = load_backbone("vgg19")(torch.rand(1, 3, large.least, large.least), [large.layer])
    assert large.scores(features[large.layer]).isfinite().all()


def test_what_is_most_like_a_drawn_picture_is_stable(small: Classifier, compact: Backbone):
    pixels = read_image(draw_picture(96, 96, 3)).pixels
    noise = 0.01 * torch.randn(4, 3, 96, 96, generator=torch.Generator().manual_seed(0))
    scores = small.scores(compact(pixels + noise, [small.layer])[small.layer])
    assert {small.names[i] for i in scores.argmax(1)} == {"bannister"}


# --- names --------------------------------------------------------------------------------------


def test_names_are_distinct_and_as_many_as_classes(small: Classifier, imagenet: Classifier):
    for names, count in ((small.names, 200), (imagenet.names, 1000)):
        assert len({name.lower() for name in names}) == len(names) == count
        assert all(name == name.strip() and name.isprintable() for name in names)
        assert "school bus" in names


def test_imagenets_order_is_the_published_one(imagenet: Classifier):
    places = {
        0: "tench",
        207: "golden retriever",
        281: "tabby",
        779: "school bus",
        999: "toilet tissue",
    }
    assert {i: imagenet.names[i] for i in places} == places


@pytest.mark.parametrize(
    ("label", "name"),
    [
        ("school bus", "school bus"),
        ("  School_BUS ", "school bus"),
        ("bus", "school bus"),  # the trolleybus has it inside a word
        ("trolley", "trolleybus"),
        ("CHIHUAHUA", "Chihuahua"),
    ],
)
def test_a_class_is_found(small: Classifier, imagenet: Classifier, label: str, name: str):
    for classifier in (small, imagenet):
        assert classifier.names[classifier.find(label)] == name


def test_names_that_two_classes_share_are_told_apart(imagenet: Classifier):
    assert imagenet.find("crane bird") == 134
    assert imagenet.find("crane (machine)") == 517
    assert imagenet.find("cardigan") == 474
    with pytest.raises(OptionError, match=r"'crane \(bird\)' or 'crane \(machine\)'\?$"):
        imagenet.find("crane")


def test_a_class_that_is_none_is_told_which_are_near(small: Classifier):
    with pytest.raises(OptionError) as caught:
        small.find("scool bus")
    assert str(caught.value) == "unknown class 'scool bus'; did you mean 'school bus'?"


def test_a_word_of_many_classes_offers_five(imagenet: Classifier):
    with pytest.raises(
        OptionError, match=r"^class 'terrier' is part of \d\d; did you mean"
    ) as caught:
        imagenet.find("terrier")
    assert str(caught.value).count("terrier'") == 1 + 5


@pytest.mark.parametrize("label", ["", "  ", "xq zzz"])
def test_a_class_like_no_other_points_to_the_names(small: Classifier, label: str):
    with pytest.raises(
        OptionError, match=r"^unknown class .*; 'impasto classes' lists the 200 there are$"
    ):
        small.find(label)


# --- files --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["vgg19-keras", "vgg19-gatys", "vgg19-normalised"])
def test_a_file_without_classifier_says_which_has_one(name: str):
    store(name, {"conv1_1.weight": torch.zeros(64, 3, 3, 3)})
    wanted = (
        f"^{name} has no classifier; `impasto weights fetch vgg19-torchvision` or "
        "`impasto weights fetch vgg19-caffe` gets one of 1,000 classes, the compact network has "
        "one of 200 classes$"
    )
    with pytest.raises(WeightsError, match=wanted):
        load_classifier("vgg19", weights=name)


def test_layers_that_do_not_fit_are_refused():
    layers = make_layers()
    store("vgg19-custom", layers | {"fc6.weight": layers["fc6.weight"][:, 1:].contiguous()})
    with pytest.raises(WeightsError, match="takes 25087 values where 25088 come in"):
        load_classifier("vgg19", weights="vgg19-custom")
    store("vgg19-custom", make_layers(classes=10))
    with pytest.raises(WeightsError, match="has 10 classes, not 200 or 1,000"):
        load_classifier("vgg19")


def test_without_weights_one_line_says_how_to_get_them():
    with pytest.raises(WeightsError, match="impasto weights fetch vgg16-torchvision"):
        load_classifier("vgg16")
