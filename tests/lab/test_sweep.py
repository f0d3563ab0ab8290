"""Sweeps and studies: every picture, every table, and the same after a kill."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import tomllib
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from conftest import draw_picture
from PIL import Image

from impasto.cluster.crew import TaskNeeds
from impasto.errors import ClusterError, ImpastoError, OptionError
from impasto.images.opening import read_recipe
from impasto.images.reading import read_image
from impasto.lab import run_series
from impasto.lab.options import SweepOptions
from impasto.lab.studies import STUDIES, Study, study
from impasto.lab.sweep import Sweep, is_turn, sweep
from impasto.lab.varied_options import names_in, read_axis
from impasto.painting.options import PaintOptions
from impasto.painting.painter import Painter, paint
from impasto.recipes import read_recipe_file

PHOTO, STYLE = draw_picture(64, 48, 1), draw_picture(56, 72, 2)
QUICK = {"steps": 3, "size": 48, "precision": "float32", "layout": "channels_last"}
VARY = {"style_weight": [1, 100], "tv_weight": [0, 5]}


def read_table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def without_seconds(path: Path) -> list[dict[str, str]]:
    return [{**line, "seconds": ""} for line in read_table(path)]


def pictures_in(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((folder / "runs").glob("*.png"))}


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """A photograph and a style as files."""
    folder = tmp_path_factory.mktemp("pictures")
    for name, picture in {"a photo.png": PHOTO, "a style.png": STYLE}.items():
        Image.fromarray(picture).save(folder / name)
    return folder / "a photo.png", folder / "a style.png"


@pytest.fixture(scope="module")
def whole(pair, tmp_path_factory):
    """A sweep that was left in peace; (folder, result, the moments it told of)."""
    folder = tmp_path_factory.mktemp("whole") / "out"
    moments = []
    result = sweep(
        *pair, VARY, folder, QUICK, film=folder.parent / "film.gif", on_step=moments.append
    )
    return folder, result, moments


# --- what there is afterwards -------------------------------------------------------------------


def test_every_crossing_has_a_picture_and_a_line(whole):
    folder, result, _ = whole
    lines = read_table(folder / "results.csv")
    names = [
        "01-style_weight=1-tv_weight=0",
        "02-style_weight=1-tv_weight=5",
        "03-style_weight=100-tv_weight=0",
        "04-style_weight=100-tv_weight=5",
    ]
    assert [line["run"] for line in lines] == names
    assert [path.removesuffix(".png") for path in pictures_in(folder)] == names
    assert [(line["style_weight"], line["tv_weight"]) for line in lines] == [
        ("1", "0"),
        ("1", "5"),
        ("100", "0"),
        ("100", "5"),
    ]
    assert len(read_table(folder / "losses.csv")) == 4 * 3
    distances = [float(line["distance"]) for line in lines]
    assert [line["best"] for line in lines] == [
        "1" if d == min(distances) else "0" for d in distances
    ]
    assert result.best.run.name == names[distances.index(min(distances))]
    assert result.finished


def test_each_picture_is_what_paint_makes_of_its_options(pair, whole):
    folder, result, _ = whole
    row = result.rows[2]
    picture = folder / "runs" / f"{row.run.name}.png"
    alone = paint(*pair, {**QUICK, "style_weight": 100, "tv_weight": 0})
    alone.save(folder.parent / "alone.png")
    assert picture.read_bytes() == (folder.parent / "alone.png").read_bytes()
    assert row.kept.total == min(step.total for step in alone.history)


def test_the_best_is_a_recipe(whole):
    folder, result, _ = whole
    options = PaintOptions.read(read_recipe_file(folder / "best.toml"))
    best = {**QUICK, **result.best.run.values}
    assert {name: getattr(options, name) for name in best} == best
    assert options.changed().items() <= best.items()
    assert any(f"the best is runs/{result.best.run.name}.png" in note for note in result.notes)


def test_sheet_figures_and_film(whole):
    folder, _, _ = whole
    for name in ("sheet.png", "losses.png", "distances.png"):
        with Image.open(folder / name) as image:
            assert min(image.size) > 400, name
    with Image.open(folder.parent / "film.gif") as film:
        assert film.n_frames == 4
        assert max(film.size) in range(470, 500)


def test_moments_count_all_steps(whole):
    _, _, moments = whole
    assert [moment.number for moment in moments] == [
        done for run in range(4) for done in (3 * run + 1, 3 * run + 2, 3 * run + 3, 3 * run + 3)
    ]
    assert {moment.steps for moment in moments} == {12}
    assert moments[4].text == "2/4 style_weight=1 tv_weight=5"


def test_no_folder_is_told_of(photo, picture, tmp_path):
    folder = tmp_path / "out"
    mask = tmp_path / "a mask.png"
    Image.new("L", (64, 48), 255).save(mask)
    sweep(photo, picture, {"init": [str(photo), "noise"]}, folder, {**QUICK, "mask": str(mask)})
    for path in folder.rglob("*"):
        if path.is_file():
            assert str(tmp_path).encode() not in path.read_bytes(), path.name
            assert str(tmp_path) not in (read_recipe(path) or "" if path.suffix == ".png" else "")
    assert pictures_in(folder).keys() == {"01-init=a_photo.png.png", "02-init=noise.png"}


# --- broken off ---------------------------------------------------------------------------------

KILLED = """
import os, signal, sys
from impasto.system import checkpoints
from impasto.painting.painter import Painter
from impasto.lab.sweep import sweep

