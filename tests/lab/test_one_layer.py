"""Textures, inversions and dreams: what they come near to, by measure, and sums worked by hand."""

from __future__ import annotations

import dataclasses
import itertools
import json
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from conftest import draw_picture, measure_seam
from torch import Tensor

from impasto.errors import ImageError, OptionError
from impasto.images.opening import read_recipe
from impasto.images.picture import Picture
from impasto.images.reading import read_image
from impasto.images.resizing import resize_pixels
from impasto.lab import dream as dreams
from impasto.lab.dream import Dream, Excitement
from impasto.lab.inversion import FeatureMatch, Inversion
from impasto.lab.options import DreamOptions, InvertOptions, TextureOptions
from impasto.lab.texture import Texture
from impasto.networks.classifier import load_classifier
from impasto.networks.vgg import Backbone
from impasto.painting.loop import PictureWork
from impasto.painting.result import Painting
from impasto.recipes import parse_recipe

pytestmark = pytest.mark.arithmetic

SEEN = ("relu1_1", "relu2_1", "relu3_1", "relu4_1")
RANGE = 80 / 255


def read_texture(**values: Any) -> TextureOptions:
    quick = {"size": "64x48", "steps": 6, "precision": "float32", "layout": "planes"}
    return TextureOptions.read({**quick, **values})


def read_inversion(**values: Any) -> InvertOptions:
    quick = {"layer": ("relu2_1",), "steps": 5, "precision": "float32", "layout": "planes"}
    return InvertOptions.read({**quick, **values})


def read_dream(**values: Any) -> DreamOptions:
    quick = {"size": 96, "octaves": 2, "steps": 30, "precision": "float32", "layout": "planes"}
    return DreamOptions.read({**quick, **values})


def find(work: PictureWork) -> Painting:
    for _ in work.steps():
        pass
    return work.result()


def pixels_of(width: int, height: int, seed: int) -> Tensor:
    return read_image(draw_picture(width, height, seed)).pixels


def as_bytes(painting: Painting) -> bytes:
    return painting.pixels.numpy().tobytes()


def break_off(work: PictureWork, after: int) -> None:
    """As Ctrl-C does it: after so many steps, with what there is then kept."""
    steps = work.steps()
    for _ in range(after):
        next(steps)
    work.save_progress()


# --- textures -----------------------------------------------------------------------------------


def look(compact: Backbone, pixels: Tensor) -> list[np.ndarray]:
    """Gram matrices over positions."""
    features = compact(pixels, SEEN)
    flat = [features[name][0].flatten(1).double().numpy() for name in SEEN]
    return [each @ each.T / each.shape[1] for each in flat]


def compare(ours: Sequence[np.ndarray], theirs: Sequence[np.ndarray]) -> list[float]:
    pairs = zip(ours, theirs, strict=True)
    return [float(np.linalg.norm(a - b) / np.linalg.norm(b)) for a, b in pairs]


@pytest.mark.parametrize("tileable", [False, True])
def test_a_texture_is_like_its_exemplar_and_not_like_another(compact, tileable):
    own, other = draw_picture(64, 64, 2), draw_picture(64, 64, 5)
    options = read_texture(size="96x80", steps=20, tileable=tileable)
    painting = find(Texture(own, options))
    assert painting.pixels.shape == (1, 3, 80, 96)  # more of it than there was
    ours, mine, others = (
        look(compact, pixels)
        for pixels in (painting.pixels, read_image(own).pixels, read_image(other).pixels)
    )
    for near, far, between in zip(
        compare(ours, mine), compare(ours, others), compare(others, mine), strict=True
    ):
        assert near < 0.6 * far
        assert near < 0.6 * between


def test_a_tileable_texture_has_no_seam():
    exemplar = draw_picture(64, 64, 2)
    plain, tileable = (
        find(Texture(exemplar, read_texture(size="80", steps=20, tileable=each))).pixels
        for each in (False, True)
    )
    assert max(measure_seam(tileable)) < 1.3
    assert min(measure_seam(plain)) > 2


