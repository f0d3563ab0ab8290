"""Tuning: where it looks, its knee, and the same trials however often it is broken off."""

from __future__ import annotations

import csv
import json
import logging
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import draw_picture
from PIL import Image

from impasto.errors import DependencyError, OptionError
from impasto.lab.options import TuneOptions
from impasto.lab.tuning import (
    Journal,
    Search,
    Tuning,
    find_knee,
    mend_journal,
    parse_search,
    read_searches,
    tune,
)
from impasto.recipes import read_recipe_file

optuna = pytest.importorskip("optuna")

PHOTO, STYLE = draw_picture(64, 48, 1), draw_picture(56, 72, 2)
QUICK = {"steps": 2, "size": 48, "precision": "float32", "layout": "channels_last"}
SEARCH = ("style_weight=1:1000", "tv_weight=0.5:50", "content_layer=relu3_1,relu4_1")


def read_table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def without_seconds(path: Path) -> list[dict[str, str]]:
    return [{**line, "seconds": ""} for line in read_table(path)]


# --- where to look ------------------------------------------------------------------------------


def test_ranges_and_choices():
    assert parse_search("style_weight=1:1000") == Search("style_weight", (1.0, 1000.0))
    assert parse_search("steps=10:20") == Search("steps", (10, 20))
    layers = parse_search("content-layer=relu3_1, relu4_1+relu5_1")
    assert layers == Search("content_layer", choices=("relu3_1", "relu4_1+relu5_1"))
    assert layers.values() == [("relu3_1",), ("relu4_1", "relu5_1")]
    assert parse_search("tv_weight=0,5").values() == [0, 5]


@pytest.mark.parametrize(
    ("texts", "said"),
    [
        ((), "tuning searches an option; give --search style_weight=1:1000"),
        (("style_weight=1000:1",), "style_weight: '1000:1' is no range; give LEAST:MOST"),
        (("style_weight=-1:1",), "style_weight: '-1' is wrong"),
        (("style_wait=1:2",), "unknown option 'style_wait'; did you mean 'style_weight'?"),
        (("trials=1:2",), "unknown option 'trials'"),
        (("color=style,lab,lob",), "color: 'lob' is wrong"),
        (("seed=1:2", "seed=3:4"), "seed is searched twice; give it once"),
    ],
)
def test_what_is_wrong_is_said(texts, said):
    with pytest.raises(OptionError) as error:
        read_searches(texts)
    assert said in str(error.value)


def test_what_is_drawn_lies_in_its_range_by_ratio(tmp_path):
    searches = read_searches(
        ["style_weight=1:10000", "tv_weight=0:4", "steps=2:200", "color=lab,pca"]
    )
    journal = Journal(tmp_path / "journal.log", searches, 0)
    drawn = [journal.ask(number) for number in range(60)]
    weights = [values["style_weight"] for values in drawn]
    assert all(1 <= weight <= 10000 for weight in weights)
    assert all(weight == float(f"{weight:.4g}") for weight in weights)
    assert 20 <= sum(weight < 100 for weight in weights) <= 40  # the middle, by ratio
    assert 20 <= sum(values["tv_weight"] < 2 for values in drawn) <= 40
    assert all(isinstance(values["steps"], int) for values in drawn)
    assert {values["color"] for values in drawn} == {"lab", "pca"}
    again = Journal(tmp_path / "journal.log", searches, 0)
    assert [again.ask(number) for number in range(60)] == drawn
    assert again.count() == 60
    other = Journal(tmp_path / "other.log", searches, 1)
    assert other.ask(0) != drawn[0]


# --- the knee -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("points", "knee"),
    [
        ([(0.3, 0.4)], 0),
        ([(1, 0), (0, 0.5)], 1),  # of two, the nearer to 0, 0
        ([(0, 1), (0.2, 0.3), (1, 0)], 1),
        ([(0, 1), (0.2, 0.3), (0.3, 0.1), (1, 0)], 2),
        # Depth below the line 1 - x - y: 0.5 and 0.6; the first axis is as long as the second.
        ([(0, 1), (10, 0.4), (20, 0.2), (100, 0)], 2),
        ([(0, 1), (0.6, 0.6), (1, 0)], 0),  # none lies below the line: an end, the first of equals
        ([(0, 1), (0.9, 0.9), (0.2, 0.3), (1, 0.5), (1, 0)], 2),  # off the front
        ([(1, 1), (1, 1)], 0),
    ],
)
def test_the_knee_by_hand(points, knee):
    assert find_knee(points) == knee


