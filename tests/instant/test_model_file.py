"""What nets know of styles, and their files."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from impasto.errors import MissingFileError, OptionError, WeightsError
from impasto.images.color_transfer import color_statistics
from impasto.instant.model_file import (
    choose_file_dtype,
    find_net,
    load_net,
    load_net_of_many,
    save_net,
)
from impasto.instant.net import NET_SHAPES, DialReader, PaintingNet
from impasto.instant.palette import Palette, join_palettes, name_styles
from impasto.system.devices import seeded

pytestmark = pytest.mark.arithmetic


def make_net(seed: int = 0) -> PaintingNet:
    torch.manual_seed(seed)
    return PaintingNet(NET_SHAPES["slim"])


def make_palette(names: tuple[str, ...], count: int, seed: int = 0) -> Palette:
    """Styles of random numbers and colours."""
    draw = seeded(seed)
    colors = torch.rand(len(names), 3, 3, generator=draw, dtype=torch.float64) / 4
    return Palette(
        names,
        torch.randn(len(names), count, generator=draw),
        torch.rand(len(names), 3, generator=draw, dtype=torch.float64),
        colors @ colors.transpose(1, 2),
    )


def test_a_blend_by_hand():
    palette = Palette(
        ("a", "b"),
        torch.tensor([[1.0, 2.0], [5.0, -2.0]]),
        torch.tensor([[0.0, 0.5, 1.0], [1.0, 0.5, 0.0]], dtype=torch.float64),
        torch.stack([torch.eye(3), 3 * torch.eye(3)]).double(),
    )
    manner = palette.blend([0.25, 0.75])
    assert manner.numbers.tolist() == [4.0, -1.0]
    assert manner.mean.tolist() == [0.75, 0.5, 0.25]
    assert torch.equal(manner.covariance, 2.5 * torch.eye(3).double())
    alone = palette.blend([0, 1])
    assert torch.equal(alone.numbers, palette.numbers[1])


def test_a_photograph_takes_a_style_s_colours():
    palette = Palette(
        ("a",),
        torch.zeros(1, 1),
        torch.tensor([[0.4, 0.5, 0.6]], dtype=torch.float64),
        1e-3 * torch.eye(3).double()[None],
    )
    photo = torch.rand(1, 3, 40, 30, generator=seeded(0))
    mean, covariance = color_statistics(palette.recolor(photo, 0))
    torch.testing.assert_close(mean, palette.means[0], atol=1e-4, rtol=0)
    torch.testing.assert_close(covariance, palette.covariances[0], atol=1e-5, rtol=0)


def test_names_are_those_of_files_each_one_once():
    assert name_styles(["a.jpg", "b.png", "a.png"], None) == ("a", "b", "a-2")
    assert name_styles(["a-2.jpg", "a.jpg", "a.png"], None) == ("a-2", "a", "a-3")
    assert name_styles(["one, two.jpg"], None) == ("one- two",)
    assert name_styles([" a=b .jpg"], None) == ("a-b",)
    assert name_styles(["x", "y"], ["b", " a "]) == ("b", "a")


@pytest.mark.parametrize(
    ("names", "known", "text"),
    [
        (["a"], (), r"^1 names for 2 styles; give one for each$"),
        (["a", "a"], (), r"^'a' is the name of two styles; give them different ones$"),
        (["a", "b,c"], (), r"^'b,c' is no name of a style: it is empty or has , or = in it$"),
        (["a", "b=c"], (), r"^'b=c' is no name of a style"),
        ([" ", "b"], (), r"^'' is no name of a style"),
        (None, ("y",), r"^'y' is in the model already; give the picture another name$"),
    ],
)
def test_names_that_will_not_do(names, known, text):
    with pytest.raises(OptionError, match=text):
        name_styles(["x.jpg", "y.jpg"], names, known)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_what_is_saved_is_loaded(tmp_path, dtype):
    net = make_net()
    palette = make_palette(("a", "ü b"), net.count)
    path = tmp_path / "model.safetensors"
    save_net(path, net, palette=palette, about={"steps": 7}, dtype=dtype)
    found = load_net(path)
    for name, value in net.state_dict().items():
        assert torch.equal(found.net.state_dict()[name], value.to(dtype).float())
    assert found.net.layout == net.layout
    assert not any(each.requires_grad for each in found.net.parameters())
    assert found.palette is not None
    assert found.palette.names == ("a", "ü b")
    assert torch.equal(found.palette.numbers, palette.numbers.to(dtype).float())
    assert torch.equal(found.palette.means, palette.means)
    assert torch.equal(found.palette.covariances, palette.covariances)
    assert found.reader is None
    assert found.facts["steps"] == 7
    assert [each.name for each in tmp_path.iterdir()] == ["model.safetensors"]


def test_a_net_for_any_style_has_a_reader_and_no_styles(tmp_path):
    net = make_net()
    reader = DialReader(6, net.count)
    save_net(tmp_path / "any", net, reader=reader)
    found = load_net(tmp_path / "any")
    codes = torch.randn(2, 6, generator=seeded(0))
    assert found.palette is None
    assert found.reader is not None
    weights = torch.tensor([3.0, 40.0])
    assert torch.equal(found.reader(codes, weights), reader(codes, weights))
    with pytest.raises(WeightsError, match=r"^the model 'any' paints any style and knows none; na"):
        load_net_of_many(tmp_path / "any")


def test_nets_that_travel_with_the_package_are_found_by_name():
    assert load_net_of_many("painters")[1].names == load_net(find_net("painters")).palette.names
    with pytest.raises(WeightsError, match=r"^the model 'instant\.safetensors' paints any style"):
        load_net_of_many("any")
    with pytest.raises(MissingFileError, match=r"^unknown model 'paintres'; did you mean 'painte"):
        find_net("paintres")


def test_palettes_are_joined_in_their_order():
    first, second = make_palette(("a", "b"), 5), make_palette(("c",), 5, seed=1)
    both = join_palettes([first, second])
    assert both.names == ("a", "b", "c")
    assert torch.equal(both.numbers, torch.cat([first.numbers, second.numbers]))
    assert torch.equal(both.covariances[2], second.covariances[0])
    assert len(both) == 3


def test_files_that_are_no_models(tmp_path):
    path = tmp_path / "model.safetensors"
    with pytest.raises(MissingFileError, match=r"^there is no model '.*model\.safetensors'$"):
        load_net(path)
    path.write_bytes(b"something else")
    with pytest.raises(WeightsError, match=r"^cannot read the model 'model\.safetensors': "):
        load_net(path)
    save_file({"x": torch.zeros(2)}, path)
    with pytest.raises(WeightsError, match=r"^'model\.safetensors' is not a model that 'impasto t"):
        load_net(path)


def test_damaged_models(tmp_path):
    net, path = make_net(), tmp_path / "model.safetensors"
    save_net(path, net, palette=make_palette(("a", "b"), net.count))
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(WeightsError, match=r"^cannot read the model 'model\.safetensors': "):
        load_net(path)
    save_net(path, net, palette=make_palette(("a", "b"), net.count - 1))
    with pytest.raises(WeightsError, match=r"is damaged: styles of the shapes \[\(2, "):
        load_net(path)
    save_net(path, net, about={"layout": {"widths": [32, 64]}})
    with pytest.raises(WeightsError, match=r"^the model 'model\.safetensors' is damaged: "):
        load_net(path)


def test_where_there_is_no_room_it_is_said(tmp_path):
    with pytest.raises(OptionError, match=r"^cannot write the model 'x\.safetensors': "):
        save_net(Path(tmp_path / "gone" / "x.safetensors"), make_net())


def test_half_the_digits_where_they_do():
    net = make_net()
    palette = make_palette(("a", "b"), net.count)
    photo = torch.rand(1, 3, 32, 32, generator=seeded(0))
    assert choose_file_dtype(net, palette, photo) == torch.float16
    third = torch.tensor([1 / 3])
    assert choose_file_dtype(net, palette, photo, [third.half().float()]) == torch.float16
    assert choose_file_dtype(net, palette, photo, [third]) == torch.float32
    with torch.no_grad():
        net.exit.bias += 0.1 + 1e4  # lost by the photograph's side, but not in its file
    assert choose_file_dtype(net, palette, photo) == torch.float32
    with torch.no_grad():
        net.exit.bias.fill_(1e6)
    assert choose_file_dtype(net, palette, photo) == torch.float32
