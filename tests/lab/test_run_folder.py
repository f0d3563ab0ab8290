"""Folders of runs: what is kept, what is told of it, and what is refused."""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path

import pytest
from conftest import draw_picture

from impasto.errors import OptionError
from impasto.images.reading import read_image
from impasto.lab.distances import Distances
from impasto.lab.run_folder import Pictures, RunFolder, describe_work
from impasto.lab.run_painter import RunPainter
from impasto.lab.run_worker import RunFiles
from impasto.lab.runs import Row, Run, find_best, find_front, mark_diverged, name_run
from impasto.painting.options import PaintOptions
from impasto.painting.painter import Painter
from impasto.painting.result import Painting
from impasto.recipes import read_recipe_file
from impasto.work import Step

PHOTO, STYLE = draw_picture(64, 48, 1), draw_picture(56, 72, 2)
PICTURES = Pictures.read(PHOTO, STYLE, 100)
OPTIONS = PaintOptions(steps=3, size=48, precision="float32", layout="channels_last")


def facts(options: PaintOptions = OPTIONS, vary: dict | None = None, **what: object) -> dict:
    vary = {"style_weight": [1.0, 2.0]} if vary is None else vary
    return describe_work(PICTURES, options, vary, {"operation": "sweep", **what})


def make_step(number: int, total: float, size: tuple[int, int] = (64, 48)) -> Step:
    measured = {"total": total, "style": total / 10, "content": total / 100, "tv": 0.5}
    return Step(number, 3, size=size, measured=measured, seconds=number / 4)


def make_run(name: str = "01", **values: object) -> Run:
    return Run(name, values, OPTIONS.model_copy(update=values))


def read_table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


# --- names --------------------------------------------------------------------------------------


def test_names_sort_and_are_names_of_files():
    values = {"style_weight": 0.1, "tv_weight": 5.0}
    assert name_run(3, 12, values) == "03-style_weight=0.1-tv_weight=5"
    assert name_run(3, 120, {}) == "003"
    assert name_run(1, 1, {"style_layer": ("relu1_1", "relu2_1")}) == (
        "01-style_layer=relu1_1+relu2_1"
    )
    strange = name_run(1, 2, {"init": '/a/b/my: "pic*.png'})
    assert not set(strange) & set('/\\:*?"<>| ')
    assert len(name_run(1, 2, {"style_loss": ("gaussian",) * 40})) <= 120


# --- the folder ---------------------------------------------------------------------------------


def test_a_record_is_taken_up_by_the_same_work_alone(tmp_path):
    folder = tmp_path / "new" / "folder"
    RunFolder.open(folder, facts())
    RunFolder.open(folder, facts())
    kept = json.loads((folder / "record.json").read_text())
    assert kept["operation"] == "sweep"
    assert kept["options"] == {
        "steps": 3,
        "size": 48,
        "precision": "float32",
        "layout": "channels_last",
    }
    assert kept["vary"] == {"style_weight": ["1", "2"]}
    others = [
        facts(OPTIONS.model_copy(update={"steps": 4})),
        facts(vary={"style_weight": [1.0, 3.0]}),
        facts(chain=True),
        describe_work(
            Pictures.read(STYLE, STYLE, 100),
            OPTIONS,
            {"style_weight": [1.0, 2.0]},
            {"operation": "sweep"},
        ),
    ]
    for other in others:
        with pytest.raises(OptionError, match=r"'folder' holds other work: .*name another folder"):
            RunFolder.open(folder, other)


def test_a_mask_that_was_painted_over_is_other_work(photo, tmp_path):
    masked = OPTIONS.model_copy(update={"mask": str(photo)})
    before = facts(masked)
    assert str(tmp_path) not in json.dumps(before)
    photo.write_bytes(photo.read_bytes() + b" ")
    assert facts(masked)["digest"] != before["digest"]


@pytest.mark.parametrize("name", ["sheet.png", "runs", "best.toml"])
def test_what_is_of_no_record_is_not_written_over(name, tmp_path):
    (tmp_path / name).write_bytes(b"mine")
    (tmp_path / "other.txt").write_bytes(b"mine")
    with pytest.raises(OptionError, match=f"holds '{name}', which would be written over"):
        RunFolder.open(tmp_path, facts())
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([name, "other.txt"])


def test_other_files_may_lie_beside(tmp_path):
    (tmp_path / "notes.txt").write_bytes(b"mine")
    RunFolder.open(tmp_path, facts())
    assert (tmp_path / "notes.txt").read_bytes() == b"mine"


def test_a_record_says_how_much_there_is_to_be(tmp_path):
    known = facts()
    RunFolder.open(tmp_path, {**known, "runs": 2}).write_facts(runs=5)
    kept = json.loads((tmp_path / "record.json").read_text())
    assert kept == {**known, "runs": 5}
    RunFolder.open(tmp_path, {**known, "runs": 2})  # it is known by its digest


def test_a_folder_without_runs_is_mended(tmp_path):
    """As a kill leaves it that comes right after the record."""
    RunFolder.open(tmp_path, facts())
    (tmp_path / "runs").rmdir()
    RunFolder.open(tmp_path, facts())
    assert (tmp_path / "runs").is_dir()


def test_a_file_is_no_folder_and_damage_is_said(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OptionError, match="many pictures go to a folder; 'file' is a file"):
        RunFolder.open(tmp_path / "file", facts())
    (tmp_path / "record.json").write_text("{")
    with pytest.raises(OptionError, match=r"record\.json in .* is damaged; name another folder"):
        RunFolder.open(tmp_path, facts())


# --- runs ---------------------------------------------------------------------------------------


@pytest.fixture
def painter(tmp_path):
    return RunPainter(RunFolder.open(tmp_path / "out", facts()), PICTURES, OPTIONS)