def test_a_tileable_texture_through_several_sizes_has_none(photo):
    options = read_texture(size="128x96", start_size=64, steps=16, tileable=True)
    work = Texture(photo, options)
    assert [level.size for level in work.levels] == [(64, 48), (128, 96)]
    assert max(measure_seam(find(work).pixels)) < 1.3


def test_no_picture_s_content_counts(photo):
    work = Texture(photo, read_texture())
    goal, _ = work.begin(work.levels[0])
    total, parts = goal(goal.show(pixels_of(64, 48, 3)), 0)
    assert float(parts["content"]) == 0
    assert float(total) == pytest.approx(15 * float(parts["style"]), rel=1e-6)  # none is outside


def test_the_texture_itself_costs_nothing(photo):
    work = Texture(photo, read_texture(size="64x48", style_loss=("gram",)))
    goal, _ = work.begin(work.levels[0])
    assert float(goal(goal.show(read_image(photo).pixels), 0)[0]) < 1e-6
    assert float(goal(goal.show(pixels_of(64, 48, 3)), 0)[0]) > 0.1


@pytest.mark.parametrize("scale", [0.5, 1.0, 2.0])
def test_the_scale_is_the_size_at_which_the_exemplar_is_seen(scale, picture):
    work = Texture(picture, read_texture(size="96", style_scale=scale))  # of 56 x 72 pixels
    view = work.scene.at((96, 96), 1, torch.device("cpu"))
    (sample,) = view.regions[0].samples
    assert sample.pixels.shape[2:] == (72 * scale, 56 * scale)
    coarse = work.scene.at((48, 48), 1, torch.device("cpu")).regions[0].samples[0]
    assert coarse.pixels.shape[2:] == (36 * scale, 28 * scale)  # it shrinks with the picture


@pytest.mark.parametrize("tileable", [False, True])
def test_a_texture_carries_the_recipe_that_makes_it_again(photo, tmp_path, tileable):
    options = read_texture(tileable=tileable, style_scale=0.75, style_loss=("gram", "moments=2"))
    painting = find(Texture(photo, options))
    painting.save(tmp_path / "texture.png")
    recipe = json.loads(str(read_recipe(tmp_path / "texture.png")))
    assert recipe["operation"] == "texture"
    assert recipe["style"] == [photo.name]
    assert "content" not in recipe
    again = TextureOptions.read(parse_recipe(json.dumps(recipe), "texture"))
    assert again == options
    assert as_bytes(find(Texture(photo, again))) == as_bytes(painting)


def test_the_seed_is_the_texture(photo):
    first, same, other = (
        as_bytes(find(Texture(photo, read_texture(seed=s, steps=2)))) for s in (3, 3, 4)
    )
    assert first == same
    assert first != other


@pytest.mark.parametrize("values", [{}, {"tileable": True, "optimizer": "adam", "average": 0.5}])
def test_a_texture_broken_off_comes_to_the_same_bytes(values, photo, tmp_path):
    options = read_texture(size="88x72", start_size=44, steps=5, **values)
    work, file = Texture(photo, options), tmp_path / "state"
    whole = as_bytes(find(work))
    assert [level.steps for level in work.levels] == [3, 2]
    for after in range(1, 6):
        break_off(Texture(photo, options, checkpoint=file), after)
        taken_up = Texture(photo, options, checkpoint=file)
        assert f"taken up at step {after + 1}" in taken_up.notes
        assert as_bytes(find(taken_up)) == whole, f"broken off after step {after}"
        file.unlink()


def test_another_texture_s_checkpoint_is_refused(photo, picture, tmp_path):
    file = tmp_path / "state"
    break_off(Texture(photo, read_texture(), checkpoint=file), 1)
    with pytest.raises(OptionError, match="of another painting"):
        Texture(picture, read_texture(), checkpoint=file)
    with pytest.raises(OptionError, match="of another painting"):
        Texture(photo, read_texture(style_scale=0.5), checkpoint=file)


