"""The commands that make many pictures, run as a user runs them."""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import draw_picture
from PIL import Image

from impasto.cli.app import run
from impasto.cli.paint import PAINT_PANELS
from impasto.images.reading import read_image
from impasto.system.files import working_in

PICTURES = ["ein Foto ü.png", "a style é.png"]
QUICK = ["--steps", "2", "--start-size", "64", "--precision", "float32", "--layout", "planes"]
SWEEP = ["sweep", *PICTURES, *QUICK, "--vary", "style_weight=1,10"]
AUGMENT = ["augment", "a set", "out", "--styles", "styles", "--noise", "gaussian,blur,spots"]


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    folder = tmp_path / "a folder"
    folder.mkdir()
    monkeypatch.chdir(folder)
    Image.fromarray(draw_picture(48, 36, 1)).save("ein Foto ü.png")
    Image.fromarray(draw_picture(40, 48, 2)).save("a style é.png")
    return folder


@pytest.fixture
def labelled():
    """A set of pictures in folders of their class, and a folder of styles."""
    for number, name in enumerate(["chats é/1.png", "chats é/2.png", "dogs/1.png", "dogs/2.png"]):
        path = Path("a set", name)
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(draw_picture(32, 32, number)).save(path)
    Path("styles").mkdir()
    for number in (7, 8):
        Image.fromarray(draw_picture(40, 40, number)).save(f"styles/{number}.png")


@pytest.fixture
def no_figures(monkeypatch):
    """Where figures are not what is looked at: they take seconds."""
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)


def impasto(*arguments: object) -> int:
    return run([*map(str, arguments)])


