"""VGG-shaped networks against loops, known shapes, and every way to name a layer."""

from __future__ import annotations

import gc
import itertools
import weakref
from collections.abc import Iterator

import numpy as np
import oracles
import pytest
import torch
from conftest import random_tensors
from torch import Tensor
from torch.nn import functional

from impasto.errors import ImageError, OptionError, WeightsError
from impasto.networks.layers import BACKBONES, Architecture, resolve_layer
from impasto.networks.vgg import Backbone
from impasto.system.devices import Machine

pytestmark = pytest.mark.arithmetic


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


# --- the way back through a frozen network ------------------------------------------------------

TINY = Architecture("tiny", (2, 2, 1), (4, 5, 6))
EVERY_KIND = pytest.mark.parametrize(
    ("padding", "pooling"),
    [*itertools.product(["zeros", "reflect", "replicate"], ["max", "avg"])],
)
WANTED = [
    ["conv1_1", "relu1_1", "conv1_2", "relu1_2", "conv2_1", "relu2_1", "conv2_2", "relu3_1"],
    ["relu1_1", "relu2_1", "relu3_1"],
    ["conv1_2", "conv3_1"],
    ["conv2_1", "relu2_1"],  # the deepest asked for by both of its names
    ["relu1_2", "relu2_2"],  # on either side of a pool, and before one
    ["conv1_1"],
]


def tensors_of(architecture: Architecture) -> dict[str, Tensor]:
    """Random weights; a preprocess that mixes the colours."""
    generator = torch.Generator().manual_seed(4)
    tensors = {
        "preprocess.weight": torch.randn(3, 3, 1, 1, generator=generator),
        "preprocess.bias": torch.randn(3, generator=generator),
    }
    for conv, shape in architecture.shapes().items():
        deviation = (2 / (shape[1] * 9)) ** 0.5
        tensors[f"{conv}.weight"] = torch.randn(shape, generator=generator) * deviation
        tensors[f"{conv}.bias"] = torch.randn(shape[0], generator=generator) * 0.2
    return tensors


def make_tiny(padding="zeros", pooling="max") -> Backbone:
    network = Backbone.from_tensors(tensors_of(TINY), TINY, padding=padding, pooling=pooling)
    return network.double()


def see_plainly(
    architecture: Architecture,
    tensors: dict[str, Tensor],
    pictures: Tensor,
    *,
    padding: str = "zeros",
    pooling: str = "max",
) -> dict[str, Tensor]:
    """Every layer by torch's own operations, none of them in place."""
    mode = "constant" if padding == "zeros" else padding
    kind = pictures.dtype
    x = functional.conv2d(
        pictures, tensors["preprocess.weight"].to(kind), tensors["preprocess.bias"].to(kind)
    )
    seen = {}
    for block, count in enumerate(architecture.convolutions, 1):
        if block > 1 and pooling == "max":
            x = functional.max_pool2d(x, 2, ceil_mode=True)
        elif block > 1:
            x = functional.avg_pool2d(x, 2, ceil_mode=True)
        for i in range(1, count + 1):
            conv = f"conv{block}_{i}"
            weight, bias = tensors[f"{conv}.weight"].to(kind), tensors[f"{conv}.bias"].to(kind)
            x = functional.conv2d(functional.pad(x, (1, 1, 1, 1), mode=mode), weight, bias)
            seen[conv] = x
            x = torch.relu(x)
            seen[f"relu{block}_{i}"] = x
    return seen


def draw_pictures(height: int, width: int, count: int = 1, kind=torch.float64) -> Tensor:
    generator = torch.Generator().manual_seed(height + width)
    return torch.rand(count, 3, height, width, generator=generator, dtype=kind)


def draw_slopes(seen: dict[str, Tensor], layers: list[str]) -> list[Tensor]:
    generator = torch.Generator().manual_seed(9)
    return [torch.randn(seen[n].shape, generator=generator, dtype=seen[n].dtype) for n in layers]


def go_back(seen: dict[str, Tensor], layers: list[str], pictures: Tensor) -> Tensor:
    """The gradient of the layers named, each with a random slope."""
    slopes = draw_slopes(seen, layers)
    return torch.autograd.grad([seen[n] for n in layers], pictures, slopes)[0]