@pytest.mark.parametrize("size", [(1, 1), (20, 7), (7, 20), (150, 3)])
@pytest.mark.parametrize("tileable", [False, True])
def test_an_exemplar_of_any_size_is_one(size, tileable):
    options = read_texture(size="33x47", steps=2, tileable=tileable)
    painting = find(Texture(draw_picture(*size, 1), options))
    assert painting.pixels.shape == (1, 3, 47, 33)
    assert painting.pixels.isfinite().all()


def test_the_hidden_part_of_an_exemplar_does_not_teach():
    shown = draw_picture(48, 32, 2)
    hidden = np.zeros((32, 48, 3), np.uint8) + np.array([255, 0, 0], np.uint8)
    opaque = np.repeat([255, 0], 32)[:, None, None] * np.ones((1, 48, 1))
    both = np.concatenate([np.concatenate([shown, hidden]), opaque.astype(np.uint8)], -1)
    painting = find(Texture(both, read_texture(size="64", steps=8)))
    expected = torch.from_numpy(shown.reshape(-1, 3).mean(0) / 255).float()
    torch.testing.assert_close(painting.pixels.mean((0, 2, 3)), expected, rtol=0, atol=0.05)


def test_before_the_first_step_a_texture_is_grey(photo):
    painting = Texture(photo, read_texture()).result()
    assert torch.equal(painting.pixels, torch.full((1, 3, 48, 64), 0.5))


@pytest.mark.parametrize("size", ["15", "16x70000", "0x40", "x", "64x48x3", "-64", "1e3", ""])
def test_what_is_no_size(size):
    with pytest.raises(OptionError, match=r"^size: .* is wrong: (each side must be|give WIDTHx)"):
        read_texture(size=size)


def test_a_texture_too_small_or_too_large(photo):
    with pytest.raises(ImageError, match=r"16 x 64 is too small for layer relu5_1.*at least 32"):
        Texture(photo, read_texture(size="16x64"))
    with pytest.raises(ImageError, match=r"'texture' has 4295\.0 megapixels; the cap is 100"):
        Texture(photo, read_texture(size="65536"))
    with pytest.raises(ImageError, match="64 x 48 needs more than the 1 MiB granted"):
        Texture(photo, read_texture(memory="1M"))


# --- inversion ----------------------------------------------------------------------------------


def measure_decibels(ours: Tensor, theirs: Tensor) -> float:
    return -10 * math.log10(float((ours - theirs).square().mean()))


def test_what_comes_back_falls_with_depth():
    photo = 0.5 + 0.6 * (pixels_of(80, 64, 1) - 0.5)
    decibels = []
    for layer in SEEN:
        options = read_inversion(layer=(layer,), steps=80, alpha_weight=0.01)
        decibels.append(measure_decibels(find(Inversion(photo, options)).pixels, photo))
    assert decibels[0] > 30
    for shallow, deep in itertools.pairwise(decibels):
        assert deep < shallow - 1


def test_without_regularisers_the_first_layer_gives_all_back():
    photo = pixels_of(64, 64, 1)
    options = read_inversion(layer=("relu1_1",), steps=120, alpha_weight=0, tv_weight=0)
    assert measure_decibels(find(Inversion(photo, options)).pixels, photo) > 35


def match(compact: Backbone, photo: Tensor, **values: Any) -> FeatureMatch:
    return FeatureMatch(compact, "relu1_1", photo, read_inversion(**values))


def test_regularisers_by_hand(compact):
    photo = torch.full((1, 3, 2, 3), 0.5)
    pixels = photo.clone()
    pixels[0, 0, 0, 0] = 0.5 + RANGE  # one B from grey, in a corner: two neighbours
    pixels[0, 1, 1, 1] = 0.5 - RANGE / 2  # half of one, with three neighbours
    total, parts = match(compact, photo)(pixels, 0)
    assert float(parts["alpha"]) == pytest.approx((1 + 0.5**6) / 18, rel=1e-5)
    assert float(parts["tv"]) == pytest.approx((2 * 1 + 3 * 0.25) / 6, rel=1e-5)
    weighted, more = match(compact, photo, alpha_weight=3, tv_weight=0.5)(pixels, 0)
    expected = parts["content"] + 3 * parts["alpha"] + 0.5 * parts["tv"]
    assert float(weighted) == pytest.approx(float(expected), rel=1e-5)
    assert more == parts
    plain = InvertOptions()
    usual = parts["content"] + plain.alpha_weight * parts["alpha"] + plain.tv_weight * parts["tv"]
    assert float(total) == pytest.approx(float(usual), rel=1e-5)


