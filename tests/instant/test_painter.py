"""Painting in one pass."""

from __future__ import annotations

import json
import pickle

import numpy as np
import pytest
import torch
from PIL import Image

from impasto.errors import ImageError, MissingFileError, OptionError, WeightsError
from impasto.images.color_transfer import color_statistics
from impasto.images.opening import read_recipe
from impasto.images.picture import Picture
from impasto.images.reading import read_image
from impasto.images.writing import write_image
from impasto.instant.model_file import save_net
from impasto.instant.net import NET_SHAPES, DialReader, PaintingNet, code_size
from impasto.instant.options import InstantOptions, parse_blend
from impasto.instant.painter import Impression, Instant, open_net, read_palette
from impasto.instant.palette import Palette
from impasto.instant.styles import draw_colors
from impasto.samples.style_pictures import open_style
from impasto.system.devices import seeded
from impasto.work import Request, finish

pytestmark = pytest.mark.arithmetic

PLAIN = {"precision": "float32", "engine": "torch"}


@pytest.fixture(scope="module")
def photo() -> Picture:
    rows = torch.linspace(0, 1, 60)[:, None].expand(60, 80)
    planes = torch.stack([rows, rows.flip(0), 0.5 + 0.3 * torch.sin(rows * 20)])
    noise = 0.1 * torch.randn(3, 60, 80, generator=seeded(0))
    return Picture((planes + noise).clamp(0, 1)[None], name="photo.png")


