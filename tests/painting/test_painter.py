"""The painter: its plan, its losses against the paper's by hand, and what it promises."""

from __future__ import annotations

import csv
import json
import math
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from conftest import draw_picture, measure_seam, random_tensors
from PIL import Image
from safetensors.torch import save_file

import impasto
from impasto.errors import DivergedError, ImageError, OptionError
from impasto.images.opening import read_recipe
from impasto.images.reading import read_image
from impasto.networks.weights import import_weights
from impasto.painting import loop, painter
from impasto.painting import memory_plan as plan
from impasto.painting import result as paintings
from impasto.painting.canvas import CANVASES
from impasto.painting.objective import Objective
from impasto.painting.optimizers import OPTIMIZERS
from impasto.painting.options import PaintOptions
from impasto.recipes import list_recipes, read_recipe_file
from impasto.system.devices import flushes_denormals
from impasto.work import Request, Step

pytestmark = pytest.mark.arithmetic

QUICK = {"steps": 6, "size": 64, "start_size": 32, "precision": "float32"}


# --- plans --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("size", "start", "sizes"),
    [
        ((512, 384), 128, [(128, 96), (256, 192), (512, 384)]),
        ((500, 300), 128, [(125, 75), (250, 150), (500, 300)]),
        ((384, 300), 256, [(192, 150), (384, 300)]),
        ((360, 300), 256, [(360, 300)]),
        ((100, 90), 128, [(100, 90)]),
        ((512, 512), 65536, [(512, 512)]),
        ((1000, 20), 128, [(125, 3), (250, 5), (500, 10), (1000, 20)]),
        ((1, 1), 16, [(1, 1)]),
    ],
)
def test_sizes_from_coarse_to_fine(size, start, sizes):
    assert plan.plan_sizes(*size, start) == sizes


def test_no_size_is_too_short_for_the_network():
    assert plan.plan_sizes(1000, 200, 128, least=32) == [(250, 50), (500, 100), (1000, 200)]
    assert plan.plan_sizes(1000, 100, 128, least=32) == [(500, 50), (1000, 100)]


def test_wide_and_narrow_pictures_are_painted():
    wide, strip = draw_picture(400, 40), draw_picture(10, 300)
    painting = impasto.paint(wide, strip, {"steps": 4, "start_size": 64})
    assert painting.to_pil().size == (400, 40)


@pytest.mark.parametrize(
    ("steps", "sizes", "shares"),
    [(180, 3, [80, 60, 40]), (180, 1, [180]), (1, 3, [0, 1, 0]), (5, 2, [3, 2])],
)
def test_steps_are_shared_out(steps, sizes, shares):
    assert plan.share_steps(steps, sizes) == shares


def test_no_step_is_lost():
    for steps in range(1, 50):
        for sizes in range(1, 8):
            shares = plan.share_steps(steps, sizes)
            assert sum(shares) == steps
            assert min(shares) >= 0


# --- painting -----------------------------------------------------------------------------------


def test_painting_comes_nearer_to_the_style_and_keeps_the_size(photo, picture):
    steps = []
    painting = impasto.paint(
        photo, picture, {**QUICK, "steps": 30, "start_size": 64}, on_step=steps.append
    )
    assert painting.pixels.shape == (1, 3, 48, 64)
    assert 0 <= painting.pixels.min() <= painting.pixels.max() <= 1
    assert [step.number for step in steps] == list(range(1, 31))
    assert steps == painting.history
    assert steps[-1].total < 0.5 * steps[0].total
    assert steps[-1].style < 0.5 * steps[0].style


def test_the_photograph_s_own_size_is_kept(photo, picture):
    assert impasto.paint(photo, picture, {"steps": 1}).to_pil().size == (64, 48)


def test_a_size_asked_for_is_given(photo, picture):
    assert impasto.paint(photo, picture, {"steps": 2, "size": 96}).to_pil().size == (96, 72)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_every_optimizer_lowers_the_loss(photo, picture, optimizer):
    options = {**QUICK, "steps": 12, "start_size": 64, "optimizer": optimizer}
    history = impasto.paint(photo, picture, options).history
    assert min(step.total for step in history) < 0.9 * history[0].total


def test_white_noise_is_left_behind(photo, picture):
    # Far from a minimum L-BFGS would leap; the paper's recipe starts there.
    values = {**read_recipe_file("gatys-2015"), "size": 96, "steps": 40}
    history = impasto.paint(photo, picture, values).history
    assert history[-1].total < 0.05 * history[0].total