@EVERY_KIND
@pytest.mark.parametrize("size", [(12, 8), (13, 11), (9, 18), (10, 9)], ids=str)
@pytest.mark.parametrize("wanted", WANTED, ids=" ".join)
def test_gradients_equal_torch_s_own(padding, pooling, size, wanted):
    pictures = draw_pictures(*size, count=2).requires_grad_()
    seen = make_tiny(padding, pooling)(pictures, wanted)
    expected = see_plainly(TINY, tensors_of(TINY), pictures, padding=padding, pooling=pooling)
    assert set(seen) == set(wanted)
    for name in wanted:
        torch.testing.assert_close(seen[name], expected[name], rtol=0, atol=1e-9)
    gradient, plain = go_back(seen, wanted, pictures), go_back(expected, wanted, pictures)
    assert plain.abs().max() > 0.1
    torch.testing.assert_close(gradient, plain, rtol=0, atol=1e-9)


@pytest.mark.parametrize("padding", ["zeros", "replicate"])
def test_gradients_of_the_smallest_pictures(padding):
    """One cell is left at the deepest layer, and its border is all its own."""
    for size in ((4, 4), (4, 9), (5, 4)):
        pictures = draw_pictures(*size).requires_grad_()
        seen = make_tiny(padding)(pictures, ["relu2_2", "relu3_1"])
        expected = see_plainly(TINY, tensors_of(TINY), pictures, padding=padding)
        layers = ["relu2_2", "relu3_1"]
        gradient, plain = go_back(seen, layers, pictures), go_back(expected, layers, pictures)
        torch.testing.assert_close(gradient, plain, rtol=0, atol=1e-9)


@EVERY_KIND
def test_gradients_of_the_compact_network_to_its_depth(padding, pooling):
    tensors, layers = random_tensors("compact"), ["relu1_1", "conv3_2", "relu4_1", "relu5_1"]
    architecture = BACKBONES["compact"]
    network = Backbone.from_tensors(tensors, architecture, padding=padding, pooling=pooling)
    pictures = draw_pictures(37, 50).requires_grad_()
    seen = network.double()(pictures, layers)
    expected = see_plainly(architecture, tensors, pictures, padding=padding, pooling=pooling)
    gradient, plain = go_back(seen, layers, pictures), go_back(expected, layers, pictures)
    torch.testing.assert_close(gradient, plain, rtol=0, atol=1e-9 * float(plain.abs().max()))


@EVERY_KIND
def test_gradients_by_differences(padding, pooling):
    network = make_tiny(padding, pooling)
    pictures = draw_pictures(5, 6).requires_grad_()

    def see(pictures: Tensor) -> tuple[Tensor, ...]:
        seen = network(pictures, ["conv1_1", "relu1_2", "conv2_1", "relu2_1"])
        return tuple(seen[name] for name in sorted(seen))

    assert torch.autograd.gradcheck(see, pictures)


@EVERY_KIND
@pytest.mark.parametrize("used", ["conv1_1", "relu1_2", "conv2_1", "relu2_1", "conv3_1"])
def test_what_is_not_used_pulls_at_nothing(padding, pooling, used):
    pictures = draw_pictures(9, 10).requires_grad_()
    seen = make_tiny(padding, pooling)(pictures, [*WANTED[0], "conv3_1"])
    expected = see_plainly(TINY, tensors_of(TINY), pictures, padding=padding, pooling=pooling)
    gradient, plain = go_back(seen, [used], pictures), go_back(expected, [used], pictures)
    torch.testing.assert_close(gradient, plain, rtol=0, atol=1e-9)


def test_features_that_are_used_twice_and_differentiated_twice():
    pictures = draw_pictures(9, 10).requires_grad_()
    layers = ["conv1_2", "relu1_2", "relu2_1"]

    def total(seen: dict[str, Tensor]) -> Tensor:
        parts = [seen[n].square().sum() + seen[n].sin().sum() for n in layers]
        return sum(parts) + (seen["conv1_2"] * seen["relu1_2"]).sum()

    seen = make_tiny()(pictures, layers)
    expected = total(see_plainly(TINY, tensors_of(TINY), pictures))
    (plain,) = torch.autograd.grad(expected, pictures)
    found = total(seen)
    for _ in range(2):  # nothing that was kept is changed on the way back
        (gradient,) = torch.autograd.grad(found, pictures, retain_graph=True)
        torch.testing.assert_close(gradient, plain, rtol=0, atol=1e-9)


@EVERY_KIND
def test_slopes_that_come_in_belong_to_others(padding, pooling):
    """What is added up and masked in place is the network's own."""
    pictures = draw_pictures(9, 10).requires_grad_()
    for wanted in WANTED:
        seen = make_tiny(padding, pooling)(pictures, wanted)
        slopes, features = draw_slopes(seen, wanted), [seen[n] for n in wanted]
        before = [t.detach().clone() for t in (*slopes, *features)]
        torch.autograd.grad(features, pictures, slopes)
        for tensor, same in zip((*slopes, *features), before, strict=True):
            assert torch.equal(tensor, same)