# --- the search ---------------------------------------------------------------------------------

KILLED = """
import os, signal, sys
from impasto.system import checkpoints
from impasto.painting.painter import Painter
from impasto.lab.tuning import Journal, tune

checkpoints.SHARE = float("inf")  # saved at each step
steps, tell, done = Painter.steps, Journal.tell, []

def die():
    os.kill(os.getpid(), signal.SIGKILL)

def steps_killed(self):
    for step in steps(self):
        done.append(step)
        if len(done) == int(os.environ["DIE_AT"]):
            die()
        yield step

def tell_killed(self, number, row):
    if number == int(os.environ["DIE_TELLING"]):
        die()
    tell(self, number, row)

Painter.steps, Journal.tell = steps_killed, tell_killed
options = {"steps": 2, "size": 48, "precision": "float32", "layout": "channels_last"}
tune(sys.argv[1], sys.argv[2], sys.argv[3], {**options, "trials": 12})
"""


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures")
    for name, picture in {"a photo.png": PHOTO, "a style.png": STYLE}.items():
        Image.fromarray(picture).save(folder / name)
    return folder / "a photo.png", folder / "a style.png"


@pytest.fixture(scope="module")
def whole(pair, tmp_path_factory):
    """A search that was left in peace, longer than what Optuna draws blindly; (folder, result)."""
    folder = tmp_path_factory.mktemp("whole") / "out"
    return folder, tune(*pair, folder, {**QUICK, "trials": 12})


def test_what_is_told(whole):
    folder, result = whole
    lines = read_table(folder / "results.csv")
    assert len(lines) == len(result.rows) == 12
    assert lines[0]["run"].startswith("001-style_weight=")
    front = {row.run.name for row in result.front}
    assert {line["run"] for line in lines if line["front"] == "1"} == front
    assert [line["run"] for line in lines if line["best"] == "1"] == [result.knee.run.name]
    assert result.knee.run.name in front
    for line in lines:  # no other is better in both
        style, content = float(line["style_distance"]), float(line["content_distance"])
        better = [
            other
            for other in lines
            if float(other["style_distance"]) < style and float(other["content_distance"]) < content
        ]
        assert not (better and line["front"] == "1")
    recipe = read_recipe_file(folder / "knee.toml")
    assert recipe["style_weight"] == result.knee.run.values["style_weight"]
    assert any(f"the knee is runs/{result.knee.run.name}.png" in note for note in result.notes)
    assert result.finished
    for name in ("pareto.png", "sheet.png"):
        assert (folder / name).exists()


@pytest.mark.slow  # by the command also in cli/test_lab.py
@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGKILL")
def test_killed_it_makes_the_same_trials(pair, whole, tmp_path):
    folder, unbroken = tmp_path / "killed", whole[0]
    command = [sys.executable, "-c", KILLED, *map(str, pair), str(folder)]
    # Before Optuna was told; and in the middle of a trial that Optuna has learned for.
    for step, telling, rows in ((-1, 3, 4), (2 * 8, -1, 11)):
        when = {"DIE_AT": str(step), "DIE_TELLING": str(telling)}
        died = subprocess.run(
            command, env={**os.environ, **when}, check=False, capture_output=True, text=True
        )
        assert died.returncode == -signal.SIGKILL, died.stderr
        assert died.stderr == ""
        assert len(read_table(folder / "results.csv")) == rows
    result = tune(*pair, folder, {**QUICK, "trials": 12})
    assert "taken up at step 2" in result.notes
    for table in ("results.csv", "losses.csv"):
        assert without_seconds(folder / table) == without_seconds(unbroken / table)
    names = sorted(path.name for path in (unbroken / "runs").iterdir())
    assert sorted(path.name for path in (folder / "runs").iterdir()) == names
    for name in names:
        if name.endswith(".png"):
            kept = (folder / "runs" / name).read_bytes()
            assert kept == (unbroken / "runs" / name).read_bytes()
    assert Journal(folder / "journal.log", (), 0).count() == 12


