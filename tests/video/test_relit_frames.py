"""Films relit: one relighting for a scene, another after a cut, whoever works on which frame."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import draw_picture
from film_clips import draw_pan, write_clip
from PIL import Image

from impasto.errors import MissingFileError, OptionError
from impasto.images.reading import read_image
from impasto.operations import OPERATIONS
from impasto.photoreal.lut import tabulate, write_lut
from impasto.photoreal.options import RelightOptions
from impasto.photoreal.relight import fit_relighting, fit_scene, relight
from impasto.video.animation import Animation, animate
from impasto.video.decoding import open_film
from impasto.video.options import AnimateOptions
from impasto.video.relit_frames import pack_relighting, unpack_relighting
from impasto.video.scenes import SCENE_SAMPLES, FilmScan
from impasto.video.shards import FilmStudio, to_array, to_tensor
from impasto.work import Request, watch

WITH = {"with_": "relight"}
STEP, WIDTH, HEIGHT = 2, 96, 72


def draw_land(width: int, height: int = HEIGHT, seed: int = 0) -> np.ndarray:
    """A smooth sky over hills of rough ground, uint8 (H, W, 3)."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:height, :width] / height
    sky = np.stack([0.45 + 0.1 * rows, 0.6 + 0.1 * rows, 0.85 + 0 * rows], -1)
    rough = np.repeat(np.repeat(rng.random((height // 4, width // 4 + 1, 1)), 4, 0), 4, 1)
    ground = np.array([0.35, 0.4, 0.2]) + 0.2 * (rough[:, :width] - 0.5)
    hills = 0.45 + 0.12 * np.sin(3 * columns + seed)
    return ((np.where((rows < hills)[..., None], sky, ground)) * 255).round().astype(np.uint8)


def draw_travel(count: int, seed: int = 0) -> list[np.ndarray]:
    """A window that moves over land."""
    land = draw_land(WIDTH + STEP * count, seed=seed)
    return [land[:, STEP * n : STEP * n + WIDTH].copy() for n in range(count)]


def write_frames(folder: Path, frames: list[np.ndarray]) -> Path:
    """A film that loses nothing: a folder of numbered pictures."""
    folder.mkdir()
    for number, frame in enumerate(frames):
        Image.fromarray(frame).save(folder / f"{number:04}.png")
    return folder


def read_frames(folder: Path) -> list[np.ndarray]:
    return [np.asarray(Image.open(path)) for path in sorted(folder.glob("*.png"))]


@pytest.fixture(scope="module")
def dusk(tmp_path_factory) -> Path:
    """Land like that of the films, its sky darker and redder, its ground warmer."""
    land = draw_land(WIDTH, seed=9).astype(float) / 255
    sky = land[..., 2:] > 0.8
    evening = np.where(sky, land**1.8 * [1.1, 0.9, 0.8], land * [1.2, 1.0, 0.6])
    path = tmp_path_factory.mktemp("like") / "dusk.png"
    Image.fromarray((evening.clip(0, 1) * 255).round().astype(np.uint8)).save(path)
    return path


# --- what is held, and how long -------------------------------------------------------------------


def test_what_is_held_is_one_for_a_scene_and_new_at_a_cut(dusk, tmp_path):
    """Two scenes in one film are, to the bit, what each is in a film of its own."""
    scenes = draw_travel(5), [frame[::-1].copy() for frame in draw_travel(4, seed=4)]
    both = write_frames(tmp_path / "both", [*scenes[0], *scenes[1]])
    animate(both, dusk, tmp_path / "relit", WITH)
    relit = read_frames(tmp_path / "relit")
    alone = []
    for number, scene in enumerate(scenes):
        film = write_frames(tmp_path / f"scene {number}", scene)
        animate(film, dusk, tmp_path / f"relit {number}", WITH)
        alone += read_frames(tmp_path / f"relit {number}")
    assert len(relit) == len(alone) == 9
    assert all(map(np.array_equal, relit, alone))


def test_a_scene_has_one_look_however_many_windows_it_would_have(dusk, tmp_path):
    film = write_clip(tmp_path / "a.mp4", draw_pan(200, size=(32, 32)))
    work = Animation(film, [dusk], AnimateOptions.read(WITH), tmp_path / "b.mp4")
    assert not watch(work, is_stopped=lambda: work.frames_done == 1)
    assert work.studio.plan.window_cuts == [0]
    assert len(work.studio.looks) == 1
    assert work.studio.plan.share_windows(150) == [(0, 1.0)]


def test_a_long_scene_is_sampled_evenly_and_small(tmp_path):
    frames = draw_pan(150, size=(32, 32))
    film = open_film(write_clip(tmp_path / "film.mp4", frames))
    scan = FilmScan(film, (32, 32), 0.0, None, by_scenes=True)
    (sampled,) = (found for _, found in scan.steps() if found)
    assert len(sampled) == 7  # 2, 26, 50 ... 146: every twelfth would have been 13 frames
    assert len(sampled) <= SCENE_SAMPLES
    for number, frame in zip(range(2, 150, 24), sampled, strict=True):
        assert np.abs(frame.astype(int) - frames[number]).mean() < 4


def test_any_part_of_a_film_is_relit_as_the_whole_is(dusk, tmp_path):
    """By another who knows no more than what lies in the folder, from any frame on."""
    film = write_frames(tmp_path / "film", draw_travel(10))
    work = Animation(film, [dusk], AnimateOptions.read(WITH), tmp_path / "b")
    assert not watch(work, is_stopped=lambda: work.frames_done == 1)
    whole = [shown for _, shown, _ in work.studio.paint_frames(0, 10)]
    part = [shown for _, shown, _ in FilmStudio(work.job).paint_frames(6, 10)]
    assert all(map(np.array_equal, whole[6:], part))
    assert {shard.begin - shard.lead for shard in work.studio.list_shards()} == {0}


def test_what_is_packed_is_what_is_held(dusk):
    frames = [to_tensor(frame) for frame in draw_travel(3)]
    for regions in (1, 4):
        held = fit_scene(frames, [read_image(dusk)], RelightOptions(regions=regions))
        look = pack_relighting(held)
        network = getattr(held.regions, "network", None)
        again = unpack_relighting(look, 1.0, network)
        assert torch.equal(held.apply(frames[1]), again.apply(frames[1]))
    assert all(isinstance(value, torch.Tensor) for value in look.values())


def test_a_scene_of_one_frame_is_a_photograph(dusk):
    photo = read_image(draw_land(WIDTH))
    like, options = [read_image(dusk)], RelightOptions(regions=5)
    one = fit_scene([photo.pixels], like, options).apply(photo.pixels)
    other = fit_relighting(photo, like, options).relighting.apply(photo.pixels)
    assert torch.equal(one, other)


# --- what comes out -------------------------------------------------------------------------------


def test_a_film_that_stands_still_is_relit_as_its_photograph_is(dusk, tmp_path):
    land = draw_land(WIDTH)
    film = write_frames(tmp_path / "film", [land] * 4)
    animate(film, dusk, tmp_path / "relit", {**WITH, "setting": ("regions=3",)})
    wanted = to_array(relight(land, dusk, {"regions": 3}).pixels) * 255
    for frame in read_frames(tmp_path / "relit"):
        assert np.abs(frame - wanted).max() <= 0.51


def test_a_point_keeps_its_colour_as_it_moves(dusk, tmp_path):
    film = write_frames(tmp_path / "film", draw_travel(14))
    animate(film, dusk, tmp_path / "relit", WITH)
    relit = np.stack(read_frames(tmp_path / "relit")).astype(float)
    moved = np.abs(relit[1:, :, :-STEP] - relit[:-1, :, STEP:])
    inside = moved[:, 4:-4, 8:-8]
    assert inside.mean() < 0.3
    assert np.quantile(inside, 0.999) < 3
    assert np.abs(relit - np.stack(draw_travel(14))).mean() > 15  # it is relit


def test_at_strength_0_the_film_stays_as_it_is(dusk, tmp_path):
    frames = draw_travel(4)
    film = write_frames(tmp_path / "film", frames)
    animate(film, dusk, tmp_path / "relit", {**WITH, "strength": 0.0})
    assert all(map(np.array_equal, read_frames(tmp_path / "relit"), frames))


def test_the_strength_changes_over_a_film(dusk, tmp_path):
    film = write_frames(tmp_path / "film", [draw_land(WIDTH)] * 3)
    animate(film, dusk, tmp_path / "relit", {**WITH, "vary": ("strength=0:1",)})
    first, middle, last = (frame.astype(float) for frame in read_frames(tmp_path / "relit"))
    assert np.array_equal(first, draw_land(WIDTH))
    assert np.abs(last - first).mean() > 15
    assert np.abs(middle - (first + last) / 2).max() <= 1


def test_a_table_of_colours(tmp_path):
    table = tmp_path / "look.cube"
    write_lut(table, tabulate(lambda pixels: 1 - pixels), "negative")
    frames = draw_travel(3)
    film = write_frames(tmp_path / "film", frames)
    options = AnimateOptions.read(WITH)
    inputs = {"film": (str(film),), "lut": (str(table),)}
    work = OPERATIONS["animate"].start(Request(inputs, options, output=tmp_path / "relit"))
    assert watch(work)
    for frame, own in zip(read_frames(tmp_path / "relit"), frames, strict=True):
        assert np.abs(frame.astype(int) - (255 - own)).max() <= 1
    recipe = work.result().recipe  # type: ignore[attr-defined]
    assert recipe["lut"] == ["look.cube"]
    assert recipe["digests"]["lut"]


def test_another_picture_to_be_like_begins_anew(dusk, picture, tmp_path):
    film = write_frames(tmp_path / "film", draw_travel(4))
    work = Animation(film, [dusk], AnimateOptions.read(WITH), tmp_path / "b")
    watch(work, is_stopped=lambda: work.frames_done == 2)
    result = animate(film, picture, tmp_path / "b", WITH)
    assert any("given up" in note for note in result.notes)


def test_what_is_measured_is_beside_the_film(dusk, tmp_path):
    film = write_frames(tmp_path / "film", draw_travel(9))
    found = animate(film, dusk, tmp_path / "b", {**WITH, "measure": True, "strength": 0.0})
    assert found.steadiness is not None
    assert found.steadiness.e1[0] == pytest.approx(found.steadiness.e1[2], abs=1e-4)
    assert found.steadiness.sharpness == pytest.approx(1)
    assert "x 1.00 of the film's own" in found.steadiness.describe()[0]
    assert found.steadiness.describe()[-1] == "sharpness x 1.00 of the film's own"


# --- bad input ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"renew": 9}, "--renew does not go with --with relight"),
        ({"steady": False}, "--steady does not go with --with relight"),
        ({"style_weight": 9.0}, "--style-weight does not go with --with relight"),
        ({"model": "painters"}, "--model goes with --with instant"),
        ({"device": "cuda"}, "--device does not go"),
        ({"setting": ("steps=3",)}, "--setting: unknown option 'steps'"),
        ({"setting": ("labels=a",)}, "--setting: labels does not go with films"),
        ({"setting": ("regions=99",)}, "regions"),
        ({"setting": ("like_blend=1+2",)}, "like_blend: 2 given for 1 pictures"),
        ({"vary": ("style_weight=1:2",)}, "'style_weight' does not change over a film"),
    ],
)
def test_what_does_not_go_is_one_line(dusk, tmp_path, options, message):
    film = write_frames(tmp_path / "film", [draw_picture(32, 32)] * 2)
    with pytest.raises(OptionError, match=message) as caught:
        animate(film, dusk, tmp_path / "b.mp4", {**WITH, **options})
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "b.mp4").exists()


@pytest.mark.parametrize(
    ("inputs", "options", "message"),
    [
        ({"style": ("a.png",)}, WITH, "--style goes with --with instant and --with paint"),
        ({"like": ("a.png",)}, {}, "--like goes with --with relight"),
        ({"lut": ("a.cube",)}, {"with_": "paint"}, "--lut goes with --with relight"),
        ({}, WITH, "relight needs a picture to be like, or a table of colours"),
        ({"like": ("a.png",), "lut": ("a.cube",)}, WITH, "a table of colours: one of both"),
    ],
)
def test_inputs_that_do_not_go_together(tmp_path, inputs, options, message):
    film = write_frames(tmp_path / "film", [draw_picture(32, 32)] * 2)
    inputs = {"film": (str(film),), **inputs}
    request = Request(inputs, AnimateOptions.read(options), output=tmp_path / "b.mp4")
    with pytest.raises(OptionError, match=message):
        OPERATIONS["animate"].start(request)


def test_a_table_that_is_not_there(tmp_path):
    film = write_frames(tmp_path / "film", [draw_picture(32, 32)] * 2)
    with pytest.raises(MissingFileError, match="no such file"):
        animate(film, [], tmp_path / "b.mp4", WITH, lut=tmp_path / "none.cube")
    with pytest.raises(OptionError, match="a table of colours goes with --with relight"):
        animate(film, [], tmp_path / "b.mp4", lut=tmp_path / "none.cube")