def test_the_power_of_differences_by_hand(compact):
    photo = torch.full((1, 3, 2, 2), 0.5)
    pixels = photo.clone()
    pixels[0, 2, 1, 1] += 2 * RANGE / 4  # differs from the one above and the one to the left
    _, parts = match(compact, photo, tv_power=4)(pixels, 0)
    # Each neighbour has one difference of its own: twice 0.5^4.
    assert float(parts["tv"]) == pytest.approx(2 * 0.5**4 / 4, rel=1e-4)


def test_the_distance_is_over_the_photograph_s_own(compact):
    photo, pixels = pixels_of(20, 16, 1), pixels_of(20, 16, 2)
    goal = match(compact, photo, alpha_weight=0, tv_weight=0)
    total, parts = goal(photo, 0)
    assert float(total) == float(parts["content"]) == 0
    ours, theirs = (compact(p, ["relu1_1"])["relu1_1"].double() for p in (pixels, photo))
    expected = float((ours - theirs).square().sum() / theirs.square().sum())
    assert float(goal(pixels, 0)[0]) == pytest.approx(expected, rel=1e-5)


def test_what_leaves_the_range_costs(compact):
    photo = torch.full((1, 3, 2, 2), 0.5)
    pixels = photo.clone()
    pixels[0, 0, 0, 0] = 1.25
    total, parts = match(compact, photo, alpha_weight=0, tv_weight=0)(pixels, 0)
    outside = float(total - parts["content"])
    assert outside == pytest.approx(100 * 0.25**2 / 12, rel=1e-3)


def test_the_same_seed_gives_the_same_inversion(photo):
    first, same, other = (
        as_bytes(find(Inversion(photo, read_inversion(seed=seed)))) for seed in (1, 1, 2)
    )
    assert first == same
    assert first != other


def test_an_inversion_starts_from_noise_and_not_from_the_photograph(photo):
    work = Inversion(photo, read_inversion())
    _, start = work.begin(work.levels[0])
    assert float(start.mean()) == pytest.approx(0.5, abs=0.005)
    assert float(start.std()) == pytest.approx(0.05, rel=0.05)
    assert torch.equal(work.result().pixels, torch.full((1, 3, 48, 64), 0.5))


def test_an_inversion_is_never_larger_than_its_photograph(photo):  # of 64 x 48 pixels
    for size, expected in ((None, (48, 64)), (32, (24, 32)), (500, (48, 64))):
        work = Inversion(photo, read_inversion(size=size, steps=1))
        assert find(work).pixels.shape[2:] == expected


def test_the_recipe_of_an_inversion_reads_back(photo):
    options = read_inversion(tv_power=1.5, seed=4)
    painting = find(Inversion(photo, options))
    assert painting.recipe["operation"] == "invert"
    assert painting.recipe["content"] == photo.name
    again = InvertOptions.read(parse_recipe(json.dumps(painting.recipe), "inversion"))
    assert again == options
    assert as_bytes(find(Inversion(photo, again))) == as_bytes(painting)


@pytest.mark.parametrize("values", [{}, {"optimizer": "adam", "canvas": "fourier"}])
def test_an_inversion_broken_off_comes_to_the_same_bytes(values, photo, tmp_path):
    options, file = read_inversion(**values), tmp_path / "state"
    whole = as_bytes(find(Inversion(photo, options)))
    for after in range(1, 6):
        break_off(Inversion(photo, options, checkpoint=file), after)
        taken_up = Inversion(photo, options, checkpoint=file)
        assert f"taken up at step {after + 1}" in taken_up.notes
        assert as_bytes(find(taken_up)) == whole, f"broken off after step {after}"
        file.unlink()