def test_more_trials_go_on_from_there(tmp_path, capfd):
    level = logging.getLogger("optuna").level
    options = {**QUICK, "steps": 1, "search": ("style_weight=1:10",)}
    first = tune(PHOTO, STYLE, tmp_path / "out", {**options, "trials": 1})
    moments = []
    both = tune(PHOTO, STYLE, tmp_path / "out", {**options, "trials": 2}, on_step=moments.append)
    assert [row.run.values for row in both.rows][:1] == [row.run.values for row in first.rows]
    assert [(moment.number, moment.steps) for moment in moments] == [(1, 2), (2, 2), (2, 2)]
    record = json.loads((tmp_path / "out" / "record.json").read_text())
    assert record["runs"] == 2
    fewer = tune(PHOTO, STYLE, tmp_path / "out", {**options, "trials": 1})
    assert len(fewer.rows) == 2
    assert json.loads((tmp_path / "out" / "record.json").read_text()) == record
    assert capfd.readouterr() == ("", "")
    assert logging.getLogger("optuna").level == level


def test_a_diverged_trial_counts_and_is_told_of(tmp_path):
    options = {**QUICK, "optimizer": "sgd", "search": ("learning_rate=1e37:1e38",), "trials": 2}
    result = tune(PHOTO, STYLE, tmp_path / "out", options)
    assert len(result.rows) == 2
    assert result.knee is None
    assert result.front == []
    assert [line["distance"] for line in read_table(tmp_path / "out" / "results.csv")] == ["", ""]
    trials = Journal(tmp_path / "out" / "journal.log", (), 0).study.get_trials()
    assert [trial.state.name for trial in trials] == ["FAIL", "FAIL"]


def test_closed_it_tells_of_what_is_finished(tmp_path):
    options = TuneOptions.read({**QUICK, "search": SEARCH[:1], "trials": 3})
    work = Tuning(PHOTO, STYLE, options, tmp_path / "out")
    steps = work.steps()
    while next(steps).number < 3:
        pass
    steps.close()
    assert len(read_table(tmp_path / "out" / "results.csv")) == 1
    assert (tmp_path / "out" / "pareto.png").exists()
    assert not work.result().finished
    assert json.loads((tmp_path / "out" / "record.json").read_text())["runs"] == 3


@pytest.mark.skipif(os.name == "nt", reason="Windows has no flock")
def test_a_second_process_is_refused_and_the_lock_of_a_killed_one_taken_off(tmp_path):
    options = TuneOptions.read({**QUICK, "search": SEARCH[:1], "trials": 1})
    work, twin = (Tuning(PHOTO, STYLE, options, tmp_path) for _ in range(2))
    (tmp_path / "journal.log.lock").touch()  # Optuna's own
    steps = work.steps()
    next(steps)
    with pytest.raises(OptionError, match="is being worked on by another process"):
        next(twin.steps())
    steps.close()
    assert next(twin.steps()).number == 2


def test_half_a_line_is_taken_off(tmp_path):
    journal = tmp_path / "journal.log"
    mend_journal(journal)
    assert not journal.exists()
    for content, kept in [
        (b"", b""),
        (b"one\ntwo\n", b"one\ntwo\n"),
        (b"one\nhal", b"one\n"),
        (b"hal", b""),
    ]:
        journal.write_bytes(content)
        mend_journal(journal)
        assert journal.read_bytes() == kept


def test_without_optuna(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(DependencyError, match=r"tuning needs optuna, .* 'impasto\[tune\]'"):
        tune(PHOTO, STYLE, tmp_path / "out", QUICK)
    assert not (tmp_path / "out").exists()


def test_what_cannot_be_painted_is_said_before_anything_is(tmp_path):
    options = {**QUICK, "search": ("style_layer=relu1_1,relu6_1",)}
    with pytest.raises(OptionError, match="unknown layer 'relu6_1'"):
        tune(PHOTO, STYLE, tmp_path / "out", options)
    assert not (tmp_path / "out").exists()


def test_a_round_is_proposed_before_any_of_it_is_known(tmp_path):
    """Trials of a round know what came before it: the first round is the same for any size."""
    options = {**QUICK, "steps": 1, "trials": 4, "search": ("style_weight=1:1000",)}
    runs = {}
    for size in (2, 4):
        rows = tune(PHOTO, STYLE, tmp_path / str(size), {**options, "round": size}).rows
        runs[size] = [row.run.name for row in rows]
    assert runs[2][:2] == runs[4][:2]
    with pytest.raises(OptionError, match="holds other work"):
        tune(PHOTO, STYLE, tmp_path / "2", {**options, "round": 3})