def test_a_run_is_the_painting_that_its_recipe_says(painter):
    run = make_run(style_weight=2.0)
    steps = list(painter.paint(run, keep_at=[2]))
    assert [step.number for step in steps] == [1, 2, 3]
    alone = Painter(PHOTO, STYLE, run.options)
    list(alone.steps())
    alone.result().save(painter.folder.path / "alone.png")
    assert (
        painter.folder.picture(run.name).read_bytes()
        == (painter.folder.path / "alone.png").read_bytes()
    )
    assert sorted(path.name for path in (painter.folder.path / "runs").iterdir()) == [
        "01-0002.png",
        "01.csv",
        "01.png",
    ]
    before = painter.folder.picture(run.name).stat().st_mtime_ns
    assert not list(painter.paint(run))  # it is there
    assert painter.folder.picture(run.name).stat().st_mtime_ns == before


def test_a_run_broken_off_leaves_a_checkpoint_and_no_row(painter):
    run = make_run()
    steps = painter.paint(run)
    next(steps)
    steps.close()
    assert painter.folder.checkpoint(run.name).exists()
    assert not painter.folder.is_done(run.name)
    assert not painter.rows
    assert [step.number for step in painter.paint(run)] == [2, 3]
    assert "taken up at step 2" in painter.folder.notes
    assert not painter.folder.checkpoint(run.name).exists()


def test_no_option_moves_the_yardstick(tmp_path):
    other = {"style_weight": 500.0, "pooling": "avg", "size": 64, "color": "content"}
    seen = read_image(draw_picture(40, 30, 7)).pixels
    measured = []
    for name, options in {"a": OPTIONS, "b": OPTIONS.model_copy(update=other)}.items():
        painter = RunPainter(RunFolder.open(tmp_path / name, facts(options)), PICTURES, options)
        measured.append(painter.yardstick.measure(seen))
    assert measured[0] == measured[1]


def test_a_diverged_run_is_known_by_its_last_step(painter):
    run = make_run()
    pixels = read_image(PHOTO).pixels
    recipe = {"options": OPTIONS.model_dump(mode="json")}
    painting = mark_diverged(Painting(pixels, None, [make_step(1, 2.0)], recipe, []))
    painter.keep(run, RunFiles.of(painting))
    painter.rows.clear()
    assert painter.folder.is_done(run.name)
    assert not painter.folder.picture(run.name).exists()
    row = painter.read(run)
    assert row.distances is None
    assert [step.total for step in row.history] == [2.0]
    assert painter.folder.notes == ["01: the loss was no longer a number at step 2"]


# --- what is told -------------------------------------------------------------------------------


def test_tables_by_hand(tmp_path):
    folder = RunFolder.open(tmp_path, facts(vary={"style_weight": [1.0, 2.0], "seed": [7]}))
    history = [make_step(1, 1.0, (32, 24)), make_step(2, 4.0), make_step(3, 3.0)]
    near = Row(make_run("01", style_weight=1.0, seed=7), history, Distances(0.3, 0.4))
    lost = Row(make_run("02", style_weight=2.0, seed=7), history[:1], None)
    assert near.kept == history[2]  # the least at the last size
    folder.write_results([near, lost], {"best": {"01"}})
    folder.write_losses([near, lost])
    first, second = read_table(tmp_path / "results.csv")
    assert list(first.items()) == [
        ("run", "01"),
        ("style_weight", "1"),
        ("seed", "7"),
        ("style_distance", "0.300000"),
        ("content_distance", "0.400000"),
        ("distance", "0.500000"),
        ("total_loss", "3.0"),
        ("style_loss", "0.3"),
        ("content_loss", "0.03"),
        ("steps", "3"),
        ("seconds", "0.750"),
        ("best", "1"),
    ]
    assert [second[name] for name in ("distance", "total_loss", "steps", "best")] == [
        "",
        "",
        "1",
        "0",
    ]
    lines = read_table(tmp_path / "losses.csv")
    assert [line["run"] for line in lines] == ["01", "01", "01", "02"]
    assert list(lines[1])[:5] == [
        "style_weight",
        "epoch",
        "total_loss",
        "style_loss",
        "content_loss",
    ]
    assert lines[1]["epoch"] == "2"
    assert float(lines[1]["total_loss"]) == 4
    assert lines[1]["width"] == "64"
    assert lines[1]["seed"] == "7"


def test_a_recipe_holds_what_differs_and_loads(tmp_path):
    folder = RunFolder.open(tmp_path, facts())
    options = PaintOptions(
        style_weight=3.5, style_layer=("relu1_1", "relu2_1=0.5"), recolor="none", mask="/a/m.png"
    )
    folder.write_recipe("best.toml", 'the best of "two": ä', options)
    assert read_recipe_file(tmp_path / "best.toml") == {
        "style_weight": 3.5,
        "style_layer": ["relu1_1", "relu2_1=0.5"],
        "recolor": "none",
        "mask": "m.png",
    }
    assert 'about = "the best of \\"two\\": ä"' in (tmp_path / "best.toml").read_text("utf-8")


def test_the_best_is_nearest_and_the_front_is_what_none_is_better_than():
    rows = [
        Row(make_run(str(i)), [], distances)
        for i, distances in enumerate([Distances(1, 0), None, Distances(0.5, 0.5), Distances(0, 2)])
    ]
    assert find_best(rows) is rows[2]
    assert find_best(rows[1:2]) is None
    assert rows[3].place == (2, 0)
    assert find_front([(2, 2), (1, 3), (3, 1), (2, 3), (3, 3), (1, 3)]) == [1, 0, 2]
    assert find_front([]) == []
    assert math.isclose(rows[2].distances.overall, math.sqrt(0.5))