def test_what_cannot_be_inverted(photo):
    with pytest.raises(OptionError, match="unknown layer 'relu9_1' for compact; did you mean"):
        Inversion(photo, read_inversion(layer=("relu9_1",)))
    with pytest.raises(OptionError, match="an inversion is of one layer"):
        Inversion(photo, read_inversion(layer=("relu1_1", "relu2_1")))
    with pytest.raises(ImageError, match="10 x 7 is too small for layer relu5_1"):
        Inversion(draw_picture(10, 7), read_inversion(layer=("relu5_1",)))
    with pytest.raises(ImageError, match="16 x 12 is too small for layer relu5_1"):
        Inversion(photo, read_inversion(layer=("relu5_1",), size=16))


def test_a_size_is_offered_only_if_it_fits(photo):
    with pytest.raises(ImageError, match=r"64 x 48 needs more memory .*and so does any other size"):
        Inversion(photo, read_inversion(memory="1M"))
    large = Picture(torch.zeros(1, 3, 1, 1).expand(1, 3, 6000, 8000))
    with pytest.raises(ImageError, match=r"8000 x 6000 needs more .*; --size (\d+) would fit") as e:
        Inversion(large, read_inversion(memory="2G", size=None))
    side = int(str(e.value).split("--size ")[1].split()[0])
    assert Inversion(large, read_inversion(memory="2G", size=side)).size[0] == side


# --- dreams -------------------------------------------------------------------------------------


def score_class(work: Dream, pixels: Tensor) -> Tensor:
    """What the embedded classifier sees in a picture, by its table of names."""
    features = work.backbone(pixels, ["relu5_4"])["relu5_4"]
    return load_classifier("compact").scores(features)[0]


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("label", ["school bus", "goldfish"])
def test_a_class_is_dreamt_of(label, seed):
    """By far: nothing else comes near, whatever a processor's rounding."""
    work = Dream(options=read_dream(label=label, size=112, steps=50, seed=seed))
    painting = find(work)
    names = load_classifier("compact").names
    scores = score_class(work, painting.pixels)
    first, second = scores.topk(2).values.tolist()
    assert names[int(scores.argmax())] == label
    assert first > second + 4
    measured = [step.more["score"] for step in painting.history]
    assert sum(measured[-5:]) / 5 > sum(measured[:5]) / 5 + 5
    assert first > measured[0] + 5


def test_the_shifts_of_a_class_grow_by_hand():
    options = read_dream(label="goldfish", size=160, octave_scale=2.0, steps=40, jitter=16)
    goal = Excitement(Dream(options=options), torch.zeros(1, 3, 80, 80))
    half, whole = torch.zeros(1, 3, 80, 80), torch.zeros(1, 3, 160, 160)
    steps = (0, 5, 10, 20, 39)
    assert [goal.find_reach(half, step) for step in steps] == [0, 2, 4, 8, 8]
    assert [goal.find_reach(whole, step) for step in steps] == [0, 4, 8, 16, 16]


def test_the_score_of_a_class_is_before_the_softmax():
    work = Dream(options=read_dream(label="goldfish", jitter=0))
    goal, start = work.begin(work.levels[0])
    number = load_classifier("compact").names.index("goldfish")
    _, parts = goal(start, 0)
    assert float(parts["score"]) == pytest.approx(float(score_class(work, start)[number]), rel=1e-4)


def test_a_channel_is_excited_several_times(compact):
    painting = find(Dream(options=read_dream(layer="relu3_1", channel=5)))

    def measure(pixels: Tensor) -> float:
        return float(compact(pixels, ["relu3_1"])["relu3_1"][0, 5].mean())

    noise = 0.5 + 0.05 * torch.randn(1, 3, 96, 96, generator=torch.Generator().manual_seed(9))
    assert measure(painting.pixels) > 3 * measure(noise)


