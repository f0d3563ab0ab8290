"""VGG-shaped networks against loops, known shapes, and every way to name a layer."""

from __future__ import annotations

import numpy as np
import oracles
import pytest
import torch
from conftest import random_tensors

from impasto.backbones import BACKBONES, Backbone, resolve_layer
from impasto.errors import ImageError, OptionError, WeightsError


def test_vgg_19_has_its_sixteen_convolutions():
    convs = BACKBONES["vgg19"].convs()
    assert len(convs) == 16
    assert convs[:3] == ["conv1_1", "conv1_2", "conv2_1"]
    assert convs[-1] == "conv5_4"
    assert BACKBONES["vgg19"].shapes()["conv3_1"] == (256, 128, 3, 3)
    assert len(BACKBONES["vgg16"].convs()) == 13
    assert BACKBONES["compact"].convs() == convs


def test_vgg_19_has_the_published_number_of_parameters():
    # 20,024,384 without the classifier, by every model zoo's count; 14,714,688 for VGG-16.
    for name, published in (("vgg19", 20_024_384), ("vgg16", 14_714_688)):
        shapes = BACKBONES[name].shapes().values()
        assert sum(int(np.prod(shape)) + shape[0] for shape in shapes) == published


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("relu4_2", "relu4_2"),
        ("conv4_2", "conv4_2"),
        ("RELU4_2", "relu4_2"),
        (" r4_2 ", "relu4_2"),
        ("c4_2", "conv4_2"),
        ("block4_conv2", "relu4_2"),  # Keras' convolutions have their ReLU inside
    ],
)
def test_names_of_layers(said, meant):
    assert resolve_layer(said, BACKBONES["vgg19"]) == meant


@pytest.mark.parametrize(
    ("said", "text"),
    [
        ("relu42", "unknown layer 'relu42' for vgg19; did you mean 'relu4_2'?"),
        ("block6_conv1", "unknown layer 'block6_conv1' for vgg19; did you mean"),
        ("", "unknown layer '' for vgg19; choose from conv1_1, relu1_1"),
        ("4_2", "unknown layer '4_2' for vgg19"),
    ],
)
def test_unknown_layers(said, text):
    with pytest.raises(OptionError) as caught:
        resolve_layer(said, BACKBONES["vgg19"])
    assert text in str(caught.value)


def test_vgg_16_lacks_a_layer_of_vgg_19():
    with pytest.raises(OptionError, match="unknown layer 'relu3_4' for vgg16"):
        resolve_layer("relu3_4", BACKBONES["vgg16"])


@pytest.mark.parametrize("padding", ["zeros", "reflect", "replicate"])
@pytest.mark.parametrize("pooling", ["max", "avg"])
def test_features_equal_loops(padding, pooling):
    tensors = random_tensors("compact")
    network = Backbone.from_tensors(tensors, BACKBONES["compact"], padding=padding, pooling=pooling)
    picture = np.random.default_rng(0).random((3, 9, 8))
    seen = network(torch.from_numpy(picture).float()[None], ["conv1_1", "relu1_2", "relu2_1"])
    x = 4 * picture - 2
    arrays = {name: tensor.double().numpy() for name, tensor in tensors.items()}
    for conv in ("conv1_1", "conv1_2", "conv2_1"):
        if conv == "conv2_1":
            x = oracles.pool_by_loops(x, pooling)
        x = oracles.convolve_by_loops(x, arrays[f"{conv}.weight"], arrays[f"{conv}.bias"], padding)
        for layer, expected in ((conv, x), (conv.replace("conv", "relu"), x.clip(0))):
            if layer in seen:
                np.testing.assert_allclose(seen[layer][0].numpy(), expected, atol=2e-4)
        x = x.clip(0)
    assert set(seen) == {"conv1_1", "relu1_2", "relu2_1"}


def test_asking_for_a_convolution_does_not_change_its_relu_or_the_rest():
    network = Backbone.from_tensors(random_tensors("compact"), BACKBONES["compact"])
    picture = torch.rand(1, 3, 32, 40)
    alone = network(picture, ["relu3_1"])["relu3_1"]
    together = network(picture, BACKBONES["compact"].layers())
    torch.testing.assert_close(together["relu3_1"], alone, rtol=0, atol=0)
    assert together["conv3_1"].min() < 0
    torch.testing.assert_close(together["conv3_1"].clamp_min(0), alone, rtol=0, atol=0)


def test_nothing_below_the_deepest_layer_is_computed():
    network = Backbone.from_tensors(random_tensors("compact"), BACKBONES["compact"])
    computed = []
    for name, conv in network.convs.items():
        conv.register_forward_hook(lambda *_, name=name: computed.append(name))
    network(torch.rand(1, 3, 16, 16), ["relu2_1", "relu1_1"])
    assert computed == ["conv1_1", "conv1_2", "conv2_1"]


def test_a_network_is_frozen_but_lets_gradients_through():
    network = Backbone.from_tensors(random_tensors("compact"), BACKBONES["compact"])
    picture = torch.rand(1, 3, 16, 16, requires_grad=True)
    network(picture, ["relu2_1"])["relu2_1"].sum().backward()
    assert picture.grad.abs().sum() > 0
    assert all(parameter.grad is None for parameter in network.parameters())


@pytest.mark.parametrize(
    ("padding", "layer", "least"),
    [("zeros", "relu5_1", 16), ("reflect", "relu5_1", 32), ("reflect", "relu1_1", 2)],
)
def test_a_picture_too_small_for_a_layer(padding, layer, least):
    network = Backbone.from_tensors(
        random_tensors("compact"), BACKBONES["compact"], padding=padding
    )
    assert network(torch.rand(1, 3, least, least), [layer])[layer].shape[-1] >= 1
    with pytest.raises(ImageError) as caught:
        network(torch.rand(1, 3, least - 1, 300), [layer])
    assert str(caught.value) == (
        f"a picture of 300 x {least - 1} is too small for layer {layer} of compact, "
        f"which needs at least {least} x {least}"
    )


def test_weights_of_another_network_are_refused():
    with pytest.raises(WeightsError, match=r"not weights of vgg16: conv1_1.weight is \(16, 3, 3"):
        Backbone.from_tensors(random_tensors("compact"), BACKBONES["vgg16"])
    with pytest.raises(WeightsError, match=r"these weights have no preprocess\.weight"):
        Backbone.from_tensors({}, BACKBONES["vgg16"])


def test_weights_may_end_early():
    tensors = {k: v for k, v in random_tensors("compact").items() if not k.startswith("conv5")}
    network = Backbone.from_tensors(tensors, BACKBONES["compact"])
    assert network.resolve("relu4_4") == "relu4_4"
    with pytest.raises(OptionError, match=r"end at conv4_4, before relu5_1"):
        network.resolve("relu5_1")


def test_unknown_pooling():
    with pytest.raises(OptionError, match="unknown pooling 'mean'"):
        Backbone(BACKBONES["compact"], pooling="mean")
