"""Scenes: what is painted where and after what, by the pixels that come out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import draw_picture
from PIL import Image
from torch import Tensor

import impasto
from impasto.errors import ImageError, OptionError
from impasto.images.color_spaces import split_luma
from impasto.images.color_transfer import COLORS, match_color, match_luma, show_luma
from impasto.images.picture import Picture
from impasto.images.reading import read_image
from impasto.images.resizing import resize_pixels
from impasto.images.transparency import fill_transparent
from impasto.painting.canvas import CANVASES
from impasto.painting.inputs import SceneOptions, fit_style, share_out
from impasto.painting.loss_plan import plan_painting_losses
from impasto.painting.objective import Objective
from impasto.painting.options import PaintOptions
from impasto.painting.painter import Painter
from impasto.painting.result import Painting
from impasto.painting.scene import Scene, View
from impasto.system.devices import choose_machine

QUICK = {"steps": 4, "start_size": 64, "precision": "float32"}
CPU = torch.device("cpu")
PHOTO, STYLE = draw_picture(64, 48, 1), draw_picture(56, 72, 2)
RED, GREEN, BLUE = (230, 20, 30), (20, 200, 40), (10, 40, 220)
Save = Callable[[str, np.ndarray], str]


@pytest.fixture
def save(tmp_path: Path) -> Save:
    def save(name: str, array: np.ndarray) -> str:
        Image.fromarray(array).save(tmp_path / f"{name}.png")
        return str(tmp_path / f"{name}.png")

    return save


def paint(content: object, styles: object, **options: object) -> Painting:
    return impasto.paint(content, styles, {**QUICK, **options})


def see(content: object, styles: list[object], size: int = 64, **options: object) -> Scene:
    picture = read_image(content)
    width, height = picture.size
    own = (size, round(size * height / width))
    asked = SceneOptions.of(PaintOptions.read(options))
    return Scene(picture, list(map(read_image, styles)), asked, own)


def tensor_of(array: np.ndarray) -> Tensor:
    return read_image(array).pixels


def columns(first: int, last: int, size: tuple[int, int] = (64, 48)) -> np.ndarray:
    """A mask that is white in the columns from first to last, the last not with them."""
    mask = np.zeros(size[::-1], np.uint8)
    mask[:, first:last] = 255
    return mask


def flat(color: tuple[int, int, int], size: tuple[int, int] = (56, 72)) -> np.ndarray:
    """A picture of one colour with a little grain."""
    grain = np.random.default_rng(sum(color)).integers(-8, 9, (size[1], size[0], 3))
    return (np.array(color) + grain).clip(0, 255).astype(np.uint8)


def two_colors(left: tuple[int, ...], right: tuple[int, ...], size: tuple[int, int]) -> np.ndarray:
    """A label map, left and right."""
    labels = np.zeros((size[1], size[0], 3), np.uint8)
    labels[:, : size[0] // 2], labels[:, size[0] // 2 :] = left, right
    return labels


def with_alpha(array: np.ndarray, alpha: np.ndarray) -> Image.Image:
    return Image.fromarray(np.dstack([array, alpha]))


def change_between(painting: Painting, pixels: Tensor, first: int, last: int) -> float:
    return float((painting.pixels - pixels)[..., first:last].abs().mean())


# --- a mask -------------------------------------------------------------------------------------

RAMP = np.tile(np.interp(np.arange(64), [12, 28], [255, 0]).astype(np.uint8), (48, 1))


@pytest.mark.parametrize(
    ("mask", "options", "edge"),
    [
        (columns(0, 20), {}, 20),
        (columns(0, 20), {"recolor": "none"}, 20),
        (columns(0, 20), {"recolor": "histogram"}, 20),
        (columns(0, 20), {"feather": 3}, 29),  # a Gaussian ends at three deviations
        (RAMP, {}, 28),
        *((columns(0, 20), {"color": color}, 20) for color in COLORS),
        *((columns(0, 20), {"canvas": canvas}, 20) for canvas in CANVASES),
        (columns(0, 20), {"optimizer": "adam", "blur": 2, "average": 0.5, "init": "noise"}, 20),
        (columns(0, 20), {"only_color": True, "feather": 1}, 23),
        (columns(0, 20), {"start_size": 16, "style_layer": ["relu2_1"], "size": 64}, 20),
    ],
)
def test_black_stays_the_photograph_and_white_is_painted(save, mask, options, edge):
    painting = paint(PHOTO, STYLE, mask=save("mask", mask), **options)
    photo = tensor_of(PHOTO)
    assert change_between(painting, photo, edge, 64) <= 1 / 255
    assert torch.equal(painting.pixels[..., edge:], photo[..., edge:])  # and even exactly
    assert change_between(painting, photo, 0, 12) > 2 / 255


def test_with_alpha_black_stays_too(save):
    alpha = np.tile(np.linspace(90, 255, 48).astype(np.uint8)[:, None], (1, 64))
    content = with_alpha(PHOTO, alpha)
    painting = paint(content, STYLE, mask=save("mask", columns(0, 20)))
    assert torch.equal(painting.pixels[..., 20:], tensor_of(PHOTO)[..., 20:])
    assert change_between(painting, tensor_of(PHOTO), 0, 20) > 5 / 255
    assert painting.to_pil().getchannel("A").tobytes() == content.getchannel("A").tobytes()


def test_what_is_kept_is_seen_as_the_photograph(save):
    """Not as what the canvas has there, which is noise and stays it."""
    options = {"mask": save("mask", columns(0, 20)), "init": "noise", "optimizer": "sgd"}
    work = Painter(PHOTO, STYLE, PaintOptions.read({**QUICK, **options}))
    states = [work.run.tensors["values"].clone() for _ in work.steps()]
    assert torch.equal(states[0][..., 20:], states[3][..., 20:])
    assert not torch.equal(states[0][..., :20], states[3][..., :20])


def test_soft_edges_stay_soft(save):
    scene = see(PHOTO, [STYLE], mask=save("mask", RAMP))
    black = scene.finish(torch.zeros(1, 3, 48, 64))
    share = torch.from_numpy(RAMP[:1].astype(np.float32)) / 255
    torch.testing.assert_close(black, (1 - share) * tensor_of(PHOTO), atol=1e-5, rtol=0)
    feathered = see(PHOTO, [STYLE], mask=save("mask", columns(0, 20)), feather=3).mask
    assert feathered is not None
    row = feathered[0, 0, 24]
    normal = torch.distributions.Normal(20.0, 3.0)
    expected = 1 - normal.cdf(torch.arange(64) + 0.5)
    torch.testing.assert_close(row, expected, atol=0.01, rtol=0)


def test_a_mask_of_another_size_is_resized_and_that_is_said(save):
    mask = save("small", columns(0, 16, (32, 24)))
    painting = paint(PHOTO, STYLE, mask=mask)
    assert painting.notes == ["mask 'small.png' is 32 x 24, resized to 64 x 48"]
    assert torch.equal(painting.pixels[..., 34:], tensor_of(PHOTO)[..., 34:])
    assert change_between(painting, tensor_of(PHOTO), 0, 30) > 5 / 255


def test_masks_that_leave_nothing_are_errors(save):
    black, left, right = (
        save(name, mask)
        for name, mask in [
            ("black", columns(0, 0)),
            ("left", columns(0, 20)),
            ("right", columns(40, 64)),
        ]
    )
    with pytest.raises(ImageError, match=r"mask 'black\.png' is all black"):
        paint(PHOTO, STYLE, mask=black)
    with pytest.raises(ImageError, match=r"mask 'black\.png' is all black"):
        paint(PHOTO, STYLE, teach_mask=[black])
    with pytest.raises(ImageError, match="picture leaves nothing: masks and transparency"):
        paint(PHOTO, STYLE, mask=left, style_mask=[right])
    with pytest.raises(ImageError, match="picture leaves nothing: masks and transparency"):
        paint(with_alpha(PHOTO, 255 - columns(0, 20)), STYLE, mask=left)


def test_masks_are_no_larger_than_pictures_may_be(save):
    mask = save("mask", columns(0, 100, (200, 150)))
    with pytest.raises(ImageError, match=r"mask\.png"):
        paint(PHOTO, STYLE, mask=mask, max_megapixels=0.02)
    with pytest.raises(ImageError, match=r"mask\.png"):
        paint(PHOTO, STYLE, labels=[mask, mask], max_megapixels=0.02)


def test_a_region_of_one_pixel_is_seen_at_every_size(save, compact):
    photo, mask = draw_picture(320, 240, 3), np.zeros((240, 320), np.uint8)
    mask[7, 11] = 255
    scene = see(photo, [STYLE], 320, mask=save("mask", mask))
    losses = {"style_loss": ["gram", "sliced", "gaussian", "chained"]}
    options = PaintOptions.read({**losses, "style_layer": ["relu1_1", "relu2_1", "relu3_1"]})
    machine = choose_machine("cpu")
    for size in [(32, 24), (80, 60), (320, 240)]:
        view = scene.at(size, 1, CPU)
        assert view.mask is not None
        assert 0 < float(view.mask.max()) <= 1
        pixels = (view.content * 0.9 + 0.05).requires_grad_()
        total, _ = Objective(compact, machine, view, plan_painting_losses(compact, options))(
            pixels, 0
        )
        (gradient,) = torch.autograd.grad(total, pixels)
        assert bool(total.isfinite())
        assert bool(gradient.isfinite().all())


# --- a mask for each style ----------------------------------------------------------------------


def test_each_style_is_painted_in_its_region_and_the_rest_is_kept(save):
    masks = [save("left", columns(0, 24)), save("right", columns(40, 64))]
    photo = tensor_of(PHOTO)
    painting = paint(PHOTO, [flat(RED), flat(BLUE)], style_mask=masks, steps=12)
    assert torch.equal(painting.pixels[..., 24:40], photo[..., 24:40])
    left, right = (
        painting.pixels[0, :, :, part].mean((1, 2)) for part in (slice(24), slice(40, 64))
    )
    assert float(left[0] - left[2]) > 0.4
    assert float(right[2] - right[0]) > 0.4
    other = paint(PHOTO, [flat(BLUE), flat(RED)], style_mask=masks, steps=12)
    left, right = (other.pixels[0, :, :, part].mean((1, 2)) for part in (slice(24), slice(40, 64)))
    assert float(left[2] - left[0]) > 0.4
    assert float(right[0] - right[2]) > 0.4


def test_colours_alone_are_carried_by_region(save):
    left = columns(0, 24)
    masks = [save("left", left), save("right", columns(40, 64))]
    styles, photo = [tensor_of(flat(RED)), tensor_of(STYLE)], tensor_of(PHOTO)
    painting = paint(PHOTO, [flat(RED), STYLE], style_mask=masks, only_color=True)
    weights = [torch.from_numpy(m)[None, None] / 255 for m in (left, columns(40, 64))]
    first, second = (match_color(photo, s, w) for s, w in zip(styles, weights, strict=True))
    expected = torch.cat([first[..., :24], photo[..., 24:40], second[..., 40:]], 3)
    torch.testing.assert_close(painting.pixels, expected, atol=1e-6, rtol=0)
    assert painting.history == []


def test_one_mask_for_each_style(save):
    left, right = save("left", columns(0, 20)), save("right", columns(20, 64))
    with pytest.raises(OptionError, match="style_mask: 1 given for 2 styles; one for each"):
        paint(PHOTO, [STYLE, STYLE], style_mask=[left])
    with pytest.raises(OptionError, match="style_mask: 2 given for 1 style; one for each"):
        paint(PHOTO, STYLE, style_mask=[left, right])
    with pytest.raises(OptionError, match="teach_mask: 1 given for 2 styles; one for each"):
        paint(PHOTO, [STYLE, STYLE], teach_mask=[left])


def test_style_masks_within_a_mask(save):
    left, right = save("left", columns(0, 32)), save("right", columns(32, 64))
    narrow = save("narrow", columns(16, 48))
    scene = see(PHOTO, [STYLE, STYLE], mask=narrow, style_mask=[left, right])
    expected = [columns(16, 32), columns(32, 48)]
    for region, mask in zip(scene.whole.regions, expected, strict=True):
        assert torch.equal(region.mask, torch.from_numpy(mask)[None, None] / 255)
    outside = paint(PHOTO, [STYLE, STYLE], mask=left, style_mask=[left, right])
    assert outside.notes == ["1 of 2 regions lie outside what is painted"]
    alone = paint(PHOTO, STYLE, mask=left, style_mask=[left])
    assert torch.equal(outside.pixels, alone.pixels)


# --- what a style teaches -----------------------------------------------------------------------


def scribble(array: np.ndarray, where: np.ndarray) -> np.ndarray:
    """Another picture where the mask is black."""
    other = draw_picture(array.shape[1], array.shape[0], 77)[..., ::-1]
    return np.where(where[..., None] > 0, array, other)


def test_what_the_mask_does_not_cover_teaches_nothing(save):
    style, mask = draw_picture(64, 64, 4), columns(0, 36, (64, 64))
    layers = ["relu1_1", "relu2_1", "relu3_1"]
    options = {"teach_mask": [save("teach", mask)], "style_layer": layers}
    painting = paint(PHOTO, style, **options)
    same = paint(PHOTO, scribble(style, mask), **options)
    assert torch.equal(painting.pixels, same.pixels)
    inside = paint(PHOTO, scribble(style, columns(12, 64, (64, 64))), **options)
    assert change_between(inside, painting.pixels, 0, 64) > 1 / 255


def test_hidden_colours_of_a_style_teach_nothing():
    alpha = np.zeros((72, 56), np.uint8)
    alpha[6:50, 5:33] = 255
    alpha[50:54, 5:33] = 100
    for options in ({}, {"color": "histogram"}, {"only_color": True}, {"init": "statistics"}):
        painting = paint(PHOTO, with_alpha(STYLE, alpha), **options)
        hidden = paint(PHOTO, with_alpha(scribble(STYLE, alpha), alpha), **options)
        assert torch.equal(painting.pixels, hidden.pixels)
        opaque = paint(PHOTO, STYLE, **options)
        assert change_between(opaque, painting.pixels, 0, 64) > 1 / 255


def test_transparent_pixels_of_a_photograph_are_neither_painted_nor_count():
    alpha = np.zeros((48, 64), np.uint8)
    alpha[:, :40] = 255
    alpha[:, 40:44] = 128
    other = scribble(PHOTO, alpha)
    for options in ({}, {"size": 48}, {"color": "lab"}, {"only_color": True}):
        first = paint(with_alpha(PHOTO, alpha), STYLE, **options)
        second = paint(with_alpha(other, alpha), STYLE, **options)
        size = first.to_pil().size
        seen = (first.alpha > 0)[0, 0]
        if "size" not in options:
            assert torch.equal(first.pixels[..., ~seen], tensor_of(PHOTO)[..., ~seen])
            assert torch.equal(second.pixels[..., ~seen], tensor_of(other)[..., ~seen])
        assert torch.equal(first.pixels[..., seen], second.pixels[..., seen])
        photo = resize_pixels(tensor_of(PHOTO), *size)
        assert float((first.pixels - photo)[..., seen].abs().mean()) > 5 / 255


def test_a_photograph_s_colours_are_measured_by_its_alpha():
    alpha = np.tile(np.linspace(0, 255, 64).astype(np.uint8), (48, 1))
    painting = paint(with_alpha(PHOTO, alpha), STYLE, only_color=True)
    weights = torch.from_numpy(alpha)[None, None] / 255
    expected = match_color(tensor_of(PHOTO), tensor_of(STYLE), weights)
    expected[..., 0] = tensor_of(PHOTO)[..., 0]  # wholly transparent
    torch.testing.assert_close(painting.pixels, expected, atol=1e-6, rtol=0)


def test_what_is_half_transparent_takes_the_whole_colour():
    solid, half = np.full((48, 64), 255, np.uint8), np.full((48, 64), 128, np.uint8)
    for options in ({"only_color": True}, {"steps": 1}):
        expected = paint(with_alpha(PHOTO, solid), STYLE, **options).pixels
        pixels = paint(with_alpha(PHOTO, half), STYLE, **options).pixels
        torch.testing.assert_close(pixels, expected, atol=1e-4, rtol=0)


def test_pictures_of_nothing_are_errors():
    nothing = np.zeros((48, 64), np.uint8)
    with pytest.raises(ImageError, match="picture leaves nothing: masks and transparency"):
        paint(with_alpha(PHOTO, nothing), STYLE)
    with pytest.raises(ImageError, match="picture leaves nothing: masks and transparency"):
        paint(PHOTO, with_alpha(PHOTO, nothing))


def test_transparent_pixels_are_filled_with_the_mean_of_the_others():
    pixels = torch.tensor([0.2, 0.4, 0.9]).expand(1, 3, 1, 3)
    alpha = torch.tensor([1.0, 0.5, 0.0]).view(1, 1, 1, 3)
    filled = fill_transparent(pixels, alpha)
    expected = torch.tensor([0.2, 0.4, (0.2 + 0.5 * 0.4) / 1.5]).expand(1, 3, 1, 3)
    torch.testing.assert_close(filled, expected)


# --- labels -------------------------------------------------------------------------------------


def test_labels_are_painted_after_their_like(save):
    style = np.concatenate([flat(BLUE, (28, 72)), flat(RED, (28, 72))], 1)
    ours = save("ours", two_colors((255, 255, 0), (0, 255, 255), (64, 48)))
    theirs = save("theirs", two_colors((0, 255, 255), (255, 255, 0), (56, 72)))  # right is yellow
    painting = paint(PHOTO, style, labels=[ours, theirs], only_color=True)
    left = painting.pixels[0, :, :, :32].flatten(1)
    right = painting.pixels[0, :, :, 32:].flatten(1)
    red, blue = (tensor_of(flat(color))[0].flatten(1).mean(1) for color in (RED, BLUE))
    torch.testing.assert_close(left.mean(1), red, atol=0.02, rtol=0)
    torch.testing.assert_close(right.mean(1), blue, atol=0.02, rtol=0)
    painting = paint(PHOTO, style, labels=[ours, theirs], steps=12)
    left, right = (
        painting.pixels[0, :, :, part].mean((1, 2)) for part in (slice(32), slice(32, 64))
    )
    assert float(left[0] - left[2]) > 0.4
    assert float(right[2] - right[0]) > 0.4


def test_labels_that_cannot_be_followed(save):
    ours = save("ours", two_colors((255, 0, 0), (0, 0, 255), (64, 48)))
    theirs = save("theirs", two_colors((255, 0, 0), (0, 0, 255), (56, 72)))
    other = save("other", two_colors((255, 0, 0), (0, 255, 0), (56, 72)))
    with pytest.raises(ImageError, match=r"label #0000ff .* has no partner in 'other.png'"):
        paint(PHOTO, STYLE, labels=[ours, other])
    with pytest.raises(OptionError, match="labels go with one style, and without style masks"):
        paint(PHOTO, [STYLE, STYLE], labels=[ours, theirs])
    with pytest.raises(OptionError, match="labels go with one style, and without style masks"):
        paint(PHOTO, STYLE, labels=[ours, theirs], style_mask=[save("left", columns(0, 9))])
    teach = save("teach", columns(0, 20, (56, 72)))  # of the right half nothing is left
    with pytest.raises(ImageError, match="label #0000ff of 'picture' leaves nothing"):
        paint(PHOTO, STYLE, labels=[ours, theirs], teach_mask=[teach])


def test_labels_within_a_mask(save):
    ours = save("ours", two_colors((255, 0, 0), (0, 0, 255), (64, 48)))
    theirs = save("theirs", two_colors((255, 0, 0), (0, 0, 255), (56, 72)))
    mask = save("mask", columns(0, 20))
    painting = paint(PHOTO, STYLE, labels=[ours, theirs], mask=mask)
    assert painting.notes == ["1 of 2 regions lie outside what is painted"]
    assert torch.equal(painting.pixels[..., 20:], tensor_of(PHOTO)[..., 20:])


def test_what_has_no_label_is_kept(save):
    labels = np.dstack([two_colors((255, 0, 0), (0, 0, 255), (64, 48)), 255 - columns(24, 40)])
    theirs = save("theirs", two_colors((255, 0, 0), (0, 0, 255), (56, 72)))
    painting = paint(PHOTO, STYLE, labels=[save("ours", labels), theirs])
    assert torch.equal(painting.pixels[..., 24:40], tensor_of(PHOTO)[..., 24:40])
    assert change_between(painting, tensor_of(PHOTO), 0, 24) > 5 / 255


def test_labels_that_cover_all_leave_nothing_to_keep(save):
    ours = save("ours", two_colors((255, 0, 0), (0, 0, 255), (61, 47)))  # resized: rounding
    theirs = save("theirs", two_colors((255, 0, 0), (0, 0, 255), (56, 72)))
    assert see(PHOTO, [STYLE], labels=[ours, theirs], feather=2).mask is None


# --- colour -------------------------------------------------------------------------------------


@pytest.mark.parametrize("color", COLORS)
def test_every_colour_mode_paints(color):
    painting = paint(PHOTO, STYLE, color=color, steps=8)
    assert len(painting.history) == 8
    assert min(step.total for step in painting.history) < 0.9 * painting.history[0].total
    assert change_between(painting, tensor_of(PHOTO), 0, 64) > 2 / 255


@pytest.mark.parametrize("color", ["content", "luminance"])
def test_the_photograph_s_chroma_comes_back(color):
    content = (80 + PHOTO * 0.3).astype(np.uint8)  # nothing that any luma would have to clamp much
    painting = paint(content, STYLE, color=color, steps=8)
    chroma, wanted = split_luma(painting.pixels)[1], split_luma(tensor_of(content))[1]
    whole = ((painting.pixels > 0) & (painting.pixels < 1)).all(1, keepdim=True)
    assert float(whole.float().mean()) > 0.5
    apart = (chroma - wanted).abs()[whole.expand_as(chroma)]
    assert float(apart.max()) < 1e-5
    luma, before = split_luma(painting.pixels)[0], split_luma(tensor_of(content))[0]
    assert float((luma - before).abs().mean()) > 1 / 255


@pytest.mark.parametrize("color", [name for name, mode in COLORS.items() if mode.carry])
def test_colour_alone(color):
    painting = paint(PHOTO, STYLE, color=color, only_color=True)
    assert painting.history == []
    expected = COLORS[color].carry(tensor_of(PHOTO), tensor_of(STYLE), None, None)
    torch.testing.assert_close(painting.pixels, expected, atol=1e-6, rtol=0)
    assert change_between(painting, tensor_of(PHOTO), 0, 64) > 2 / 255


@pytest.mark.parametrize("color", ["content", "luminance"])
def test_the_photograph_s_colours_alone_are_nothing_to_carry(color):
    message = f"color '{color}' keeps the photograph's; choose from style, histogram"
    with pytest.raises(OptionError, match=message):
        paint(PHOTO, STYLE, color=color, only_color=True)


def test_luminance_is_grey_for_all_that_is_seen(save):
    def is_grey(pixels: Tensor) -> bool:
        return bool(torch.allclose(pixels, pixels[:, :1].expand_as(pixels), atol=1e-4))

    mask = save("mask", columns(0, 32))
    for init in ("content", "noise", "statistics", save("start", STYLE)):
        options = {"color": "luminance", "mask": mask, "init": init, "feather": 2}
        view = see(PHOTO, [STYLE], **options).at((64, 48), 32, CPU)
        assert is_grey(view.photo)
        assert is_grey(view.content)
        assert is_grey(view.regions[0].samples[0].pixels)
        work = Painter(PHOTO, STYLE, PaintOptions.read({**options, "size": 64, "start_size": 64}))
        assert is_grey(work.begin(work.levels[0])[1])


def test_luminance_under_a_mask_takes_the_light_of_what_is_painted(save):
    mask = columns(0, 32)
    options = {"color": "luminance", "mask": save("mask", mask), "style_mask": [save("s", mask)]}
    sample = see(PHOTO, [STYLE], **options).whole.regions[0].samples[0]
    weights = torch.from_numpy(mask)[None, None] / 255
    expected = match_luma(tensor_of(STYLE), tensor_of(PHOTO), None, weights)
    torch.testing.assert_close(sample.pixels, expected, atol=1e-5, rtol=0)


def test_recolouring_is_by_region_and_can_be_left_out(save):
    masks = [columns(0, 24), columns(40, 64)]
    names = [save(f"m{i}", mask) for i, mask in enumerate(masks)]
    photo, styles = tensor_of(PHOTO), [tensor_of(flat(RED)), tensor_of(STYLE)]
    view = see(PHOTO, [flat(RED), STYLE], style_mask=names).whole
    weights = [torch.from_numpy(mask)[None, None] / 255 for mask in masks]
    first, second = (match_color(photo, s, w) for s, w in zip(styles, weights, strict=True))
    expected = torch.cat([first[..., :24], photo[..., 24:40], second[..., 40:]], 3)
    torch.testing.assert_close(view.content, expected, atol=1e-6, rtol=0)
    plain = see(PHOTO, [flat(RED), STYLE], style_mask=names, recolor="none").whole
    assert torch.equal(plain.content, photo)
    levels = see(PHOTO, [STYLE], recolor="histogram").whole.content
    for powers in (1, 3):  # the mean and the skewness of each channel are the style's
        found, wanted = (each.pow(powers).mean((2, 3)) for each in (levels, styles[1]))
        torch.testing.assert_close(found, wanted, atol=2e-3, rtol=0)
    ranked = levels[0, 0].flatten()[photo[0, 0].flatten().argsort()]
    assert (ranked.diff() >= 0).all()
    blend = see(PHOTO, [flat(RED), STYLE], style_blend=[3, 1]).whole.content
    mixed = 0.75 * match_color(photo, styles[0]) + 0.25 * match_color(photo, styles[1])
    torch.testing.assert_close(blend, mixed, atol=1e-6, rtol=0)


# --- sizes and shares ---------------------------------------------------------------------------


def sizes_of(view: View) -> list[tuple[int, int]]:
    samples = [sample.pixels for region in view.regions for sample in region.samples]
    return [(each.shape[-1], each.shape[-2]) for each in samples]


@pytest.mark.parametrize(
    ("options", "size", "seen"),
    [
        ({}, (128, 96), [(100, 128), (128, 64)]),  # 56 x 72 and 60 x 30 at the long side of 128
        ({}, (64, 48), [(50, 64), (64, 32)]),
        ({"style_scale": [0.5]}, (128, 96), [(50, 64), (64, 32)]),
        ({"style_scale": [0.5, 2]}, (64, 48), [(25, 32), (128, 64)]),
        ({"style_size": [64]}, (128, 96), [(50, 64), (64, 32)]),
        ({"style_size": [256, 64]}, (64, 48), [(100, 128), (32, 16)]),  # of the 128 in the end
        ({"style_size": [64], "style_scale": [2]}, (128, 96), [(100, 128), (128, 64)]),
    ],
)
def test_the_size_at_which_a_style_is_seen(options, size, seen):
    scene = see(PHOTO, [STYLE, draw_picture(60, 30, 3)], 128, **options)
    assert sizes_of(scene.at(size, 1, CPU)) == seen


def test_a_style_is_never_too_short_for_the_network():
    assert fit_style(100, 10, 50, least=16) == (160, 16)
    assert fit_style(100, 50, 50, least=16) == (50, 25)
    assert fit_style(1, 1, 64, least=16) == (64, 64)
    assert fit_style(500, 1, 10, least=1) == (500, 1)


@pytest.mark.parametrize("name", ["style_blend", "style_size", "style_scale"])
def test_one_value_for_each_style(name):
    with pytest.raises(OptionError, match=f"{name}: 3 given for 2 styles; one for each"):
        paint(PHOTO, [STYLE, STYLE], **{name: [16, 16, 16]})


def test_shares():
    assert share_out([], 4) == [0.25] * 4
    assert share_out([3, 1], 2) == [0.75, 0.25]
    with pytest.raises(OptionError, match="style_blend: at least one style needs a weight above 0"):
        paint(PHOTO, [STYLE, STYLE], style_blend=[0, 0])


def test_a_style_of_no_weight_does_nothing():
    blend = {"style_blend": [1, 0], "style_loss": ["gram", "sliced", "neighbours", "emd"]}
    alone = paint(PHOTO, STYLE, style_loss=blend["style_loss"])
    both = paint(PHOTO, [STYLE, flat(RED)], **blend)
    assert torch.equal(both.pixels, alone.pixels)
    assert [s.total for s in both.history] == [s.total for s in alone.history]


def test_the_scene_of_a_picture_is_itself():
    scene = Scene(
        Picture(tensor_of(PHOTO)),
        [Picture(tensor_of(STYLE))],
        SceneOptions(recolor="moments"),
        (64, 48),
    )
    assert scene.mask is None
    assert scene.notes == []
    (region,) = scene.whole.regions
    assert region.mask is None
    assert region.samples[0].mask is None
    assert torch.equal(scene.whole.photo, tensor_of(PHOTO))
    assert torch.equal(scene.finish(show_luma(tensor_of(PHOTO))), show_luma(tensor_of(PHOTO)))