def test_a_deep_dream_is_the_photograph_with_more_of_what_a_layer_sees(compact, tmp_path):
    photo = draw_picture(96, 80, 1)
    options = read_dream(layer="relu4_1", size=None, steps=20)
    painting = find(Dream(photo, options))
    assert painting.pixels.shape == (1, 3, 80, 96)

    def measure(pixels: Tensor) -> float:
        return float(compact(pixels, ["relu4_1"])["relu4_1"].square().mean().sqrt())

    own = read_image(photo).pixels
    assert measure(painting.pixels) > 1.2 * measure(own)
    assert float((painting.pixels - own).abs().mean()) < 0.15  # and is the photograph still
    painting.save(tmp_path / "dream.png")
    recipe = json.loads(str(read_recipe(tmp_path / "dream.png")))
    assert recipe["operation"] == "dream"
    assert recipe["content"] == "picture"
    assert DreamOptions.read(recipe["options"]) == options


def test_a_class_in_the_recipe_reads_back():
    options = read_dream(**{"class": "goldfish"}, steps=2)
    painting = find(Dream(options=options))
    assert painting.recipe["options"]["class"] == "goldfish"
    again = DreamOptions.read(painting.recipe["options"])
    assert again == options
    assert as_bytes(find(Dream(options=again))) == as_bytes(painting)


@pytest.mark.parametrize("of", ["class", "photo", "channel"])
def test_a_dream_broken_off_comes_to_the_same_bytes(of, tmp_path):
    values, photo, file = {"steps": 5}, None, tmp_path / "state"
    if of == "photo":
        values, photo = values | {"layer": "relu4_1", "average": 0.5}, draw_picture(96, 80, 1)
    elif of == "class":
        values |= {"label": "goldfish"}
    else:
        values |= {"layer": "relu2_1", "channel": 1, "canvas": "pixels", "optimizer": "lbfgs"}
    options = read_dream(**values)
    work = Dream(photo, options)
    whole = as_bytes(find(work))
    assert [level.steps for level in work.levels] == [2, 3]
    for after in range(1, 6):
        break_off(Dream(photo, options, checkpoint=file), after)
        taken_up = Dream(photo, options, checkpoint=file)
        assert f"taken up at step {after + 1}" in taken_up.notes
        assert as_bytes(find(taken_up)) == whole, f"broken off after step {after}"
        file.unlink()


def test_with_other_memory_it_is_the_same_dream(photo, tmp_path):
    values, file = {"layer": "relu3_1", "size": 64}, tmp_path / "state"
    break_off(Dream(photo, read_dream(**values), checkpoint=file), 2)
    taken_up = Dream(photo, read_dream(**values, memory="4G"), checkpoint=file)
    assert "taken up at step 3" in taken_up.notes
    assert taken_up.recipe()["options"]["memory"] is None


def test_the_photograph_that_is_dreamt_of_is_part_of_the_checkpoint(photo, picture, tmp_path):
    options, file = read_dream(layer="relu3_1", size=64), tmp_path / "state"
    break_off(Dream(photo, options, checkpoint=file), 1)
    same_name = Picture(read_image(picture).pixels, name=photo.name)
    with pytest.raises(OptionError, match="of another painting"):
        Dream(same_name, options, checkpoint=file)


def list_shifts(goal: Excitement, count: int) -> list[Tensor]:
    """What is looked at, at each of so many steps, of a picture with one white pixel."""
    seen: list[Tensor] = []
    goal.score = lambda pixels: seen.append(pixels.detach()) or pixels.sum()  # type: ignore[method-assign]
    pixels = torch.zeros(1, 3, 64, 64)
    pixels[..., 30, 20] = 1
    for step in range(count):
        goal(pixels, step)
    return [(each[0, 0] == 1).nonzero()[0] - torch.tensor([30, 20]) for each in seen]


def begin_jittered(seed: int, jitter: int) -> Excitement:
    options = read_dream(layer="relu1_1", channel=0, size=64, seed=seed, jitter=jitter)
    work = Dream(options=options)
    goal, _ = work.begin(work.levels[0])
    assert isinstance(goal, Excitement)
    return goal