def test_slopes_may_be_one_number_spread_over_all():
    """A sum's slope is: nothing may be written into it."""
    pictures = draw_pictures(9, 10).requires_grad_()
    seen = make_tiny()(pictures, ["relu1_2", "relu3_1"])
    expected = see_plainly(TINY, tensors_of(TINY), pictures)
    (gradient,) = torch.autograd.grad(seen["relu1_2"].sum() + seen["relu3_1"].sum(), pictures)
    total = expected["relu1_2"].sum() + expected["relu3_1"].sum()
    (plain,) = torch.autograd.grad(total, pictures)
    torch.testing.assert_close(gradient, plain, rtol=0, atol=1e-9)


@pytest.mark.parametrize("size", [(16, 16), (13, 18)], ids=str)
@pytest.mark.parametrize("padding", ["reflect", "replicate"])
def test_flat_pictures_have_ties_in_every_pool(size, padding):
    """Which of four equals passes the slope on is torch's own choice, wherever it is looked up.

    Weights and pictures are multiples of 1/64: float64 holds every sum exactly, in any order, so
    that equals are equal on every processor, and rounding breaks no tie.
    """
    layers = ["relu1_2", "relu2_2", "relu3_1"]
    tensors = {name: (64 * tensor).round() / 64 for name, tensor in tensors_of(TINY).items()}
    pictures = torch.full((1, 3, *size), 0.375, dtype=torch.float64)
    pictures[..., 6:9, 3:11] = 0.75
    pictures.requires_grad_()
    network = Backbone.from_tensors(tensors, TINY, padding=padding).double()
    seen = network(pictures, layers)
    expected = see_plainly(TINY, tensors, pictures, padding=padding)
    for name in layers:
        assert torch.equal(seen[name], expected[name])
    flat = seen["relu1_2"][0, :, :4, 14:].flatten(1)
    assert torch.equal(flat, flat[:, :1].expand_as(flat))  # ties indeed
    gradient, plain = go_back(seen, layers, pictures), go_back(expected, layers, pictures)
    torch.testing.assert_close(gradient, plain, rtol=0, atol=1e-9)


def test_without_a_gradient_features_are_the_same():
    network, pictures = make_tiny("reflect"), draw_pictures(13, 10)
    with_gradient = network(pictures.clone().requires_grad_(), WANTED[0])
    plain = network(pictures, WANTED[0])
    with torch.no_grad():
        without = network(pictures.clone().requires_grad_(), WANTED[0])
    for name in WANTED[0]:
        assert with_gradient[name].requires_grad
        assert not plain[name].requires_grad
        assert not without[name].requires_grad
        assert torch.equal(with_gradient[name], without[name])
        assert torch.equal(with_gradient[name], plain[name])


# --- what is kept for the way back --------------------------------------------------------------


class Held:
    """A tensor that autograd keeps; it goes when that lets go of it."""

    def __init__(self, tensor: Tensor) -> None:
        self.tensor = tensor.detach()


@pytest.fixture
def held() -> Iterator[weakref.WeakSet[Held]]:
    """All that is kept for a way back while no garbage is collected."""
    living: weakref.WeakSet[Held] = weakref.WeakSet()

    def pack(tensor: Tensor) -> Held:
        kept = Held(tensor)
        living.add(kept)
        return kept

    gc.collect()
    gc.disable()
    try:
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda kept: kept.tensor):
            yield living
    finally:
        gc.enable()


@pytest.mark.parametrize("padding", ["zeros", "reflect"])
@pytest.mark.parametrize("wanted", [["relu3_1"], ["conv1_2", "relu2_1", "relu3_1"]], ids=" ".join)
def test_one_tensor_is_kept_of_each_convolution(held, padding, wanted):
    """And no padded copy: torch's own way keeps several of each."""
    pictures = draw_pictures(16, 12).requires_grad_()
    seen = make_tiny(padding)(pictures, wanted)
    shapes = sorted(tuple(each.tensor.shape) for each in held if each.tensor.shape[1] > 3)
    assert shapes == [(1, 4, 16, 12)] * 2 + [(1, 5, 8, 6)] * 2 + [(1, 6, 4, 3)]
    del seen


def test_what_is_kept_goes_with_the_features(held):
    """At once, not when garbage is collected: at a large size it is most of the memory."""
    pictures = draw_pictures(16, 12).requires_grad_()
    seen = make_tiny()(pictures, ["conv1_1", "relu2_1"])
    features = [weakref.ref(feature) for feature in seen.values()]
    assert held
    assert all(ref() is not None for ref in features)
    del seen
    assert not held
    assert all(ref() is None for ref in features)


