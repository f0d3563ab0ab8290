"""Masks: numbers worked by hand, receptive fields by autograd, every bad map by its message."""

from __future__ import annotations

import io
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw
from torch.nn import functional

from impasto.errors import ImageError, MissingFileError, OptionError
from impasto.images.label_maps import read_labels
from impasto.images.masks import (
    combine,
    composite,
    normalise_weights,
    read_mask,
    shrink_mask,
    soften,
)

RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)
PATHS = [
    [],
    ["conv"],
    ["pool"],
    ["conv", "conv", "pool"],
    ["pool", "conv", "pool"],
    ["conv", "pool", "pool", "conv", "conv", "conv"],
]
RELU5_1 = [*["conv"] * 2, "pool", *["conv"] * 2, "pool", *["conv"] * 4, "pool"]
RELU5_1 += [*["conv"] * 4, "pool", "conv"]


def blobs(height: int, width: int, seed: int) -> torch.Tensor:
    """A mask of zeros and ones in lumps, with some of each."""
    generator = torch.Generator().manual_seed(seed)
    noise = torch.rand(1, 1, (height + 2) // 3, (width + 2) // 3, generator=generator)
    lumps = (noise > 0.2).float().repeat_interleave(3, 2).repeat_interleave(3, 3)
    return lumps[..., :height, :width]


def seen_by(path: list[str], height: int, width: int) -> torch.Tensor:
    """Which pixels (H*W) each feature (h*w) of a network of ones is moved by."""
    pixels = torch.ones(1, 1, height, width, dtype=torch.double, requires_grad=True)
    x = pixels
    for step in path:
        if step == "conv":
            x = functional.conv2d(x, torch.ones(1, 1, 3, 3, dtype=torch.double), padding=1)
        else:
            x = functional.avg_pool2d(x, 2, ceil_mode=True)
    each = torch.eye(x.numel(), dtype=torch.double)
    (slopes,) = torch.autograd.grad(x.flatten(), pixels, each, is_grads_batched=True)
    return slopes.flatten(1) > 0


def scene(width: int = 120, height: int = 90, *, third: tuple[int, int, int] = BLUE) -> Image.Image:
    """A red ground with a green disc and a bar."""
    image = Image.new("RGB", (width, height), RED)
    draw = ImageDraw.Draw(image)
    draw.ellipse((width // 8, height // 8, width // 2, height * 3 // 4), fill=GREEN)
    draw.rectangle((width * 2 // 3, height // 2, width, height), fill=third)
    return image


def saved(folder: Path, name: str, image: Image.Image, **settings: int) -> Path:
    image.save(folder / name, **settings)
    return folder / name


# --- masks ---------------------------------------------------------------------------------


def test_a_mask_is_grey_by_luma_and_alpha_multiplies():
    image = Image.new("RGBA", (3, 1))
    image.putdata([(255, 255, 255, 255), (255, 0, 0, 255), (255, 255, 255, 51)])
    mask = read_mask(image, (3, 1))
    assert mask.values.shape == (1, 1, 1, 3)
    assert torch.allclose(mask.values.flatten(), torch.tensor([1, 0.299, 0.2]))
    assert mask.notes == ()


def test_white_stays_white_and_nearly_black_is_black():
    values = torch.tensor([[1.0, 0.0019, 0.002, 0.0]])
    read = read_mask(values[None], (4, 1)).values.flatten()
    assert read[0] == 1
    assert read[1] == 0
    assert read[2] == pytest.approx(0.002)


def test_a_mask_of_another_size_is_resized_and_says_so(tmp_path):
    path = saved(tmp_path, "m.png", Image.new("L", (300, 200), 255))
    mask = read_mask(path, (512, 341))
    assert mask.notes == ("mask 'm.png' is 300 x 200, resized to 512 x 341",)
    assert mask.values.shape == (1, 1, 341, 512)
    assert (mask.values == 1).all()
    assert mask.name == "m.png"


def test_another_aspect_is_said(tmp_path):
    path = saved(tmp_path, "m.png", Image.new("L", (300, 300), 255))
    note = "mask 'sky' is 300 x 300, resized to 512 x 341, which is another aspect"
    assert read_mask(path, (512, 341), name="sky").notes == (note,)


@pytest.mark.parametrize("size", [(5, 4), (37, 3), (160, 9)])
def test_soft_edges_stay_soft(size):
    ramp = torch.linspace(0, 1, 40).expand(1, 8, 40)
    row = read_mask(ramp, size).values[0, 0, 0]
    assert (row.diff() > -1e-6).all()
    assert row.min() >= 0
    assert row.max() <= 1
    centres = (torch.arange(size[0]) + 0.5) / size[0]
    assert torch.allclose(row[1:-1], ((centres * 40 - 0.5) / 39)[1:-1].clamp(0, 1), atol=0.02)


def test_a_hard_edge_becomes_soft_when_shrunk():
    edge = torch.zeros(1, 30, 30)
    edge[..., 10:] = 1
    row = read_mask(edge, (12, 12)).values[0, 0, 6]
    assert row[2] == 0
    assert 0 < row[3] < row[4]
    assert (row[5:] == 1).all()


@pytest.mark.parametrize("kind", ["black", "transparent", "dark"])
def test_an_all_black_mask_is_an_error(tmp_path, kind):
    color = {"black": (0, 0, 0, 255), "transparent": (255,) * 3 + (0,), "dark": (0, 0, 1, 255)}
    path = saved(tmp_path, "m.png", Image.new("RGBA", (4, 4), color[kind]))
    with pytest.raises(ImageError, match=r"^mask 'm.png' is all black: .*; white is what counts$"):
        read_mask(path, (4, 4))


def test_a_mask_that_is_no_picture_is_an_error(tmp_path):
    (tmp_path / "m.png").touch()
    with pytest.raises(ImageError, match=r"'m.png' is an empty file"):
        read_mask(tmp_path / "m.png", (4, 4))
    with pytest.raises(MissingFileError):
        read_mask(tmp_path / "none.png", (4, 4))
    with pytest.raises(ImageError, match="megapixels"):
        read_mask(np.ones((9, 9)), (9, 9), max_megapixels=1e-5)


# --- soften, normalise, combine, composite ---------------------------------------------------


def test_soften_is_a_gaussian():
    dot = torch.zeros(1, 1, 41, 41)
    dot[..., 20, 20] = 1
    soft = soften(dot, 3)
    x = torch.arange(-20, 21).float()
    gauss = torch.exp(-(x**2) / 18) / (2 * torch.pi * 9) ** 0.5
    assert torch.allclose(soft[0, 0], gauss[:, None] * gauss, atol=1e-4)
    assert soft.sum() == pytest.approx(1, abs=1e-4)


def test_soften_leaves_flat_masks_and_radius_nought():
    mask = blobs(7, 9, 0)
    assert torch.equal(soften(mask, 0), mask)
    assert torch.allclose(soften(torch.ones(1, 1, 5, 3), 40), torch.ones(1, 1, 5, 3))
    assert not soften(torch.zeros(1, 1, 5, 3), 2).any()
    with pytest.raises(OptionError, match="radius to soften by must be at least 0, not -1"):
        soften(mask, -1)


def test_an_edge_is_softened_evenly():
    edge = torch.zeros(1, 1, 1, 40)
    edge[..., 20:] = 1
    soft = soften(edge, 2.5)[0, 0, 0]
    assert soft[19] + soft[20] == pytest.approx(1)
    assert soft[0] == 0
    assert soft[-1] == pytest.approx(1)


def test_normalise_makes_a_mean():
    mask, values = torch.tensor([[[[1.0, 0.5], [0.0, 0.5]]]]), torch.tensor([[4.0, 2], [9, 6]])
    assert (normalise_weights(mask) * values).sum() == pytest.approx((4 + 1 + 3) / 2)
    assert not normalise_weights(torch.zeros(1, 1, 2, 2)).any()


def test_combine_and_composite():
    mask, alpha = torch.full((1, 1, 2, 2), 0.5), torch.full((1, 1, 2, 2), 0.4)
    assert combine(None, None) is None
    assert combine(mask, None) is mask
    assert combine(None, alpha) is alpha
    both = combine(mask, alpha)
    assert both is not None
    assert torch.allclose(both, torch.tensor(0.2))
    painted, kept = torch.full((1, 3, 1, 3), 0.3), torch.full((1, 3, 1, 3), 0.7)
    mixed = composite(painted, kept, torch.tensor([[[[0.0, 0.25, 1.0]]]]))
    assert torch.equal(mixed[..., 0], kept[..., 0])
    assert torch.allclose(mixed[..., 1], torch.tensor(0.6))
    assert torch.equal(mixed[..., 2], painted[..., 2])


# --- masks at a layer ------------------------------------------------------------------------


def test_shrink_by_hand():
    mask = torch.tensor([[[[0.0, 1, 1, 1, 1, 0.5, 1]]]]).expand(1, 1, 3, 7)
    assert shrink_mask(mask, ["conv"])[0, 0, 1].tolist() == [0, 0, 1, 1, 0.5, 0.5, 0.5]
    assert shrink_mask(mask, ["pool"])[0, 0].tolist() == [[0, 1, 0.5, 1]] * 2
    assert shrink_mask(mask, ["conv", "pool"])[0, 0, 0].tolist() == [0, 1, 0.5, 0.5]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("size", [(1, 1), (7, 9), (13, 10), (18, 21)])
def test_features_that_saw_the_other_side_do_not_count(path, size):
    seen = seen_by(path, *size)  # (h*w, H*W)
    for seed in range(3):
        mask = blobs(*size, seed)
        mask[..., size[0] // 2 :, size[1] // 2 :] = 1
        saw_black = (seen & (mask.flatten() == 0)).any(1)
        shrunk = shrink_mask(mask, path)
        if (~saw_black).float().mean() > 0.05:  # enough remains, or the rule is another
            assert torch.equal(shrunk.flatten(), (~saw_black).float())
        assert shrunk.any()


def test_soft_masks_take_the_least_value_seen():
    path = ["conv", "pool", "conv"]
    mask = 0.3 + 0.7 * torch.rand(1, 1, 9, 11, generator=torch.Generator().manual_seed(0))
    seen = seen_by(path, 9, 11)
    least = torch.where(seen, mask.flatten(), torch.inf).amin(1)
    assert torch.equal(shrink_mask(mask, path).flatten(), least)


@pytest.mark.parametrize("size", [(1, 1), (33, 47), (200, 131)])
def test_all_ones_stays_all_ones(size):
    shrunk = shrink_mask(torch.ones(1, 1, *size), RELU5_1)
    assert shrunk.shape[-2:] == tuple(-(-side // 16) for side in size)
    assert (shrunk == 1).all()


def test_all_zeros_stays_all_zeros():
    assert not shrink_mask(torch.zeros(1, 1, 40, 40), RELU5_1).any()


@pytest.mark.parametrize("side", [1, 4, 30, 120])
@pytest.mark.parametrize("peak", [1.0, 0.25, 1e-30])
def test_a_small_region_keeps_the_features_at_its_middle(side, peak):
    mask = torch.zeros(1, 1, 256, 320)
    top, left = 64, 160
    mask[..., top : top + side, left : left + side] = peak
    shrunk = shrink_mask(mask, RELU5_1)
    assert shrunk.max() == pytest.approx(peak)
    rows, columns = torch.meshgrid(torch.arange(16), torch.arange(20), indexing="ij")
    weights = normalise_weights(shrunk)[0, 0]
    middle = [float((weights * place * 16 + 8 * weights).sum()) for place in (rows, columns)]
    assert middle == pytest.approx([top + side / 2, left + side / 2], abs=8)
    counted = (shrunk > 0).sum() * 256
    assert counted <= max(side**2, 12 * 256)


def test_the_two_rules_join_without_a_jump():
    masses = []
    for half in range(18, 36):  # erosion leaves nothing of the first, and a lot of the last
        mask = torch.zeros(1, 1, 80, 80)
        mask[..., 40 - half : 40 + half, 40 - half : 40 + half] = 1
        masses.append(float(shrink_mask(mask, ["conv"] * 20).sum() / mask.sum()))
    assert max(abs(a - b) for a, b in pairwise(masses)) < 0.25


def test_an_unknown_step_is_an_error():
    with pytest.raises(OptionError, match="unknown step 'cnv' on the path to a layer; did you mea"):
        shrink_mask(torch.ones(1, 1, 4, 4), ["conv", "cnv"])


# --- label maps ------------------------------------------------------------------------------


def test_labels_by_hand():
    content = np.array([[RED, RED, BLUE], [RED, RED, GREEN]], dtype=np.uint8)
    style = np.array([[GREEN, RED], [BLUE, BLUE]], dtype=np.uint8)
    pairs, notes = read_labels(content, style, (3, 2), (2, 2))
    assert notes == ()
    by_color = {pair.color: pair for pair in pairs}
    assert pairs[0].color == RED
    assert by_color[RED].content[0, 0].tolist() == [[1, 1, 0], [1, 1, 0]]
    assert by_color[GREEN].content[0, 0].tolist() == [[0, 0, 0], [0, 0, 1]]
    assert by_color[RED].style[0, 0].tolist() == [[0, 1], [0, 0]]
    assert by_color[BLUE].style[0, 0].tolist() == [[0, 0], [1, 1]]


def test_labels_of_one_pixel():
    pairs, notes = read_labels(np.zeros((1, 1)), np.zeros((2, 1)), (5, 4), (1, 2))
    assert [pair.color for pair in pairs] == [(0, 0, 0)]
    assert (pairs[0].content == 1).all()
    assert pairs[0].content.shape == (1, 1, 4, 5)
    assert notes == ("label map 'content' is 1 x 1, resized to 5 x 4",)


def test_a_pixel_is_a_label_where_it_is_no_blend(tmp_path):
    image = Image.new("P", (100, 100))
    image.putpalette([*RED, *GREEN, *BLUE, 1, 0, 0])
    image.paste(1, (0, 0, 50, 50))
    image.paste(3, (0, 60, 20, 80))
    image.putpixel((70, 70), 2)
    path = saved(tmp_path, "c.png", image)
    pairs, notes = read_labels(path, path, (100, 100), (100, 100))
    assert {pair.color for pair in pairs} == {RED, GREEN, BLUE, (1, 0, 0)}
    assert sorted(int(pair.style.sum()) for pair in pairs) == [1, 400, 2500, 7099]
    assert notes == ()


def test_neighbouring_greys_are_labels_when_drawn():
    numbers = np.repeat(np.repeat(np.arange(150, dtype=np.uint8).reshape(10, 15), 6, 0), 6, 1)
    pairs, notes = read_labels(numbers, numbers[::-1], (90, 60), (90, 60))
    assert sorted(pair.color[0] for pair in pairs) == list(range(150))
    assert all(pair.content.sum() == 36 for pair in pairs)
    assert notes == ()
    with pytest.raises(ImageError, match=r"^label #959595 \(0.667 % of .*, #070707, 141 more$"):
        read_labels(numbers, np.minimum(numbers, 148), (90, 60), (90, 60))


@pytest.mark.parametrize("size", [(60, 45), (77, 51), (300, 200), (7, 5)])
def test_resized_labels_sum_to_one(size):
    pairs, notes = read_labels(scene(), scene(60, 80), size, (60, 80))
    assert len(pairs) == 3
    total = sum(pair.content for pair in pairs)
    assert torch.allclose(torch.as_tensor(total), torch.ones(1, 1, size[1], size[0]), atol=1e-5)
    assert notes[0].startswith(f"label map 'content' is 120 x 90, resized to {size[0]} x {size[1]}")


@pytest.mark.parametrize(("quality", "sampling"), [(95, 0), (75, 2), (30, 2), (10, 2)])
def test_labels_saved_as_jpeg(tmp_path, quality, sampling):
    drawn, size = scene(240, 180, third=(255, 255, 255)), (240, 180)
    jpeg = saved(tmp_path, "c.jpg", drawn, quality=quality, subsampling=sampling)
    style = saved(tmp_path, "s.jpg", drawn.rotate(180), quality=60)
    wanted = {pair.color: pair for pair in read_labels(drawn, drawn, size, size)[0]}
    for partner in (style, drawn):
        pairs, notes = read_labels(jpeg, partner, size, size)
        assert len(pairs) == 3
        for pair in pairs:
            apart = {color: np.abs(np.subtract(color, pair.color)).max() for color in wanted}
            color = min(apart, key=apart.__getitem__)
            assert apart[color] < 20
            assert (pair.content - wanted[color].content).abs().mean() < 0.02
        assert (torch.cat([pair.content for pair in pairs]).sum(0) == 1).all()
        assert "'c.jpg' has" in notes[0]
        assert "of its pixels to the nearest of 3 label colours" in notes[0]


@pytest.mark.parametrize("how", [Image.Resampling.BICUBIC, Image.Resampling.LANCZOS])
@pytest.mark.parametrize("size", [(180, 135), (500, 375), (901, 675)])
def test_labels_with_blended_edges(how, size):
    blended = scene(300, 225, third=(128, 128, 128)).resize(size, how)
    clean = scene(200, 150, third=(128, 128, 128))
    pairs, notes = read_labels(blended, clean, size, (200, 150))
    assert {pair.color for pair in pairs} == {RED, GREEN, (128, 128, 128)}
    assert len(notes) == 1
    assert "of its pixels to the nearest of 3 label colours" in notes[0]


def test_one_column_of_blends_is_no_label():
    image = np.zeros((40, 40, 3), dtype=np.uint8)
    image[:, 20] = 128
    image[:, 21:] = 255
    pairs, notes = read_labels(image, (image > 128).astype(np.uint8) * 255, (40, 40), (40, 40))
    assert {pair.color for pair in pairs} == {(0, 0, 0), (255, 255, 255)}
    assert "gave 2.5 % of its pixels" in notes[0]


def test_specks_without_a_partner_go_to_the_nearest():
    image = np.full((100, 100, 3), RED, dtype=np.uint8)
    image[5:8, 5:8] = (250, 250, 0)
    image[50:] = GREEN
    pairs, notes = read_labels(image, scene(third=RED), (100, 100), (120, 90))
    assert {pair.color for pair in pairs} == {RED, GREEN}
    says = "has 3 colours: gave 0.09 % of its pixels to the nearest of 2 label colours"
    assert notes == (f"label map 'content' {says}",)


def test_transparent_pixels_have_no_label():
    image = scene().convert("RGBA")
    image.paste((9, 9, 9, 0), (0, 0, 120, 20))
    pairs, notes = read_labels(image, scene(), (120, 90), (120, 90))
    total = torch.cat([pair.content for pair in pairs]).sum(0)[0]
    assert not total[:20].any()
    assert (total[20:] == 1).all()
    assert notes == ()
    image.putalpha(0)
    with pytest.raises(ImageError, match="label map 'style' is transparent everywhere"):
        read_labels(scene(), image, (120, 90), (120, 90))


def test_a_label_without_a_partner_is_an_error(tmp_path):
    content = np.zeros((10, 10, 3), dtype=np.uint8)
    content[:], content[:3, :4] = GREEN, RED
    style = np.zeros((10, 10, 3), dtype=np.uint8)
    style[:], style[5:] = GREEN, BLUE
    c = saved(tmp_path, "c.png", Image.fromarray(content))
    s = saved(tmp_path, "s.png", Image.fromarray(style))
    says = r"^label #ff0000 \(12 % of 'c.png'\) has no partner in 's.png', which has "
    with pytest.raises(ImageError, match=says + "#0000ff, #00ff00$"):
        read_labels(c, s, (10, 10), (10, 10))
    content[:3] = GREEN
    c = saved(tmp_path, "c.png", Image.fromarray(content))
    says = r"^label #0000ff \(50 % of 's.png'\) has no partner in 'c.png', which has #00ff00$"
    with pytest.raises(ImageError, match=says):
        read_labels(c, s, (10, 10), (10, 10))


def test_noise_is_no_label_map():
    noise = np.random.default_rng(0).integers(0, 256, (60, 60, 3), dtype=np.uint8)
    with pytest.raises(
        ImageError, match="label map 'style' has 3600 colours and no region of one; draw"
    ):
        read_labels(scene(), noise, (120, 90), (60, 60))


def test_files_of_one_name_are_told_apart(tmp_path):
    (tmp_path / "style").mkdir()
    content = saved(tmp_path, "labels.png", scene(third=RED))
    style = saved(tmp_path, "style/labels.png", scene())
    with pytest.raises(ImageError, match=r"^label #0000ff \(.* % of 'style'\) .* in 'content', "):
        read_labels(content, style, (120, 90), (120, 90))


def test_a_compressed_map_of_the_same_bytes_is_read_the_same():
    stored = io.BytesIO()
    scene().save(stored, "JPEG", quality=50)
    first, second = (read_labels(Image.open(stored), scene(), (99, 70), (50, 50)) for _ in "ab")
    assert first[1] == second[1]
    assert all(torch.equal(a.content, b.content) for a, b in zip(first[0], second[0], strict=True))