def test_jitter_is_drawn_from_the_seed_and_the_step():
    first, same, other, none = (
        torch.stack(list_shifts(begin_jittered(seed, jitter), 200))
        for seed, jitter in ((1, 3), (1, 3), (2, 3), (1, 0))
    )
    assert torch.equal(first, same)
    assert not torch.equal(first, other)
    assert none.abs().max() == 0
    assert first.min() == -3
    assert first.max() == 3
    places = {tuple(each.tolist()) for each in first}
    assert len(places) > 40  # of 49


@pytest.mark.parametrize(
    ("values", "sizes"),
    [
        ({"size": 200, "octaves": 3, "octave_scale": 2.0}, [(50, 50), (100, 100), (200, 200)]),
        ({"size": 200, "octaves": 20, "octave_scale": 2.0}, [(50, 50), (100, 100), (200, 200)]),
        ({"size": 196, "octaves": 3, "octave_scale": 1.4}, [(100, 100), (140, 140), (196, 196)]),
        ({"size": 200, "octaves": 1}, [(200, 200)]),
        ({"size": 40, "octaves": 5}, [(40, 40)]),
        ({"size": None, "octaves": 2, "octave_scale": 2.0}, [(112, 112), (224, 224)]),
    ],
)
def test_octaves_by_hand(values, sizes):
    work = Dream(options=read_dream(label="goldfish", **values))
    assert [level.size for level in work.levels] == sizes
    assert sum(level.steps for level in work.levels) == 30


def test_octaves_of_a_photograph_keep_its_shape():
    photo = draw_picture(120, 160, 1)
    work = Dream(photo, read_dream(layer="relu3_1", size=None, octaves=5, octave_scale=1.5))
    # 47 x 63 would be next, and less than 48 pixels show nothing.
    assert [level.size for level in work.levels] == [(53, 71), (80, 107), (120, 160)]
    larger = Dream(photo, read_dream(layer="relu3_1", size=320, octaves=1))
    assert larger.size == (240, 320)


def test_no_octave_is_too_small_for_the_network(monkeypatch):
    wide = dataclasses.replace(load_classifier("compact"), least=90)
    monkeypatch.setattr(dreams, "load_classifier", lambda *_, **__: wide)
    sizes = [level.size for level in Dream(options=read_dream(label="goldfish", size=128)).levels]
    assert sizes == [(91, 91), (128, 128)]
    sizes = [level.size for level in Dream(options=read_dream(label="goldfish", size=120)).levels]
    assert sizes == [(120, 120)]
    with pytest.raises(ImageError, match=r"80 x 80 is too small for a classifier.* 90 x 90"):
        Dream(options=read_dream(label="goldfish", size=80))


def test_from_one_octave_to_the_next_the_photograph_s_detail_comes_back():
    photo = draw_picture(128, 100, 1)
    work = Dream(photo, read_dream(layer="relu3_1", size=None, octave_scale=2.0, octaves=2))
    own = read_image(photo).pixels
    small = resize_pixels(own, 64, 50)
    _, start = work.begin(work.levels[0])
    assert torch.equal(start, small)
    work.run.best = small  # nothing was dreamt: the photograph itself is left
    _, start = work.begin(work.levels[1])
    torch.testing.assert_close(start, own, rtol=0, atol=1e-6)
    dreamt = small.clone()
    dreamt[..., 10:20, 10:20] = 0.5
    work.run.best = dreamt
    _, start = work.begin(work.levels[1])
    detail = own - resize_pixels(small, 128, 100)
    expected = (resize_pixels(dreamt, 128, 100) + detail).clamp(0, 1)
    torch.testing.assert_close(start, expected, rtol=0, atol=1e-6)
    torch.testing.assert_close(start[..., 60:, 60:], own[..., 60:, 60:], rtol=0, atol=1e-6)