def read_files(folder: str | Path = "") -> dict[str, bytes]:
    """All that lies in a folder, by its place in it."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in Path(folder).rglob("*")
        if path.is_file()
    }


def read_told(folder: str | Path) -> dict[str, bytes]:
    """What does not tell how long it took."""
    timed = (".csv", "report.html", "journal.log", "losses.png", "times.png")
    return {name: data for name, data in read_files(folder).items() if not name.endswith(timed)}


# --- sweeps, studies, searches ------------------------------------------------------------------


def test_a_sweep_goes_to_its_folder_and_tells_each_note_once(capsys):
    assert impasto(*SWEEP, "--film", "film ü.gif") == 0
    said = capsys.readouterr()
    assert said.out == ""
    lines = [line for line in said.err.splitlines() if line.startswith("note: ")]
    assert len(lines) == len(set(lines))
    assert "note: each picture has a long side of 48; --size for another" in lines
    assert any(line.startswith("note: the best is runs/0") for line in lines)
    assert said.err.endswith("all is in sweep\n")
    assert {"best.toml", "results.csv", "losses.csv", "sheet.png"} <= set(read_files("sweep"))
    with Image.open("film ü.gif") as film:
        assert film.n_frames == 2
    assert impasto("report", "sweep") == 0
    assert capsys.readouterr().out == "sweep/report.html\n"
    assert (
        impasto("paint", PICTURES[0], "-s", PICTURES[1], "--recipe", "sweep/best.toml", "-q") == 0
    )


@pytest.mark.usefixtures("no_figures")
def test_the_styles_stand_after_the_photograph_or_after_a_flag(capsys):
    assert impasto(*SWEEP, "-q") == 0
    before = read_told("sweep")
    flagged = ["sweep", PICTURES[0], "-s", PICTURES[1], *SWEEP[3:], "-q"]
    assert impasto(*flagged) == 0  # there is nothing left to paint
    assert read_told("sweep") == before
    said = capsys.readouterr()
    assert (said.out, said.err) == ("", "")


def test_a_study_and_a_search(capsys):
    assert impasto("study", "steps", *PICTURES, *QUICK) == 0
    assert capsys.readouterr().err.endswith("all is in study-steps\n")
    assert "runs/01-0001.png" in read_files("study-steps")
    search = ["tune", *PICTURES, *QUICK, "--search", "style_weight=1:100"]
    assert impasto(*search, "--trials", 1, "-q") == 0
    first = next(Path("tuned/runs").glob("*.png")).read_bytes()
    assert impasto(*search, "--trials", 2) == 0  # goes further
    assert capsys.readouterr().err.endswith("all is in tuned\n")
    runs = sorted(Path("tuned/runs").glob("*.png"))
    assert len(runs) == 2
    assert runs[0].read_bytes() == first
    for folder in ("study-steps", "tuned"):
        assert impasto("report", folder) == 0


@pytest.mark.usefixtures("no_figures")
def test_options_come_from_a_recipe_and_flags_win():
    text = 'steps = 9\nseed = 4\nvary = ["style_weight=1,10"]\n'
    Path("mine.toml").write_text(text)
    assert impasto("sweep", *PICTURES, *QUICK, "--recipe", "mine.toml", "-q") == 0
    with Path("sweep/results.csv").open(newline="") as file:
        assert {row["steps"] for row in csv.DictReader(file)} == {"2"}
    assert "seed = 4\n" in Path("sweep/best.toml").read_text()


# --- data sets ----------------------------------------------------------------------------------


@pytest.mark.usefixtures("labelled")
def test_a_labelled_set_in_a_labelled_set_out(capsys):
    assert impasto(*AUGMENT, "--per-image", 2) == 0
    said = capsys.readouterr().err
    assert "wrote 12 pictures in " in said
    assert " a second)" in said
    with Path("out/manifest.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert sorted({row["label"] for row in rows}) == ["chats é", "dogs"]
    assert {row["style"] for row in rows} == {"", "7.png", "8.png"}
    before = read_files("out")
    assert impasto(*AUGMENT, "--per-image", 2) == 0
    said = capsys.readouterr().err
    assert said.endswith(" s, 12 were there already\n")
    assert read_files("out") == before


@pytest.mark.usefixtures("labelled")
def test_styles_are_folders_patterns_or_files():
    given = {
        "one": ["--styles", "styles"],
        "two": ["--styles", "styles/7.png", "--styles", "styles/8.png"],
        "three": ["-s", "style?/[78].png"],
    }
    for name, styles in given.items():
        assert impasto("augment", "a set", name, *styles, "--per-image", 1, "-q") == 0
    assert read_files("one") == read_files("two") == read_files("three")


@pytest.mark.usefixtures("labelled")
def test_a_bad_file_among_many_is_told_and_stops_nothing(capsys):
    Path("a set/dogs/broken.png").write_text("no picture")
    assert impasto(*AUGMENT, "--per-image", 1, "-q") == 2
    said = capsys.readouterr().err
    assert said.startswith("impasto: dogs/broken.png: 'broken.png' is damaged or no picture")
    assert len(said.splitlines()) == 1
    assert read_image("out/chats é/1-1.png").size == (32, 32)


@pytest.mark.usefixtures("labelled")
def test_quiet_says_nothing(capsys):
    assert impasto(*AUGMENT, "--per-image", 1, "-q") == 0
    said = capsys.readouterr()
    assert (said.out, said.err) == ("", "")


# --- what must not be ---------------------------------------------------------------------------

SWEEPING = ["sweep", "{photo}", "{style}"]
MISTAKES = [
    (["sweep"], "CONTENT requires an argument"),
    (["sweep", "{photo}"], "a picture is needed to paint after: CONTENT STYLE, or --style"),
    (["sweep", "{photo}", ""], "a picture has an empty name"),
    (["sweep", "", "{style}"], "a picture has an empty name"),
    (["sweep", "none.png", "{style}", "--vary", "steps=1,2"], "no such file: 'none.png'"),
    (SWEEPING, "a sweep varies an option; give --vary style_weight=1,0.1,0.01"),
    ([*SWEEPING, "--vary", ""], "'' names no values of an option; give it as style_weight=1,0.1"),
    ([*SWEEPING, "--vary", "steps"], "'steps' names no values of an option"),
    ([*SWEEPING, "--vary", "style-weight=1,x"], "style_weight: 'x' is wrong"),
    ([*SWEEPING, "--vary", "style_wieght=1,2"], "unknown option 'style_wieght'; did you mean"),
    ([*SWEEPING, "--vary", "steps=1,1"], "steps: 1 is given twice"),
    ([*SWEEPING, "--vary", "steps=1:9:1"], "a range has at least 2 values, not 1"),
    ([*SWEEPING, "--vary", "steps=1,2", "--vary", "steps=3,4"], "steps is varied twice"),
    ([*SWEEPING, "--vary", "init=none.png,noise"], "no such file: 'none.png'"),
    ([*SWEEPING, "--vary", "steps=1,2", "-o", "x.png"], "many pictures go to a folder; 'x.png' na"),
    ([*SWEEPING, "--vary", "steps=1,2", "-o", ""], "many pictures go to a folder of their own"),
    ([*SWEEPING, "--vary", "steps=1,2", "-o", "{style}"], "many pictures go to a folder; 'a style"),
    (
        [*SWEEPING, "--vary", "steps=1,2", "--film", "x.avi"],
        "cannot write a film 'x.avi' with suff",
    ),
    ([*SWEEPING, "--vary", "steps=1,2", "--recipe", "drat"], "unknown recipe 'drat'; did you mean"),
    ([*SWEEPING, "--vary", "steps=1,2", "--recipe", "{photo}"], "carries no recipe"),
    (["study", "stpes", "{photo}", "{style}"], 'Did you mean "steps"?'),
    (["study", "steps", "{photo}"], "a picture is needed to paint after"),
    (["study", "steps", "{photo}", "{style}", "--vary", "seed=1,2"], "it varies nothing"),
    (["tune", "{photo}", "{style}", "--trials", "0"], "trials: '0' is wrong"),
    (["tune", "{photo}", "{style}", "--search", "x"], "'x' names no values of an option"),
    (
        ["tune", "{photo}", "{style}", "-o", "x.webp"],
        "many pictures go to a folder; 'x.webp' names",
    ),
    (["augment", "a set"], "OUT requires an argument"),
    (["augment", "none", "out", "--noise", "blur"], "no such folder or CSV: 'none'"),
    (["augment", "a set", "out"], "nothing to do to the copies; give --styles, --noise or both"),
    (["augment", "a set", "", "--noise", "blur"], "copies go to a folder of their own; name one"),
    (["augment", "a set", "x.png", "--noise", "blur"], "copies go to a folder; 'x.png' names a pi"),
    (["augment", "a set", "a set", "--noise", "blur"], "'a set' lies in the folder that is read"),
    (
        ["augment", "a set", "out", "--noise", "blurr"],
        "unknown noise 'blurr'; did you mean 'blur'?",
    ),
    (["augment", "a set", "out", "--styles", ""], "a picture has an empty name"),
    (["augment", "a set", "out", "--styles", "none"], "no such file: 'none'"),
    (["augment", "a set", "out", "--styles", "a set"], "no pictures in 'a set'"),
    (["augment", "a set", "out", "--noise", "blur", "--jobs", "0"], "jobs: '0' is wrong"),
    (
        ["augment", "a set", "out", "--noise", "blur", "--strength", "2"],
        "give LEAST:MOST, both from",
    ),
    (["augment", "a set", "out", "--noise", "blur", "--seed", "-1"], "seed: '-1' is wrong"),
    (["report", "none"], "no study in 'none'"),
    (["report", "{photo}"], "no study in 'ein Foto ü.png'"),
]


@pytest.mark.usefixtures("labelled")
@pytest.mark.parametrize(("arguments", "text"), MISTAKES)
def test_mistakes_are_one_line_and_leave_nothing(arguments, text, capsys):
    names = {"photo": PICTURES[0], "style": PICTURES[1]}
    before = read_files()
    assert impasto(*(each.format(**names) for each in arguments)) == 2
    said = capsys.readouterr().err.strip()
    assert said.startswith("impasto: ")
    assert text in said
    assert len(said.splitlines()) == 1
    assert read_files() == before
    assert not any(Path(name).exists() for name in ("sweep", "tuned", "out", "study-steps"))


@pytest.mark.usefixtures("no_figures")
def test_other_work_is_left_alone_and_so_is_work_in_progress(capsys):
    assert impasto(*SWEEP, "-q") == 0
    before = read_files("sweep")
    assert impasto(*SWEEP, "--seed", 3) == 2
    assert "'sweep' holds other work" in capsys.readouterr().err
    with working_in(Path("sweep")):
        assert impasto(*SWEEP) == 2
        assert "'sweep' is being worked on by another process" in capsys.readouterr().err
    assert read_files("sweep") == before


def test_without_optuna_one_line_says_what_mends_it(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "optuna", None)
    assert impasto("tune", *PICTURES, *QUICK) == 2
    text = "impasto: tuning needs optuna, which is not installed; pip install 'impasto[tune]'\n"
    assert capsys.readouterr().err == text
    assert not Path("tuned").exists()


# --- Ctrl-C and kill ----------------------------------------------------------------------------

BROKEN_OFF = """
import os, sys
from impasto.cli import app as cli
from impasto.operations import Operation
by, at, start = int(sys.argv.pop(1)), int(sys.argv.pop(1)), Operation.start