def test_the_best_picture_is_kept_not_the_last(photo, picture):
    options = {**QUICK, "start_size": 64, "optimizer": "sgd", "learning_rate": 50, "steps": 5}
    painting = impasto.paint(photo, picture, options)
    totals = [step.total for step in painting.history]
    assert totals[-1] > min(totals)  # so long a step leaps about
    work = painter.Painter(photo, picture, PaintOptions.read(options))
    view = work.scene.at(work.size, 32, work.machine.device)
    objective = Objective(work.backbone, work.machine, view, work.losses)
    again = float(objective(painting.pixels, 0)[0])
    assert again == pytest.approx(min(totals), rel=0.2)


def test_the_same_seed_gives_the_same_bytes(photo, picture, tmp_path):
    options = {**QUICK, "init": "noise"}
    for name in ("a.png", "b.png"):
        impasto.paint(photo, picture, options).save(tmp_path / name)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    other = impasto.paint(photo, picture, {**options, "seed": 1}).to_pil()
    other.save(tmp_path / "c.png")
    assert not torch.equal(*(read_image(tmp_path / name).pixels for name in ("a.png", "c.png")))


def test_a_stronger_style_goes_further(photo, picture):
    def final(weight: float) -> painter.Step:
        options = {**QUICK, "steps": 40, "start_size": 64, "style_weight": weight}
        return impasto.paint(photo, picture, options).history[-1]

    weak, strong = final(1.0), final(1000.0)
    assert strong.style < weak.style
    assert strong.content > weak.content


def test_alpha_is_put_back(picture):
    image = Image.fromarray(draw_picture(64, 48, 1)).convert("RGBA")
    image.putalpha(Image.linear_gradient("L").resize((64, 48)))
    painted = impasto.paint(image, picture, QUICK).to_pil()
    assert painted.mode == "RGBA"
    assert painted.getchannel("A").tobytes() == image.getchannel("A").tobytes()


def test_arrays_tensors_and_images_are_the_same(photo, picture):
    array = draw_picture(64, 48, 1)
    expected = impasto.paint(photo, picture, QUICK).to_pil().tobytes()
    for content in (array, read_image(photo).pixels, Image.fromarray(array)):
        assert impasto.paint(content, picture, QUICK).to_pil().tobytes() == expected


@pytest.mark.parametrize("name", list_recipes())
def test_every_recipe_paints(name, photo, picture):
    # A few of its steps: that it runs, not how well (the pictures are looked at).
    values = {**read_recipe_file(name), "size": 64, "steps": 3}
    history = impasto.paint(photo, picture, values).history
    assert len(history) == 3
    assert all(math.isfinite(step.total) for step in history)