def test_what_is_kept_goes_with_the_way_back(held):
    pictures = draw_pictures(16, 12).requires_grad_()
    seen = make_tiny()(pictures, ["conv1_1", "relu2_1"])
    total = seen["relu2_1"].sum() + seen["conv1_1"].sum()
    assert held
    total.backward()
    assert not held
    assert pictures.grad is not None


def test_nothing_is_kept_where_nothing_goes_back(held):
    """Nor while the network is still at work: a layer goes when the next but one is there."""
    network, given, living = make_tiny(), [], []
    for conv in network.convs.values():

        def look(_module: object, _inputs: object, output: Tensor) -> None:
            given.append(weakref.ref(output))
            living.append(sum(ref() is not None for ref in given))

        conv.register_forward_hook(look)
    network(draw_pictures(16, 12), ["relu3_1"])
    assert max(living) <= 2
    assert not held
    living.clear()
    given.clear()
    seen = network(draw_pictures(16, 12).requires_grad_(), ["relu3_1"])
    assert living == [1, 2, 3, 4, 5]  # what goes back needs them all
    assert held
    del seen


# --- precision and layout -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("layout", "memory"),
    [("channels_last", torch.channels_last), ("planes", torch.contiguous_format)],
)
@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_a_network_in_its_place(layout, memory, precision):
    tensors = tensors_of(TINY)
    network = Backbone.from_tensors(tensors, TINY, padding="reflect")
    assert network.place(Machine(torch.device("cpu"), precision, layout)) is network
    assert network.preprocess.weight.dtype == torch.float32
    assert torch.equal(network.preprocess.weight, tensors["preprocess.weight"])
    assert network.convs["conv1_1"].weight.dtype == precision
    layers = ["conv1_1", "relu1_1", "relu2_1", "relu3_1"]
    pictures = draw_pictures(24, 20, kind=torch.float32).requires_grad_()
    seen = network(pictures, layers)
    expected = see_plainly(TINY, tensors, pictures.double(), padding="reflect")
    rounding = {torch.float32: 1e-6, torch.bfloat16: 2.0**-8}[precision]
    for name in layers:
        assert seen[name].dtype == precision
        assert seen[name].is_contiguous(memory_format=memory)
        apart = (seen[name].double() - expected[name]).norm()
        assert apart < 10 * rounding * expected[name].norm()
    gradient = torch.autograd.grad(sum(s.float().square().sum() for s in seen.values()), pictures)
    plain = torch.autograd.grad(sum(expected[n].square().sum() for n in layers), pictures)
    assert gradient[0].dtype == torch.float32
    assert (gradient[0] - plain[0]).norm() < 10 * rounding * plain[0].norm()


# --- networks that learn ------------------------------------------------------------------------


@pytest.mark.parametrize("padding", ["zeros", "reflect", "replicate"])
@pytest.mark.parametrize("pooling", ["max", "avg"])
def test_a_network_that_learns_has_gradients_of_its_weights(padding, pooling):
    network = Backbone(TINY, padding=padding, pooling=pooling).double()
    leaves = {name: t.double().requires_grad_() for name, t in tensors_of(TINY).items()}
    inner = {n if n.startswith("preprocess") else f"convs.{n}": t for n, t in leaves.items()}
    network.load_state_dict(inner)
    layers = ["conv1_1", "relu1_2", "conv2_2", "relu3_1"]
    pictures = draw_pictures(13, 10, count=2).requires_grad_()
    expected = see_plainly(TINY, leaves, pictures, padding=padding, pooling=pooling)
    seen = network(pictures, layers)
    slopes = draw_slopes(seen, layers)
    found = torch.autograd.grad(
        [seen[n] for n in layers], [pictures, *network.parameters()], slopes
    )
    known = torch.autograd.grad([expected[n] for n in layers], [pictures, *leaves.values()], slopes)
    for one, other in zip(found, known, strict=True):
        assert other.abs().max() > 0
        torch.testing.assert_close(one, other, rtol=0, atol=1e-9)


def test_a_frozen_network_that_is_told_to_learn_does():
    network = Backbone.from_tensors(random_tensors("compact"), BACKBONES["compact"])
    network.requires_grad_(True)
    network(torch.rand(1, 3, 16, 16), ["relu2_1"])["relu2_1"].sum().backward()
    assert network.convs["conv1_1"].weight.grad.abs().sum() > 0