class BrokenOff:
    def __init__(self, work):
        self.work = work

    def __getattr__(self, name):
        return getattr(self.work, name)

    def steps(self):
        for number, moment in enumerate(self.work.steps(), 1):
            if number == at or moment.number >= -at > 0:
                os.kill(os.getpid(), by)
            yield moment

Operation.start = lambda self, request: BrokenOff(start(self, request))
cli.main()
"""


def break_off(by: signal.Signals, at: int, *arguments: object) -> subprocess.CompletedProcess:
    """Run the command, broken off at that step, or where minus ``at`` pictures are done."""
    command = [sys.executable, "-c", BROKEN_OFF, str(int(by)), str(at), *map(str, arguments)]
    return subprocess.run(command, stderr=subprocess.PIPE, text=True, check=False)


@pytest.mark.slow  # closed as by Ctrl-C also in lab/test_sweep.py
@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGINT to send")
def test_ctrl_c_in_a_sweep_keeps_what_is_done(capsys):
    done = break_off(signal.SIGINT, 4, *SWEEP)
    assert done.returncode == 130, done.stderr
    assert "Traceback" not in done.stderr
    assert done.stderr.endswith(
        "stopped; what is done is in sweep\nthe same command goes on from there\n"
    )
    assert "runs/02-style_weight=10.ckpt" in read_files("sweep")
    assert Path("sweep/sheet.png").is_file()
    assert impasto(*SWEEP) == 0
    assert capsys.readouterr().err.count("note: taken up at step 2") == 1
    assert impasto(*SWEEP, "-o", "whole", "-q") == 0
    assert read_told("sweep") == read_told("whole")


@pytest.mark.usefixtures("no_figures")
@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGKILL to send")
def test_a_search_that_was_killed_ends_as_if_it_had_not_been():
    search = ["tune", *PICTURES, *QUICK, "--trials", "3"]
    assert break_off(signal.SIGKILL, 5, *search).returncode == -9
    assert not Path("tuned/sheet.png").exists()
    assert impasto(*search, "-q") == 0
    assert impasto(*search, "-o", "whole", "-q") == 0
    assert read_told("tuned") == read_told("whole")


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGINT to send")
@pytest.mark.usefixtures("labelled")
@pytest.mark.parametrize("by", [signal.SIGINT, signal.SIGKILL])
def test_augmentation_that_is_broken_off(by, capsys):
    for number in range(3, 39):  # enough for two chunks
        Image.fromarray(draw_picture(16, 16, number)).save(f"a set/dogs/{number}.png")
    flags = ["--noise", "spots", "--per-image", 1]
    done = break_off(by, -64, "augment", "a set", "out", *flags)
    if by == signal.SIGINT:
        assert done.returncode == 130, done.stderr
        assert "stopped; wrote 64 pictures in " in done.stderr
        assert done.stderr.endswith("the same command goes on from there\n")
    else:
        assert done.returncode == -9
    assert impasto("augment", "a set", "out", *flags) == 0
    assert "wrote 16 pictures in " in (said := capsys.readouterr().err)
    assert said.endswith(", 64 were there already\n")
    assert impasto("augment", "a set", "whole", *flags, "-q") == 0
    assert read_files("out") == read_files("whole")


# --- how it looks -------------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["sweep", "study", "tune", "augment", "report"])
def test_help_reads_well(command, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    assert impasto(command, "--help") == 0
    text = capsys.readouterr().out
    for word in ("None]", "()", "False", "[default: ]"):
        assert word not in text
    if command in ("sweep", "study", "tune"):
        titles = [title for title in PAINT_PANELS.values() if f"─ {title} ─" in text]
        places = [text.index(f"─ {title} ─") for title in titles]
        assert len(places) >= 8
        assert "─ Parameters ─" not in text


def test_help_loads_neither_torch_nor_numpy():
    program = (
        "import sys; from impasto.cli.app import run; [run([c, '--help']) for c in sys.argv[1:]]; "
        "sys.exit(bool({'torch', 'numpy', 'PIL', 'multiprocessing'} & set(sys.modules)))"
    )
    commands = ["sweep", "study", "tune", "augment", "report"]
    done = subprocess.run(
        [sys.executable, "-c", program, *commands], capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr.decode()