checkpoints.SHARE = float("inf")  # saved at each step
steps, done = Painter.steps, []

def steps_killed(self):
    for step in steps(self):
        done.append(step)
        if len(done) == int(os.environ["DIE_AT"]):
            os.kill(os.getpid(), signal.SIGKILL)
        yield step

Painter.steps = steps_killed
options = {"steps": 3, "size": 48, "precision": "float32", "layout": "channels_last"}
vary = {"style_weight": [1, 100], "tv_weight": [0, 5]}
sweep(sys.argv[1], sys.argv[2], vary, sys.argv[3], options)
"""


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGKILL")
def test_killed_it_goes_on_to_the_same_bytes(pair, whole, tmp_path):
    folder = tmp_path / "killed"
    command = [sys.executable, "-c", KILLED, *map(str, pair), str(folder)]
    died = subprocess.run(command, env={**os.environ, "DIE_AT": "5"}, check=False)
    assert died.returncode == -signal.SIGKILL
    assert len(pictures_in(folder)) == 1
    assert len(read_table(folder / "results.csv")) == 1
    assert (folder / "runs" / "02-style_weight=1-tv_weight=5.ckpt").exists()
    moments = []
    result = sweep(*pair, VARY, folder, QUICK, on_step=moments.append)
    assert "taken up at step 2" in result.notes
    assert [moment.number for moment in moments[:3]] == [3, 5, 6]
    unbroken = whole[0]
    assert pictures_in(folder) == pictures_in(unbroken)
    for table in ("results.csv", "losses.csv"):
        assert without_seconds(folder / table) == without_seconds(unbroken / table)
    for name in ("sheet.png", "distances.png", "losses.png", "best.toml", "record.json"):
        assert (folder / name).read_bytes() == (unbroken / name).read_bytes(), name
    assert not list(folder.rglob("*.ckpt"))


def test_closed_it_tells_of_what_is_finished(pair, whole, tmp_path):
    folder = tmp_path / "out"
    options = SweepOptions.read({**QUICK, "vary": ("style_weight=1,100", "tv_weight=0,5")})
    work = Sweep(*pair, options, folder, film=tmp_path / "film.gif")
    steps = work.steps()
    for moment in steps:
        if moment.number == 8:
            break
    steps.close()
    assert len(read_table(folder / "results.csv")) == 2
    assert (folder / "sheet.png").exists()
    assert not work.result().finished
    again = Sweep(*pair, options, folder, film=tmp_path / "film.gif")
    assert sum(1 for _ in again.steps()) == 1 + 1 + 2 + 4  # of the third a step is left
    assert pictures_in(folder) == pictures_in(whole[0])
    with Image.open(tmp_path / "film.gif") as film:
        assert film.n_frames == 4


def test_closed_before_anything_is_finished(tmp_path):
    options = SweepOptions.read({**QUICK, "vary": ("style_weight=1,100",)})
    work = Sweep(PHOTO, STYLE, options, tmp_path / "out")
    steps = work.steps()
    next(steps)
    steps.close()
    assert work.result().rows == []
    assert work.result().best is None
    assert not (tmp_path / "out" / "sheet.png").exists()


def test_a_diverged_run_stops_no_other(tmp_path):
    vary = {"learning_rate": [1e38, 0.01]}
    result = sweep(PHOTO, STYLE, vary, tmp_path / "out", {**QUICK, "optimizer": "sgd"})
    first, second = read_table(tmp_path / "out" / "results.csv")
    assert first["distance"] == first["total_loss"] == ""
    assert float(second["distance"]) > 0
    assert result.best is result.rows[1]
    assert any("the loss was no longer a number at step" in note for note in result.notes)
    again = sweep(PHOTO, STYLE, vary, tmp_path / "out", {**QUICK, "optimizer": "sgd"})
    assert [row.distances for row in again.rows] == [row.distances for row in result.rows]


@pytest.mark.skipif(os.name == "nt", reason="Windows has no flock")
def test_a_second_process_is_refused(tmp_path):
    options = SweepOptions.read({**QUICK, "vary": ("style_weight=1,100",)})
    work, twin = (Sweep(PHOTO, STYLE, options, tmp_path / "out") for _ in range(2))
    steps = work.steps()
    next(steps)
    with pytest.raises(OptionError, match="is being worked on by another process"):
        next(twin.steps())
    with pytest.raises(OptionError, match="is being worked on by another process"):
        Sweep(PHOTO, STYLE, options, tmp_path / "out")
    steps.close()
    assert next(twin.steps()).number == 2
    assert not list((tmp_path / "out").glob(".*"))


# --- chains -------------------------------------------------------------------------------------


def test_in_a_chain_each_starts_from_the_one_before(tmp_path):
    folder = tmp_path / "out"
    options = {**QUICK, "chain": True}
    sweep(PHOTO, STYLE, {"style_weight": [1, 10, 100]}, folder, options)
    names = list(pictures_in(folder))
    for before, name in pairwise(names):
        values = json.loads(read_recipe(folder / "runs" / name))["options"]
        assert values["init"] == before
        values["init"] = str(folder / "runs" / before)
        again = paint(PHOTO, STYLE, values)
        kept = read_image(folder / "runs" / name).pixels
        assert np.array_equal(np.asarray(again.to_pil()), (kept[0].permute(1, 2, 0) * 255).round())
    first = json.loads(read_recipe(folder / "runs" / names[0]))["options"]
    assert first["init"] == "content"
    start = read_recipe_file(folder / "best.toml").get("init")
    assert start is None or (folder / start).is_file()


# --- what is refused, what is noted -------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"vary": ()}, "a sweep varies an option; give --vary"),
        ({"vary": ("seed=1,2", "seed=3")}, "seed is varied twice"),
        ({"vary": ("init=noise,grey",), "chain": True}, "do not vary init"),
        ({"vary": ("content_layer=relu4_1,relu9_1",)}, "unknown layer 'relu9_1'"),
        ({"vary": ("style_loss=gram,grm",)}, "'grm'"),
        ({"vary": ("seed=1,2", "init=noise,nosie")}, "unknown init 'nosie'"),
        ({"vary": ("init=noise,away.png",)}, "no such file: 'away.png'"),
    ],
)
def test_what_cannot_be_painted_is_said_before_anything_is(values, said, tmp_path):
    with pytest.raises(ImpastoError) as error:
        Sweep(PHOTO, STYLE, SweepOptions.read({**QUICK, **values}), tmp_path / "out")
    assert said in str(error.value)
    assert not (tmp_path / "out").exists()


def test_without_matplotlib_figures_are_left_out(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    result = sweep(PHOTO, STYLE, ["style_weight=1,10"], tmp_path / "out", QUICK)
    assert (tmp_path / "out" / "sheet.png").exists()
    assert not (tmp_path / "out" / "losses.png").exists()
    assert result.notes[-1].startswith("left out: losses.png, distances.png; plots need matplotlib")
    assert "pip install 'impasto[plots]'" in result.notes[-1]


@pytest.mark.parametrize(
    ("width", "options", "side", "noted"),
    [
        (320, {}, 256, True),
        (64, {}, 64, True),
        (320, {"size": 80}, 80, False),
        (320, {"vary": ("size=64,48",)}, 64, False),
    ],
)
def test_the_size_is_small_unless_it_is_asked_for(width, options, side, noted, tmp_path):
    photo = draw_picture(width, width, 1)
    asked = SweepOptions.read({"steps": 1, "vary": ("seed=1,2",), **options})
    work = Sweep(photo, STYLE, asked, tmp_path / "out")
    assert work.runs[0].options.size == side
    assert any("--size" in note for note in work.notes) == noted


def test_turns_are_the_points_with_something_new():
    points = [{"a": a, "b": b} for a in (1, 2, 3) for b in (1, 2)]
    assert [i for i in range(1, 6) if is_turn(points, i)] == [1, 2, 4]


# --- studies ------------------------------------------------------------------------------------


def test_every_study_varies_options_that_there_are():
    for name, subject in STUDIES.items():
        for axis in map(read_axis, subject.axes):
            assert len(axis) > 2
            assert names_in(axis) <= PaintOptions.model_fields.keys(), name
            for point in axis:
                PaintOptions.read(point)
        PaintOptions.read(subject.options)
        assert bool(subject.axes) != bool(subject.keep_at)


def test_what_the_user_varies_takes_an_axis_place(tmp_path):
    options = {**QUICK, "steps": 1, "vary": ("content_layer=relu1_1,relu2_1", "tv_weight=0,1")}
    work = Study("layers", PHOTO, STYLE, SweepOptions.read(options), tmp_path / "out")
    assert [names_in(axis) for axis in work.plan.axes] == [
        {"content_layer"},
        {"tv_weight"},
        {"style_weight"},
    ]
    assert len(work.runs) == 2 * 2 * 4
    facts = json.loads((tmp_path / "out" / "record.json").read_text())
    assert (facts["subject"], facts["runs"]) == ("layers", 16)
    assert facts["about"] == STUDIES["layers"].about


def test_what_the_user_sets_goes_before_what_the_study_does(tmp_path):
    work = Study("starts", PHOTO, STYLE, SweepOptions(steps=5, size=48), tmp_path / "a")
    assert work.runs[0].options.steps == 5
    work = Study("starts", PHOTO, STYLE, SweepOptions(size=48), tmp_path / "b")
    assert work.runs[0].options.steps == 200
    assert [run.name for run in work.runs] == [
        "01-init=content",
        "02-init=style",
        "03-init=grey",
        "04-init=statistics",
        "05-init=noise-seed=0",
        "06-init=noise-seed=1",
        "07-init=noise-seed=2",
    ]


def test_the_study_of_steps_keeps_pictures_and_times(tmp_path):
    folder = tmp_path / "out"
    result = study("steps", PHOTO, STYLE, folder, {**QUICK, "steps": 12})
    assert list(pictures_in(folder)) == ["01-0001.png", "01-0010.png", "01-0012.png", "01.png"]
    assert len({step.size for step in result.rows[0].history}) == 1
    assert pictures_in(folder)["01-0012.png"] == pictures_in(folder)["01.png"]
    for name in ("sheet.png", "losses.png", "progress.png", "times.png"):
        assert (folder / name).exists()
    about = tomllib.loads((folder / "best.toml").read_text())["about"]
    assert about == "how the picture grows: picture after picture"
    with pytest.raises(OptionError, match="study steps is of one run"):
        study("steps", PHOTO, STYLE, tmp_path / "other", {**QUICK, "vary": ("seed=1,2",)})


def test_an_unknown_study(tmp_path):
    with pytest.raises(OptionError, match="unknown study 'wieghts'; did you mean 'weights'"):
        study("wieghts", PHOTO, STYLE, tmp_path / "out")


def test_a_chain_is_painted_one_after_the_other(pair, tmp_path):
    with pytest.raises(OptionError, match="chain paints one picture after the other"):
        sweep(*pair, VARY, tmp_path / "out", {**QUICK, "chain": True}, on="local:2")


def test_a_cluster_is_asked_for_the_memory_of_the_largest(pair, tmp_path, monkeypatch):
    asked = []

    def hire(place, most, needs):
        asked.append((place.kind, most, needs))
        raise ClusterError("no cluster in this test")

    monkeypatch.setattr(run_series, "hire_crew", hire)
    options = {**QUICK, "device": "cpu"}
    with pytest.raises(ClusterError, match="no cluster in this test"):
        sweep(*pair, {"size": [48, 160, 64]}, tmp_path / "out", options, on="ray")
    sizes = [PaintOptions.read({**options, "size": size}) for size in (160, 64)]
    largest, small = (Painter(*pair, each).memory_needed for each in sizes)
    assert asked == [("ray", 3, TaskNeeds(largest, gpu=False))]
    assert largest > small
