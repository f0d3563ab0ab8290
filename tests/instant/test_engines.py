"""What runs a painting net, and the file that paints without this package."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional

from impasto.errors import DependencyError, DeviceError, OptionError
from impasto.images.color_transfer import color_statistics, match_color
from impasto.instant.engines import ENGINES, TorchEngine, choose_engine
from impasto.instant.net import NET_SHAPES, NetShape, PaintingNet
from impasto.instant.onnx_export import export_onnx
from impasto.instant.palette import Palette
from impasto.system.devices import Machine, has_fast_bfloat16, seeded

CPU = torch.device("cpu")
PLAIN = Machine(CPU)
SIZES = [(64, 64), (50, 37), (33, 90)]


SHAPES = {**NET_SHAPES, "tiny": NetShape((8, 8), 1, fold=2, kernel=3, skips=True, grain=True)}


@cache
def make_net(layout: str) -> PaintingNet:
    """One that paints something else than the photograph, with biases."""
    torch.manual_seed(0)
    net = PaintingNet(SHAPES[layout]).eval().requires_grad_(False)
    net.exit.weight.add_(torch.randn(net.exit.weight.shape) * 0.05 * net.layout.fold**2)
    for conv in net.modules():
        if isinstance(conv, torch.nn.Conv2d):
            conv.bias.normal_(0, 0.1)
    return net


def make_photo(height: int, width: int, seed: int = 0) -> torch.Tensor:
    """Smooth, in all colours."""
    coarse = torch.rand(1, 3, 5, 5, generator=seeded(seed))
    return functional.interpolate(coarse, (height, width), mode="bicubic").clamp(0, 1)


def make_numbers(net: PaintingNet, count: int = 1) -> torch.Tensor:
    return torch.randn(count, net.count, generator=seeded(1)) * 0.3


def make_engine(name: str, net: PaintingNet, machine: Machine = PLAIN):
    for library in ENGINES[name].libraries:
        pytest.importorskip(library)
    return ENGINES[name](net, machine)


# --- engines ------------------------------------------------------------------------------------


@pytest.mark.parametrize("layout", ["any", "slim", "johnson"])
@pytest.mark.parametrize("name", ENGINES)
def test_every_engine_paints_what_the_net_does(name, layout):
    net = make_net(layout)
    engine, numbers = make_engine(name, net), make_numbers(net)
    for size in SIZES if layout != "johnson" else SIZES[1:2]:
        photo = make_photo(*size)
        expected = net(photo, numbers)
        assert (expected - photo).abs().mean() > 0.1
        assert expected.min() < 0 or expected.max() > 1  # not clamped
        found = engine(photo, numbers)
        assert (found.dtype, found.shape, found.requires_grad) == (
            torch.float32,
            photo.shape,
            False,
        )
        torch.testing.assert_close(found, expected, atol=3e-4, rtol=3e-4)
    torch.testing.assert_close(engine(photo, numbers[0]), found, atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", ENGINES)
def test_what_an_engine_gave_stays_when_it_paints_again(name):
    net = make_net("slim")
    engine = make_engine(name, net)
    first = engine(make_photo(32, 32), make_numbers(net))
    kept = first.clone()
    second = engine(make_photo(32, 32, seed=5), -make_numbers(net))
    assert torch.equal(first, kept)
    assert not torch.allclose(first, second, atol=1e-2)
    first.clamp_(0, 1)  # is the caller's own


@pytest.mark.skipif(not has_fast_bfloat16(CPU), reason="the processor has no bfloat16")
@pytest.mark.parametrize("name", ["torch", "openvino"])
def test_bfloat16_is_near(name):
    net = make_net("slim")
    photo, numbers = make_photo(64, 48), make_numbers(net)
    engine = make_engine(name, net, Machine(CPU, torch.bfloat16))
    expected, found = net(photo, numbers), engine(photo, numbers)
    assert found.dtype == torch.float32
    error = (found - expected).abs().mean() / (expected - photo).abs().mean()
    assert 1e-5 < error < 0.03


def test_openvino_keeps_a_few_sizes():
    net = make_net("tiny")
    engine = make_engine("openvino", net)
    sizes = [(16, 16 + 4 * i) for i in range(5)]
    for size in sizes:
        engine(make_photo(*size), make_numbers(net))
    assert list(engine.requests) == [(1, 3, *size) for size in sizes[1:]]
    engine(make_photo(*sizes[1]), make_numbers(net))
    assert list(engine.requests) == [(1, 3, *size) for size in (*sizes[2:], sizes[1])]
    for size in ((2048, 1024), (1024, 2032), (1024, 1024)):  # 4 million pixels in all
        engine.prepare((1, 3, *size))
    assert list(engine.requests) == [(1, 3, 1024, 2032), (1, 3, 1024, 1024)]


# --- which --------------------------------------------------------------------------------------


def test_the_fastest_is_chosen_and_said():
    pytest.importorskip("onnxruntime")
    pytest.importorskip("openvino")
    engine, note = choose_engine("auto", make_net("tiny"), PLAIN, (24, 40))
    parts = re.fullmatch(r"engine (\w+): (\d+) ms, (\w+) (\d+) ms, (\w+) (\d+) ms at 40 x 24", note)
    assert sorted(parts.group(1, 3, 5)) == ["onnx", "openvino", "torch"]
    assert engine.name == parts[1]
    assert int(parts[2]) <= min(int(parts[4]), int(parts[6]))


def test_large_pictures_are_measured_small_and_choosing_draws_nothing():
    net = make_net("tiny")
    state = torch.get_rng_state()
    _, note = choose_engine("auto", net, PLAIN, (3000, 16))
    assert note is None or note.endswith(" at 16 x 512")
    assert torch.equal(state, torch.get_rng_state())


def test_without_the_extras_torch_is_taken_and_nothing_measured(monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    engine, note = choose_engine("auto", make_net("tiny"), PLAIN, (32, 32))
    assert isinstance(engine, TorchEngine)
    assert note is None


def test_an_engine_that_does_not_run_here_is_left_out(monkeypatch):
    class Broken:
        name = "openvino"
        libraries = ()

        def __init__(self, *_):
            raise RuntimeError("bad combination")

    monkeypatch.setitem(ENGINES, "openvino", Broken)
    engine, note = choose_engine("auto", make_net("tiny"), PLAIN, (24, 40))
    assert engine.name != "openvino"
    assert note.endswith("; openvino does not run here")


@pytest.mark.parametrize("name", ENGINES)
def test_a_named_engine_is_taken_as_it_is(name):
    make_engine(name, make_net("tiny"))
    engine, note = choose_engine(name, make_net("tiny"), PLAIN, (32, 32))
    assert (engine.name, note) == (name, None)


def test_an_engine_that_is_not_installed(monkeypatch, tmp_path):
    net = make_net("tiny")
    for library, name in (("onnxruntime", "onnx"), ("openvino", "openvino")):
        with monkeypatch.context() as without:
            without.setitem(sys.modules, library, None)
            message = rf"^the engine {name} needs {library}, which is not installed; pip install "
            with pytest.raises(DependencyError, match=rf"{message}'impasto\[{name}\]'$"):
                choose_engine(name, net, PLAIN, (32, 32))
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(DependencyError, match=r"^an ONNX file needs onnx, .* 'impasto\[onnx\]'$"):
        export_onnx(tmp_path / "x.onnx", net, make_palette(net, 1))
    assert not list(tmp_path.iterdir())


def test_an_engine_that_cannot_be():
    net = make_net("tiny")
    with pytest.raises(OptionError, match=r"^unknown engine 'onxx'; did you mean 'onnx'\?$"):
        choose_engine("onxx", net, PLAIN, (32, 32))
    card = Machine(torch.device("cuda"))
    message = r"^the engine onnx runs on the processor, not on cuda; use --engine torch or "
    with pytest.raises(DeviceError, match=message):
        choose_engine("onnx", net, card, (32, 32))


# --- the file -----------------------------------------------------------------------------------


def make_palette(net: PaintingNet, count: int) -> Palette:
    """Styles of many colours, of greys only, and of one colour."""
    grey = make_photo(20, 20, seed=7).mean(1, keepdim=True).expand(-1, 3, -1, -1)
    flat = torch.tensor([0.8, 0.3, 0.1]).view(1, 3, 1, 1).expand(-1, -1, 20, 20)
    styles = [make_photo(20, 30, seed=6), grey, flat][:count]
    means, covariances = zip(*[color_statistics(style) for style in styles], strict=True)
    names = ("bright", "grey", "flat")[:count]
    return Palette(names, make_numbers(net, count), torch.stack(means), torch.stack(covariances))


def draw_source(mean: torch.Tensor, covariance: torch.Tensor) -> torch.Tensor:
    """Four pixels with that mean and covariance of their colours, for match_color."""
    values, vectors = torch.linalg.eigh(covariance)
    root = vectors * values.clamp_min(0).sqrt()
    corners = torch.tensor([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]], dtype=torch.float64)
    return (root @ corners.T + mean[:, None]).view(1, 3, 2, 2)


def paint_by_hand(
    net: PaintingNet, palette: Palette, photo: torch.Tensor, shares: list[float]
) -> torch.Tensor:
    manner = palette.blend(shares)
    matched = match_color(photo, draw_source(manner.mean, manner.covariance))
    return net(matched, manner.numbers[None]).clamp(0, 1)


Run = Callable[..., torch.Tensor]


def open_file(path: Path, engine: str = "onnxruntime") -> Run:
    library = pytest.importorskip(engine)
    if engine == "openvino":
        hint = {"INFERENCE_PRECISION_HINT": "f32"}
        run = library.Core().compile_model(path, "CPU", hint)
    else:
        session = library.InferenceSession(path, providers=["CPUExecutionProvider"])

        def run(feed: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
            return {"painting": session.run(["painting"], feed)[0]}

    def paint(photo: torch.Tensor, weights: list[float] | None = None) -> torch.Tensor:
        feed = {"photo": photo.numpy()}
        if weights is not None:
            feed["weights"] = np.array(weights, np.float32)
        return torch.from_numpy(run(feed)["painting"].copy())

    return paint


@pytest.mark.parametrize("layout", ["any", "slim"])
def test_the_file_paints_blends(layout, tmp_path):
    pytest.importorskip("onnx")
    net = make_net(layout)
    palette = make_palette(net, 3)
    export_onnx(tmp_path / "net.onnx", net, palette)
    assert [each.name for each in tmp_path.iterdir()] == ["net.onnx"]
    run, photo = open_file(tmp_path / "net.onnx"), make_photo(45, 38)
    for weights in ([1, 0, 0], [0, 1, 0], [0, 0, 1], [0.5, 0.25, 0.25], [6, 2, 0]):
        shares = [weight / sum(weights) for weight in weights]
        expected = paint_by_hand(net, palette, photo, shares)
        found = run(photo, weights)
        torch.testing.assert_close(found, expected, atol=1e-4, rtol=0)
        assert (found.min(), found.max()) == (0, 1)
    none = run(photo, [0, 0, 0])
    same = run(photo, [1, 1, 1])
    torch.testing.assert_close(none, same, atol=1e-5, rtol=0)


def test_the_file_of_one_style_asks_for_no_weights(tmp_path):
    pytest.importorskip("onnx")
    net = make_net("slim")
    palette = make_palette(net, 1)
    export_onnx(tmp_path / "net.onnx", net, palette)
    photo = make_photo(33, 52, seed=2)
    expected = paint_by_hand(net, palette, photo, [1.0])
    found = open_file(tmp_path / "net.onnx")(photo)
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=0)


def make_hard_photos() -> dict[str, torch.Tensor]:
    grey = make_photo(24, 32, seed=3).mean(1, keepdim=True).expand(-1, 3, -1, -1).contiguous()
    noise = torch.randn(1, 3, 24, 32, generator=seeded(4))
    dot = torch.zeros(1, 3, 24, 32)
    dot[..., 5, 7] = torch.tensor([1.0, 0.0, 0.0])
    one = torch.tensor([0.2, 0.6, 0.4]).view(1, 3, 1, 1).expand(-1, -1, 24, 32).contiguous()
    return {
        "ordinary": make_photo(24, 32, seed=9),
        "near grey": (grey + 2e-3 * noise).clamp(0, 1),
        "nearer grey": (grey + 2e-4 * noise).clamp(0, 1),
        "grey": grey,
        "one colour": one,
        "black": torch.zeros(1, 3, 24, 32),
        "a dot": dot,
    }


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
def test_the_file_finds_the_colours_of_photographs_with_few(engine, tmp_path):
    pytest.importorskip("onnx")
    net = PaintingNet(SHAPES["tiny"]).requires_grad_(False)
    net.exit.weight.zero_()  # it paints nothing: colours alone are seen
    palette, path = make_palette(net, 3), tmp_path / "net.onnx"
    export_onnx(path, net, palette)
    run = open_file(path, engine)
    near = 5e-5 if engine == "onnxruntime" else 2e-3  # in float64, which the other has none of
    for name, photo in make_hard_photos().items():
        for index in range(3):
            shares = [float(i == index) for i in range(3)]
            source = draw_source(palette.means[index], palette.covariances[index])
            expected = match_color(photo, source)
            found = run(photo, shares)
            assert found.isfinite().all(), name
            assert (found - expected).abs().max() < near, (name, palette.names[index])


def test_the_file_says_what_it_is_and_is_the_same_each_time(tmp_path):
    onnx = pytest.importorskip("onnx")
    net = make_net("johnson")
    palette = make_palette(net, 2)
    for name in ("a.onnx", "b.onnx"):
        export_onnx(tmp_path / name, net, palette)
    assert (tmp_path / "a.onnx").read_bytes() == (tmp_path / "b.onnx").read_bytes()
    model = onnx.load(tmp_path / "a.onnx")
    assert model.producer_name == "impasto"
    facts = {each.key: json.loads(each.value) for each in model.metadata_props}
    assert facts["styles"] == ["bright", "grey"]
    assert facts["layout"]["widths"] == [32, 64, 128]
    shapes = {
        each.name: [dim.dim_param or dim.dim_value for dim in each.type.tensor_type.shape.dim]
        for each in (*model.graph.input, *model.graph.output)
    }
    picture = [1, 3, "height", "width"]
    assert shapes == {"photo": picture, "weights": [2], "painting": picture}


@pytest.mark.parametrize("name", ENGINES)
def test_threads_do_not_get_each_other_s_paintings(name):
    pytest.importorskip("openvino" if name == "openvino" else "onnxruntime")
    net = make_net("slim")
    engine, _ = choose_engine(name, net, PLAIN, (64, 64))
    photos = [torch.rand(1, 3, 64, 64, generator=seeded(i)) for i in range(8)]
    numbers = torch.zeros(net.count)
    alone = [engine(photo, numbers) for photo in photos]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda photo: engine(photo, numbers), photos * 3))
    for ours, theirs in zip(together, alone * 3, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=0)