def test_what_holds_a_dream_back_by_hand():
    plain = {"layer": "relu2_1", "channel": 1, "size": 64, "jitter": 0}
    parts, totals = [], []
    for more in ({"l2_weight": 0, "tv_weight": 0}, {"l2_weight": 2, "tv_weight": 3}):
        work = Dream(options=read_dream(**plain, **more))
        goal, _ = work.begin(work.levels[0])
        pixels = torch.full((1, 3, 64, 64), 0.5)
        pixels[..., 8, 8] += RANGE / 2
        total, each = goal(pixels, 0)
        totals.append(float(total))
        parts.append({name: float(part) for name, part in each.items()})
    assert parts[0] == parts[1]
    assert parts[0]["l2"] == pytest.approx(0.25 / 64**2, rel=1e-4)
    assert parts[0]["tv"] == pytest.approx(3 * 4 * 0.25 / 64**2, rel=1e-4)
    assert totals[0] == pytest.approx(-parts[0]["score"], rel=1e-6)
    assert totals[1] - totals[0] == pytest.approx(2 * parts[0]["l2"] + 3 * parts[0]["tv"], rel=1e-3)


def test_a_photograph_is_held_on_to_and_not_grey(photo):
    work = Dream(photo, read_dream(layer="relu2_1", size=64))
    goal, start = work.begin(work.levels[0])
    assert float(goal(start, 0)[1]["l2"]) == 0
    assert float(goal(start + RANGE, 0)[1]["l2"]) == pytest.approx(1, rel=1e-4)
    # Of the photograph itself, excitement is one: shifts wrap, and change little of it.
    assert float(goal(start, 0)[1]["score"]) == pytest.approx(1, rel=0.1)


def test_more_weight_less_contrast():
    contrasts = []
    for weight in (1, 30, 1000):
        options = read_dream(layer="relu3_1", channel=5, size=64, steps=15, l2_weight=weight)
        contrasts.append(float(find(Dream(options=options)).pixels.std()))
    assert contrasts[0] > 1.5 * contrasts[1] > 2 * contrasts[2]


def test_before_the_first_step_a_dream_is_what_it_starts_from(photo):
    assert torch.equal(
        Dream(photo, read_dream(layer="relu3_1", size=None)).result().pixels,
        read_image(photo).pixels,
    )
    nothing = Dream(options=read_dream(label="goldfish", size=64)).result().pixels
    assert torch.equal(nothing, torch.full((1, 3, 64, 64), 0.5))


def test_what_was_done_to_a_photograph_is_said(photo):
    noted = Picture(read_image(photo).pixels, notes=("turned as its EXIF says",), name="a.jpg")
    for work in (
        Dream(noted, read_dream(layer="relu3_1", size=64)),
        Inversion(noted, read_inversion()),
        Texture(noted, read_texture()),
    ):
        assert "a.jpg: turned as its EXIF says" in work.notes


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({}, "a dream is of a class or of a layer: give --class or --layer"),
        ({"label": "goldfish", "layer": "relu1_1"}, "give --class or --layer"),
        ({"label": "goldfish", "channel": 3}, "a channel is one of a layer: give --layer too"),
        (
            {"layer": "relu3_1"},
            "a whole layer is excited from a photograph: give one, or --channel",
        ),
        ({"layer": "relu3_1", "channel": 64}, "relu3_1 has 64 channels, 0 to 63, and no 64"),
        ({"layer": "relu3_9", "channel": 1}, "unknown layer 'relu3_9' for compact; did you mean"),
        ({"label": "goldfih"}, "unknown class 'goldfih'; did you mean 'goldfish'?"),
        ({"label": "xyzzy"}, "unknown class 'xyzzy'; 'impasto classes' lists the 200 there are"),
        ({"label": "goldfish", "size": 16}, "16 x 16 is too small for a classifier"),
        ({"layer": "relu5_1", "channel": 0, "size": 16}, "16 x 16 is too small for layer relu5_1"),
        ({"label": "goldfish", "memory": "1M"}, "and so does any other size"),
    ],
)
def test_what_is_no_dream(values, text):
    with pytest.raises((OptionError, ImageError)) as error:
        Dream(options=read_dream(**values))
    assert text in str(error.value)
    assert "\n" not in str(error.value)


def test_a_channel_counts_from_nought():
    with pytest.raises(OptionError, match="channel: -1 is wrong: input should be greater than"):
        read_dream(layer="relu3_1", channel=-1)
    assert Dream(options=read_dream(layer="relu3_1", channel=63, size=64)).number == 63