@pytest.fixture(scope="module")
def styles() -> list[Picture]:
    return [read_image(open_style(name, 96)) for name in ("strokes", "glass")]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A net of three styles that were never taught."""
    torch.manual_seed(0)
    net = PaintingNet(NET_SHAPES["slim"])
    torch.nn.init.normal_(net.exit.weight, std=0.05)
    numbers = 0.2 * torch.randn(3, net.count, generator=seeded(1))
    means = torch.tensor([[0.2, 0.4, 0.6], [0.6, 0.5, 0.3], [0.5, 0.5, 0.5]]).double()
    covariances = (
        torch.eye(3).double().expand(3, 3, 3) * torch.tensor([0.01, 0.02, 0.03])[:, None, None]
    )
    path = tmp_path_factory.mktemp("models") / "three.safetensors"
    save_net(path, net, palette=Palette(("a", "b", "c"), numbers, means, covariances))
    return path


def pixels(painting) -> torch.Tensor:
    return painting.pixels


# --- any style ----------------------------------------------------------------------------------


def test_a_photograph_takes_the_style_s_colours_and_more(photo, styles):
    painting = Instant(styles[0], PLAIN)(photo)
    assert painting.pixels.shape == photo.pixels.shape
    assert 0 <= float(painting.pixels.min()) <= float(painting.pixels.max()) <= 1
    mean = color_statistics(styles[0].pixels)[0]
    assert float((color_statistics(painting.pixels)[0] - mean).abs().max()) < 0.1
    other = Instant(styles[1], PLAIN)(photo)
    assert float((painting.pixels - other.pixels).abs().mean()) > 0.05


def test_the_same_comes_out_again_and_a_style_is_seen_once(photo, styles):
    paint = Instant(styles[0], PLAIN)
    first = paint(photo)
    assert len(paint.styles.known) == 1
    assert torch.equal(paint(photo).pixels, first.pixels)
    assert len(paint.styles.known) == 1
    assert torch.equal(Instant(styles[0], PLAIN)(photo).pixels, first.pixels)


def test_strength_goes_from_the_photograph_to_the_painting(photo, styles):
    full = Instant(styles[0], PLAIN)(photo).pixels
    none = Instant(styles[0], PLAIN | {"strength": 0})(photo).pixels
    half = Instant(styles[0], PLAIN | {"strength": 0.5})(photo).pixels
    torch.testing.assert_close(none, photo.pixels)
    torch.testing.assert_close(half, (full + photo.pixels) / 2)


def test_a_blend_lies_between_its_styles_and_its_ends_are_they(photo, styles):
    named = [Picture(style.pixels, name=f"{n}.png") for style, n in zip(styles, "ab", strict=True)]
    alone = Instant(named[1], PLAIN)(photo).pixels
    end = Instant(named, PLAIN | {"blend": ["a=0,b=1"]})(photo).pixels
    torch.testing.assert_close(end, alone, atol=1e-4, rtol=0)
    half = Instant(named, PLAIN)(photo).pixels
    assert torch.equal(half, Instant(named, PLAIN | {"blend": "2,2"})(photo).pixels)
    assert float((half - alone).abs().mean()) > 0.01


def test_styles_go_where_their_masks_say(tmp_path, photo, styles):
    left = np.zeros((60, 80), np.uint8)
    left[:, :40] = 255
    names = [tmp_path / "left.png", tmp_path / "right.png"]
    for name, mask in zip(names, (left, 255 - left), strict=True):
        Image.fromarray(mask).save(name)
    painted = Instant(styles, PLAIN | {"style_mask": [str(name) for name in names]})(photo)
    swapped = Instant(styles[::-1], PLAIN | {"style_mask": [str(n) for n in names[::-1]]})(photo)
    torch.testing.assert_close(painted.pixels, swapped.pixels, atol=1e-5, rtol=0)
    other = Instant([styles[1], styles[1]], PLAIN | {"style_mask": [str(n) for n in names]})(photo)
    assert torch.equal(painted.pixels[..., 40:], other.pixels[..., 40:])
    assert not torch.equal(painted.pixels[..., :40], other.pixels[..., :40])
    with pytest.raises(OptionError, match="not both"):
        Instant(styles, {"style_mask": [str(name) for name in names], "blend": ["1,2"]})


def test_what_the_mask_keeps_is_the_photograph(tmp_path, photo, styles):
    mask = np.zeros((60, 80), np.uint8)
    mask[:, :40], mask[:, 40:60] = 255, 128
    Image.fromarray(mask).save(tmp_path / "mask.png")
    full = Instant(styles[0], PLAIN)(photo).pixels
    painted = Instant(styles[0], PLAIN | {"mask": str(tmp_path / "mask.png")})(photo).pixels
    assert torch.equal(painted[..., 60:], photo.pixels[..., 60:])
    assert torch.equal(painted[..., :40], full[..., :40])
    between = full.lerp(photo.pixels, 127 / 255)[..., 40:60]
    torch.testing.assert_close(painted[..., 40:60], between, atol=1e-5, rtol=0)


@pytest.mark.parametrize("color", ["content", "luminance", "histogram", "cholesky", "lab"])
def test_colours_stay_the_photograph_s(photo, styles, color):
    painted = Instant(styles[0], PLAIN | {"color": color})(photo).pixels
    mean, wanted = (color_statistics(each)[0] for each in (painted, photo.pixels))
    assert float((mean - wanted).abs().max()) < 0.1
    free = Instant(styles[0], PLAIN)(photo).pixels
    assert float((painted - free).abs().mean()) > 0.05


def test_what_is_transparent_stays_so_and_is_not_seen(photo, styles):
    alpha = torch.ones(1, 1, 60, 80)
    alpha[..., :30, :] = 0
    hidden = photo.pixels.clone()
    hidden[..., :30, :] = 1.0
    paint = Instant(styles[0], PLAIN)
    one = paint(Picture(photo.pixels, alpha, name="a"))
    other = paint(Picture(hidden, alpha, name="a"))
    assert torch.equal(one.alpha, alpha)
    torch.testing.assert_close(one.pixels[..., 30:, :], other.pixels[..., 30:, :])


@pytest.mark.parametrize("size", [(1, 1), (1, 90), (200, 4)])
def test_any_shape_is_painted(styles, size):
    picture = Picture(torch.rand(1, 3, *size, generator=seeded(0)), name="odd")
    painted = Instant(styles[0], PLAIN)(picture).pixels
    assert painted.shape[2:] == size
    assert painted.isfinite().all()


def test_a_flat_style_is_no_trouble(photo):
    painted = Instant(Picture(torch.full((1, 3, 40, 40), 0.5), name="flat"), PLAIN)(photo).pixels
    assert painted.isfinite().all()


def test_a_style_that_is_a_mere_line_is_soon_seen(photo):
    line = Picture(torch.rand(1, 3, 1, 9000, generator=seeded(0)), name="line")
    assert Instant(line, PLAIN)(photo).pixels.isfinite().all()


def test_a_size_that_no_memory_holds_is_refused_at_once(photo, styles):
    with pytest.raises(ImageError, match=r"65536 x 49152 needs .* or more, and .* are granted"):
        Instant(styles[0], PLAIN | {"size": 65536})(photo)


def test_size_is_the_long_side(photo, styles):
    assert Instant(styles[0], PLAIN | {"size": 40})(photo).pixels.shape[2:] == (30, 40)


def test_little_memory_means_tiles_and_the_same_picture(styles, monkeypatch):
    picture = Picture(torch.rand(1, 3, 300, 420, generator=seeded(3)), name="large")
    paint = Instant(styles[0], PLAIN)
    whole = paint(picture)
    monkeypatch.setattr(Instant, "_find_room", lambda *_: 70_000 * 340)
    tiled = Instant(styles[0], PLAIN)(picture)
    assert any("in tiles" in note for note in tiled.notes)
    torch.testing.assert_close(tiled.pixels, whole.pixels, atol=1e-4, rtol=0)
    assert not any("in tiles" in note for note in paint(styles[1]).notes)


def test_too_little_memory_is_said_before_it_is_taken(photo, styles):
    with pytest.raises(
        ImageError,
        match=r"80 x 60 needs [\d.]+ .iB or more, and 1 MiB are granted; grant more with --memory",
    ):
        Instant(styles[0], PLAIN | {"memory": "1M"})(photo)


# --- styles that a net has learnt ---------------------------------------------------------------


def test_a_model_s_styles_go_by_name(photo, model):
    options = PLAIN | {"model": str(model)}
    one, two = (Instant(name, options)(photo).pixels for name in ("a", "b"))
    assert not torch.equal(one, two)
    blend = Instant((), options | {"blend": ["a=0.25,b=0.75"]})(photo)
    assert torch.equal(
        blend.pixels, Instant(["a", "b"], options | {"blend": ["1,3"]})(photo).pixels
    )
    assert blend.recipe["style"] == ["a", "b"]
    assert blend.recipe["options"]["model"] == "three.safetensors"


@pytest.mark.parametrize(
    ("style", "more", "said"),
    [
        ((), {}, "choose among the model's styles with --style: a, b, c"),
        ("d", {}, "unknown style 'd'"),
        ("a", {"color": "histogram"}, "color 'histogram' changes the style's picture"),
        ("a", {"style_size": 200}, "learnt its styles at one size"),
        ("a", {"blend": ["b=1"]}, "--blend: unknown style 'b'"),
    ],
)
def test_what_a_model_cannot_do_is_said(model, style, more, said):
    with pytest.raises(OptionError, match=said):
        Instant(style, {"model": str(model), **more})


def test_no_style_is_an_error():
    with pytest.raises(OptionError, match="no style given: name a picture"):
        Instant()


def test_unknown_models_are_told_apart(tmp_path):
    with pytest.raises(MissingFileError, match="unknown model 'paintres'; did you mean 'painters'"):
        open_net("paintres")
    with pytest.raises(MissingFileError, match="there is no model"):
        open_net(str(tmp_path / "none.safetensors"))
    (tmp_path / "bad.safetensors").write_bytes(b"nothing")
    with pytest.raises(WeightsError, match=r"cannot read the model 'bad\.safetensors'"):
        open_net(str(tmp_path / "bad.safetensors"))


def test_six_pixels_have_a_style_s_colours():
    root = torch.randn(3, 3, generator=seeded(0), dtype=torch.float64) * 0.1
    mean = torch.tensor([0.3, 0.5, 0.6], dtype=torch.float64)
    found = color_statistics(draw_colors(mean, root @ root.T))
    torch.testing.assert_close(found[0], mean, atol=1e-6, rtol=0)
    torch.testing.assert_close(found[1], root @ root.T, atol=1e-6, rtol=0)


def test_palettes_are_read_for_others(styles, model):
    named = [Picture(style.pixels, name=f"{n}.png") for style, n in zip(styles, "xy", strict=True)]
    assert read_palette(named, None, 96).names == ("x", "y")
    assert read_palette((), str(model), 512).names == ("a", "b", "c")
    assert read_palette(["c"], str(model), 512).names == ("c",)


def test_a_palette_of_a_file_that_is_not_there_or_of_no_style(model):
    with pytest.raises(OptionError, match=r"^no style given: name a picture, or a model that has"):
        read_palette((), None, 96)
    with pytest.raises(OptionError, match=r"^unknown style 'd'; choose from a, b, c$"):
        read_palette(["d"], str(model), 96)


# --- inside other programs ----------------------------------------------------------------------


@pytest.mark.parametrize("engine", ["torch", "auto"])
def test_it_can_be_pickled(photo, styles, engine):
    paint = Instant(styles, PLAIN | {"engine": engine, "blend": "1,3"})
    expected = paint(photo)
    copied = pickle.loads(pickle.dumps(paint))
    if engine == "torch":  # of others the fastest may be another each time
        assert torch.equal(copied(photo).pixels, expected.pixels)
    torch.testing.assert_close(copied(photo).pixels, expected.pixels, atol=0.05, rtol=0)


def test_a_model_s_painter_can_be_pickled(photo, model):
    paint = Instant("b", PLAIN | {"model": str(model)})
    assert torch.equal(pickle.loads(pickle.dumps(paint))(photo).pixels, paint(photo).pixels)


def test_nets_are_read_without_a_draw_from_the_host_s_random_numbers(model):
    torch.manual_seed(7)
    before = torch.random.get_rng_state()
    open_net("any")
    open_net(str(model))
    assert torch.equal(torch.random.get_rng_state(), before)


# --- blends -------------------------------------------------------------------------------------


def test_shares_of_a_blend():
    assert parse_blend((), "ab") == [0.5, 0.5]
    assert parse_blend(("1,3",), ["a", "b"]) == [0.25, 0.75]
    assert parse_blend(("b=3", "a=1"), ["a", "b"]) == [0.25, 0.75]
    assert parse_blend(("b=2",), ["a", "b"]) == [0, 1]
    with pytest.raises(OptionError, match="3 weights for 2 styles"):
        parse_blend(("1,2,3",), ["a", "b"])
    with pytest.raises(OptionError, match="unknown style 'glas'; did you mean 'glass'"):
        parse_blend(("glas=1",), ["glass", "b"])


@pytest.mark.parametrize("blend", ["a", "a=-1", "a=inf", "=1", "a=1,2", "a=0", "a=1,a=2"])
def test_what_is_no_blend(blend):
    with pytest.raises(OptionError, match="blend"):
        InstantOptions.read({"blend": [blend]})


# --- as work ------------------------------------------------------------------------------------


def test_an_impression_carries_its_recipe(tmp_path, photo, styles):
    work = Impression(photo, styles[0], InstantOptions(**PLAIN))
    (step,) = work.steps()
    assert (step.number, step.steps, step.size) == (1, 1, photo.size)
    assert step.look is not None
    assert step.look() is work.result()
    work.result().save(tmp_path / "out.png")
    recipe = json.loads(read_recipe(tmp_path / "out.png"))
    assert recipe["operation"] == "instant"
    assert recipe["content"] == "photo.png"


def test_an_impression_is_made_of_a_request(tmp_path, photo, model):
    write_image(tmp_path / "photo.png", photo.pixels)
    options = InstantOptions.read(PLAIN | {"model": str(model)})
    inputs = {"content": (str(tmp_path / "photo.png"),), "style": ("a",)}
    painting = finish(Impression.from_request(Request(inputs, options)))
    assert painting.recipe["style"] == ["a"]


def test_what_many_paintings_share_is_settled_once(model):
    plain = InstantOptions.read(PLAIN)
    assert Impression.settle_many(plain, ["not read.png"]) == (plain, [])
    with pytest.raises(OptionError, match=r"^unknown style 'd'"):
        Impression.settle_many(plain.model_copy(update={"model": str(model)}), ["d"])
    auto = plain.model_copy(update={"model": str(model), "engine": "auto"})
    settled, notes = Impression.settle_many(auto, ["a"])
    assert settled.engine in ("torch", "openvino", "onnx")
    assert len(notes) <= 1


# --- a dial for the style weight ----------------------------------------------------------------


@pytest.fixture(scope="module")
def dialled(compact, tmp_path_factory):
    """A net for any style, at any style weight, that was never taught."""
    torch.manual_seed(0)
    net = PaintingNet(NET_SHAPES["any"])
    torch.nn.init.normal_(net.exit.weight, std=0.05)
    reader = DialReader(code_size(compact), net.count)
    torch.nn.init.normal_(reader.last.weight, std=0.05)
    path = tmp_path_factory.mktemp("models") / "dial.safetensors"
    save_net(path, net, reader=reader)
    return path


def test_a_dial_reads_a_style_once(photo, styles, dialled, monkeypatch):
    paint = Instant(styles[0], {**PLAIN, "model": str(dialled)})
    looks = []
    read = paint.styles.reader.reader.read
    monkeypatch.setattr(
        paint.styles.reader.reader, "read", lambda codes: looks.append(1) or read(codes)
    )
    paintings = [pixels(paint(photo, style_weight=weight)) for weight in (3, 15, 75)]
    usual = paint(photo)
    assert len(looks) == 1
    assert torch.equal(usual.pixels, paintings[1])
    for other in (paintings[0], paintings[2]):
        assert float((other - paintings[1]).abs().max()) > 1e-3
    assert usual.recipe["options"]["style_weight"] is None
    turned = paint(photo, style_weight=75)
    assert turned.recipe["options"]["style_weight"] == 75
    as_option = Instant(styles[0], {**PLAIN, "model": str(dialled), "style_weight": 75})(photo)
    assert torch.equal(as_option.pixels, paintings[2])


def test_a_weight_that_was_not_taught_is_told(photo, styles, dialled):
    paint = Instant(styles[0], {**PLAIN, "model": str(dialled)})
    farthest = paint(photo, style_weight=150)
    beyond = paint(photo, style_weight=1000)
    assert torch.equal(beyond.pixels, farthest.pixels)
    assert not any("style weight" in note for note in farthest.notes)
    assert any("style weight 1000: taken as 150" in note for note in beyond.notes)


def test_styles_learnt_at_one_weight_have_no_dial(photo, model):
    with pytest.raises(OptionError, match="no --style-weight"):
        Instant("a", {**PLAIN, "model": str(model), "style_weight": 15})
    with pytest.raises(OptionError, match="no --style-weight"):
        Instant("a", {**PLAIN, "model": str(model)})(photo, style_weight=15)
    with pytest.raises(OptionError, match="no --style-weight"):
        read_palette(["a"], str(model), 96, 15.0)


def test_a_clip_is_held_by_its_frames(photo, styles, dialled):
    paint = Instant(styles[0], {**PLAIN, "model": str(dialled)})
    held = paint.hold(photo)
    alone = pixels(paint(photo))
    # Its own statistics, held, make it what it is by itself.
    torch.testing.assert_close(held(photo.pixels), alone, atol=2e-3, rtol=0)
    darker = photo.pixels * 0.5
    assert float((held(darker) - pixels(paint(Picture(darker)))).abs().max()) > 0.05
    turned = paint.hold([photo, Picture(darker)], style_weight=75)
    assert not torch.equal(turned(photo.pixels), held(photo.pixels))
