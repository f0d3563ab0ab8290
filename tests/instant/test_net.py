"""Networks that paint in one pass."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional

from impasto.instant.net import (
    CODE_LAYERS,
    GRAIN,
    MARGIN,
    NET_SHAPES,
    DialReader,
    PaintingNet,
    StyledNorm,
    code_size,
    encode_style,
    mirror_side,
    normalise_by,
    run_layers,
    spread_cells,
)
from impasto.system.devices import seeded

pytestmark = pytest.mark.arithmetic


def draw(*shape: int, seed: int = 0, kind: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.randn(*shape, generator=seeded(seed), dtype=kind)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_the_norm_and_its_slopes_are_those_of_torch(layout):
    x = draw(2, 3, 5, 4, kind=torch.float64).to(memory_format=layout).requires_grad_()
    scale, shift = (draw(2, 3, seed=s, kind=torch.float64).requires_grad_() for s in (1, 2))
    own = functional.instance_norm(x, eps=1e-5)
    plain = own * (1 + scale)[..., None, None] + shift[..., None, None]
    ours, mean, inverse = StyledNorm.apply(x, scale, shift)
    torch.testing.assert_close(ours, plain, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(normalise_by(x, scale, shift, (mean, inverse)), ours)
    weights = draw(2, 3, 5, 4, seed=3, kind=torch.float64)
    leaves = (x, scale, shift)
    expected = torch.autograd.grad((plain * weights).sum(), leaves)
    found = torch.autograd.grad((ours * weights).sum(), leaves)
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5, check_dtype=False)


def test_a_code_is_means_and_deviations(compact):
    styles = torch.rand(2, 3, 40, 56, generator=seeded(0))
    codes = encode_style(compact, styles)
    assert codes.shape == (2, code_size(compact)) == (2, 736)
    seen = compact(styles, CODE_LAYERS)
    parts = [
        m
        for n in CODE_LAYERS
        for f in [seen[n]]
        for m in (f.mean((2, 3)), f.std((2, 3), correction=0))
    ]
    torch.testing.assert_close(codes, torch.cat(parts, 1), atol=1e-4, rtol=1e-4)


def test_a_masked_code_is_of_what_the_mask_says(compact):
    style = torch.rand(1, 3, 48, 64, generator=seeded(0))
    mask = torch.ones(1, 1, 48, 64)
    whole = encode_style(compact, style)
    torch.testing.assert_close(encode_style(compact, style, mask), whole, atol=1e-5, rtol=1e-5)
    mask[..., 32:] = 0
    half = encode_style(compact, style, mask)
    seen = compact(style, ["relu1_1"])["relu1_1"][..., :32]
    torch.testing.assert_close(half[:, :16], seen.mean((2, 3)), atol=1e-5, rtol=1e-5)


def make_net(name: str = "any") -> PaintingNet:
    """One that paints, and does not begin as the photograph."""
    torch.manual_seed(0)
    net = PaintingNet(NET_SHAPES[name])
    torch.nn.init.normal_(net.exit.weight, std=0.05)
    return net.requires_grad_(False)


@pytest.mark.parametrize("name", NET_SHAPES)
@pytest.mark.parametrize("size", [(32, 48), (33, 47), (1, 1), (3, 150)])
def test_a_painting_has_its_photograph_s_size(name, size):
    net = make_net(name)
    photo = torch.rand(1, 3, *size, generator=seeded(1))
    painted = net(photo, 0.1 * draw(1, net.count))
    other = net(photo, 0.1 * draw(1, net.count, seed=5))
    assert painted.shape == photo.shape
    assert painted.isfinite().all()
    assert not torch.equal(painted, other)


@pytest.mark.parametrize("name", NET_SHAPES)
def test_it_begins_as_the_photograph_nearly(name):
    torch.manual_seed(0)
    net = PaintingNet(NET_SHAPES[name]).requires_grad_(False)
    photo = torch.full((1, 3, 32, 32), 0.5)
    photo[..., 16:] = 0.8
    added = net(photo, torch.zeros(1, net.count)) - photo
    assert 0 < float(added.square().mean().sqrt()) < 0.3


@pytest.mark.parametrize("name", NET_SHAPES)
def test_what_is_even_is_painted_without_a_grid(name):
    """Whatever the weights: pixels of a cell are made by weights of their own."""
    torch.manual_seed(0)
    net = PaintingNet(NET_SHAPES[name]).requires_grad_(False)
    net.grain.zero_()
    side = 2 * (net.reach + 8) + 16
    photo = torch.tensor([0.2, 0.5, 0.7]).view(1, 3, 1, 1).repeat(1, 1, side, side)
    photo[..., :4] = torch.rand(1, 3, side, 4)  # else there is nothing to normalise by
    added = net(photo, torch.randn(1, net.count)) - photo
    centre = added[..., side // 2 - 8 : side // 2 + 8, side // 2 - 8 : side // 2 + 8]
    spread = float(centre.std((2, 3)).max())
    assert spread < 1e-4 * float(added.abs().max())


def test_the_grain_is_always_the_same_and_of_no_period_below_its_own():
    torch.manual_seed(3)
    net = PaintingNet(NET_SHAPES["slim"])
    padded = net.pad(torch.rand(2, 3, 600, 150))
    grain = padded[:, 3]
    other = PaintingNet(NET_SHAPES["any"]).pad(torch.rand(2, 3, 600, 150))[:, 3]
    assert torch.equal(grain[:, :600, :152], other)
    assert torch.equal(grain[0, :-GRAIN], grain[0, GRAIN:])
    assert float(grain.std()) == pytest.approx(1, abs=0.02)
    assert abs(float(grain.mean())) < 0.02
    assert padded[:, :3].aminmax().min >= -1
    spectrum = torch.fft.fft2(net.grain[0, 0]).abs().square() / GRAIN**2
    assert float(spectrum.max()) < 18  # of an exponential distribution with mean 1: no peaks


def test_a_photograph_is_mirrored_around_however_small_it_is():
    assert mirror_side(3, 4, 5).tolist() == [2, 2, 1, 0, 0, 1, 2, 2, 1, 0, 0, 1]
    assert mirror_side(1, 2, 1).tolist() == [0, 0, 0, 0]
    net, photo = make_net("slim"), torch.rand(1, 3, 41, 35, generator=seeded(4))
    padded = net.pad(photo)
    assert padded.shape == (1, 4, 44 + 2 * MARGIN, 36 + 2 * MARGIN)
    down, right = padded.shape[2] - MARGIN - 41, padded.shape[3] - MARGIN - 35
    mirrored = np.pad(photo[0], ((0, 0), (MARGIN, down), (MARGIN, right)), mode="symmetric")
    torch.testing.assert_close(padded[0, :3], torch.from_numpy(mirrored) * 2 - 1)


def test_a_cell_is_spread_evenly():
    by_hand = torch.tensor([[1.0, 2, 1], [2, 4, 2], [1, 2, 1]]) / 16
    assert torch.equal(spread_cells(2)[0, 0], by_hand)
    assert torch.equal(spread_cells(1), torch.ones(1, 1, 1, 1))
    torch.manual_seed(0)
    for fold in (2, 3, 4):
        weights = spread_cells(fold)
        assert float(weights.sum()) == pytest.approx(1)
        cell = torch.rand(1, 1, fold, fold)
        spread = functional.conv2d(cell.repeat(1, 1, 6, 6), weights)
        torch.testing.assert_close(spread, cell.mean().expand_as(spread))


def test_pictures_of_a_batch_do_not_see_each_other():
    net = make_net()
    photos, numbers = torch.rand(2, 3, 32, 36, generator=seeded(1)), 0.1 * draw(2, net.count)
    both = net(photos, numbers)
    torch.testing.assert_close(both[1:], net(photos[1:], numbers[1:]), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16])
def test_one_picture_without_slopes_is_painted_the_same(kind):
    net = make_net().to(kind).to(memory_format=torch.channels_last)
    photo, numbers = torch.rand(1, 3, 40, 36, generator=seeded(1)), 0.1 * draw(1, net.count)
    with torch.no_grad():
        quick = net(photo, numbers)
    away = (quick - net(photo, numbers)).abs()
    assert float(away.mean()) < (1e-5 if kind == torch.float32 else 0.01)


@pytest.mark.parametrize("name", NET_SHAPES)
def test_nothing_beyond_its_reach_matters_but_to_the_normalisations(name):
    net = make_net(name).double()
    side = -(-(2 * net.reach + 24) // net.stride) * net.stride

    def paint(photo: torch.Tensor) -> torch.Tensor:
        return run_layers(net.walk(photo), lambda x: x / 2)

    planes = 3 + net.layout.grain
    photo = torch.rand(1, planes, side, side, generator=seeded(1), dtype=torch.float64)
    changed = photo.clone()
    middle = side // 2
    changed[..., middle, middle] += 0.5
    away = (paint(changed) - paint(photo)).abs().amax((0, 1))
    touched = away.nonzero()
    far = (touched - middle).abs().max()
    assert net.reach // 2 < far <= net.reach


def test_johnson_s_net_has_the_paper_s_size():
    weights = [each.numel() for each in make_net("johnson").parameters() if each.ndim == 4]
    ends = 2 * 3 * 32 * 81
    halves = 2 * 9 * (32 * 64 + 64 * 128)
    assert sum(weights) == ends + halves + 10 * 9 * 128 * 128


def test_numbers_of_zero_leave_a_normalisation_plain():
    net = make_net()
    reader = DialReader(6, net.count)
    assert reader(draw(2, 6), torch.tensor([15.0])).shape == (2, net.count)
    scale, shift = net.split(torch.arange(float(net.count))[None])[1]
    first = 2 * net.channels[0]
    assert scale[0, 0] == first
    assert shift[0, 0] == first + net.channels[1]


def test_the_net_for_any_style_is_small(compact):
    net = PaintingNet(NET_SHAPES["any"]).requires_grad_(False)
    reader = DialReader(code_size(compact), net.count)
    count = sum(each.numel() for part in (net, reader) for each in part.parameters())
    assert 2 * count < 4_000_000  # bytes, in half precision
    products = 0

    def count_products(conv, _, given) -> None:
        nonlocal products
        products += given.numel() * conv.weight[0].numel()

    for conv in net.modules():
        if isinstance(conv, torch.nn.Conv2d):
            conv.register_forward_hook(count_products)
    net(torch.rand(1, 3, 512, 512), torch.zeros(1, net.count))
    assert products < 5e9


def test_a_dial_turns_what_was_read_once():
    torch.manual_seed(0)
    reader = DialReader(10, 6).requires_grad_(False)
    codes = draw(3, 10)
    known = reader.read(codes)
    weights = torch.tensor([5.0, 15.0, 45.0])
    together = reader(codes, weights)
    for row, weight in enumerate(weights):
        alone = reader.dial(known[row : row + 1], weight[None])
        torch.testing.assert_close(alone, together[row : row + 1])
        other = reader.dial(known[row : row + 1], 1.5 * weight[None])
        assert not torch.equal(alone, other)
    # A bend tells it less at the usual weight, and the same at both ends.
    half = 15 * 10**-0.5
    plain = [reader.dial(known, torch.tensor([each])) for each in (half, 1.5, 150.0)]
    reader.bend.fill_(0.4)
    bent = [reader.dial(known, torch.tensor([each])) for each in (15.0, 1.5, 150.0)]
    torch.testing.assert_close(bent[1:], plain[1:])
    reader.bend.fill_(0.5)
    torch.testing.assert_close(reader.dial(known, torch.tensor([15.0])), plain[0])
    reader.bend.fill_(0.0)
    # Beyond what is taught it stays where it is.
    ends = [reader.dial(known, torch.tensor([each])) for each in (0.0, 1.0, 1.5, 150.0, 1e9)]
    assert torch.equal(ends[0], ends[1])
    torch.testing.assert_close(ends[1], ends[2])
    torch.testing.assert_close(ends[3], ends[4])


def test_a_grain_from_outside_takes_the_place_of_the_net_s():
    net = make_net("any")
    photo = torch.rand(2, 3, 40, 48, generator=seeded(1))
    numbers = 0.1 * draw(2, net.count)
    own = net.grain[..., :40, :48]
    torch.testing.assert_close(net(photo, numbers, own), net(photo, numbers))
    assert not torch.equal(net(photo, numbers, own.flip(3)), net(photo, numbers))
    padded = net.pad(photo[..., :37, :41], own[..., :37, :41])
    assert padded.shape == (2, 4, 40, 48)
    torch.testing.assert_close(padded[0, 3, 37:, :41], own[0, 0, [36, 35, 34], :41])


def test_held_statistics_are_those_that_were_measured():
    net = make_net("any")
    photo = torch.rand(2, 3, 40, 48, generator=seeded(1))
    numbers = 0.1 * draw(2, net.count)
    painted, found = net.measure(photo, numbers)
    assert [mean.shape for mean, _ in found] == [(2, each) for each in net.channels]
    assert torch.equal(painted, net(photo, numbers))
    assert torch.equal(painted, net(photo, numbers, held=found))
    other = net(photo.flip(0), numbers, held=found)
    assert not torch.allclose(other, net(photo.flip(0), numbers), atol=1e-3)