@pytest.fixture(scope="module")
def cache_with_vggs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A cache that holds a VGG-19 and a VGG-16 of random numbers, full size."""
    cache = tmp_path_factory.mktemp("vggs")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("IMPASTO_CACHE", str(cache))
        for name in ("vgg19", "vgg16"):
            save_file(random_tensors(name), cache / f"{name}.safetensors")
            import_weights(cache / f"{name}.safetensors", name=f"{name}-custom")
    yield cache
    shutil.rmtree(cache)


@pytest.mark.parametrize("backbone", ["vgg19", "vgg16"])
@pytest.mark.parametrize("name", list_recipes())
def test_every_recipe_paints_on_every_backbone(
    name, backbone, photo, picture, cache_with_vggs, monkeypatch
):
    monkeypatch.setenv("IMPASTO_CACHE", str(cache_with_vggs))
    # The layout is named: a trial of which is faster takes longer than the steps.
    values = {**read_recipe_file(name), "layout": "planes"}
    values |= {"size": 64, "steps": 2, "backbone": backbone}
    painting = impasto.paint(photo, picture, values)
    assert len(painting.history) == 2
    assert painting.recipe["options"]["backbone"] == backbone
    assert all(math.isfinite(step.total) for step in painting.history)


def test_steps_can_be_broken_off(photo, picture):
    work = painter.Painter(photo, picture, PaintOptions.read({**QUICK, "size": 96}))
    for step in work.steps():
        if step.number == 2:  # at the coarsest size
            break
    painting = work.result()
    assert painting.pixels.shape == (1, 3, 72, 96)
    assert len(painting.history) == 2


def test_before_the_first_step_the_result_is_the_photograph(photo, picture):
    work = painter.Painter(photo, picture, PaintOptions.read(QUICK))
    assert torch.equal(work.result().pixels, work.content.pixels)


# --- between steps ------------------------------------------------------------------------------


def history_of(*totals: float) -> list[painter.Step]:
    return [Step(i, 99, measured={"total": t}) for i, t in enumerate(totals, 1)]


def test_when_a_size_has_settled():
    falling = loop.RunState(history=history_of(*[1.0] * 20, *[0.998] * 20), done=40)
    assert loop.has_settled(falling, 0.0025)
    assert not loop.has_settled(falling, 0.0015)
    assert not loop.has_settled(falling, 0)
    falling.done = 39  # the first of these was at the size before
    assert not loop.has_settled(falling, 0.0025)
    earlier = loop.RunState(history=history_of(*[9.0] * 60, *[1.0] * 40), done=40)
    assert loop.has_settled(earlier, 0.002)  # what lies further back does not count
    nothing_left = loop.RunState(history=history_of(*[0.0] * 40), done=40)
    assert loop.has_settled(nothing_left, 0.002)


def test_a_size_that_has_settled_is_left(photo, picture):
    options = {**QUICK, "size": 64, "start_size": 32, "steps": 120, "style_layer": ["relu1_1"]}
    settled = impasto.paint(photo, picture, {**options, "plateau": 0.9}).history
    assert [step.size for step in settled] == [(32, 24)] * 40 + [(64, 48)] * 40
    assert len(impasto.paint(photo, picture, {**options, "plateau": 0}).history) == 120


def test_the_average_of_iterates_by_hand(photo, picture):
    options = {**QUICK, "start_size": 64, "steps": 4, "optimizer": "sgd", "style_weight": 50}
    work = painter.Painter(photo, picture, PaintOptions.read(options))
    seen = [work.scene.at(work.size, 32, work.machine.device).content]
    seen += [work.run.tensors["values"].clone() for _ in work.steps()]
    assert float((seen[0] - seen[3]).abs().max()) > 1e-3
    share = 0.6
    averaged = painter.Painter(photo, picture, PaintOptions.read({**options, "average": share}))
    for n, _ in enumerate(averaged.steps(), 1):
        mean = sum((1 - share) * share ** (n - 1 - k) * seen[k] for k in range(n))
        expected = mean / (1 - share**n)
        torch.testing.assert_close(averaged.run.best, expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize("name", CANVASES)
def test_softening_is_a_gaussian_and_keeps_the_mean(name):
    start = torch.full((1, 3, 33, 33), 0.25)
    start[..., 16, 16] += 0.5
    canvas = CANVASES[name](start)
    values = canvas.values
    loop.soften_canvas(canvas, 1.5)
    assert canvas.values is values
    squares = torch.arange(-16, 17).square()
    bell = torch.exp(-(squares[:, None] + squares) / (2 * 1.5**2))
    expected = (0.25 + 0.5 * bell / bell.sum()).expand(1, 3, 33, 33)
    torch.testing.assert_close(canvas.pixels().detach(), expected, atol=1e-4, rtol=0)


def test_the_blur_ends_half_way(photo, picture, monkeypatch):
    sigmas, soften = [], loop.soften_canvas

    def record(canvas, sigma: float) -> None:
        before = canvas.pixels().detach()
        soften(canvas, sigma)
        sigmas.append((sigma, not torch.equal(before, canvas.pixels().detach())))

    monkeypatch.setattr(loop, "soften_canvas", record)
    options = {**QUICK, "start_size": 64, "steps": 8, "blur": 2}
    history = impasto.paint(photo, picture, options).history
    assert [sigma for sigma, _ in sigmas] == pytest.approx([1.5, 1, 0.5, 0, -0.5, -1, -1.5, -2])
    assert [changed for _, changed in sigmas] == [True] * 3 + [False] * 5
    assert history[1].tv < 0.7 * history[0].tv


# --- what goes wrong ----------------------------------------------------------------------------


def test_a_loss_that_is_no_number_stops_with_what_to_change(photo, picture):
    options = {**QUICK, "optimizer": "sgd", "learning_rate": 1e30, "steps": 20}
    with pytest.raises(DivergedError, match="no longer a number at step 2; lower --learning-rate"):
        impasto.paint(photo, picture, options)


def test_a_picture_too_small_for_the_network(picture):
    with pytest.raises(ImageError, match="40 x 20 is too small for layer relu5_1 of compact"):
        impasto.paint(draw_picture(40, 20), picture, {"steps": 1})


def test_unknown_options_and_layers(photo, picture):
    with pytest.raises(OptionError, match="unknown option 'style_wieght'"):
        impasto.paint(photo, picture, {"style_wieght": 1})
    with pytest.raises(OptionError, match="unknown layer 'relu9_1' for compact"):
        impasto.paint(photo, picture, {"style_layer": ["relu9_1"]})


# --- what is kept -------------------------------------------------------------------------------


def test_a_painting_carries_the_recipe_that_paints_it_again(photo, picture, tmp_path):
    path = tmp_path / "painted.png"
    impasto.paint(photo, picture, {**QUICK, "style_weight": 5}).save(path)
    recipe = json.loads(read_recipe(path))
    assert recipe["content"] == "a photo.png"
    assert recipe["options"]["style_weight"] == 5
    assert str(tmp_path) not in path.read_bytes().decode("latin-1")
    impasto.paint(photo, picture, recipe["options"]).save(tmp_path / "again.png")
    assert (tmp_path / "again.png").read_bytes() == path.read_bytes()


def test_metadata_can_be_left_out(photo, picture, tmp_path):
    impasto.paint(photo, picture, QUICK).save(tmp_path / "x.png", metadata=False)
    assert read_recipe(tmp_path / "x.png") is None


def test_no_path_of_a_start_picture_is_kept(photo, picture):
    recipe = impasto.paint(photo, picture, {**QUICK, "init": str(photo)}).recipe
    assert recipe["options"]["init"] == "a photo.png"


def test_the_history_as_a_table(photo, picture, tmp_path):
    options = {**QUICK, "style_weight": 5, "size": 96, "start_size": 48}
    painting = impasto.paint(photo, picture, options)
    paintings.write_history(painting, tmp_path / "losses.csv")
    with (tmp_path / "losses.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0])[:5] == [
        "style_weight",
        "epoch",
        "total_loss",
        "style_loss",
        "content_loss",
    ]
    assert [int(row["epoch"]) for row in rows] == list(range(1, 7))
    assert float(rows[2]["style_loss"]) == painting.history[2].style
    assert {row["style_weight"] for row in rows} == {"5.0"}
    assert [(row["width"], row["height"]) for row in rows][::5] == [("48", "36"), ("96", "72")]


def test_default_style_layers_are_the_paper_s():
    assert list(PaintOptions().style_layer) == [f"relu{i}_1" for i in range(1, 6)]


# --- tileable -----------------------------------------------------------------------------------


def test_a_tileable_painting_has_no_seam(photo, picture):
    options = {"steps": 20, "start_size": 64, "precision": "float32"}
    plain = impasto.paint(photo, picture, options).pixels
    assert max(measure_seam(plain)) > 2  # the photograph has one
    tileable = impasto.paint(photo, picture, {**options, "tileable": True}).pixels
    assert max(measure_seam(tileable)) < 1.4


@pytest.mark.parametrize(
    "options", [{"blur": 1.0}, {"canvas": "pyramid"}, {"content_loss": ("features", "laplacian")}]
)
def test_what_sees_ends_does_not_go_with_tileable(photo, picture, options):
    with pytest.raises(OptionError, match="tileable does not go with"):
        impasto.paint(photo, picture, {**QUICK, "tileable": True, **options})


def test_what_weighs_nothing_is_not_measured(photo, picture):
    painting = impasto.paint(photo, picture, {**QUICK, "content_weight": 0})
    assert all(step.content == 0 and step.style > 0 for step in painting.history)


# --- before the work, and around it -------------------------------------------------------------


def test_a_start_that_is_not_there_is_refused_before_the_work(photo, picture):
    message = r"unknown init 'nois'; did you mean 'noise'\? Or give a picture's path"
    with pytest.raises(OptionError, match=message):
        painter.Painter(photo, picture, PaintOptions.read({**QUICK, "init": "nois"}))
    with pytest.raises(FileNotFoundError):
        painter.Painter(photo, picture, PaintOptions.read({**QUICK, "init": "nois.png"}))


def test_work_is_made_from_a_request_and_says_what_it_does(photo, picture, tmp_path):
    options = PaintOptions.read({**QUICK, "size": 48})
    inputs = {"content": (str(photo),), "style": (str(picture),)}
    checkpoint = tmp_path / "state"
    work = painter.Painter.from_request(Request(inputs, options, checkpoint=checkpoint))
    first, second = work.describe()
    assert first == f"painting 48 x 36 with compact on {work.machine.describe()}"
    assert second.startswith("memory: up to ")
    assert (work.steps_done, work.checkpoint_path) == (0, checkpoint)
    next(iter(work.steps()))
    work.save_progress()
    assert (work.steps_done, checkpoint.exists()) == (1, True)
    work.discard_checkpoint()
    assert not checkpoint.exists()
    only = Request(inputs, options.model_copy(update={"only_color": True}))
    assert len(painter.Painter.from_request(only).describe()) == 1


def test_a_host_s_settings_of_torch_stay_as_they_were(photo, picture):
    before = torch.get_rng_state(), torch.get_num_threads(), flushes_denormals()
    seen = []
    impasto.paint(
        photo, picture, {**QUICK, "steps": 2}, on_step=lambda _: seen.append(flushes_denormals())
    )
    assert seen == [before[2]] * 2
    assert torch.equal(torch.get_rng_state(), before[0])
    assert (torch.get_num_threads(), flushes_denormals()) == before[1:]
